"""Finds the files of a dataset: given root -> $EXPKIT_DATA_DIR -> user's cache -> download into the cache.

What a user points at (root, $EXPKIT_DATA_DIR) is taken as it is: what is wrong with it is an error, never a
reason to look elsewhere. Only when nothing was pointed at and nothing can be had is a dataset unavailable.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import os
import queue
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit.api import DataError, DataSource, cache_dir, data_dir

_log = logging.getLogger("expkit.data")
_NETWORK_ERRORS = (OSError, http.client.HTTPException, ValueError)  # ValueError: an address that is none
_CHUNK = 1 << 16


class UnavailableError(Exception):
    """Nobody pointed at a folder, and neither cache nor download has the files; the text says why."""


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded.

    Attributes:
        name: its name in a folder and, after a mirror's address, on the net.
        size: in bytes.
        md5: of its bytes (hex).
    """

    name: str
    size: int
    md5: str


@dataclass(frozen=True)
class Place:
    """A folder to read from, and what the run is to say about it."""

    folder: Path
    source: DataSource


def locate(
    dataset: str,
    *,
    root: str | None,
    complete: Callable[[Path], bool],
    fetch: Callable[[Path], str] | None,
) -> Place:
    """Return the first place that holds the dataset, in the order of this module's docstring.

    Args:
        dataset: name of its sub-folder in $EXPKIT_DATA_DIR and in the cache.
        root: folder that the user named, or None.
        complete: tells whether a folder of the cache holds all files.
        fetch: fills a folder and returns the address it took the files from; None forbids the download.

    Raises:
        UnavailableError: no place has it.
    """
    if root is not None:
        folder = Path(root).expanduser()
        return Place(folder, DataSource("root", str(folder)))
    reasons: list[str] = []
    shelf = data_dir()
    if shelf is not None:
        folder = shelf / dataset
        if os.path.lexists(folder):
            return Place(folder, DataSource("env", str(folder)))
        reasons.append(f"EXPKIT_DATA_DIR={shelf} has no folder {dataset!r}")
    folder = cache_dir() / dataset
    if complete(folder):
        return Place(folder, DataSource("cache", str(folder)))
    reasons.append(f"the cache {folder} does not hold all its files")
    if fetch is None:
        raise UnavailableError("; ".join([*reasons, "download is switched off"]))
    try:
        return Place(folder, DataSource("download", fetch(folder)))
    except UnavailableError as error:
        raise UnavailableError("; ".join([*reasons, str(error)])) from error


def names_in(folder: Path, *, dataset: str) -> set[str]:
    """Return the names in a folder that the user pointed at.

    Raises:
        DataError: it is missing, is a file, or cannot be read.
    """
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - names are all that is needed
    except FileNotFoundError:
        problem = "does not exist"
    except NotADirectoryError:
        problem = "is a file; a folder is expected"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    raise DataError(f"dataset '{dataset}': {folder} {problem}. Set dataset.root to the folder that holds its files.")


def download(
    files: Sequence[RemoteFile], mirrors: Sequence[str], folder: Path, *, dataset: str, timeout: float = 5.0
) -> str:
    """Download files, each checked before it gets its name; gives up within seconds when the network is gone.

    Args:
        files: what to get.
        mirrors: base addresses, tried in order for each file; they end with "/".
        folder: where to put the files; made when missing.
        dataset: name of the dataset, for people.
        timeout: seconds to wait for an answer; a second silent mirror gets 2 at most.

    Returns:
        The mirror that served the last file.

    Raises:
        UnavailableError: a file could not be had from any mirror.
    """
    served = ""
    patience = timeout
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be written ({error.strerror})") from error
    with _progress(dataset, sum(file.size for file in files)) as advance:
        for file in files:
            served = ""
            reasons = []
            for mirror in mirrors:
                try:
                    _fetch(file, mirror, folder, patience, advance)
                    served = mirror
                    break
                except _NETWORK_ERRORS as error:
                    reasons.append(f"{mirror}{file.name}: {_reason(error)}")
                    patience = min(patience, 2.0) if _is_timeout(error) else patience
            if not served:
                raise UnavailableError(f"download failed ({'; '.join(reasons) or 'no mirror is given'})")
    return served


def _fetch(file: RemoteFile, mirror: str, folder: Path, patience: float, advance: Callable[[int], None]) -> None:
    part = folder / f".{file.name}.{os.getpid()}.part"
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    try:
        with contextlib.closing(_open(mirror + file.name, patience)) as answer, part.open("wb") as out:
            while size <= file.size and (chunk := answer.read(_CHUNK)):
                out.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                advance(len(chunk))
        if digest.hexdigest() != file.md5:
            raise OSError(
                f"not the official file: {size:,} bytes with md5 {digest.hexdigest()}, "
                f"expected {file.size:,} with {file.md5}"
            )
        part.replace(folder / file.name)
    except BaseException:
        advance(-size)
        raise
    finally:
        part.unlink(missing_ok=True)


def _open(url: str, patience: float) -> Any:
    """Open an address within `patience` seconds in all.

    urllib's timeout holds for each address of a host anew and not at all for the look-up of its name: a
    network that swallows packets would hold up a run for a minute. So a thread waits, and it can be left.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    left = threading.Event()

    def work() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "expkit"})
            answer = urllib.request.urlopen(request, timeout=patience)
        except urllib.error.HTTPError as error:
            error.close()  # it is an open answer, too
            answer = error
        except _NETWORK_ERRORS as error:
            answer = error
        if left.is_set() and not isinstance(answer, Exception):
            answer.close()
        answers.put(answer)

    threading.Thread(target=work, name="expkit-download", daemon=True).start()
    try:
        answer = answers.get(timeout=patience)
    except queue.Empty:
        left.set()
        raise TimeoutError(f"no answer within {patience:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError)


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None)
    if isinstance(inner, OSError):
        return inner.strerror or str(inner)
    return str(error)


@contextlib.contextmanager
def _progress(dataset: str, size: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told of bytes: a bar on a terminal, else one line in the log."""
    if not sys.stderr.isatty():
        _log.info("downloading %s: %.1f MB", dataset, size / 1e6)
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        "[bold]{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"downloading {dataset}", total=size)
        yield lambda count: bar.advance(task, count)
