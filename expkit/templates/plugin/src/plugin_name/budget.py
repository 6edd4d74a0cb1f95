"""An end in time."""

import math
from typing import Any

from expkit.api import Callback, ConfigError, EpochEnd


class TimeBudget(Callback):
    """End training before the epoch that would go beyond a number of minutes, as far as the last one tells.

    What was measured with the best weights is kept and exported, as of any run that a callback ends. A resumed run
    goes on with what is left.

    Args:
        minutes: of training and validation together, above 0.

    Raises:
        ConfigError: minutes is no number above 0.
    """

    def __init__(self, *, minutes: float = 60.0):
        if not (math.isfinite(minutes) and minutes > 0):
            raise ConfigError(f"callbacks.plugin_name_budget.minutes={minutes}: must be above 0.")
        self._minutes, self._seconds = minutes, 0.0

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Count the epoch, and stop where another one as long would not fit."""
        self._seconds += event.seconds
        if self._seconds + event.seconds > 60 * self._minutes:
            used = f"{self._seconds / 60:.1f} of {self._minutes:g} minutes"
            event.stop(f"{used} are used, and another epoch would not fit")

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds that are used."""
        return {"seconds": self._seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._seconds = state["seconds"]
