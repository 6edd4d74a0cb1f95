"""Which way of making batches is taken, and how its options are given."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from rich.console import Console

from expkit.api import ArraySplit, ConfigError
from expkit.config import compose, stored, to_yaml
from expkit.experiment import run
from expkit.loading import Loading, choose
from expkit.preparation import prepare

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are for Linux only")


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


@pytest.mark.parametrize("wanted", ["auto", "prefetch"])
def test_what_draws_from_global_generators_is_not_run_beside_training(wanted, caplog):
    assert choose(wanted, in_memory=True, augmented=True, drawing=["PaddleTransform"]) == "sync"
    assert ("PaddleTransform draws from Python's and NumPy's global generators" in caplog.text) is (
        wanted == "prefetch"
    )


@on_linux
def test_workers_have_global_generators_of_their_own():
    assert choose("workers", in_memory=True, augmented=True, drawing=["PaddleTransform"]) == "workers"


def test_a_transform_says_that_it_draws_globally(tmp_path):
    of = "transforms.paddle_transform.of=[{_target_: paddle.vision.transforms.BrightnessTransform, value: 0.4}]"
    chosen = ["+experiment=mnist_cnn", "dataset.download=false", "dataset.limit=64"]
    for transforms, mode in (("shift", "prefetch"), ("shift,paddle_transform", "sync")):
        options = [of] if "paddle" in transforms else []
        made = prepare(compose([*chosen, f"transforms=[{transforms}]", *options]))
        assert made.batches["train"].loading.mode == mode


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
