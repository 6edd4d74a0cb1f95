"""Ends a wait inside Paddle for a process that will never come."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from expkit.parallel.member import Member

_EVERY = 0.25
_LAST_RESORT = 20.0


class Watch:
    """Watches, from a thread of its own, that rank 0 does not wait for ever for the others.

    In a collective operation no Python runs. When a process that should take part is dead, or late by more than the
    patience, all of them are killed: gloo then fails at once, so that the run can end in order. NCCL may not; then this
    process is ended after 20 more seconds. What was saved is whole either way.

    Args:
        members: the processes to wait for.
        patience: in seconds.
    """

    def __init__(self, members: Sequence[Member], patience: float) -> None:
        self._members, self._patience = members, patience
        self._since: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="expkit-devices", daemon=True)
        self._thread.start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Watch what is done within this context."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def close(self) -> None:
        """Watch no more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_EVERY):
            since = self._since
            if since is None:
                continue
            late = time.monotonic() - since > self._patience
            if not late and not any(member.is_dead for member in self._members):
                continue
            # All but one of those that are late may only wait for that one, which, if it was stopped, can be seen.
            stuck = [member for member in self._members if member.is_stopped] or self._members
            for member in self._members:
                if late and member in stuck:
                    member.give_up(self._patience)
                elif not member.is_dead:
                    member.end_for_others()
            self._end_with(since)

    def _end_with(self, since: float) -> None:
        """End this process where even that does not end the wait that began then."""
        end = time.monotonic() + _LAST_RESORT
        while self._since == since and not self._over.wait(_EVERY):
            if time.monotonic() > end:
                told = " ".join(str(member.lost()) for member in self._members)
                sys.stderr.write(f"error: {told}\nThe run ends here; `python -m expkit resume last` goes on with it.\n")
                sys.stderr.flush()
                os._exit(1)
