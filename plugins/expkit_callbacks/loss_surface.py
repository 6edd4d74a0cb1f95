"""A picture of the loss over two weights, with the way that training took on it."""

import logging
import math
from typing import Any

import numpy as np

from expkit.api import Array, Callback, ConfigError, FitEnd, FitStart, StepEnd, TableInput
from expkit_callbacks._surface import FEWEST, draw_surface, find_weight, measure_surface

log = logging.getLogger("expkit.callbacks.loss_surface")
FILE = "plots/loss_surface.png"
_LONGEST = 4000


class LossSurface(Callback):
    """Draw the training loss over two weights, with the path that training walked on it (plots/loss_surface.png).

    When training is over, the loss is measured on a square grid of values of the two weights, all others being as they
    are then; the learner is left exactly as it was. The path is what the two weights were after each step.

    A weight is written as the array it is in and its place there, such as "head.weight[3,0]". Where the model has a
    single matrix with one output, "w5" and the name of a table's column stand for its rows, in any learner.

    Args:
        x: weight along the first axis.
        y: weight along the second axis.
        low: least value of both weights.
        high: greatest value of both weights.
        points: values of each weight; the grid has points x points losses.
        every: steps between two points of the path; a path of more than 4,000 points keeps every second one.
        samples: training samples, taken evenly from the split, that the loss is measured on.
        seconds: about how long measuring may take; a slow model gets fewer points, but 9 x 9 at least.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> surface = LossSurface(x="w5", y="w9", low=-160, high=160)
    """

    def __init__(
        self,
        *,
        x: str = "w5",
        y: str = "w9",
        low: float = -160.0,
        high: float = 160.0,
        points: int = 81,
        every: int = 1,
        samples: int = 1000,
        seconds: float = 5.0,
    ):
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ConfigError(f"callbacks.loss_surface.low={low}, high={high}: low must be the smaller of two numbers.")
        for option, value, least in (("points", points, FEWEST), ("every", every, 1), ("samples", samples, 1)):
            if value < least:
                raise ConfigError(f"callbacks.loss_surface.{option}={value}: must be at least {least}.")
        if not seconds > 0:
            raise ConfigError(f"callbacks.loss_surface.seconds={seconds}: must be above 0.")
        if x == y:
            raise ConfigError(f"callbacks.loss_surface.x={x}, y={y}: must be two different weights.")
        self._names = (x, y)
        self._low, self._high, self._points = low, high, points
        self._samples, self._seconds = samples, seconds
        self._stride = every
        self._path: list[list[float]] = []
        self._watches = False

    def on_fit_start(self, event: FitStart) -> None:
        """Find the two weights.

        Raises:
            ConfigError: one of them is not there.
        """
        if event.learner is None or event.train is None:  # a caller who has nothing to show
            return
        model = event.learner.state_dict().model
        self._columns = event.spec.input.columns if isinstance(event.spec.input, TableInput) else ()
        self._places = [
            find_weight(f"callbacks.loss_surface.{axis}", name, model, self._columns)
            for axis, name in zip("xy", self._names, strict=True)
        ]
        if self._places[0] == self._places[1]:
            raise ConfigError(f"callbacks.loss_surface: x={self._names[0]} and y={self._names[1]} are the same weight.")
        self._watches, self._learner, self._split = True, event.learner, event.train.split
        self._spec, self._folder = event.spec, event.folder
        if not self._path:
            self._path.append(self._position())

    def on_step_end(self, event: StepEnd) -> None:
        """Remember where the weights are."""
        if not self._watches or event.step % self._stride:
            return
        self._path.append(self._position())
        if len(self._path) > _LONGEST:
            self._path, self._stride = self._path[::2], 2 * self._stride

    def on_fit_end(self, event: FitEnd) -> None:
        """Measure and draw, unless training broke off; a picture that fails is a warning, for the results are whole."""
        if not self._watches or event.status not in ("finished", "stopped"):
            return
        path = np.array([*self._path, self._position()])
        labels = [self._label(name) for name in self._names]
        run = "/".join(self._folder.parts[-2:]) if self._folder.name.isdigit() else self._folder.name  # a sweep's job
        title = f"loss over {' and '.join(labels)}  |  {self._spec.name}  |  {run}"
        try:
            values, losses = self._surface()
            draw_surface(self._folder / FILE, title, labels, values, losses, path)
        except Exception as error:  # noqa: BLE001 - Matplotlib fails in many ways, a learner's losses in others
            log.warning("%s could not be drawn: %s: %s", self._folder / FILE, type(error).__name__, error)

    def state_dict(self) -> dict[str, Any]:
        """Values for the checkpoint."""
        return {"path": [list(point) for point in self._path], "stride": self._stride}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._path, self._stride = [list(point) for point in state["path"]], state["stride"]

    def _position(self) -> list[float]:
        model = self._learner.state_dict().model
        return [float(model[name][index]) for name, index in self._places]

    def _label(self, name: str) -> str:
        """Say which column a short name stands for: "w5 (RM)"."""
        number = name[1:]
        known = name.startswith("w") and number.isdigit() and int(number) < len(self._columns)
        return f"{name} ({self._columns[int(number)]})" if known else name

    def _surface(self) -> tuple[Array, Array]:
        count = min(self._samples, len(self._split))
        inputs, targets = self._split.gather(np.linspace(0, len(self._split) - 1, count).round().astype(np.int64))
        normal, axis = self._spec.input.normalise(inputs), np.linspace(self._low, self._high, self._points)
        return measure_surface(self._learner, normal, targets, self._places, axis, seconds=self._seconds)
