"""Where batches are made: in the training thread, ahead of it in a thread, or in processes.

What a batch is and which comes when is `expkit.data`'s: a batch is a pure function of its number, so that every mode
gives the same batches, bit by bit.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from expkit.errors import ConfigError, DataError

log = logging.getLogger("expkit")

T = TypeVar("T")
SHARED_MEMORY = "/dev/shm"
CHECK_SECONDS = 1
"""How often it is looked whether workers are alive while no batch arrives."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Loading:
    """How the batches of a split are loaded.

    Attributes:
        mode: "sync", "prefetch" or "workers".
        prefetch: batches made ahead; with workers, by each of them.
        workers: number of processes.
    """

    mode: str = "sync"
    prefetch: int = 4
    workers: int = 2

    def __str__(self) -> str:
        return f"{self.workers} workers" if self.mode == "workers" else f"{self.mode} loading"


SYNC = Loading()


def choose(wanted: str, *, in_memory: bool, augmented: bool) -> str:
    """Return the mode of a training split.

    Args:
        wanted: "auto" or a mode.
        in_memory: whether the split is held in memory.
        augmented: whether transforms follow.
    """
    if wanted == "auto":
        return "sync" if in_memory and not augmented else "prefetch"
    if wanted == "workers" and sys.platform != "linux":
        log.warning("dataset.loading=workers: Paddle has worker processes on Linux only. prefetch takes their place.")
        return "prefetch"
    return wanted


def load(
    make: Callable[[int], T], numbers: Sequence[int], loading: Loading, batch_bytes: int
) -> Generator[T, None, None]:
    """Yield make(number) for each number, in their order.

    `make` is never called from two threads of a process at once. Closing the generator ends its thread and processes.

    Args:
        make: makes a batch; for "workers", of arrays, or of tuples of them.
        numbers: of the batches.
        loading: where and how far ahead they are made.
        batch_bytes: size of a batch, about.

    Raises:
        ConfigError: workers were wanted outside of the main thread.
        DataError: a worker process died.
    """
    if loading.mode == "sync" or not numbers:
        return (make(number) for number in numbers)
    if loading.mode == "prefetch":
        return _ahead(make, numbers, loading.prefetch)
    return _by_workers(make, numbers, loading, batch_bytes)


def _ahead(
    make: Callable[[int], T],
    numbers: Sequence[int],
    depth: int,
    pause: float | None = None,
    watch: Callable[[], None] = lambda: None,
) -> Generator[T, None, None]:
    """Yield what one thread makes, at most `depth` ahead; `watch` is called after each `pause` of waiting."""
    ready: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    slots, stopped = threading.Semaphore(depth), threading.Event()

    def fill() -> None:
        try:
            for number in numbers:
                slots.acquire()
                if stopped.is_set():
                    return
                ready.put((make(number), None))
        except BaseException as error:  # noqa: BLE001 - a plugin's code; raised again by whom it concerns
            ready.put((None, error))

    thread = threading.Thread(target=fill, name="expkit-loading", daemon=True)
    thread.start()
    try:
        for _ in numbers:
            item, error = _wait(ready, pause, watch)
            if error is not None:
                raise error
            slots.release()
            yield item
    finally:
        stopped.set()
        slots.release()
        while thread.is_alive():
            thread.join(pause)
            watch()


def _wait(ready: queue.SimpleQueue[T], pause: float | None, watch: Callable[[], None]) -> T:
    while True:
        try:
            return ready.get(timeout=pause)
        except queue.Empty:
            watch()


def _by_workers(
    make: Callable[[int], T], numbers: Sequence[int], loading: Loading, batch_bytes: int
) -> Generator[T, None, None]:
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError(
            "dataset.loading=workers: Paddle starts worker processes from the main thread only, and this is another. "
            "Choose dataset.loading=prefetch."
        )
    workers = _Workers(make, numbers, loading, shared=_fits(loading.workers * loading.prefetch * batch_bytes))
    try:
        # The thread stands between Paddle's reader and the trainer, so that waiting can be interrupted and watched.
        yield from _ahead(workers.receive, numbers, 1, CHECK_SECONDS, workers.check)
    finally:
        workers.close()


@functools.cache  # asked, and complained of, once and not in every epoch
def _fits(size: int) -> bool:
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        free = 0
    else:
        free = found.f_bavail * found.f_frsize
    if free < size:
        log.warning(
            f"{SHARED_MEMORY} has {free / 1e6:.1f} MB free, but batches made ahead may take {size / 1e6:.1f} MB. They "
            "go through pipes instead, which is slower. Make it larger (docker run --shm-size=1g), or lower "
            "dataset.workers, dataset.prefetch or dataset.batch_size."
        )
    return free >= size


