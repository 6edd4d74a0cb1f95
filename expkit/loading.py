"""Where batches are made: in the training thread, ahead of it in another thread, or in processes.

What a batch is and which comes when is `expkit.data`'s: a batch is a pure function of its number, so that every mode
gives the same batches, bit by bit.
"""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn, TypeVar

from expkit.errors import DataError
from expkit.interrupts import SIGNALS
from expkit.processes import death_with_parent, killed_by

log = logging.getLogger("expkit")

T = TypeVar("T")
_REQUESTS = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]


@dataclass(frozen=True)
class Loading:
    """How the batches of a split are loaded.

    Attributes:
        mode: "sync", "prefetch" or "workers".
        prefetch: batches made ahead; workers may have one more each.
        workers: number of processes.
    """

    mode: str = "sync"
    prefetch: int = 4
    workers: int = 2

    def __str__(self) -> str:
        return f"{self.workers} workers" if self.mode == "workers" else f"{self.mode} loading"


SYNC = Loading()


def choose(wanted: str, *, in_memory: bool, augmented: bool, drawing: Sequence[str] = ()) -> str:
    """Return the mode of a split.

    Args:
        wanted: "auto" or a mode.
        in_memory: whether the split is held in memory.
        augmented: whether transforms follow.
        drawing: names of those that draw from the generators of the whole process. Beside training, in another thread,
            they would take numbers from it, and give it theirs.
    """
    if wanted == "workers" and sys.platform != "linux":
        log.warning("dataset.loading=workers: there are worker processes on Linux only; prefetch takes their place.")
        wanted = "prefetch"
    if drawing and wanted in ("auto", "prefetch"):
        if wanted == "prefetch":
            log.warning(
                "dataset.loading=prefetch: %s draws from Python's and NumPy's global generators, as training may. It is"
                " done in turn with training (sync); dataset.loading=workers has generators of its own.",
                ", ".join(drawing),
            )
        return "sync"
    if wanted == "auto":
        return "sync" if in_memory and not augmented else "prefetch"
    return wanted


def load(make: Callable[[int], T], numbers: Sequence[int], loading: Loading) -> Generator[T, None, None]:
    """Yield make(number) for each number, in their order.

    `make` is called by one thread, or by each worker for other numbers. What it raises comes out here. To close the
    generator, or to drop it, ends its thread and its processes. Workers do not outlive the thread that asked first.

    Args:
        make: makes a batch; workers can only send what can be pickled.
        numbers: of the batches.
        loading: where and how far ahead they are made.

    Raises:
        DataError: a worker process died.
    """
    if loading.mode == "sync" or not numbers:
        return (make(number) for number in numbers)
    if loading.mode == "prefetch":
        return _ahead(make, numbers, loading.prefetch)
    return _by_workers(make, numbers, loading)


def _ahead(
    make: Callable[[int], T], numbers: Sequence[int], depth: int, stop: Callable[[], None] = lambda: None
) -> Generator[T, None, None]:
    """Yield what a thread makes, at most `depth` ahead; `stop` is to end the call of `make` that is under way."""
    ready: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    slots, stopped = threading.Semaphore(depth), threading.Event()

    def fill() -> None:
        try:
            for number in numbers:
                slots.acquire()
                if stopped.is_set():
                    return
                ready.put((make(number), None))
        except BaseException as error:  # noqa: BLE001 - a plugin's code; raised again in the thread that waits
            ready.put((None, error))

    thread = threading.Thread(target=fill, name="expkit-loading", daemon=True)
    try:
        thread.start()
        for _ in numbers:
            item, error = ready.get()
            if error is not None:
                raise error
            slots.release()
            yield item
    finally:
        stopped.set()
        stop()
        slots.release()
        if thread.is_alive():
            thread.join()


def _by_workers(make: Callable[[int], T], numbers: Sequence[int], loading: Loading) -> Generator[T, None, None]:
    """Let each worker make every count-th batch, and take one from each in turn."""
    count = min(loading.workers, len(numbers))
    workers: list[_Worker] = []

    def kill() -> None:
        for worker in workers:
            worker.kill()

    try:
        for first in range(count):
            workers.append(_Worker())  # noted before it is started, so that it is ended whatever comes in between
            workers[first].start(make, numbers[first::count])
        turn = itertools.cycle(workers)
        # The thread that receives is what keeps batches ahead: a worker can only go on when its last one was taken.
        yield from _ahead(lambda number: next(turn).receive(), numbers, loading.prefetch, kill)
    finally:
        for worker in workers:
            worker.close()


