"""Coefficients of their own for different parameters."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

from paddle.regularizer import L2Decay, WeightDecayRegularizer

from expkit.api import ConfigError

from ._decays import decay_of
from ._pattern import checked


class PerPattern:
    """Let parameters decay by rules: of the patterns that fit a name, the last one's coefficient counts.

    `l1` and `l2` are looked up apart and added up. A coefficient of 0 exempts a parameter, from
    `optimizer.weight_decay` too, which parameters without any rule follow. On the command line:
    `'regularizer.l2={*.weight:1e-4,head.weight:1e-2}'`.

    Args:
        l1: coefficients of sign(w) by pattern, the general ones first.
        l2: coefficients of w by pattern, the general ones first.

    Attributes:
        patterns: all of them; each has to fit a parameter.

    Raises:
        ConfigError: there is no rule, or a coefficient is negative.

    Example:
        >>> rules = PerPattern(l2={"*": 0.01, "*.bias": 0.0})
        >>> print(rules.decay("head.weight", (10, 2)), "|", rules.decay("head.bias", (2,)))
        L2Decay, coeff=0.010000 | L2Decay, coeff=0.000000
    """

    # Empty dicts, which nobody writes to, because OmegaConf cannot merge a dict into null.
    def __init__(self, *, l1: dict[str, float] = {}, l2: dict[str, float] = {}):  # noqa: B006
        self._l1, self._l2 = _rules("l1", l1), _rules("l2", l2)
        self.patterns = list(dict.fromkeys([*self._l1, *self._l2]))
        if not self.patterns:
            raise ConfigError(
                "regularizer=per_pattern has no rules. Give some, such as 'regularizer.l2={*.weight:1e-4}', or "
                "choose regularizer=none."
            )

    def decay(self, name: str, shape: tuple[int, ...]) -> WeightDecayRegularizer | None:
        """Return the decay of this parameter, or None where no pattern fits.

        Args:
            name: structured name, such as "conv1.weight".
            shape: of the parameter.
        """
        l1, l2 = _last(self._l1, name), _last(self._l2, name)
        if l1 is None and l2 is None:
            return None
        return decay_of(l1=l1 or 0.0, l2=l2 or 0.0) or L2Decay(0.0)


def _rules(option: str, given: Mapping[str, float]) -> dict[str, float]:
    return {pattern: checked(f"{option}[{pattern!r}]", value) for pattern, value in given.items()}


def _last(rules: Mapping[str, float], name: str) -> float | None:
    fitting = [value for pattern, value in rules.items() if fnmatchcase(name, pattern)]
    return fitting[-1] if fitting else None
