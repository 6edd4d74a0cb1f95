"""The checkpoints of a run: which are kept, and what a crash at any instant leaves of them.

Each is a folder `epoch-0003-step-00002346/`, written under another name and then renamed: one that has its name is
whole. `index.json` beside them says which is the last one, which is the best, and which others are kept. A crash
between the rename and the writing of the index loses nothing: a folder that is newer than the last one of the index is
the last one.

What the system has been given outlives the process; a power cut it outlives only once it is forced to the disk, which
takes longer than an epoch of small steps. Those that are saved in between have a file `not-synced`, are in no index
yet, and are left out where the system has been started anew since.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from expkit.checkpoint_index import NAME, Index, order
from expkit.errors import CheckpointError
from expkit.files import start_of_the_system, sync_folder, write_whole
from expkit.snapshot import Snapshot, read_json, read_snapshot, sync_snapshot, write_snapshot

__all__ = ["CheckpointFolder", "Snapshot", "read_snapshot"]

INDEX = "index.json"
NOT_SYNCED = "not-synced"
_SPARE = ".epoch-spare"
_WITHOUT_INDEX = "Delete this file: without it, the checkpoints beside it are found by their names."


class CheckpointFolder:
    """The `checkpoints/` folder of a run: keeps the last one, the one before, and the best.

    Args:
        folder: created at the first save.
        keep: how many of the best are kept, beside the last one and the one before; None removes none of the best.
        sync_every: seconds for which what is saved need not outlive a power cut; 0 forces each to the disk.
        before_sync: called before any is made to outlive one: forces to the disk what they must not be ahead of.
        clock: tells seconds.
    """

    def __init__(
        self,
        folder: Path,
        keep: int | None = 1,
        *,
        sync_every: float = 0.0,
        before_sync: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self._keep = folder, keep
        self._sync_every, self._before_sync, self._clock = sync_every, before_sync, clock
        self._synced_at = -math.inf
        self._known: dict[str, dict[str, Any]] = {}  # what the index needs of those that it does not name yet

    def save(self, snapshot: Snapshot, *, best: bool) -> Path:
        """Write a checkpoint, point "last" (and "best") to it, and remove those that nothing points to.

        Args:
            snapshot: one with ``run["monitored"]`` is an epoch's end, and a candidate for the best ones.
            best: whether it is the best so far.

        Raises:
            CheckpointError: the disk is full or not writable; what was there before is untouched.
        """
        progress = snapshot.progress
        name = f"epoch-{progress['epoch']:04d}-step-{progress['step']:08d}"
        unfinished = self.folder / f".{name}.tmp-{os.getpid()}"
        sync = not start_of_the_system() or self._clock() - self._synced_at >= self._sync_every
        facts = {"best": best, "monitored": snapshot.run.get("monitored", {})}
        try:
            known = self._read_index()
            index, name = self._taken_up(known), self._free_name(name)
            self._begin(unfinished, sync=sync)
            write_snapshot(unfinished, snapshot, sync=sync)
            index = self._shortened(index.followed_by(name, **facts))
            if sync:
                self._sync(index.names())
            unfinished.rename(self.folder / name)
            if sync:
                sync_folder(self.folder)
                self._write(index)
        except OSError as error:
            raise CheckpointError(
                f"the checkpoint {name} cannot be written to {self.folder}: {error.strerror or error}. "
                "The earlier checkpoints are untouched. Free some space and run again."
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        self._known = {} if sync else {**self._known, name: facts}
        if sync:
            self._prune(index.names())
        else:
            self._prune(index.names() | known.names(), spare=True)
        return self.folder / name

    def secure(self) -> None:
        """Make what was saved outlive a power cut.

        Raises:
            CheckpointError: the index is damaged, or the disk is not writable.
        """
        index = self._shortened(self._index())
        if index == self._read_index():
            return
        self._replace_index(index)
        self._known = {}
        self._prune(index.names())

    def path(self, which: str) -> Path:
        """Return the folder of the "last" or "best" checkpoint, or of one by its name.

        Raises:
            CheckpointError: there is none.
        """
        if which in ("last", "best"):
            name = getattr(self._index(), which)
            if name is None or not (self.folder / name).is_dir():
                gone = "" if name is None else f": {name}, which {INDEX} names, is gone"
                hint = " The run has not validated yet; its last checkpoint is there." if which == "best" else ""
                hint = hint if not gone and self._index().last else ""
                raise CheckpointError(f"there is no {which} checkpoint in {self.folder}{gone}.{hint}")
            return self.folder / str(name)
        names = self.history()
        if which not in names:
            raise CheckpointError(
                f"there is no checkpoint {which!r} in {self.folder}. There are {', '.join(names) or 'none'}."
            )
        return self.folder / which

    def load(self, which: str) -> Snapshot:
        """Read the "last" or "best" checkpoint, or one by its name, and check every file against its manifest.

        Raises:
            CheckpointError: there is none, or a file is missing or damaged; names the file.
        """
        path = self.path(which)
        snapshot = read_snapshot(path)
        epoch, step = snapshot.progress["epoch"], snapshot.progress["step"]
        if order(path.name)[:2] != (step, epoch):
            raise CheckpointError(
                f"{path} is damaged: its files are whole, but those of another checkpoint (epoch {epoch}, step {step})."
            )
        return snapshot

    def history(self) -> list[str]:
        """Return the names of all checkpoints that are kept, the newest first."""
        if not self.folder.is_dir():
            return []
        return [name for name in self._names() if not _is_lost(self.folder / name)]

    def lost(self) -> list[str]:
        """Return the names of those that a crash of the system may have taken before they were on the disk."""
        return [name for name in self._names() if _is_lost(self.folder / name)] if self.folder.is_dir() else []

    def is_empty(self) -> bool:
        """Whether nothing was ever saved."""
        return not self.history() and not (self.folder / INDEX).exists()

    def holds(self, epoch: int, step: int) -> bool:
        """Whether there is a checkpoint of that step."""
        return any(order(name)[:2] == (step, epoch) for name in self.history())

    def up_to(self, name: str) -> list[str]:
        """Return the names of a checkpoint and of those before it, the newest first."""
        return [other for other in self.history() if order(other) <= order(name)]

    def mend(self) -> list[str]:
        """Write the whole checkpoints into the index that a crash has kept out of it; return their names.

        Raises:
            CheckpointError: the index is damaged, or cannot be written.
        """
        before, index = self._read_index(), self._index()
        if index == before:
            return []
        found = [name for name in self._newer(before) if not (self.folder / name / NOT_SYNCED).exists()]
        self._replace_index(index)
        return found

    def go_back(self, name: str, best: str | None) -> None:
        """Make an earlier checkpoint the last one, and remove those that came after it.

        Args:
            name: of the checkpoint.
            best: what is the best one then.

        Raises:
            CheckpointError: the index cannot be written.
        """
        earlier = self.up_to(name)[1:]
        try:
            kept = {n: v for n, v in self._index().kept.items() if n in (name, *earlier)}
        except CheckpointError:  # a damaged index, which is written anew
            kept = {}
        index = Index(name, next(iter(earlier), None), best, best, kept)
        self._replace_index(index)
        self._prune({*index.names(), *earlier})

    def _replace_index(self, index: Index) -> None:
        try:
            self._sync(index.names())
            self._write(index)
        except OSError as error:
            raise CheckpointError(f"{self.folder / INDEX} cannot be written: {error.strerror or error}.") from error

    def _write(self, index: Index) -> None:
        text = json.dumps({key: value for key, value in asdict(index).items() if value is not None}, indent=2)
        write_whole(self.folder / INDEX, text)
        self._synced_at = self._clock()

    def _sync(self, names: Iterable[str]) -> None:
        """Force to the disk what is not there yet, before an index names it."""
        self._before_sync()
        for folder in (self.folder / name for name in names):
            if (folder / NOT_SYNCED).exists():
                sync_snapshot(folder)
                (folder / NOT_SYNCED).unlink()
                sync_folder(folder)

    def _index(self) -> Index:
        """Read the index; a folder that is newer than its last one is the last one."""
        return self._taken_up(self._read_index())

    def _taken_up(self, index: Index) -> Index:
        for name in reversed(self._newer(index)):
            index = index.followed_by(name, **(self._known.get(name) or _facts(self.folder / name)))
        return index

    def _newer(self, index: Index) -> list[str]:
        """Return the names of those that the index does not know yet, the newest first."""
        return [name for name in self.history() if index.last is None or order(name) > order(index.last)]

    def _shortened(self, index: Index) -> Index:
        return replace(index, kept=dict(list(index.kept.items())[: self._keep]))

    def _names(self) -> list[str]:
        found = [child.name for child in self.folder.iterdir() if NAME.fullmatch(child.name) and child.is_dir()]
        return sorted(found, key=order, reverse=True)

    def _read_index(self) -> Index:
        path = self.folder / INDEX
        if not path.is_file():
            return Index()
        try:
            found = read_json(path)
        except CheckpointError as error:
            raise CheckpointError(f"{error} {_WITHOUT_INDEX}") from error
        values = {key: found[key] for key in asdict(Index()) if key in found}
        kept = values.pop("kept", {})
        names = [*values.values(), *kept] if isinstance(kept, dict) else [kept]
        if "last" not in values or not all(isinstance(name, str) and NAME.fullmatch(name) for name in names):
            raise CheckpointError(
                f"{path} is damaged: it names {', '.join(map(str, names)) or 'nothing'}. {_WITHOUT_INDEX}"
            )
        return Index(**values, kept=kept)

    def _free_name(self, name: str) -> str:
        """Return a name without a folder: a step may be saved again, and the first save must stay until then."""
        free, number = name, 2
        while (self.folder / free).exists():
            free, number = f"{name}-{number}", number + 1
        return free

    def _begin(self, unfinished: Path, *, sync: bool) -> None:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not sync:
            with suppress(OSError):
                (self.folder / _SPARE).rename(unfinished)
                return
        unfinished.mkdir(parents=True)
        if not sync:  # first of all, so that no crash leaves the others without it
            (unfinished / NOT_SYNCED).write_text(start_of_the_system(), encoding="ascii")

    def _prune(self, keep: set[str], *, spare: bool = False) -> None:
        """Remove what is not kept; one that is not synced may be kept as a spare: to write over it costs a tenth."""
        for child in self.folder.iterdir():
            if child.name.startswith(f".{INDEX}.tmp-"):
                child.unlink(missing_ok=True)
            elif not child.name.startswith((".epoch-", "epoch-")) or child.name in keep or not child.is_dir():
                continue
            elif spare and _mark(child) == start_of_the_system() and not (self.folder / _SPARE).exists():
                child.rename(self.folder / _SPARE)
            elif not (spare and child.name == _SPARE):
                shutil.rmtree(child, ignore_errors=True)


def _is_lost(folder: Path) -> bool:
    """Whether a crash of the system may have taken a part of a checkpoint."""
    return _mark(folder) not in (None, start_of_the_system())


def _mark(folder: Path) -> str | None:
    """Return in which start of the system a checkpoint was written that is not synced; None of one that is."""
    try:
        return (folder / NOT_SYNCED).read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # such as one that holds something else
        return ""


def _facts(folder: Path) -> dict[str, Any]:
    """Return what the index needs to know of a checkpoint that is not in it; nothing where its state is damaged."""
    try:
        state = read_json(folder / "state.json")
        progress, monitored = state["progress"], state.get("run", {}).get("monitored", {})
        best = progress["epoch"] == progress["best_epoch"] == progress["validated"]
        return {"best": bool(best), "monitored": dict(monitored)}
    except (CheckpointError, KeyError, TypeError, ValueError, AttributeError):
        return {"best": False, "monitored": {}}
