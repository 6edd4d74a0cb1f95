"""Ends training when it no longer helps."""

import difflib
import math
from collections.abc import Iterable
from typing import Any

from expkit.api import Callback, ConfigError, EpochEnd, FitStart


class EarlyStopping(Callback):
    """End training when a metric has not improved for some epochs (Prechelt 1998, sec. 2).

    Args:
        metric: what to watch, as the final table and MLflow name it.
        patience: epochs without improvement after which training ends.
        min_delta: smallest change that counts as an improvement.
        higher_is_better: direction; null takes the metric's own, which for a loss is low.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> stopping = EarlyStopping(metric="valid/accuracy", patience=5)
    """

    role = "essential"

    def __init__(
        self,
        *,
        metric: str = "valid/loss",
        patience: int = 3,
        min_delta: float = 0.0,
        higher_is_better: bool | None = None,
    ):
        if patience < 1:
            raise ConfigError(f"callbacks.early_stopping.patience={patience}: must be 1 epoch or more.")
        if not (math.isfinite(min_delta) and min_delta >= 0):
            raise ConfigError(f"callbacks.early_stopping.min_delta={min_delta}: must be 0 or a number above 0.")
        self._metric = metric
        self._patience = patience
        self._min_delta = min_delta
        self._chosen = self._higher_is_better = higher_is_better
        self._best: float | None = None
        self._epochs_without = 0

    def on_fit_start(self, event: FitStart) -> None:
        """Take the metric's direction, unless one was chosen.

        Raises:
            ConfigError: no metric has that name.
        """
        if not event.higher_is_better:  # a caller who does not tell: the first epoch will
            return
        self._check_name(event.higher_is_better)
        if self._chosen is None:
            self._higher_is_better = event.higher_is_better[self._metric]

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Compare this epoch with the best; ask for the end when patience is over.

        Raises:
            ConfigError: no metric has that name, or nobody said which direction is better.
        """
        self._check_name(event.metrics)
        sign = 1.0 if self._is_higher_better() else -1.0
        value = float(event.metrics[self._metric])
        # A value that is not a number is never an improvement: the comparison is false.
        if self._best is None and not math.isnan(value):
            improved = True
        else:
            improved = self._best is not None and sign * (value - self._best) > self._min_delta
        if improved:
            self._best, self._epochs_without = value, 0
            return
        self._epochs_without += 1
        if self._epochs_without >= self._patience:
            best = "never a number" if self._best is None else f"best {self._best:.6g}"
            event.stop(f"{self._metric} has not improved for {self._epochs_without} epochs ({best}, now {value:.6g})")

    def state_dict(self) -> dict[str, Any]:
        """Best value so far and epochs since then."""
        return {"best": self._best, "epochs_without": self._epochs_without}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._best = state["best"]
        self._epochs_without = state["epochs_without"]

    def _check_name(self, known: Iterable[str]) -> None:
        names = sorted(known)
        if self._metric in names:
            return
        near = difflib.get_close_matches(self._metric, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"callbacks.early_stopping.metric={self._metric!r} is not measured.{hint} Known: {', '.join(names)}."
        )

    def _is_higher_better(self) -> bool:
        if self._higher_is_better is not None:
            return self._higher_is_better
        if self._metric.rpartition("/")[2] == "loss":
            return False
        raise ConfigError(
            f"callbacks.early_stopping.metric={self._metric!r}: it is not known whether higher or lower is better. "
            "Set callbacks.early_stopping.higher_is_better to true or false."
        )
