"""A rate that falls when a metric no longer improves."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from paddle.optimizer.lr import ReduceOnPlateau

from expkit.api import ConfigError, did_you_mean

from . import _checks


def reduce_on_plateau(
    learning_rate: float,
    higher_is_better: Mapping[str, bool],
    *,
    metric: str = "valid/loss",
    mode: Literal["auto", "min", "max"] = "auto",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    cooldown: int = 0,
    end: float = 0.0,
) -> ReduceOnPlateau:
    """Multiply the rate by a factor when a metric has not improved for some epochs.

    Args:
        learning_rate: supplied; the optimizer's, used until the first fall.
        higher_is_better: supplied; direction of every metric that an epoch measures.
        metric: what to watch, as the final table and MLflow name it.
        mode: whether low (min) or high (max) is better; auto takes the metric's own direction.
        factor: what the rate is multiplied by, above 0 and below 1.
        patience: epochs without improvement that are tolerated; after one more the rate falls.
        threshold: smallest change that counts as an improvement, as a fraction of the best value.
        cooldown: epochs after a fall in which nothing is counted.
        end: what the rate falls to at most, as a fraction of optimizer.learning_rate.

    Raises:
        ConfigError: an option is out of range; no metric has that name.
    """
    _checks.rate(learning_rate)
    if mode not in ("auto", "min", "max"):
        raise ConfigError(f"schedule.mode={mode!r}: must be auto, min or max.")
    if metric not in higher_is_better:
        raise ConfigError(
            f"schedule.metric={metric!r} is not measured.{did_you_mean(metric, higher_is_better)} Measured are "
            f"{', '.join(higher_is_better)}."
        )
    _checks.factor(factor)
    _checks.at_least(0, "patience", patience, "epochs")
    _checks.at_least(0, "cooldown", cooldown, "epochs")
    _checks.share("end", end)
    if not 0.0 <= threshold < 1.0:
        raise ConfigError(f"schedule.threshold={threshold}: must be from 0 to below 1, a fraction of the best value.")
    if mode == "auto":
        mode = "max" if higher_is_better[metric] else "min"
    schedule = _Plateau(
        learning_rate,
        mode,
        factor=factor,
        patience=patience,
        threshold=threshold,
        cooldown=cooldown,
        min_lr=learning_rate * end,
        epsilon=0.0,  # the smallest fall; Paddle's 1e-8 would keep small rates where they are
    )
    schedule.metric = metric
    return schedule


class _Plateau(ReduceOnPlateau):
    """Paddle's, for any value: it takes a first NaN for the best, and gives negative ones the wrong margin."""

    def step(self, metrics: float, epoch: int | None = None) -> None:
        worst = math.inf if self.mode == "min" else -math.inf
        super().step(worst if math.isnan(metrics) else metrics, epoch)

    def _is_better(self, current: float, best: Any) -> bool:
        if math.isinf(best):
            return math.isfinite(current)
        margin = self.threshold * abs(best)
        return current < best - margin if self.mode == "min" else current > best + margin
