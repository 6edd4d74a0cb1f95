"""Checks of models and losses, which work on Paddle tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from expkit.api import Array, Batch, DataSpec
from expkit.cpu_tuning import import_paddle
from expkit.testing.base import Component, build, check_options, each_fitting, example_batch, require

_STEPS = 15


def check_model(component: Component, *, specs: Iterable[DataSpec] | None = None) -> None:
    """Check a model: outputs, independence of samples, gradients, learning, seeds, and its state.

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
    require(np.array_equal(inputs, before), component, "writes into its inputs")
    require(np.array_equal(outputs, _answers(model, inputs)), component, "answers differently in eval mode")
    alone = np.concatenate([_answers(model, inputs[i : i + 1]) for i in range(3)])
    close = np.allclose(outputs[:3], alone, rtol=1e-3, atol=1e-4)
    require(close, component, "answers a sample differently alone than in a batch, in eval mode")


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
    compare = paddle.nn.functional.cross_entropy if spec.is_classification else paddle.nn.functional.mse_loss
    losses = []
    for _ in range(_STEPS):
        loss = compare(model(x), y)
        loss.backward()
        _check_gradients(component, model)
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    return losses, model


def _check_gradients(component: Component, model: Any) -> None:
    for name, parameter in model.named_parameters():
        if parameter.stop_gradient:
            continue
        require(parameter.grad is not None, component, f"parameter {name} gets no gradient")
        require(bool(parameter.grad.isfinite().all()), component, f"the gradient of {name} is not finite")


def check_loss(component: Component, *, specs: Iterable[DataSpec] | None = None) -> None:
    """Check a loss: a finite scalar, the mean over the batch, a slope that leads down, no broadcasting.

    Args:
        component: class or function.
        specs: data to try; `example_specs()` when left out.

    Raises:
        ConformanceError: a promise is broken.
    """
    paddle = import_paddle()

    check_options("loss", component)
    for spec, loss in each_fitting(component, specs):
        batch = example_batch(spec)
        targets = paddle.to_tensor(batch.targets)
        raw = np.random.default_rng(1).standard_normal((len(batch.targets), spec.outputs)).astype(np.float32)
        outputs = paddle.to_tensor(raw, stop_gradient=False)
        value = loss(outputs, targets)
        require(list(value.shape) == [], component, f"is no scalar (0-D) tensor but {list(value.shape)}")
        require(math.isfinite(float(value)), component, f"is not finite on {spec.name}")
        value.backward()
        require(outputs.grad is not None, component, "gives no gradient to the outputs")
        slope = outputs.grad.numpy()
        require(
            bool(np.isfinite(slope).all() and slope.any()),
            component,
            "has a gradient that is 0 or not finite",
        )
        lower = loss(paddle.to_tensor(raw - 1e-2 * slope / np.abs(slope).max()), targets)
        require(float(lower) < float(value), component, "does not fall along its own gradient")
        twice = loss(paddle.concat([outputs, outputs]), paddle.concat([targets, targets]))
        mean = math.isclose(float(twice), float(value), rel_tol=1e-4)
        require(mean, component, "changes when the batch is doubled; it must be the mean over the batch")
        _check_refusal(component, loss, outputs, targets[:-1], "one target too few")
        _check_refusal(component, loss, outputs, targets[:1], "a single target")
        if not spec.is_classification:
            _check_refusal(component, loss, outputs, targets[:, 0], "targets [N]")


def _check_refusal(component: Component, loss: Any, outputs: Any, targets: Any, wrong: str) -> None:
    try:
        loss(outputs, targets)
    except Exception:  # noqa: BLE001 - any error will do; only silence is wrong
        return
    require(False, component, f"accepts {wrong} for outputs {list(outputs.shape)}; shapes must never be broadcast")
