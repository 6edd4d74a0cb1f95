"""Writing small files so that a crash, a full disk or a power cut leaves the old one whole or the new one."""

from __future__ import annotations

import functools
import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a small file in one step: it holds the old text or the new, never a part.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    unfinished = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


def why_unwritable(path: Path, error: OSError) -> str:
    """Say why a file or folder cannot be made, where the system's word for it misleads: "No such file" of a new one."""
    there = next((one for one in path.absolute().parents if one.exists()), None)
    if isinstance(error, FileNotFoundError) and there is not None:
        return f"nothing can be created in {there}"
    return error.strerror or str(error)


def sync_file(path: Path) -> None:
    """Force what was written to a file to the disk, by whomever.

    Raises:
        OSError: it is not there, or cannot be.
    """
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@functools.cache
def start_of_the_system() -> str:
    """Return what tells apart this start of the operating system from others; "" where it does not say (not Linux).

    What was written since then is there for all processes on this machine, however these ended; what was written
    before it, and not synced, may be lost.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut, where the system can (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