class _Workers:
    """The worker processes of a `paddle.io.DataLoader`.

    Paddle's own iterator loses the exception of a dataset, waits forever when a worker is killed while it writes to a
    pipe, and ends neither workers nor threads when it is dropped; hence `_Jobs`, `check` and `close`.
    """

    def __init__(self, make: Callable[[int], Any], numbers: Sequence[int], loading: Loading, *, shared: bool) -> None:
        import multiprocessing

        import paddle

        loader = paddle.io.DataLoader(
            _Jobs(make, numbers),
            batch_size=None,  # an item is a batch already
            num_workers=min(loading.workers, len(numbers)),
            prefetch_factor=loading.prefetch,
            places=paddle.CPUPlace(),
            use_buffer_reader=False,
            use_shared_memory=shared,
            timeout=CHECK_SECONDS,  # for Paddle, too, the time between two looks at its workers
            worker_init_fn=_begin,
        )
        before = multiprocessing.active_children()
        with _undisturbed():
            self._iterator = iter(loader)
        self._processes = [child for child in multiprocessing.active_children() if child not in before]
        self._lost: dict[int | None, str] = {}

    def receive(self, number: int) -> Any:
        """Return the next batch; they come in the order of their numbers."""
        try:
            head, *buffers = (part.numpy() for part in next(self._iterator))
        except BaseException as error:
            raise self._ended(error) from error
        answer = pickle.loads(head, buffers=buffers)
        if isinstance(answer, _Failure):
            raise answer.error from _InWorker(answer.trace)
        return answer

    def check(self) -> None:
        """End the wait for batches that will not come."""
        self._note_lost()
        if self._lost:
            self.close()

    def close(self) -> None:
        """End the processes, each after the batch that it is at."""
        self._iterator.__del__()  # does nothing a second time
        for pid in self._lost:  # what a killed worker had not handed over would stay
            for left in Path(SHARED_MEMORY).glob(f"paddle_{pid}_*"):
                left.unlink(missing_ok=True)

    def _note_lost(self) -> None:
        if not self._lost:
            codes = {process.pid: process.exitcode for process in self._processes}
            self._lost = {pid: _ending(code) for pid, code in codes.items() if code is not None}

    def _ended(self, error: BaseException) -> DataError:
        self._note_lost()
        what = ", ".join(f"worker process {pid} {ending}" for pid, ending in self._lost.items())
        what = what or f"no batch arrives ({type(error).__name__}: {error})"
        return DataError(
            f"dataset.loading=workers: {what}. Often memory, or {SHARED_MEMORY}, has run out: lower dataset.workers or "
            "dataset.prefetch, or choose dataset.loading=prefetch, which makes batches in a thread."
        )


class _Jobs:
    """Batches by position, in the map style that `paddle.io.DataLoader` takes.

    A batch is pickled with its arrays beside it, so that every dtype and every exception arrives as it was.
    """

    def __init__(self, make: Callable[[int], Any], numbers: Sequence[int]) -> None:
        self._make, self._numbers = make, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, position: int) -> list[Any]:
        try:
            answer = self._make(self._numbers[position])
        except Exception as error:  # noqa: BLE001 - a plugin's code; raised again in the parent
            answer = _Failure.of(error)
        arrays: list[pickle.PickleBuffer] = []
        head: Any = pickle.dumps(answer, protocol=5, buffer_callback=arrays.append)
        return [np.frombuffer(part, dtype=np.uint8) for part in (head, *(array.raw() for array in arrays))]


@dataclass(frozen=True)
class _Failure:
    error: Exception
    trace: str

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # noqa: BLE001 - an exception may hold anything
            return cls(RuntimeError(f"{type(error).__name__}: {error}"), trace)
        return cls(error, trace)


class _InWorker(Exception):  # noqa: N818 - the cause of an error, to show where that was
    def __str__(self) -> str:
        return f"\n\nin a worker process:\n{self.args[0]}"


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put back what Paddle changes when it starts workers.

    It draws from NumPy's global generator, and lets a worker's death raise an error wherever the main thread is, be it
    in the middle of a training step.
    """
    state, handler = np.random.get_state(), signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        np.random.set_state(state)
        signal.signal(signal.SIGCHLD, handler)


def _begin(worker: int) -> None:
    """Make a worker process leave signals from the keyboard to its parent, and not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
