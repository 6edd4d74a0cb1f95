"""What a loss promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from expkit.api import Array, DataSpec
from expkit.paddle_import import import_paddle
from expkit.preprocess import SCORES
from expkit.testing.examples import example_batch
from expkit.testing.promises import promise
from expkit.testing.refusals import uses
from expkit.testing.report import NotApplicable, broken, require
from expkit.testing.subject import Subject

_SIZES = (16, 7, 1)
_FAR = 200.0
"""Logits at which exp() overflows in float32, and a share of a sigmoid or softmax is 0."""


class _Trial:
    """A loss, and outputs and targets of one kind of data."""

    def __init__(self, spec: DataSpec, loss: Any, samples: int = 16) -> None:
        paddle = import_paddle()

        self.spec, self.loss = spec, loss
        self.classes: Array = example_batch(spec, samples=samples).targets
        self.targets = paddle.to_tensor(self.classes)
        raw = np.random.default_rng(1).standard_normal((samples, spec.outputs))
        self.raw: Array = raw.astype(np.float32 if spec.is_classification else self.classes.dtype)

    def outputs(self, raw: Array | None = None) -> tuple[Any, Any]:
        """Return numbers that gradients lead to, and the outputs made of them, which are what the loss takes."""
        leaf = import_paddle().to_tensor(self.raw if raw is None else raw, stop_gradient=False)
        return leaf, (_link(scores_of(self.loss))(leaf) if self.spec.is_classification else leaf)

    def value(self, raw: Array | None = None) -> Any:
        return self.loss(self.outputs(raw)[1], self.targets)

    def slope(self, raw: Array | None = None) -> Array:
        """Return the gradient with respect to the numbers."""
        leaf, outputs = self.outputs(raw)
        self.loss(outputs, self.targets).backward()
        mend = "compute with Paddle's operations from the outputs to the end"
        require(leaf.grad is not None, expected="a gradient of the outputs", got="none", mend=mend)
        slope: Array = leaf.grad.numpy()
        return slope


def scores_of(loss: Any) -> str:
    """Return what a loss takes the outputs for."""
    return str(getattr(loss, "scores", "logits"))


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


@promise("loss", name="scores", each="spec", text="What it says in `scores` that it takes the outputs for is known.")
def scores(subject: Subject, spec: DataSpec) -> None:
    """Look at the attribute."""
    said = getattr(subject.made(spec), "scores", "logits")
    require(said in SCORES, expected=f"one of {', '.join(SCORES)}", got=repr(said))


@promise("loss", name="scalar", each="spec", text="It returns a scalar (0-D) tensor, for batches of any size.")
def scalar(subject: Subject, spec: DataSpec) -> None:
    """Try three sizes."""
    paddle = import_paddle()

    for size in _SIZES:
        value = _Trial(spec, subject.made(spec), size).value()
        right = isinstance(value, paddle.Tensor) and list(value.shape) == []
        got = list(value.shape) if isinstance(value, paddle.Tensor) else f"a {type(value).__name__}"
        require(right, expected=f"a tensor of shape [] for {size} samples", got=got, mend="take the mean")


@promise("loss", name="finite", each="spec", text="It is finite, and so is its gradient, also far from the target.")
def finite(subject: Subject, spec: DataSpec) -> None:
    """Try random outputs, and outputs that are very sure: right and wrong."""
    trial = _Trial(spec, subject.made(spec))
    far = np.sign(trial.raw) * np.asarray(_FAR if spec.is_classification else _FAR / 2, trial.raw.dtype)
    mend = "use log_softmax, logsigmoid or softplus, or clip, where exp() and log() overflow"
    for name, raw in (("random outputs", trial.raw), (f"outputs of ±{np.abs(far).max():.0f}", far)):
        value = float(trial.value(raw))
        require(math.isfinite(value), expected=f"a finite loss of {name}", got=value, mend=mend)
        bad = int((~np.isfinite(trial.slope(raw))).sum())
        got = f"NaN or infinity in {bad} of {raw.size}"
        require(bad == 0, expected=f"a finite gradient at {name}", got=got, mend=mend)


@promise("loss", name="downhill", each="spec", text="It has a gradient that is not 0, and falls along it.")
def downhill(subject: Subject, spec: DataSpec) -> None:
    """Make a small step against the gradient."""
    trial = _Trial(spec, subject.made(spec))
    slope = trial.slope()
    require(bool(slope.any()), expected="a gradient that is not 0 at random outputs", got="0 everywhere")
    before, after = (float(trial.value(raw)) for raw in (trial.raw, trial.raw - 1e-2 * slope / np.abs(slope).max()))
    require(after < before, expected=f"less than {before:.6g} after a small step down", got=f"{after:.6g}")


@promise(
    "loss",
    name="mean",
    each="spec",
    text="It is the mean over the batch: those of two parts, weighted by their samples or by its `divisor`, make up "
    "that of the whole.",
)
def mean(subject: Subject, spec: DataSpec) -> None:
    """Put a batch together from two parts."""
    loss = subject.made(spec)
    trial = _Trial(spec, loss)
    _, outputs = trial.outputs()
    whole, parts, weights = float(loss(outputs, trial.targets)), [], []
    for part in (slice(0, 5), slice(5, 16)):
        weights.append(float(loss.divisor(trial.classes[part])) if hasattr(loss, "divisor") else part.stop - part.start)
        parts.append(float(loss(outputs[part], trial.targets[part])))
    made = sum(w * p for w, p in zip(weights, parts, strict=True)) / sum(weights)
    close = math.isclose(whole, made, rel_tol=1e-4, abs_tol=1e-6)
    mend = "divide by the number of samples; a weighted mean says by `divisor(targets)` what it divides by"
    require(close, expected=f"{made:.6g}, made of a part of 5 and one of 11 samples", got=f"{whole:.6g}", mend=mend)


@promise("loss", name="shapes", each="spec", text="It refuses targets that do not fit, and never broadcasts them.")
def shapes(subject: Subject, spec: DataSpec) -> None:
    """Try targets that NumPy would broadcast; any error will do."""
    trial = _Trial(spec, subject.made(spec))
    targets = trial.targets
    wrong = {"one target too few": targets[:-1], "a single target": targets[:1]}
    if not spec.is_classification:
        wrong["targets [N]"] = targets[:, 0]
    for name, given in wrong.items():
        try:
            trial.loss(trial.outputs()[1], given)
        except Exception:  # noqa: BLE001 - any error will do; only silence is wrong
            continue
        mend = "compare the shapes first, and raise ConfigError where they differ"
        broken(expected=f"an error for {name}", got=f"accepts them for outputs {list(trial.raw.shape)}", mend=mend)


@promise("loss", name="shares", each="spec", text="Where it takes shares of classes [N, K], it is right about them.")
def shares(subject: Subject, spec: DataSpec) -> None:
    """Give it classes as shares; a loss for classes only may refuse them by any error."""
    if not spec.is_classification:
        raise NotApplicable("it is not for classes")
    paddle = import_paddle()

    trial = _Trial(spec, subject.made(spec))
    _, outputs = trial.outputs()
    certain = np.eye(spec.outputs, dtype=np.float32)[trial.classes]
    try:
        found = [float(trial.loss(outputs, paddle.to_tensor(s))) for s in (certain, (certain + certain[::-1]) / 2)]
    except Exception as error:
        raise NotApplicable("it takes classes only") from error
    wanted = float(trial.loss(outputs, trial.targets))
    same = math.isclose(found[0], wanted, rel_tol=1e-4)
    require(same, expected=f"{wanted:.6g} for shares that are all one class, as for classes", got=f"{found[0]:.6g}")
    require(math.isfinite(found[1]), expected="a finite loss for shares of two classes", got=found[1])


@promise(
    "loss", name="pure", each="spec", text="It is a function of outputs and targets alone, and writes into neither."
)
def pure(subject: Subject, spec: DataSpec) -> None:
    """Call it twice."""
    trial = _Trial(spec, subject.made(spec))
    _, outputs = trial.outputs()
    before = outputs.numpy().copy()
    values = [float(trial.loss(outputs, trial.targets)) for _ in range(2)]
    require(values[0] == values[1], expected=f"{values[0]} again", got=values[1], mend="keep nothing between calls")
    kept = np.array_equal(outputs.numpy(), before) and np.array_equal(trial.targets.numpy(), trial.classes)
    require(kept, expected="outputs and targets as they were", got="others", mend="avoid operations in place on them")


@uses("loss")
def _use(spec: DataSpec | None, loss: Any) -> None:
    assert spec is not None
    _Trial(spec, loss).value()
