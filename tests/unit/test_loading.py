"""The three ways to make batches: the same batches, clean ends, and errors that arrive."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from expkit.api import ArraySplit, Batch, DataError
from expkit.data import Batches
from expkit.loading import Loading, load

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are for Linux only")
AHEAD = [Loading("prefetch", prefetch=2), pytest.param(Loading("workers", prefetch=2, workers=3), marks=on_linux)]
ALL = [Loading(), *AHEAD]
PATIENCE = 10.0
"""Seconds after which something that should happen at once is taken for something that does not."""


def name(loading: Loading) -> str:
    return loading.mode


def children() -> set[int]:
    return {
        int(child)
        for path in Path(f"/proc/{os.getpid()}/task").glob("*/children")
        for child in path.read_text(encoding="ascii").split()
    }


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Whatever a test does, its threads and processes are gone at its end."""
    processes, threads = children(), set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == threads
    assert children() == processes


class Shaky:
    """A transform that draws different amounts of random numbers from batch to batch."""

    def __call__(self, batch: Batch, random: np.random.Generator) -> Batch:
        noise = random.integers(0, 9, (1 + int(batch.targets[0]) % 3, *batch.inputs.shape), dtype=np.uint8)
        return Batch(batch.inputs + noise.sum(axis=0, dtype=np.uint8), batch.targets + int(random.integers(1 << 30)))


@pytest.fixture
def split() -> ArraySplit:
    random = np.random.default_rng(0)
    return ArraySplit(random.integers(0, 256, (23, 28, 28), dtype=np.uint8), np.arange(23))


def content(batches: Batches, epoch: int, skip: int = 0) -> list[tuple[bytes, str, bytes, str]]:
    return [(x.tobytes(), x.dtype.str, y.tobytes(), y.dtype.str) for x, y in batches.epoch(epoch, skip)]


@pytest.mark.parametrize("loading", AHEAD, ids=name)
@pytest.mark.parametrize("options", [{}, {"repeat": 3, "drop_last": True}, {"limit": 3}, {"batch_size": 23}], ids=str)
def test_every_mode_gives_the_same_batches_bit_by_bit(loading, options, split, tiny_spec):
    def make(how: Loading) -> Batches:
        chosen = {"batch_size": 4, "shuffle": True, "seed": 7, "transforms": [Shaky()], **options}
        return Batches(split, tiny_spec, loading=how, **chosen)

    wanted, batches = make(Loading()), make(loading)
    assert content(batches, 1) == content(wanted, 1)
    assert content(batches, 5) == content(wanted, 5)
    assert content(batches, 2, skip=2) == content(wanted, 2)[2:]
    assert content(batches, 2, skip=len(batches)) == []


@pytest.mark.parametrize("loading", ALL, ids=name)
@pytest.mark.parametrize("dtype", ["float64", "uint32", ">f4", "bool", "U3"])
def test_arrays_of_any_dtype_and_layout_arrive_as_they_are_and_may_be_written_to(loading, dtype):
    def make(number):
        return (np.arange(24).reshape(4, 6)[:, ::2] + number).astype(dtype), np.zeros((2, 0))

    for number, (array, empty) in enumerate(load(make, range(4), loading)):
        np.testing.assert_array_equal(array, make(number)[0])
        assert array.dtype == np.dtype(dtype)
        assert empty.shape == (2, 0)
        array[:] = array[0, 0]


@pytest.mark.parametrize("loading", AHEAD, ids=name)
def test_the_global_random_numbers_are_left_alone(loading):
    np.random.seed(3)
    wanted = np.random.random()
    np.random.seed(3)
    assert list(load(lambda number: number, range(5), loading)) == [0, 1, 2, 3, 4]
    assert np.random.random() == wanted


def test_prefetch_makes_so_many_batches_ahead_and_no_more():
    made, enough = [], threading.Event()

    def make(number):
        made.append(number)
        if len(made) == 4:
            enough.set()
        return number

    batches = load(make, range(20), Loading("prefetch", prefetch=3))
    assert made == []  # nothing begins before somebody asks
    assert next(batches) == 0
    assert enough.wait(PATIENCE)
    time.sleep(0.02)
    assert made == [0, 1, 2, 3]
    batches.close()


