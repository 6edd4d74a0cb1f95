"""The three ways to make batches: the same batches, clean ends, and errors that arrive."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from expkit.api import ArraySplit, Batch, ConfigError, DataError
from expkit.config import compose, stored, to_yaml
from expkit.data import Batches
from expkit.experiment import run
from expkit.loading import Loading, choose, load
from expkit.preparation import prepare

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
def test_breaking_off_ends_everything_at_once(loading):
    def make(number):
        if number == 2 and loading.mode == "workers":
            time.sleep(PATIENCE)  # a process need not finish what nobody waits for
        return np.full(300_000, number)  # more than a pipe holds

    began = time.perf_counter()
    for batch in load(make, range(1000), loading):
        assert batch[0] == 0
        break
    assert time.perf_counter() - began < PATIENCE


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
def test_ctrl_c_interrupts_the_wait_for_a_batch(loading):
    parent = os.getpid()

    def make(number):
        if number == 5:
            time.sleep(0.1)  # let the parent come to wait
            os.kill(parent, signal.SIGINT)
            time.sleep(PATIENCE if loading.mode == "workers" else 0.1)  # a process is ended, a thread waited for
        return number

    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        list(load(make, range(9), loading))
    assert time.perf_counter() - began < PATIENCE


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
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        next(load(lambda number: time.sleep(0 if number == 0 else PATIENCE), range(9), Loading("workers")))
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as pipe:
        began = time.perf_counter()
        assert pipe.read() == b""  # its end comes when the last process that holds it is gone
        assert time.perf_counter() - began < PATIENCE / 2


@on_linux
def test_workers_start_in_any_thread():
    found = []
    thread = threading.Thread(target=lambda: found.extend(load(lambda number: number, range(5), Loading("workers"))))
    thread.start()
    thread.join(PATIENCE)
    assert found == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("wanted", "in_memory", "augmented", "mode"),
    [
        ("auto", True, False, "sync"),
        ("auto", True, True, "prefetch"),
        ("auto", False, False, "prefetch"),
        ("sync", False, True, "sync"),
        ("prefetch", True, False, "prefetch"),
        pytest.param("workers", True, False, "workers", marks=on_linux),
    ],
)
def test_auto_prefetches_where_a_batch_costs_more_than_a_copy(wanted, in_memory, augmented, mode):
    assert choose(wanted, in_memory=in_memory, augmented=augmented) == mode


def test_without_worker_processes_prefetch_takes_their_place_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert choose("workers", in_memory=True, augmented=False) == "prefetch"
    assert "on Linux only; prefetch takes their place" in caplog.text


def test_a_mapped_file_is_not_in_memory(tmp_path):
    np.save(tmp_path / "inputs.npy", np.zeros((3, 2)))
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    assert not ArraySplit(mapped, np.zeros(3)).in_memory
    assert ArraySplit(np.asarray(mapped).copy(), np.zeros(3)).in_memory


@pytest.fixture(scope="module")
def configured():
    """Make the config of a quick run on the digits, with changes; composed but once."""
    quick = ["dataset=digits", "model=linear", "transforms=[shift]", "tracking=none", "export=none", "plots=none"]
    made = compose([*quick, "trainer.epochs=2", "trainer.limit_train_batches=3"])
    return lambda *changes: stored(to_yaml(made.resolved), choices=made.choices, overrides=(), changes=changes)


@on_linux
def test_validation_and_test_are_prefetched_only_where_samples_are_not_at_hand(configured, monkeypatch):
    def modes(*changes: str) -> list[str]:
        return [batches.loading.mode for batches in prepare(configured(*changes)).batches.values()]

    assert modes() == ["prefetch", "sync", "sync"]
    assert modes("dataset.loading=workers") == ["workers", "sync", "sync"]
    monkeypatch.setattr(ArraySplit, "in_memory", False)
    assert modes() == ["prefetch", "prefetch", "prefetch"]
    assert modes("dataset.loading=workers") == ["workers", "prefetch", "prefetch"]
    assert modes("dataset.loading=sync") == ["sync", "sync", "sync"]


def test_options_of_the_loader_reach_it(configured):
    changes = ("dataset.loading=prefetch", "dataset.prefetch=7", "dataset.repeat=3", "trainer.limit_train_batches=99")
    batches = prepare(configured(*changes)).batches
    assert batches["train"].loading == Loading("prefetch", 7, 2)
    assert len(batches["train"]) == 3 * 21
    assert len(batches["valid"]) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("dataset.repeat=0", r"dataset\.repeat=0: must be a whole number, at least 1"),
        ("dataset.prefetch=0", r"dataset\.prefetch=0: must be a whole number, at least 1"),
        ("dataset.workers=-1", r"dataset\.workers=-1: must be a whole number, at least 1"),
        ("dataset.loading=fast", r"dataset\.loading=fast: must be one of auto, sync, prefetch, workers"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_used_is_refused(configured, change, words):
    with pytest.raises(ConfigError, match=words):
        configured(change)


def test_a_run_comes_to_the_same_result_in_every_mode_and_says_which_it_was(configured, tmp_path):
    modes = {"sync": "sync loading", "prefetch": "prefetch loading", "workers": "2 workers"}
    if sys.platform != "linux":
        del modes["workers"]
    results = []
    for mode, words in modes.items():
        console = Console(file=io.StringIO(), width=200)
        results.append(run(configured(f"dataset.loading={mode}", "trainer.progress=plain"), tmp_path / mode, console))
        assert f"batch size 64, {words}, cpu" in console.file.getvalue()
    assert len({tuple(sorted(result.metrics.items())) for result in results}) == 1
