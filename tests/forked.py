"""Commands in forked children of a process that has imported everything: real processes, without seconds of imports.

`python -m tests.forked SOCKET` is that process, and with the words of a command behind the socket it is Python for a
program that starts expkit, such as a shell. The former takes one order from each connection: what to run, in which
folder and environment, and the files that are to be its standard streams; it answers with the number of the child, and
with its exit code when that has ended. Nothing is computed before the fork, no store is opened, no config composed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import io
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_IMPORTED = (
    *("expkit.cli.run", "expkit.cli.resume", "expkit.cli.sweeper", "expkit.cli.launcher", "expkit.experiment"),
    *("expkit.pictures", "expkit.export.writing", "expkit.sweeping.conduct", "expkit.sweeping.pool"),
    *("matplotlib.backends.backend_agg", "matplotlib.figure", "matplotlib.font_manager", "sklearn.datasets"),
    *("hydra.main", "hydra._internal.hydra", "hydra._internal.callbacks", "paddle.jit", "multiprocessing.connection"),
)
_POPEN: Any = subprocess.Popen
_where = ""
"""Socket of the process that forks, where that is known."""
_start: list[Callable[[], str]] = []
"""Starts it."""


def is_helper(command: bytes) -> bool:
    """Whether a command line is that of a process which serves all tests of a worker: it forks, or checks exports."""
    return b"tests.forked" in command or b"--check" in command


class Command(subprocess.Popen[Any]):
    """A process as of `subprocess`; forked, where it is to run expkit or to check an export."""

    _told = -1

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return self._heard(0) if self._told >= 0 else super().poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code."""
        if self._told < 0:
            return super().wait(timeout)
        code = self._heard(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _heard(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            with contextlib.suppress(BlockingIOError):  # another thread has heard it
                self.returncode = int(os.read(self._told, 16))
        return self.returncode

    def _execute_child(self, *given: Any) -> None:
        names = list(inspect.signature(_POPEN._execute_child).parameters)[1:]
        options = dict(zip(names, given, strict=True))
        if not (is_forkable(options["args"]) and (where := _socket())):
            super()._execute_child(*given)  # type: ignore[misc]
            return
        streams = [options[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        order = {
            "arguments": list(map(str, options["args"][1:])),
            "folder": str(options["cwd"] or Path.cwd()),
            "environment": dict(os.environ if options["env"] is None else options["env"]),
            "session": options["start_new_session"],
            "parent": os.getpid(),
        }
        with socket.socket(socket.AF_UNIX) as line, tempfile.TemporaryFile() as file:
            line.connect(where)
            file.write(json.dumps(order).encode())
            file.flush()
            files = [number if handle == -1 else handle for number, handle in enumerate(streams)]
            socket.send_fds(line, [b"!"], [file.fileno(), *files])
            self.pid = int(line.recv(16))
            self._told = line.detach()
        os.set_blocking(self._told, False)
        weakref.finalize(self, os.close, self._told)
        self._child_created = False  # of whoever forked it, who waits for it
        ours = [options[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
        self._close_pipe_fds(*ours)  # type: ignore[attr-defined]


def is_forkable(command: Sequence[Any]) -> bool:
    """Whether a command is one for which the imports are there; on Linux, where a fork is safe after them."""
    if (
        not sys.platform.startswith("linux")
        or isinstance(command, str)
        or Path(str(command[0])) != Path(sys.executable)
    ):
        return False
    words = list(map(str, command[1:3]))
    if words[0] == "-m":
        return words[1] in ("expkit", "expkit.sweeping.server")
    if words[0] == "-c":
        return "from expkit.tracking.courier_process import main" in words[1]
    return words[0].endswith("predict.py") and words[1:] == ["--check"]


def python() -> list[str]:
    """Return what a program that is no Python is to start for Python: what is forkable is then forked."""
    where = _socket()
    return [sys.executable, str(Path(__file__)), where] if where else [sys.executable]


def _be_python(where: str, words: list[str]) -> None:
    global _where
    command = [sys.executable, *words]
    if not is_forkable(command):
        os.execv(sys.executable, command)
    _where = where
    _start.append(lambda: where)
    sys.exit(Command(command).wait())


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Within this context commands are forked; by a process that is started for the first, and ends with it."""
    global _where
    with contextlib.ExitStack() as stack:
        _start.append(lambda: stack.enter_context(_forking_process()))
        yield
        _start.clear()
        _where = ""


@contextlib.contextmanager
def _forking_process() -> Iterator[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("EXPKIT_", "MLFLOW_"))}
    with tempfile.TemporaryDirectory() as folder:
        where = str(Path(folder) / "socket")
        command = [sys.executable, "-m", "tests.forked", where]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield where
        finally:
            process.communicate()


def _socket() -> str:
    """Return the socket of the process that forks; empty where there is none."""
    global _where
    if _start and not _where:
        _where = _start[0]()
    return _where


class Forker:
    """Forks a child for each connection, until standard input ends."""

    def __init__(self, where: str) -> None:
        before = dict(os.environ)
        _import(Path(where).with_name("store.db"))
        self._added = {name: text for name, text in os.environ.items() if name not in before}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(where)
        self._listener.listen(64)
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakes.fileno())
        self._children: dict[int, socket.socket] = {}
        self._parents: dict[int, int] = {}  # whose end is that of a child, by what tells of it

    def serve(self) -> None:
        """Fork for each connection; returns when standard input ends, never in a child."""
        os.write(1, b"ready\n")
        while True:
            ready = select.select([0, self._listener, self._woken, *self._parents], [], [])[0]
            if 0 in ready:
                return
            for end in self._parents.keys() & ready:
                os.close(end)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._parents.pop(end), signal.SIGKILL)
            if self._woken in ready:
                self._woken.recv(1024)
                self._tell()
            if self._listener in ready:
                self._fork(self._listener.accept()[0])

    def _fork(self, line: socket.socket) -> None:
        _, files, _, _ = socket.recv_fds(line, 1, 4)
        with os.fdopen(files[0], "rb") as file:
            file.seek(0)
            order = json.load(file)
        child = os.fork()
        if not child:
            for other in (self._listener, line, self._woken, self._wakes, *self._children.values()):
                other.close()
            for watched in self._parents:
                os.close(watched)
            _live(order, files[1:], self._added)
            sys.exit()
        for handle in files[1:]:
            os.close(handle)
        self._children[child] = line
        line.send(f"{child}".encode())
        if "--parent" in order["arguments"]:
            with contextlib.suppress(ProcessLookupError):
                self._parents[os.pidfd_open(order["parent"])] = child

    def _tell(self) -> None:
        """Tell those who asked for children that have ended."""
        while self._children:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            with contextlib.suppress(OSError), self._children.pop(child) as line:  # who asked may be gone
                line.send(f"{os.waitstatus_to_exitcode(status)}".encode())


def _import(template: Path) -> None:
    from expkit.paddle_import import import_paddle
    from expkit.tracking.store import import_all_of_mlflow
    from tests.stores import ready_stores

    import_paddle()
    import_all_of_mlflow()
    ready_stores(template)
    for module in _IMPORTED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()


def _live(order: dict[str, Any], files: Sequence[int], added: dict[str, str]) -> None:
    """Be the child: what Python would do for this command."""
    global _where
    from expkit.processes import die_with_parent

    die_with_parent(os.getppid())
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    me, parent = os.getpid(), os.getppid
    os.getppid = lambda: order["parent"] if os.getpid() == me else parent()
    for number, handle in enumerate(files):
        os.dup2(handle, number)
    for handle in files:
        os.close(handle)
    if order["session"]:
        os.setsid()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(added | order["environment"])
    random.seed()
    _open_streams()
    _where = sys.argv[1]
    subprocess.Popen = Command  # type: ignore[misc]
    _run(order["arguments"])


def _open_streams() -> None:
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name, errors in ((0, "stdin", "strict"), (1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        raw = open(number, "wb" if number else "rb", 0 if unbuffered and number else -1, closefd=False)  # noqa: SIM115
        lines = number == 2 or os.isatty(number)
        stream = io.TextIOWrapper(
            raw,
            encoding=os.environ.get("PYTHONIOENCODING", "utf-8"),
            errors=errors,
            line_buffering=lines,
            write_through=unbuffered and number > 0,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(arguments: list[str]) -> None:
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in known if path and path not in sys.path]
    if arguments[0] == "-m":
        sys.path[0], sys.argv = str(Path.cwd()), arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.path[0], sys.argv = "", ["-c", *arguments[2:]]
        exec(arguments[1], {"__name__": "__main__"})
    else:
        sys.path[0], sys.argv = str(Path(arguments[0]).parent), arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    if sys.argv[2:]:
        _be_python(sys.argv[1], sys.argv[2:])
    Forker(sys.argv[1]).serve()