def test_prefetch_makes_all_batches_in_one_thread_that_is_not_the_trainers():
    threads = set(load(lambda number: threading.get_ident(), range(9), Loading("prefetch")))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@on_linux
def test_workers_share_the_batches_in_turn():
    pids = list(load(lambda number: os.getpid(), range(8), Loading("workers", workers=3)))
    assert pids[:3] * 2 + pids[:2] == pids
    assert len(set(pids)) == 3
    assert os.getpid() not in pids


@on_linux
def test_there_are_no_more_workers_than_batches():
    assert len(set(load(lambda number: os.getpid(), range(2), Loading("workers", workers=50)))) == 2


class Strange(Exception):  # noqa: N818 - it need not sound like one
    """One that cannot be pickled."""

    def __init__(self, one, two):
        super().__init__(one)


@pytest.mark.parametrize("loading", ALL, ids=name)
@pytest.mark.parametrize("error", [DataError("torn file"), KeyError("missing"), StopIteration()], ids=repr)
def test_an_exception_arrives_after_the_batches_before_it(loading, error):
    def make(number):
        if number == 3:
            raise error
        return number

    batches = load(make, range(9), loading)
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    # A generator may not raise StopIteration; Python makes it a RuntimeError.
    with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)) as caught:
        next(batches)
    if not isinstance(error, StopIteration):
        assert str(caught.value) == str(error)
    assert list(batches) == []


def test_the_traceback_of_a_prefetch_thread_shows_where_it_was():
    def make_this_one(number):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        next(load(make_this_one, range(3), Loading("prefetch")))
    assert "make_this_one" in [entry.name for entry in caught.traceback]


@on_linux
def test_the_traceback_of_a_worker_is_the_cause():
    def make_this_one(number):
        raise Strange("odd", 2)

    with pytest.raises(RuntimeError, match=r"^Strange: odd$") as caught:
        next(load(make_this_one, range(3), Loading("workers")))
    assert "in make_this_one\n" in str(caught.value.__cause__)


@pytest.mark.parametrize("loading", AHEAD, ids=name)
def test_breaking_off_ends_everything_at_once(loading, tmp_path):
    def make(number):
        (tmp_path / f"{number} begun").touch()
        if number == 2 and loading.mode == "workers":
            time.sleep(PATIENCE)
            (tmp_path / "finished").touch()
        return np.full(300_000, number)  # more than a pipe holds

    for batch in load(make, range(1000), loading):
        assert batch[0] == 0
        break
    assert not (tmp_path / "finished").exists()  # a process need not finish what nobody waits for
    assert len(list(tmp_path.iterdir())) < 9


@pytest.mark.parametrize("loading", AHEAD, ids=name)
def test_an_error_of_the_consumer_ends_everything(loading):
    def consume():
        for batch in load(lambda number: number, range(1000), loading):
            if batch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()


@pytest.mark.parametrize("loading", AHEAD, ids=name)
def test_a_generator_that_is_dropped_or_never_begun_leaves_nothing(loading):
    load(lambda number: number, range(1000), loading)
    batches = load(lambda number: number, range(1000), loading)
    next(batches)
    del batches
    gc.collect()


@pytest.mark.parametrize("loading", AHEAD, ids=name)
def test_ctrl_c_interrupts_the_wait_for_a_batch(loading, tmp_path):
    parent = os.getpid()

    def make(number):
        if number == 5:
            time.sleep(0.1)  # let the parent come to wait
            os.kill(parent, signal.SIGINT)
            time.sleep(PATIENCE if loading.mode == "workers" else 0.1)
            (tmp_path / "finished").touch()
        return number

    with pytest.raises(KeyboardInterrupt):
        list(load(make, range(9), loading))
    assert (tmp_path / "finished").exists() == (loading.mode == "prefetch")  # a process is ended, a thread waited for


