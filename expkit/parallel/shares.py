"""Which rows of a batch each device computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """What one device computes of a batch.

    Attributes:
        rows: of the batch; never empty.
        counts: whether they are its own. Where a batch has fewer samples than there are devices, the last devices have
            none. Such a device computes the first row once more, so that it goes the same way as the others, and its
            result counts nothing.
    """

    rows: slice
    counts: bool


def share(samples: int, rank: int, size: int) -> Share:
    """Return the share of one device: consecutive rows, in the order of the ranks, of sizes that differ by 1 at most.

    Args:
        samples: in the batch, at least 1.
        rank: of the device, counts from 0.
        size: number of devices.
    """
    each, more = divmod(samples, size)
    start, own = rank * each + min(rank, more), each + (rank < more)
    return Share(slice(start, start + own), True) if own else Share(slice(0, 1), False)


def rows_of(rank: int, size: int) -> Callable[[int], slice]:
    """Return a function that says for a number of samples which rows are those of one device."""

    def rows(samples: int) -> slice:
        return share(samples, rank, size).rows

    return rows
