"""What a model promises."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array, DataSpec
from expkit.paddle_import import import_paddle
from expkit.seeding import seed_everything
from expkit.testing.examples import example_batch
from expkit.testing.promises import promise
from expkit.testing.refusals import uses
from expkit.testing.report import NotApplicable, require
from expkit.testing.subject import Subject

_STEPS = 12
_SIZES = (1, 7)


def inputs_of(spec: DataSpec, samples: int = 16) -> Array:
    """Return normalised inputs; the same each time."""
    return spec.input.normalise(example_batch(spec, samples=samples).inputs)


def answers(model: Any, inputs: Array) -> Array:
    """Return what a model answers in evaluation mode."""
    paddle = import_paddle()

    model.eval()
    with paddle.no_grad():
        found = model(paddle.to_tensor(inputs))
    kind = type(found).__name__
    require(isinstance(found, paddle.Tensor), expected="a tensor", got=kind, mend="return the outputs [N, K] alone")
    array: Array = found.numpy()
    return array


def _model(subject: Subject, spec: DataSpec) -> Any:
    """Return the model of a spec, if it computes in the precision of its data."""
    model = subject.made(spec)
    if spec.input_dtype == "float64":
        kinds = {str(parameter.dtype).rpartition(".")[2] for parameter in model.parameters()}
        if kinds - {"float64"}:
            raise NotApplicable("its weights are float32; dataset.precision=float64 is not for it")
    return model


def _answered(subject: Subject, spec: DataSpec) -> tuple[Any, Array, Array]:
    """Return the model of a spec, inputs, and its answers to them."""
    model, inputs = _model(subject, spec), inputs_of(spec)
    return model, inputs, subject.memo(("answers", spec.name), lambda: answers(model, inputs.copy()))


@promise("model", name="layer", each="spec", text="It is a paddle.nn.Layer.")
def layer(subject: Subject, spec: DataSpec) -> None:
    """Look at its class."""
    model = subject.made(spec)
    right = isinstance(model, import_paddle().nn.Layer)
    require(right, expected="a paddle.nn.Layer", got=f"a {type(model).__name__}")


@promise("model", name="shape", each="spec", text="It answers [N, K] for batches of any size N, of one sample as well.")
def shape(subject: Subject, spec: DataSpec) -> None:
    """Try three sizes."""
    model, inputs, outputs = _answered(subject, spec)
    for size in (len(inputs), *_SIZES):
        found = outputs if size == len(inputs) else answers(model, inputs[:size])
        wanted = (size, spec.outputs)
        require(found.shape == wanted, expected=f"{list(wanted)} for {size} samples", got=list(found.shape))


@promise("model", name="dtype", each="spec", text="It answers in the precision of its inputs.")
def dtype(subject: Subject, spec: DataSpec) -> None:
    """Look at the answers."""
    _, _, outputs = _answered(subject, spec)
    require(str(outputs.dtype) == spec.input_dtype, expected=spec.input_dtype, got=outputs.dtype)


@promise("model", name="finite", each="spec", text="Its answers are finite.")
def finite(subject: Subject, spec: DataSpec) -> None:
    """Look at the answers, and at those to inputs that are all the same."""
    model, inputs, outputs = _answered(subject, spec)
    for name, found in (("random inputs", outputs), ("inputs of zeros", answers(model, np.zeros_like(inputs[:2])))):
        count = int((~np.isfinite(found)).sum())
        require(count == 0, expected=f"finite answers to {name}", got=f"{count} of {found.size} are NaN or infinite")


@promise(
    "model", name="scores", each="spec", text="Where it has an attribute `scores`, its answers are what that says."
)
def scores(subject: Subject, spec: DataSpec) -> None:
    """Look at the range of its answers; probabilities may be those of classes on their own."""
    model, _, outputs = _answered(subject, spec)
    said = scores_of(model)
    least, most = float(outputs.min()), float(outputs.max())
    if said == "probabilities":
        got = f"answers from {least:.4g} to {most:.4g}"
        require(least >= 0 and most <= 1, expected="probabilities, as `scores` says", got=got)
    if said == "log_probabilities":
        sums = np.exp(outputs.astype(np.float64)).sum(axis=1)
        right = bool(np.allclose(sums, 1.0, atol=1e-3))
        got = f"exponentials that sum to {sums[0]:.4g}"
        require(right, expected="log-probabilities, as `scores` says", got=got)


def scores_of(part: Any) -> str:
    """Return what a model or a loss says the outputs are; of a model, `scores` may also be a layer of that name."""
    said = getattr(part, "scores", "logits")
    return said if isinstance(said, str) else "logits"


@promise("model", name="pure", each="spec", text="It does not write into its inputs.")
def pure(subject: Subject, spec: DataSpec) -> None:
    """Compare the inputs before and after."""
    paddle = import_paddle()

    model, inputs = _model(subject, spec), inputs_of(spec)
    given = paddle.to_tensor(inputs.copy())
    model.eval()
    with paddle.no_grad():
        model(given)
    same = np.array_equal(given.numpy(), inputs)
    require(same, expected="the inputs as they were", got="other inputs", mend="avoid operations in place on them")


@promise("model", name="steady", each="spec", text="In evaluation mode it answers the same when it is asked again.")
def steady(subject: Subject, spec: DataSpec) -> None:
    """Ask twice, with a step in training mode between."""
    paddle = import_paddle()

    model, inputs, _ = _answered(subject, spec)
    first, second = answers(model, inputs), answers(model, inputs)
    far = float(np.abs(first - second).max())
    mend = "layers such as dropout have to follow `self.training`, which eval() and train() set"
    require(np.array_equal(first, second), expected="the same bits", got=f"up to {far:.3g} apart", mend=mend)
    before = paddle.get_rng_state()[0].__getstate__()
    answers(model, inputs)
    drawn = paddle.get_rng_state()[0].__getstate__() != before
    require(not drawn, expected="no random number is drawn", got="draws from Paddle's generator", mend=mend)


@promise("model", name="alone", each="spec", text="In evaluation mode a sample's answer does not depend on its batch.")
def alone(subject: Subject, spec: DataSpec) -> None:
    """Ask for three samples alone."""
    model, inputs, outputs = _answered(subject, spec)
    single = np.concatenate([answers(model, inputs[i : i + 1]) for i in range(3)])
    far = float(np.abs(outputs[:3] - single).max())
    close = np.allclose(outputs[:3], single, rtol=1e-3, atol=1e-4)
    mend = "do not average over axis 0 in evaluation mode"
    require(close, expected="the answers as in a batch of 16", got=f"up to {far:.3g} apart", mend=mend)


@promise(
    "model", name="gradients", each="spec", text="Every trainable parameter gets a finite gradient, at any batch size."
)
def gradients(subject: Subject, spec: DataSpec) -> None:
    """Go backward once for each size."""
    _model(subject, spec)
    model = _fresh(subject, spec)
    for size in (16, *_SIZES):
        _loss(model, spec, size).backward()
        trained = {n: p for n, p in model.named_parameters() if not p.stop_gradient}
        none = [name for name, parameter in trained.items() if parameter.grad is None]
        mend = "use it in forward(), or set its stop_gradient"
        require(not none, expected="a gradient of every parameter", got=f"none of {', '.join(none)}", mend=mend)
        bad = [name for name, p in trained.items() if not bool(p.grad.isfinite().all())]
        got = f"NaN or infinity in {', '.join(bad)}"
        require(not bad, expected=f"finite gradients for {size} samples", got=got)
        model.clear_gradients()


@promise("model", name="learns", each="spec", text="Its loss falls when it is trained on a few samples.")
def learns(subject: Subject, spec: DataSpec) -> None:
    """Train it with Adam."""
    losses, _ = _trained(subject, spec)
    fell = sum(losses[-3:]) / 3 < losses[0]
    got = f"{losses[0]:.4g} at first, {losses[-1]:.4g} after {len(losses)} steps"
    require(fell and all(map(math.isfinite, losses)), expected="a loss that falls, on 16 samples", got=got)


@promise(
    "model", name="deterministic", each="spec", text="Two that are built and trained from the same seed are equal."
)
def deterministic(subject: Subject, spec: DataSpec) -> None:
    """Compare the first weights, and the losses of three steps."""
    wanted, _ = _trained(subject, spec)
    first, second = _fresh(subject, spec), _fresh(subject, spec)
    for (name, one), other in zip(first.named_parameters(), second.parameters(), strict=True):
        same = np.array_equal(one.numpy(), other.numpy())
        mend = "draw from Paddle's, NumPy's or Python's global generator, which a run seeds"
        require(same, expected="the same first weights", got=f"others in {name}", mend=mend)
    found = _steps(second, spec, 3)
    require(found == wanted[:3], expected=f"the losses {wanted[:3]} again", got=found)


@promise("model", name="separate", each="spec", text="Two that are built share no parameter.")
def separate(subject: Subject, spec: DataSpec) -> None:
    """Look for the same tensors."""
    one, other = subject.made(spec), _fresh(subject, spec)
    shared = {id(p) for p in one.parameters()} & {id(p) for p in other.parameters()}
    names = [name for name, p in one.named_parameters() if id(p) in shared]
    mend = "make layers in __init__, not in the class or the module"
    require(not shared, expected="parameters of its own", got=f"shares {', '.join(names)}", mend=mend)


@promise("model", name="state", each="spec", text="One that takes the state_dict of another answers as that one does.")
def state(subject: Subject, spec: DataSpec) -> None:
    """Train one, and load its state into another."""
    _, trained = _trained(subject, spec)
    seed_everything(1)
    other = subject.make(spec)
    kept = {name: tensor.numpy().copy() for name, tensor in trained.state_dict().items()}
    other.set_state_dict({name: import_paddle().to_tensor(array) for name, array in kept.items()})
    inputs = inputs_of(spec)
    same = np.array_equal(answers(trained, inputs), answers(other, inputs))
    mend = "what training changes has to be a parameter or a buffer (register_buffer)"
    require(same, expected="the same answers", got="others", mend=mend)


@promise("model", name="exports", text="Paddle can trace it into a graph that answers as it does, for any batch size.")
def exports(subject: Subject) -> None:
    """Write and read back that of the first spec."""
    paddle = import_paddle()

    spec = next((s for s in subject.fitting() if s.input_dtype == "float32"), None)
    if spec is None:
        raise NotApplicable("it takes float64 only")
    model, inputs = _model(subject, spec), inputs_of(spec)
    model.eval()
    mend = "avoid numpy(), item() and Python's control flow over values in forward()"
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model")
        paddle.jit.save(model, path, input_spec=[paddle.static.InputSpec([None, *spec.input_shape], spec.input_dtype)])
        read = paddle.jit.load(path)
    for size in (len(inputs), 1):
        found, wanted = read(paddle.to_tensor(inputs[:size])).numpy(), answers(model, inputs[:size])
        close = found.shape == wanted.shape and np.allclose(found, wanted, rtol=1e-3, atol=1e-4)
        require(close, expected=f"the model's answers to {size} samples", got="others of the graph", mend=mend)


def _fresh(subject: Subject, spec: DataSpec) -> Any:
    seed_everything(0)
    return subject.make(spec)


def _trained(subject: Subject, spec: DataSpec) -> tuple[list[float], Any]:
    """Return the losses of a training, and the model that was trained."""
    _model(subject, spec)

    def train() -> tuple[list[float], Any]:
        model = _fresh(subject, spec)
        return _steps(model, spec, _STEPS), model

    return subject.memo(("trained", spec.name), train)


def _steps(model: Any, spec: DataSpec, count: int) -> list[float]:
    seed_everything(1)  # dropout draws the same each time
    optimizer = import_paddle().optimizer.Adam(0.002, parameters=model.parameters())
    losses = []
    for _ in range(count):
        loss = _loss(model, spec)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    return losses


def _loss(model: Any, spec: DataSpec, samples: int = 16) -> Any:
    paddle = import_paddle()

    batch = example_batch(spec, samples=samples)
    model.train()
    outputs = model(paddle.to_tensor(spec.input.normalise(batch.inputs)))
    return _comparison(model, spec)(outputs, paddle.to_tensor(batch.targets))


def _comparison(model: Any, spec: DataSpec) -> Callable[[Any, Any], Any]:
    """Return a loss that fits what a model answers."""
    functional = import_paddle().nn.functional

    def likelihood(probabilities: Any, classes: Any) -> Any:
        return functional.nll_loss(probabilities.clip(min=1e-30).log(), classes)

    if spec.is_classification and scores_of(model) == "probabilities":
        return likelihood
    # Log-probabilities are logits, too.
    compare: Callable[[Any, Any], Any] = functional.cross_entropy if spec.is_classification else functional.mse_loss
    return compare


@uses("model")
def _use(spec: DataSpec | None, model: Any) -> None:
    assert spec is not None
    _loss(model, spec, 2).backward()
