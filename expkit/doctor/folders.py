"""Where expkit writes: whether these folders can be written, how much room they have, and what disk they are on."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from expkit.doctor.examination import Scene
from expkit.findings import Finding
from expkit.lock import why_no_lock
from expkit.paths import cache_dir
from expkit.sweeping.machine import find_gpus

MB, GB = 10**6, 10**9
NETWORK = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ncpfs", "ceph", "glusterfs", "fuse.glusterfs"),
        *(
            "fuse.sshfs",
            "lustre",
            "gpfs",
            "beegfs",
            "beegfs_nodev",
            "fuse.s3fs",
            "fuse.gcsfuse",
            "fuse.ceph",
            "orangefs",
        ),
        *("fuse.juicefs", "fuse.rclone", "pvfs2", "panfs"),
    )
)
"""Kinds of file systems that other machines serve."""
SMALL_SHM = 512 * MB
"""Docker gives 64 MB unless it is asked for more."""


@dataclass(frozen=True)
class Use:
    """What a folder is for.

    Attributes:
        what: in a word or two.
        room: bytes that should be free.
        choose: how another one is chosen.
        locks: whether several processes lock files there.
    """

    what: str
    room: int
    choose: str
    locks: bool = False


def runs(scene: Scene) -> Sequence[Finding]:
    """Look at the folder of the runs."""
    return _about(scene, scene.runs_dir, Use("runs", GB, "runs_dir=FOLDER of a run, on another disk", locks=True))


def cache(scene: Scene) -> Sequence[Finding]:
    """Look at the folder of downloaded data."""
    return _about(scene, cache_dir(), Use("cache", 100 * MB, "export EXPKIT_CACHE_DIR=FOLDER, on another disk"))


def temporary(scene: Scene) -> Sequence[Finding]:
    """Look at the folder of temporary files."""
    use = Use("temporary", 500 * MB, "export TMPDIR=FOLDER, on another disk")
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        return [Finding("FAIL", use.what, f"there is no folder that can be written: {error.strerror}", use.choose)]
    return _about(scene, folder, use)


def shared_memory(scene: Scene, folder: Path = Path("/dev/shm")) -> Sequence[Finding]:
    """Look at the memory that processes share as files: Ray and several GPUs use it, our loading workers do not."""
    if not folder.is_dir():
        return [Finding("ok", str(folder), "not on this system")]
    disk = shutil.disk_usage(folder)
    told = f"{size(disk.total)}, {size(disk.free)} free"
    if disk.free < MB:
        advice = f"See what is left there, and remove it: ls -lh {folder}"
        return [
            Finding("warning", str(folder), f"{told}: full, and a program that needs it is killed (SIGBUS)", advice)
        ]
    users = [
        *(["trainer.devices on GPUs (NCCL)"] if len(find_gpus(scene.environment, scene.proc)[0]) > 1 else []),
        *(["sweeps on Ray"] if find_spec("ray") is not None else []),
    ]
    if disk.total < SMALL_SHM and users:
        return [
            Finding(
                "warning",
                str(folder),
                f"{told}: little for {' and '.join(users)}, whose processes it kills (SIGBUS). All else does without",
                "Give the container more of it: docker run --shm-size=2g",
            )
        ]
    return [Finding("ok", str(folder), told)]


def _about(scene: Scene, folder: Path, use: Use) -> list[Finding]:
    folder = folder.absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    new = "" if there == folder else ", made when it is needed"
    if not there.is_dir():
        return [
            Finding("FAIL", use.what, f"{folder} cannot be made: {there} is a file", f"Choose another: {use.choose}")
        ]
    problem = why_not_writable(there, use.locks)
    if problem:
        where = "" if not new else f", since {there} cannot be written"
        if shutil.disk_usage(there).free > MB and "space" in problem:
            problem += " for one more file, though bytes are free: df -i"
        look = f"See its permissions and its disk: ls -ld {shlex.quote(str(there))}; df -h {shlex.quote(str(there))}"
        advice = f"{look}. Or choose another folder: {use.choose}"
        return [Finding("FAIL", use.what, f"{folder} cannot be written{where}: {problem}", advice)]
    free, kind = shutil.disk_usage(there).free, file_system(there, scene.proc)
    told = f"{folder}{new}; {size(free)} free{f', {kind}' if kind in NETWORK else ''}"
    if free < use.room:
        advice = f"Free its disk (du -sh {shlex.quote(str(there))}/*), or choose another folder: {use.choose}"
        return [Finding("warning", use.what, f"{told}, which is little", advice)]
    if kind in NETWORK and use.locks:
        return [
            Finding(
                "warning",
                use.what,
                f"{told}: a network disk, whose locks often do not hold, and SQLite (mlflow.db) needs them",
                f"With one machine at a time it works. Else use a server for tracking (tracking.uri=http://HOST:5000), "
                f"or {use.choose.replace('another', 'a local')}",
            )
        ]
    return [Finding("ok", use.what, told)]


def why_not_writable(folder: Path, locks: bool = False) -> str:
    """Write a file into a folder, without a trace; return what the system says against it, or "".

    Args:
        folder: that exists.
        locks: whether the file has to bear a lock.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            problem = why_no_lock(file) if locks else ""
            return f"files there cannot be locked ({problem})" if problem else ""
    except OSError as error:
        return error.strerror or str(error)


def file_system(folder: Path, proc: Path = Path("/proc")) -> str:
    """Return the kind of file system that a folder is on, such as "nfs4"; "" where that is not known."""
    try:
        lines = (proc / "self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    path, best, kind = folder.resolve(), "", ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = _unescaped(before.split()[4]) if len(before.split()) > 4 else ""
        if point and after and path.is_relative_to(point) and len(point) >= len(best):  # a later one lies over it
            best, kind = point, after.split()[0]
    return kind


def _unescaped(point: str) -> str:
    """Undo what the kernel makes of blanks and their like: a backslash and a number."""
    for code, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, meant)
    return point


def size(count: int) -> str:
    """Write a number of bytes for people: "1.3 GB"."""
    if count >= 10 * GB:
        return f"{count / GB:,.0f} GB"
    if count >= GB:
        return f"{count / GB:.1f} GB"
    return f"{count / MB:,.0f} MB" if count >= MB else f"{count / 1000:,.0f} kB"
