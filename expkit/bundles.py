"""Runs on their way to another machine: a zip of their folders, from which they are made in MLflow there as well.

`bundle.json` in it says what else is in it: the format, where each run lies in the runs folder, size and SHA-256 of
each file. The journal of a run, `tracking.jsonl`, has all that MLflow was told of it. Nothing of a bundle is executed.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from expkit.errors import ConfigError, RunLockedError
from expkit.lock import LOCK, is_locked
from expkit.runs import RECORD
from expkit.tracking.journal import JOURNAL, Journal
from expkit.tracking.sent import SENT
from expkit.tracking.tags import FOLDER, RUN_FOLDER

FORMAT = 1
MANIFEST = "bundle.json"
_LEFT_OUT = {LOCK, SENT}
_LARGEST_MANIFEST = 1 << 28
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds.

    Attributes:
        file: the zip.
        places: of its runs and sweeps, relative to the runs folder: "mnist_cnn/20261123-120000-ab12cd".
        files: size and SHA-256 of each file by its path.
    """

    file: Path
    places: tuple[str, ...]
    files: Mapping[str, tuple[int, str]]


def write_bundle(file: Path, folders: Sequence[Path], runs_dir: Path, *, checkpoints: bool = True) -> Bundle:
    """Put runs, and sweeps with all of their jobs, into a zip.

    Args:
        file: to be; replaced in one step where it is there.
        folders: of runs and sweeps, in `runs_dir`.
        runs_dir: folder of all runs.
        checkpoints: whether they go with it. Without them a run cannot be resumed.

    Raises:
        RunLockedError: one of them is being trained.
        ConfigError: one lies elsewhere, or the file cannot be written.
    """
    places = {_place(folder, runs_dir): folder for folder in folders}
    unfinished = file.with_name(f".{file.name}.tmp-{secrets.token_hex(3)}")
    known: dict[str, tuple[int, str]] = {}
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
            for place, folder in places.items():
                for path in _files(folder, checkpoints):
                    name = f"{place}/{path.relative_to(folder).as_posix()}"
                    known[name] = _pack(bundle, path, name)
            facts = {
                "format": FORMAT,
                "expkit": version("expkit"),
                "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "runs": list(places),
                "files": {name: {"size": size, "sha256": digest} for name, (size, digest) in known.items()},
            }
            bundle.writestr(MANIFEST, json.dumps(facts, indent=1))
        unfinished.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}. Name another file: -o FILE.zip") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return Bundle(file, tuple(places), known)


