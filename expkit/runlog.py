"""The log of a run: everything goes to `run.log`, warnings also to the screen."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from types import TracebackType

from expkit.masking import masked

log = logging.getLogger("expkit")


class RunLog:
    """Gathers log records from the start of a run, and writes them to its file as soon as there is one.

    What is logged while the parts of a run are built (a download, a warning of a plugin) belongs to the run too, but
    the run has no folder before all its parts are there.
    """

    def __init__(self) -> None:
        self._early = _Early(logging.INFO)
        self._screen = logging.StreamHandler(sys.stderr)
        self._screen.addFilter(_for_the_screen)
        self._screen.setFormatter(_Formatter("%(levelname)s: %(message)s"))
        self._file: logging.FileHandler | None = None
        self._level = log.level

    def write_to(self, file: Path) -> None:
        """Write what was gathered, and all that follows, to `file`."""
        self._file = _File(file, encoding="utf-8")
        self._file.setLevel(logging.INFO)
        self._file.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        for record in self._early.records:
            self._file.handle(record)
        root = logging.getLogger()
        root.removeHandler(self._early)
        root.addHandler(self._file)

    def __enter__(self) -> RunLog:
        """Begin to gather."""
        root = logging.getLogger()
        root.addHandler(self._early)
        root.addHandler(self._screen)
        log.setLevel(logging.INFO)
        logging.captureWarnings(True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        logging.captureWarnings(False)
        log.setLevel(self._level)
        root = logging.getLogger()
        root.removeHandler(self._early)
        root.removeHandler(self._screen)
        if self._file is not None:
            root.removeHandler(self._file)
            self._file.close()


class _Formatter(logging.Formatter):
    """Writes no secrets, those of libraries' messages and of tracebacks among them."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class _File(logging.FileHandler):
    """A log file that is silent about a full disk: what is logged then is on the screen, too."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


class _Early(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _for_the_screen(record: logging.LogRecord) -> bool:
    """Warnings, what a dataset does that takes long, such as a download, and what a registry decided."""
    return record.levelno >= logging.WARNING or record.name.startswith(("expkit.data", "expkit.told"))
