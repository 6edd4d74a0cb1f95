"""What a look inside a model finds, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expkit.spec import Array

BINS = 60


@dataclass(frozen=True)
class Spread:
    """How numbers are spread; of the finite ones, unless it says otherwise.

    Attributes:
        mean: NaN where no number is finite, as are `std`, `smallest` and `largest`.
        std: standard deviation.
        smallest: the minimum.
        largest: the maximum.
        zeros: share of exact zeros, among all numbers.
        not_finite: how many are NaN or infinite.
        norm: square root of the sum of squares.
        counts: histogram of those that are not zero, [60] int64; a peak of zeros would hide all others.
        edges: of its bins, [61] float64.
    """

    mean: float
    std: float
    smallest: float
    largest: float
    zeros: float
    not_finite: int
    norm: float
    counts: Array
    edges: Array


@dataclass(frozen=True)
class LayerFacts:
    """One layer on one batch.

    Attributes:
        name: structured name, such as "blocks.0.conv"; "" for a model that is a single layer.
        kind: name of its class.
        calls: how often the model used it; 0 for one that was passed over.
        shapes: of all tensors that its last call answered, N first.
        parameters: numbers that it learns; those of a layer named before are not counted again.
        fixed: numbers that it keeps without learning them, such as running statistics.
        operations: arithmetic for one sample, over all calls; None where no formula is known.
        output: spread of the first tensor that its last call answered; None where there was none of real numbers.
        units: channels or features of that tensor; 0 where nobody can say.
        dead: units that were exactly 0 for all samples, at all positions, in all calls.
        samples: output of the first samples [<=2, ...], for pictures of convolutions; None for other layers.
        gradient: spread of the loss's gradient at `output`, where it was asked for and the loss depends on it.
    """

    name: str
    kind: str
    calls: int
    shapes: tuple[tuple[int, ...], ...]
    parameters: int
    fixed: int
    operations: int | None
    output: Spread | None
    units: int
    dead: int
    samples: Array | None
    gradient: Spread | None = None


@dataclass(frozen=True)
class Break:
    """Where NaN or infinity came up in the forward run.

    Attributes:
        layer: name of the first layer that answered it although all that it was given was finite.
        kind: name of its class.
        inside: whether that happened between the layers in it, in the code of its own `forward`.
        given: spread of the first tensor that it was given; None where there was none of real numbers.
    """

    layer: str
    kind: str
    inside: bool
    given: Spread | None


@dataclass(frozen=True)
class ParameterFacts:
    """One trainable parameter.

    Attributes:
        name: structured name, such as "conv1.weight".
        layer: name of the layer that owns it.
        shape: of it.
        values: their spread.
        gradient: spread of its gradient; None where none arrived.
        kernels: the values themselves [C out, C in, rows, columns], of convolutions in two dimensions; else None.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    values: Spread
    gradient: Spread | None
    kernels: Array | None


@dataclass(frozen=True)
class Look:
    """A model seen from inside, on one batch.

    Attributes:
        samples: N of the batch.
        inputs: shape of the batch, N first.
        loss: of the batch, in training mode.
        outputs: the model's answers [N, K].
        layers: those that compute, in the order of their first call; those that were never called at the end.
        parameters: in the model's own order.
        broke: where the first number came up that is not finite; None where there is none.
    """

    samples: int
    inputs: tuple[int, ...]
    loss: float
    outputs: Array
    layers: Sequence[LayerFacts]
    parameters: Sequence[ParameterFacts]
    broke: Break | None = None


def spread(values: Array) -> Spread:
    """Measure how numbers are spread.

    Args:
        values: of any shape and numeric dtype.
    """
    flat = np.asarray(values).reshape(-1).astype(np.float64)
    good = flat[np.isfinite(flat)]
    rest = good[good != 0]
    some = len(good) > 0
    with np.errstate(over="ignore", invalid="ignore"):  # finite numbers may be too large for a sum
        counts, edges = _histogram(rest)
        return Spread(
            mean=float(good.mean()) if some else np.nan,
            std=float(good.std()) if some else np.nan,
            smallest=float(good.min()) if some else np.nan,
            largest=float(good.max()) if some else np.nan,
            zeros=float((flat == 0).mean()) if len(flat) else 0.0,
            not_finite=len(flat) - len(good),
            norm=float(np.sqrt(np.square(good).sum())),
            counts=counts,
            edges=edges,
        )


def _histogram(values: Array) -> tuple[Array, Array]:
    low, high = (values.min(), values.max()) if len(values) else (0.0, 0.0)
    if not np.isfinite(high - low):
        counts, edges = _histogram(values / 4)
        return counts, edges * 4
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # bins that no float could tell apart
        room = max(abs(low), 1e-3) / 2
        low, high = low - room, high + room
    return np.histogram(values, bins=BINS, range=(low, high))
