"""The log of a run: everything goes to `run.log`, warnings also to the screen."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("expkit")


@contextmanager
def run_log(file: Path) -> Iterator[None]:
    """Write log records to `file` within this context.

    Args:
        file: created; records are appended.
    """
    to_file = logging.FileHandler(file, encoding="utf-8")
    to_file.setLevel(logging.INFO)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    to_screen = logging.StreamHandler(sys.stderr)
    to_screen.setLevel(logging.WARNING)
    to_screen.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    root, level = logging.getLogger(), log.level
    root.addHandler(to_file)
    root.addHandler(to_screen)
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        log.setLevel(level)
        root.removeHandler(to_file)
        root.removeHandler(to_screen)
        to_file.close()