class _Worker:
    """A forked process that makes batches one after the other and sends them through a pipe of its own.

    Only the worker holds the pipe's other end: when it dies, in whatever way, reading ends at once. Why this is not
    `paddle.io.DataLoader` is told in docs/design/0007-loading.md.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._batches: BinaryIO = io.BytesIO()

    def start(self, make: Callable[[int], Any], numbers: Sequence[int]) -> None:
        """Fork."""
        tie, parent = death_with_parent(), os.getpid()
        source, target = os.pipe()
        self._batches = os.fdopen(source, "rb")
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            # No signal may raise an exception that leaves the parent with half a worker, or leads a child out of
            # `_serve`. One that came just before is raised from this very call.
            signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS)
            with warnings.catch_warnings():
                # Python 3.12 warns of a fork beside threads. The child runs nothing of theirs, and nothing of Paddle.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pid = os.fork()
            if self._pid == 0:
                os.close(source)  # or it would hold both ends, and never hear that nobody reads any more
                _serve(make, numbers, target, mask, tie, parent)
        finally:
            os.close(target)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def receive(self) -> Any:
        """Return the next batch."""
        try:
            answer = pickle.load(self._batches)
        except (EOFError, pickle.UnpicklingError):  # nothing more, or half a batch
            raise self._lost() from None
        if isinstance(answer, _Failure):
            raise answer.error from _InWorker(answer.trace)
        return answer

    def kill(self) -> None:
        """End the process, whatever it is at; it holds nothing that would be lost."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process and forget it."""
        self.kill()
        if self._pid:
            with contextlib.suppress(ChildProcessError):  # where SIGCHLD is ignored, nobody need wait for children
                os.waitpid(self._pid, 0)
        self._batches.close()

    def _lost(self) -> DataError:
        ending = None
        with contextlib.suppress(ChildProcessError):  # somebody else waited for it
            ending = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        if ending is None or ending.si_code == os.CLD_EXITED:
            how = "ended early"
        else:
            how = f"was {killed_by(ending.si_status)}"
        return DataError(
            f"dataset.loading=workers: worker process {self._pid} {how}. Often memory has run out: lower "
            "dataset.workers, dataset.prefetch or dataset.batch_size, or choose dataset.loading=prefetch, which makes "
            "batches in a thread."
        )


def _serve(
    make: Callable[[int], Any],
    numbers: Sequence[int],
    target: int,
    mask: set[int | signal.Signals],
    tie: Callable[[], None],
    parent: int,
) -> NoReturn:
    """Be a worker process."""
    code = 1
    try:
        # The parent's garbage may be tensors. To free one runs Paddle, whose locks may be held for ever in here.
        gc.freeze()
        # Who asks a run to stop, asks its first process, which ends this one; and when that dies, this one goes too.
        for request in _REQUESTS:
            signal.signal(request, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        tie()
        if os.getppid() != parent:  # it died before the tie was there
            os._exit(1)
        _talk()
        with os.fdopen(target, "wb") as pipe:
            for number in numbers:
                # Since protocol 5 arrays are written, and read, without a copy in between.
                pickle.dump(_answer(make, number), pipe, protocol=5)
                pipe.flush()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may return from here into the parent's code
        traceback.print_exc()
    finally:
        os._exit(code)


def _talk() -> None:
    """Give the process streams of its own: the parent's hold what it has yet to write, and locks."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is not None:  # None: it was closed from the start, and its number may be our pipe's
            # Open for as long as the process lives. A line is written when it ends: nothing is flushed at `os._exit`.
            stream = open(number, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def _answer(make: Callable[[int], Any], number: int) -> Any:
    try:
        return make(number)
    except Exception as error:  # noqa: BLE001 - a plugin's code; raised again in the parent
        trace = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # noqa: BLE001 - an exception may hold anything
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return _Failure(error, trace)


@dataclass(frozen=True)
class _Failure:
    error: Exception
    trace: str


class _InWorker(Exception):  # noqa: N818 - no error of its own, but the cause of one: it shows where that was
    def __str__(self) -> str:
        return f"\n\nin a worker process:\n{self.args[0]}"
