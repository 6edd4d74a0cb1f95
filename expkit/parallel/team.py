"""The devices that train together, as a learner meets them: in rank 0, and in the other ranks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from expkit.parallel.group import Group, Rendezvous
from expkit.parallel.member import Member
from expkit.parallel.messages import DONE, READY
from expkit.parallel.watch import Watch

_BUILDING = 600.0
"""Seconds that a rank may take to load the data and build its learner."""
_ENDING = 5.0


class Leader:
    """Rank 0.

    Args:
        members: the processes of all other ranks.
        patience: seconds that one of them may be late.

    Attributes:
        rank: 0.
        size: number of devices.
    """

    rank = 0

    def __init__(self, members: Sequence[Member], patience: float) -> None:
        self.size, self._members, self._patience = len(members) + 1, members, patience
        self._group: Group | None = None
        self._watch = Watch(members, patience)

    def tell(self, verb: str, *arguments: Any) -> None:
        """Tell all other ranks to do something."""
        for member in self._members:
            member.tell((verb, arguments))

    def answers(self, wanted: str = DONE, seconds: float | None = None) -> list[Any]:
        """Return what each other rank answers, in their order.

        Raises:
            DeviceLostError: one of them failed, is gone, or does not answer.
        """
        return [member.answer(wanted, seconds or self._patience) for member in self._members]

    def set_out(self, cores: Sequence[Sequence[int]] | None) -> None:
        """Tell each other rank to keep to its cores, where they are shared out; those of rank 0 come first."""
        for number, member in enumerate(self._members, start=1):
            member.tell(("set_out", (None if cores is None else cores[number],)))

    def join(self, device: str) -> None:
        """Wait until all ranks have built their learners, and connect them.

        Args:
            device: of this rank, as Paddle calls it.
        """
        self.answers(seconds=_BUILDING)
        meeting = Rendezvous()
        self.tell("join", meeting.port, meeting.number)
        try:
            with self._watch.waiting():
                self._group = Group(meeting.store, rank=0, size=self.size, number=meeting.number, device=device)
        except (RuntimeError, ValueError) as error:  # as Paddle puts whatever goes wrong
            raise self._lost(error) from error
        self.answers()

    def mean(self, tensors: Sequence[Any], weight: float) -> list[Any]:
        """Return the means over all devices; see `expkit.api.Team`.

        Raises:
            DeviceLostError: a device did not come.
        """
        assert self._group is not None
        self.answers(READY)  # one that failed on its way says so here, and nobody waits for it in vain
        try:
            with self._watch.waiting():
                return self._group.mean(tensors, weight)
        except RuntimeError as error:  # gloo lost its peer
            raise self._lost(error) from error

    def close(self) -> None:
        """Watch the other ranks no more, which are about to be closed."""
        self._watch.close()

    def _lost(self, error: Exception) -> Exception:
        """Return the error that names the rank for which an operation failed; that itself where all are well."""
        end = time.monotonic() + _ENDING
        while time.monotonic() < end and not any(member.is_dead for member in self._members):
            time.sleep(0.02)
        culprits = [m for m in self._members if m.is_culprit] or [m for m in self._members if m.is_dead]
        return culprits[0].lost() if culprits else error


class Follower:
    """Another rank, in its own process.

    Args:
        rank: counts from 1.
        size: number of devices.
        pipe: to rank 0.

    Attributes:
        rank: as above.
        size: as above.
        group: of all ranks, once they are connected.
        counts: whether the samples that are computed now are its own.
    """

    def __init__(self, rank: int, size: int, pipe: Connection) -> None:
        self.rank, self.size, self._pipe = rank, size, pipe
        self.group: Group | None = None
        self.counts = True

    def mean(self, tensors: Sequence[Any], weight: float) -> list[Any]:
        """Return the means over all devices; see `expkit.api.Team`."""
        assert self.group is not None
        self._pipe.send((READY, None))
        return self.group.mean(tensors, weight if self.counts else 0.0)