@on_linux
@pytest.mark.parametrize("wanted", ["SIGKILL", "SIGXCPU"])
def test_a_worker_that_is_killed_is_an_error_that_says_so(wanted):
    def make(number):
        return np.full(300_000, os.getpid())

    batches = load(make, range(1000), Loading("workers"))
    victim = int(next(batches)[0])
    os.kill(victim, getattr(signal, wanted))  # as likely as not while it writes to its pipe
    with pytest.raises(DataError, match=rf"loading=workers: worker process {victim} was killed by {wanted}.*memory"):
        list(batches)


@on_linux
def test_a_worker_that_somebody_else_waited_for_is_missed_all_the_same():
    batches = load(lambda number: np.full(300_000, os.getpid()), range(1000), Loading("workers"))
    victim = int(next(batches)[0])
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    with pytest.raises(DataError, match=f"worker process {victim} (ended early|was killed)"):
        list(batches)


@on_linux
def test_a_worker_leaves_the_parents_garbage_alone(tmp_path):
    class Garbage:
        def __del__(self):
            (tmp_path / str(os.getpid())).touch()

    gc.disable()
    try:
        garbage = Garbage()
        garbage.itself = garbage
        del garbage
        list(load(lambda number: gc.collect(), range(4), Loading("workers")))
    finally:
        gc.enable()
    gc.collect()
    assert [file.name for file in tmp_path.iterdir()] == [str(os.getpid())]


@on_linux
def test_what_a_worker_prints_arrives_and_what_the_parent_has_yet_to_print_comes_once(capfd, monkeypatch):
    with open(1, "w", encoding="utf-8", closefd=False) as slow:
        monkeypatch.setattr(sys, "stdout", slow)
        slow.write("from the parent\n")
        list(load(lambda number: sys.stdout.write("x" * 9999 + "\n"), range(2), Loading("workers")))
        monkeypatch.undo()
    printed = capfd.readouterr().out
    assert (printed.count("from the parent"), printed.count("x")) == (1, 2 * 9999)


@on_linux
def test_a_worker_that_ends_itself_is_an_error_that_says_so(capfd):
    def make(number):
        raise SystemExit(3)

    with pytest.raises(DataError, match=r"loading=workers: worker process \d+ ended early.*choose dataset\.load"):
        next(load(make, range(9), Loading("workers")))
    assert "SystemExit: 3" in capfd.readouterr().err


@on_linux
@pytest.mark.parametrize("request_to_stop", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_request_to_stop_that_reaches_the_whole_group_is_left_to_the_parent(request_to_stop):
    def make(number):
        os.kill(os.getpid(), getattr(signal, request_to_stop))
        return number

    assert list(load(make, range(4), Loading("workers"))) == [0, 1, 2, 3]


@on_linux
def test_workers_do_not_outlive_a_parent_that_is_killed():
    def make(number):
        if number > 0:
            time.sleep(PATIENCE)
            os.write(write, b"outlived")

    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        next(load(make, range(9), Loading("workers")))
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == b""  # its end comes when the last process that holds it is gone


@on_linux
def test_workers_start_in_any_thread():
    found = []
    thread = threading.Thread(target=lambda: found.extend(load(lambda number: number, range(5), Loading("workers"))))
    thread.start()
    thread.join(PATIENCE)
    assert found == [0, 1, 2, 3, 4]


ORPHANED = """
import os, signal, time
import numpy as np
from expkit import loading

def tie():
    parent = os.getppid()
    os.kill(parent, signal.SIGKILL)
    while os.getppid() == parent:
        time.sleep(0.01)

loading.death_with_parent = lambda: tie
worker = loading._Worker()
worker.start(lambda number: np.zeros(1 << 20), range(10))
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_worker_whose_parent_dies_at_its_start_ends_too() -> None:
    # It would hold the pipe of the output open, in which nothing is written, for ever.
    done = subprocess.run([sys.executable, "-c", ORPHANED], capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
