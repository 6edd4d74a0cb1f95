"""Logs how large the weights are, which is what a regularizer changes."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array, Callback, ConfigError, EpochEnd, FitEnd, FitStart, Learner
from expkit_callbacks._figures import LINES, attempt, clean, figure, label_ends, plain, save

ALL = "all"
MOST_LINES = len(LINES) - 1


class WeightNorms(Callback):
    """Log the norm of each trainable parameter, and how many of its numbers are nearly 0.

    The values are `weights/conv1.weight` (norm) and `sparsity/conv1.weight` (share that is nearly 0), and `.../all` for
    all parameters together, at the start and after each epoch. `plots/weight_norms.png` shows them over epochs. L2
    regularization shrinks norms; L1 moves weights to 0 (Goodfellow et al. 2016, sec. 7.1). With `learner.ema`, these
    are the raw weights, which are trained, and not their average.

    Args:
        every: epochs from one measurement to the next; the last epoch is always measured.
        order: 2 for the Euclidean norm, the root of the sum of squares; 1 for the sum of absolute values.
        near_zero: a number counts as nearly 0 when its absolute value is at most this.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> norms = WeightNorms(order=1, near_zero=1e-4)
    """

    def __init__(self, *, every: int = 1, order: int = 2, near_zero: float = 1e-3):
        if every < 1:
            raise ConfigError(f"callbacks.weight_norms.every={every}: must be 1 epoch or more.")
        if order not in (1, 2):
            raise ConfigError(f"callbacks.weight_norms.order={order}: must be 1 (absolute values) or 2 (squares).")
        if not (math.isfinite(near_zero) and near_zero >= 0):
            raise ConfigError(f"callbacks.weight_norms.near_zero={near_zero}: must be 0 or a number above 0.")
        self._every, self._order, self._near_zero = every, order, near_zero
        self._start: FitStart | None = None
        self._epochs: list[int] = []
        self._values: dict[str, list[float]] = {}

    def on_fit_start(self, event: FitStart) -> None:
        """Measure the initial weights, unless this is a resumed run."""
        self._start = event
        if event.step == 0:
            self._measure(0, 0)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Measure, when it is time to."""
        last = self._start is not None and event.epoch == self._start.epochs
        if last or event.epoch % self._every == 0:
            self._measure(event.epoch, event.step)

    def on_fit_end(self, event: FitEnd) -> None:
        """Draw the curves; of a run that goes on later, not yet."""
        if self._start is None or event.status in ("interrupted", "paused"):
            return
        if event.status == "stopped" and event.epoch not in self._epochs:
            self._measure(event.epoch, event.step)
        if self._epochs:
            path = self._start.folder / "plots" / "weight_norms.png"
            attempt(lambda: self._draw(path), path)

    def state_dict(self) -> dict[str, Any]:
        """All measurements so far."""
        return {"epochs": list(self._epochs), "values": {name: list(values) for name, values in self._values.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._epochs = list(state["epochs"])
        self._values = {name: list(values) for name, values in state["values"].items()}

    def _measure(self, epoch: int, step: int) -> None:
        if self._start is None or self._start.learner is None:
            return
        found = measure(trainable(self._start.learner), self._order, self._near_zero)
        self._start.log(found, step)
        self._epochs.append(epoch)
        for name, value in found.items():
            self._values.setdefault(name, []).append(value)

    def _draw(self, path: Path) -> None:
        norms = {n.removeprefix("weights/"): v for n, v in self._values.items() if n.startswith("weights/")}
        shares = {n.removeprefix("sparsity/"): v for n, v in self._values.items() if n.startswith("sparsity/")}
        single = [name for name in norms if name != ALL]
        shown = sorted(single, key=lambda name: -norms[name][-1])[:MOST_LINES]
        colours = {ALL: "black", **dict(zip(shown, LINES, strict=False))}
        left_out = f"; the {MOST_LINES} largest of {len(single)} parameters" if len(single) > len(shown) else ""
        made = figure(11.5, 4.4, f"weights after each epoch{left_out}")
        norm = "L1 norm (sum of absolute values)" if self._order == 1 else "L2 norm (root of sum of squares)"
        panels = ((norm, norms), (f"share of numbers within ±{self._near_zero:g} of 0", shares))
        for place, (title, values) in enumerate(panels, start=1):
            axis = made.add_subplot(1, 2, place)
            for name, colour in colours.items():
                width, style = (2.0, "--") if name == ALL else (1.5, "o-")
                axis.plot(self._epochs, values[name], style, color=colour, linewidth=width, markersize=3)
            axis.set_title(plain(title), fontsize=10)
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            top = max(1e-3, *(value for name in colours for value in values[name]))
            axis.set_ylim(-0.04 * top, 1.06 * top)
            clean(axis)
            ends = [(name, values[name][-1], colour) for name, colour in colours.items()]
            label_ends(axis, ends, self._epochs[-1])
        save(made, path)


def trainable(learner: Learner) -> dict[str, Array]:
    """Return the trainable parameters of a learner by name; all that it keeps, where it does not say which these are.

    Args:
        learner: of any engine.
    """
    kept = learner.state_dict().model
    model = getattr(learner, "model", None)
    if model is None:
        return dict(kept)
    moving = {name for name, parameter in model.named_parameters() if not parameter.stop_gradient}
    return {name: values for name, values in kept.items() if name in moving}


def measure(parameters: Mapping[str, Array], order: int, near_zero: float) -> dict[str, float]:
    """Return {"weights/<name>": norm, "sparsity/<name>": share nearly 0}, with the name "all" for all together.

    Args:
        parameters: by name, of any shape.
        order: 1 or 2.
        near_zero: largest absolute value that counts as nearly 0.
    """
    sizes = {name: np.abs(np.asarray(values, dtype=np.float64)).reshape(-1) for name, values in parameters.items()}
    sizes[ALL] = np.concatenate([np.zeros(0), *sizes.values()])
    norms = {f"weights/{name}": float(np.linalg.norm(size, order)) for name, size in sizes.items()}
    shares = {f"sparsity/{name}": float((size <= near_zero).mean()) for name, size in sizes.items() if len(size)}
    return {**norms, **shares}
