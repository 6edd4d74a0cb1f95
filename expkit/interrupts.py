"""Ctrl-C and its like as a wish that a run honours between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


class Stopped(KeyboardInterrupt):
    """A run has ended because somebody asked to stop.

    Args:
        number: the signal that asked.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number  # as shells count


class StopRequests:
    """Within this context SIGINT, SIGTERM and SIGHUP set a flag; a second SIGINT raises KeyboardInterrupt at once.

    A signal that is ignored (SIGHUP under `nohup`) stays ignored. Outside the main thread, where Python allows no
    handlers, it watches nothing.

    Attributes:
        signal: the first one that came; None before.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}
        self._shielded = False

    def __call__(self) -> bool:
        """Whether somebody asked to stop."""
        return self.signal is not None

    def stopped(self) -> Stopped:
        """Return the exception that says so to the caller of a run."""
        return Stopped(self.signal or signal.SIGINT)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Within this context signals are only noted: for the short work that must not be torn apart."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False

    def __enter__(self) -> StopRequests:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the former handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT and not self._shielded:
            raise KeyboardInterrupt
        self.signal = self.signal or number
