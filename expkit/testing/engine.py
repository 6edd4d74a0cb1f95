"""Checks of models and losses, which work on Paddle tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from expkit.api import Array, Batch, DataSpec
from expkit.cpu_tuning import import_paddle
from expkit.preprocess import SCORES
from expkit.testing.base import Component, build, check_options, each_fitting, require
from expkit.testing.examples import example_batch

_STEPS = 15


def check_model(component: Component, *, specs: Iterable[DataSpec] | None = None) -> None:
    """Check a model: outputs, independence of samples, gradients, learning, seeds, and its state.

    A model with an attribute `scores` is trained on what it says its outputs are, and has to be right about it.

    Args:
        component: the model's class.
        specs: data to try; `example_specs()` when left out.

    Raises:
        ConformanceError: a promise is broken.
    """
    paddle = import_paddle()

    check_options("model", component)
    for spec, model in each_fitting(component, specs):
        require(isinstance(model, paddle.nn.Layer), component, "is not a paddle.nn.Layer")
        batch = example_batch(spec)
        inputs = spec.input.normalise(batch.inputs)
        _check_answers(component, model, spec, inputs)
        losses, trained = _train(component, spec, inputs, batch)
        again, twin = _train(component, spec, inputs, batch)
        require(losses == again, component, f"learns differently on {spec.name} from the same seed")
        require(all(map(math.isfinite, losses)), component, f"gives a loss that is not finite on {spec.name}")
        fell = sum(losses[-3:]) / 3 < losses[0]
        require(fell, component, f"does not learn {len(inputs)} samples of {spec.name}: losses {losses}")
        model.set_state_dict(trained.state_dict())
        answers = (_answers(model, inputs), _answers(twin, inputs))
        require(np.array_equal(*answers), component, "answers differently after its state was saved and loaded")


def _check_answers(component: Component, model: Any, spec: DataSpec, inputs: Array) -> None:
    before = inputs.copy()
    outputs = _answers(model, inputs)
    expected = (len(inputs), spec.outputs)
    require(outputs.shape == expected, component, f"answers {outputs.shape} on {spec.name}; expected {expected}")
    require(outputs.dtype == np.float32, component, f"answers in {outputs.dtype}; expected float32")
    require(bool(np.isfinite(outputs).all()), component, f"answers are not finite on {spec.name}")
    _check_scores(component, _scores(model), outputs)
    require(np.array_equal(inputs, before), component, "writes into its inputs")
    require(np.array_equal(outputs, _answers(model, inputs)), component, "answers differently in eval mode")
    alone = np.concatenate([_answers(model, inputs[i : i + 1]) for i in range(3)])
    close = np.allclose(outputs[:3], alone, rtol=1e-3, atol=1e-4)
    require(close, component, "answers a sample differently alone than in a batch, in eval mode")


def _check_scores(component: Component, scores: str, outputs: Array) -> None:
    """Check that outputs can be what a model says; probabilities may be those of classes on their own."""
    least, most = float(outputs.min()), float(outputs.max())
    if scores == "probabilities":
        right = least >= 0 and most <= 1
        require(right, component, f"says that it answers probabilities, but answers from {least:.4g} to {most:.4g}")
    if scores == "log_probabilities":
        sums = np.exp(outputs.astype(np.float64)).sum(axis=1)
        right = bool(np.allclose(sums, 1.0, atol=1e-3))
        require(right, component, "says that it answers log-probabilities, but their exponentials do not sum to 1")


def _scores(part: Any) -> str:
    """Return what a model or a loss says the outputs are; of a model, `scores` may also be a layer of that name."""
    said = getattr(part, "scores", "logits")
    return said if isinstance(said, str) else "logits"


def _answers(model: Any, inputs: Array) -> Array:
    paddle = import_paddle()

    model.eval()
    with paddle.no_grad():
        answers: Array = model(paddle.to_tensor(inputs)).numpy()
    return answers


def _train(component: Component, spec: DataSpec, inputs: Array, batch: Batch) -> tuple[list[float], Any]:
    paddle = import_paddle()

    paddle.seed(0)
    model = build(component, spec=spec)
    model.train()
    optimizer = paddle.optimizer.Adam(0.002, parameters=model.parameters())
    x, y = paddle.to_tensor(inputs), paddle.to_tensor(batch.targets)
    compare = _comparison(model, spec)
    losses = []
    for _ in range(_STEPS):
        loss = compare(model(x), y)
        loss.backward()
        _check_gradients(component, model)
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    return losses, model


def _comparison(model: Any, spec: DataSpec) -> Callable[[Any, Any], Any]:
    """Return a loss that fits what a model answers."""
    functional = import_paddle().nn.functional

    def likelihood(probabilities: Any, classes: Any) -> Any:
        return functional.nll_loss(probabilities.clip(min=1e-30).log(), classes)

    if spec.is_classification and _scores(model) == "probabilities":
        return likelihood
    # Log-probabilities are logits, too.
    compare: Callable[[Any, Any], Any] = functional.cross_entropy if spec.is_classification else functional.mse_loss
    return compare


def _check_gradients(component: Component, model: Any) -> None:
    for name, parameter in model.named_parameters():
        if parameter.stop_gradient:
            continue
        require(parameter.grad is not None, component, f"parameter {name} gets no gradient")
        require(bool(parameter.grad.isfinite().all()), component, f"the gradient of {name} is not finite")


def check_loss(component: Component, *, specs: Iterable[DataSpec] | None = None) -> None:
    """Check a loss: a finite scalar, the mean over the batch, a slope that leads down, no broadcasting.

    It is given what its attribute `scores` says that it takes the outputs for. A loss of classes may refuse shares
    [N, K], which some transforms make of them, by any error; if it takes them, it has to be right about them.

    Args:
        component: class or function.
        specs: data to try; `example_specs()` when left out.

    Raises:
        ConformanceError: a promise is broken.
    """
    paddle = import_paddle()

    check_options("loss", component)
    for spec, loss in each_fitting(component, specs):
        scores = getattr(loss, "scores", "logits")
        require(scores in SCORES, component, f"has scores {scores!r}; known are {', '.join(SCORES)}")
        link = _link(scores) if spec.is_classification else _same
        batch = example_batch(spec)
        targets = paddle.to_tensor(batch.targets)
        raw = np.random.default_rng(1).standard_normal((len(batch.targets), spec.outputs)).astype(np.float32)
        leaf = paddle.to_tensor(raw, stop_gradient=False)
        outputs = link(leaf)
        value = loss(outputs, targets)
        require(list(value.shape) == [], component, f"is no scalar (0-D) tensor but {list(value.shape)}")
        require(math.isfinite(float(value)), component, f"is not finite on {spec.name}")
        value.backward()
        require(leaf.grad is not None, component, "gives no gradient to the outputs")
        slope = leaf.grad.numpy()
        require(
            bool(np.isfinite(slope).all() and slope.any()),
            component,
            "has a gradient that is 0 or not finite",
        )
        lower = loss(link(paddle.to_tensor(raw - 1e-2 * slope / np.abs(slope).max())), targets)
        require(float(lower) < float(value), component, "does not fall along its own gradient")
        twice = loss(paddle.concat([outputs, outputs]), paddle.concat([targets, targets]))
        mean = math.isclose(float(twice), float(value), rel_tol=1e-4)
        require(mean, component, "changes when the batch is doubled; it must be the mean over the batch")
        _check_refusal(component, loss, outputs, targets[:-1], "one target too few")
        _check_refusal(component, loss, outputs, targets[:1], "a single target")
        if spec.is_classification:
            _check_shares(component, loss, outputs, batch.targets)
        else:
            _check_refusal(component, loss, outputs, targets[:, 0], "targets [N]")


def _link(scores: str) -> Callable[[Any], Any]:
    """Return what turns any numbers [N, K] into outputs that are such scores."""
    functional = import_paddle().nn.functional
    links: dict[str, Callable[[Any], Any]] = {
        "probabilities": functional.softmax,
        "log_probabilities": functional.log_softmax,
    }
    return links.get(scores, _same)


def _same(numbers: Any) -> Any:
    return numbers


def _check_shares(component: Component, loss: Any, outputs: Any, classes: Array) -> None:
    """Check what a loss makes of targets that are shares [N, K], if it takes them."""
    paddle = import_paddle()

    wanted = float(loss(outputs, paddle.to_tensor(classes)))
    certain = np.eye(outputs.shape[1], dtype=np.float32)[classes]
    try:
        values = [float(loss(outputs, paddle.to_tensor(s))) for s in (certain, (certain + certain[::-1]) / 2)]
    except Exception:  # noqa: BLE001 - a loss for classes only may refuse by any error
        return
    same = math.isclose(values[0], wanted, rel_tol=1e-4)
    require(same, component, f"is {values[0]} for shares that are all one class, but {wanted} for these classes")
    require(math.isfinite(values[1]), component, "is not finite for shares of two classes")


def _check_refusal(component: Component, loss: Any, outputs: Any, targets: Any, wrong: str) -> None:
    try:
        loss(outputs, targets)
    except Exception:  # noqa: BLE001 - any error will do; only silence is wrong
        return
    require(False, component, f"accepts {wrong} for outputs {list(outputs.shape)}; shapes must never be broadcast")
