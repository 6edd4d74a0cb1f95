"""Names of files in any letters, whatever the locale of the terminal is."""

from __future__ import annotations

import os
import sys


def use_utf8() -> None:
    """Begin this process anew in Python's UTF-8 mode, where the locale has another encoding.

    Paddle and MLflow take the names of files as UTF-8. Python itself switches for the locale "C", unless it is told not
    to.
    """
    if os.name == "nt" or sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ["PYTHONUTF8"] = "1"  # for the processes that are started from here, too
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
