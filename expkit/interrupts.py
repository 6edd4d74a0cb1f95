"""Ctrl-C and its like as a wish that a run honours between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
"""What asks a run to stop; the last two are what a cluster's scheduler may send some time before it kills. Windows has
the first two."""
_SCHEDULERS = ("SIGUSR1", "SIGUSR2")
SAVED = 75
"""Exit code of a run that was stopped and has saved all that it did: EX_TEMPFAIL of sysexits.h, "try again later"."""


class Stopped(KeyboardInterrupt):
    """A run has ended because somebody asked to stop.

    Args:
        number: the signal that asked.
        saved: whether a checkpoint holds all that was done.

    Attributes:
        exit_code: `SAVED`, or 128 + number, as shells count, where something is lost.
    """

    def __init__(self, number: int, *, saved: bool = False) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = SAVED if saved else 128 + number


class StopRequests:
    """Within this context the `SIGNALS` set a flag; a second SIGINT raises KeyboardInterrupt at once.

    A signal that is ignored (SIGHUP under `nohup`) stays ignored. Outside the main thread, where Python allows no
    handlers, it watches nothing.

    Attributes:
        signal: the first one that came; None before.
        urgent: whether a SIGINT came after it, as of somebody who does not want to wait.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.urgent = False
        self._before: dict[int, Any] = {}
        self._shielded = False
        self._pressed = 0

    def __call__(self) -> bool:
        """Whether somebody asked to stop."""
        return self.signal is not None

    def stopped(self, *, saved: bool = False) -> Stopped:
        """Return the exception that says so to the caller of a run; `saved` as for `Stopped`."""
        return Stopped(self.signal or signal.SIGINT, saved=saved)

    @contextmanager
    def shielded(self) -> Iterator[Callable[[], bool]]:
        """Within this context signals are only noted: for the short work that must not be torn apart.

        Yields:
            Says whether somebody has pressed Ctrl-C in the meantime: for what can be left early.
        """
        self._shielded, before = True, self._pressed
        try:
            yield lambda: self._pressed > before
        finally:
            self._shielded = False

    def __enter__(self) -> StopRequests:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the former handlers back; one for a scheduler's signal hears of it now that all is saved.

        Submitit's, for example, puts the job into the queue again.
        """
        for number, handler in self._before.items():
            signal.signal(number, handler)
        before = self._before.get(self.signal or 0)
        if self.signal is not None and signal.Signals(self.signal).name in _SCHEDULERS and callable(before):
            before(self.signal, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._pressed += number == signal.SIGINT
        if self.signal is not None and number == signal.SIGINT:
            self.urgent = True
            if not self._shielded:
                raise KeyboardInterrupt
        self.signal = self.signal or number