def read_bundle(file: Path) -> Bundle:
    """Read what a bundle says it holds, and refuse one that is damaged or made to do harm; nothing is unpacked.

    Raises:
        ConfigError: it is no bundle, of another version, or names a place outside of the runs folder.
    """
    try:
        with zipfile.ZipFile(file) as bundle:
            there = bundle.infolist()
            facts = _manifest(file, bundle)
            files = {name: (int(one["size"]), str(one["sha256"])) for name, one in facts["files"].items()}
            places = tuple(map(str, facts["runs"]))
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{file} is no bundle of runs, or is damaged: {error}.") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{file}: its {MANIFEST} is damaged ({error}).") from error
    sizes = {one.filename: one.file_size for one in there if one.filename != MANIFEST}
    if len(sizes) != len(there) - 1 or sizes != {name: size for name, (size, _) in files.items()}:
        raise ConfigError(f"{file} is damaged: what is in it is not what its {MANIFEST} names.")
    for name in (*places, *files):
        _refuse_path(file, name)
    if any(len(PurePosixPath(place).parts) not in (2, 3) for place in places):
        raise ConfigError(f"{file} names a run that is not in the folder of an experiment.")
    for one in there:
        kind = stat.S_IFMT(one.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or one.is_dir():
            raise ConfigError(f"{file}: {one.filename!r} is no plain file. Nothing was unpacked.")
    if any(not any(name.startswith(f"{place}/") for place in places) for name in files):
        raise ConfigError(f"{file} holds files that belong to none of its runs. Nothing was unpacked.")
    return Bundle(file, places, files)


def unpack(bundle: Bundle, place: str, runs_dir: Path) -> Path | None:
    """Unpack one run, or a sweep with its jobs; a file that is not what the bundle says leaves nothing behind.

    Args:
        bundle: as it was read.
        place: one of its places.
        runs_dir: folder of all runs, made where it is not there yet.

    Returns:
        Its folder; None where one is there already, which is left alone.

    Raises:
        ConfigError: a file is damaged, or there is no room.
    """
    target = runs_dir.absolute() / place
    if target.exists():
        return None
    names = {name: known for name, known in bundle.files.items() if name.startswith(f"{place}/")}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_size(sum(size for size, _ in names.values()), target.parent)
        scratch = target.parent / f".import-{secrets.token_hex(4)}"
        try:
            with zipfile.ZipFile(bundle.file) as packed:
                for name, known in names.items():
                    _unpack_file(packed, name, known, scratch / name[len(place) + 1 :])
            _name_place(scratch, target)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{place} cannot be unpacked: {error}. Nothing of it is left.") from error
    return target


def _place(folder: Path, runs_dir: Path) -> str:
    whole, around = folder.resolve(), runs_dir.resolve()
    if not whole.is_relative_to(around) or len(whole.relative_to(around).parts) not in (2, 3):
        raise ConfigError(f"{folder} is not in the runs folder {runs_dir}. Say where it is: --runs-dir FOLDER.")
    for lock in (folder / LOCK, *folder.glob(f"*/{LOCK}")):
        if is_locked(lock.parent):
            raise RunLockedError(f"{lock.parent} is being trained. Wait for its end, or stop it, and try again.")
    return whole.relative_to(around).as_posix()


def _files(folder: Path, checkpoints: bool) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if not path.is_file() or path.is_symlink() or path.name in _LEFT_OUT or any(".tmp" in part for part in parts):
            continue
        if checkpoints or "checkpoints" not in parts[:2]:
            yield path


def _pack(bundle: zipfile.ZipFile, path: Path, name: str) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as source, bundle.open(zipfile.ZipInfo.from_file(path, name), "w", force_zip64=True) as target:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
    return size, digest.hexdigest()


def _manifest(file: Path, bundle: zipfile.ZipFile) -> dict[str, Any]:
    try:
        about = bundle.getinfo(MANIFEST)
    except KeyError as error:
        raise ConfigError(f"{file} is no bundle of runs: it has no {MANIFEST}.") from error
    if about.file_size > _LARGEST_MANIFEST:
        raise ConfigError(f"{file}: its {MANIFEST} is too large to be one.")
    facts = json.loads(bundle.read(about))
    if facts["format"] != FORMAT:
        raise ConfigError(
            f"{file} is of format {facts['format']!r} (expkit {facts.get('expkit')}); expkit {version('expkit')} "
            f"reads format {FORMAT}."
        )
    return dict(facts)


def _refuse_path(file: Path, name: str) -> None:
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(char in name for char in "\\:\0") or len(name) > 1000:
        raise ConfigError(f"{file}: {name!r} is no path within a run. Nothing was unpacked.")


def _refuse_size(size: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ConfigError(f"{folder} has room for {free:,} bytes, and {size:,} are to be unpacked.")


def _unpack_file(packed: zipfile.ZipFile, name: str, known: tuple[int, str], target: Path) -> None:
    size, wanted = known
    digest, left = hashlib.sha256(), size
    target.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(name) as source, target.open("xb") as file:
        while left > 0 and (chunk := source.read(min(_CHUNK, left))):
            left -= len(chunk)
            digest.update(chunk)
            file.write(chunk)
        whole = not left and not source.read(1)
    if not whole or digest.hexdigest() != wanted:
        raise ConfigError(f"{packed.filename}: {name} is damaged; it is not what {MANIFEST} says. Its run is left out.")


def _name_place(scratch: Path, target: Path) -> None:
    """Let the journals say where their runs lie now."""
    for journal in (scratch / JOURNAL, *scratch.glob(f"*/{JOURNAL}")):
        if journal.is_file():
            place = target / journal.parent.relative_to(scratch)
            key = RUN_FOLDER if (journal.parent / RECORD).is_file() else FOLDER
            opened = Journal(journal.parent)
            opened.append("tags", {"tags": {key: str(place)}})
            opened.close()
