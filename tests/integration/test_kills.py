"""Kills by the dozen, at random instants and in the middle of every kind of write: all ends bit-identical."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expkit.callbacks import read_steps
from expkit.errors import RunNotFoundError
from expkit.runs import read_record
from expkit.tracking.store import import_mlflow
from tests.integration.warm import Warm, same, warm

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="POSIX signals")]

KILLS = 21  # in each of the three cases
DEEP = 5  # in one run
MOST_RUNS = 60
TINY = (
    *("dataset.download=false", "trainer.epochs=3", "trainer.stop_after=null", "trainer.progress=off", "plots=none"),
    "checkpoint.every_steps=3",
)
MNIST = ("+experiment=mnist_cnn", "model=mlp", "model.hidden=[8]", "dataset.limit=160", "dataset.batch_size=16", *TINY)
CASES = {
    "one thread": (
        *MNIST,
        "model.dropout=0.2",
        "callbacks=[early_stopping]",
        "metrics=[accuracy,auc]",
        "learner.ema=0.9",
    ),
    "workers": (
        *(*MNIST, "dataset.loading=workers", "dataset.workers=2", "transforms=[shift]"),
        *("checkpoint.keep=2", "checkpoint.sync_every=0"),
    ),
    "by hand": ("+experiment=housing_numpy_sgd", "export=none", "checkpoint.sync_every=0.1", *TINY),
}
OFTEN = {"fsync": 30, "rename": 10, "replace": 20, "log_batch": 4, "log_artifact": 6, "set_terminated": 1, "export": 1}
"""Calls of a whole run, about: each place dies in one of them."""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Warm]:
    with warm(tmp_path) as found:
        yield found


def ways(seed: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield ways to be killed: by the clock, and in each place before or after it has done its work."""
    dice = random.Random(seed)
    for place in itertools.cycle(OFTEN):
        yield {"seconds": dice.uniform(0, seconds)}
        yield {"place": place, "count": dice.randint(1, OFTEN[place]), "after": dice.random() < 0.5}


def begun(folder: Path) -> bool:
    try:
        return bool(read_record(folder))
    except RunNotFoundError:  # killed before it was written
        return False


def live(parent: Warm, run: str, overrides: tuple[str, ...], **kill: Any) -> int:
    """Start a run, or go on with it where there is something to go on with."""
    if begun(parent.path(run)):
        return parent(run, resume=True, **kill)
    return parent(run, *overrides, **kill)


def kill_often(parent: Warm, run: str, overrides: tuple[str, ...], kills: Iterator[dict[str, Any]]) -> list[str]:
    """Kill a run up to `DEEP` times and let it end; returns what it was killed by."""
    fell: list[str] = []
    for kill in itertools.islice(kills, DEEP):
        code = live(parent, run, overrides, **kill)
        assert code in (0, -9), parent.said(run)
        fell += [str(kill.get("place", "clock"))] if code else []
        if begun(parent.path(run)) and read_record(parent.path(run))["status"] == "FINISHED":
            return fell
    assert live(parent, run, overrides) == 0, parent.said(run)
    return fell


def points(folder: Path, metric: str) -> list[tuple[int, float]]:
    client = import_mlflow().MlflowClient(f"sqlite:///{folder.parents[1] / 'mlflow.db'}")
    history = client.get_metric_history(read_record(folder)["mlflow_run_id"], metric)
    return sorted((point.step, point.value) for point in history)


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_killed_again_and_again_ends_bit_identical(parent: Warm, case: str) -> None:
    whole = parent.path("whole")
    assert parent("whole", *CASES[case]) == 0, parent.said("whole")
    assert len(read_steps(whole)) > 8
    started = time.monotonic()
    assert parent("again", *CASES[case]) == 0, parent.said("again")
    kills = ways(case, time.monotonic() - started)
    same(whole, parent.path("again"))
    fell: Counter[str] = Counter()
    expected = {"clock", *OFTEN} - ({"export"} if "export=none" in CASES[case] else set())
    for number in range(MOST_RUNS):
        run = parent.path(f"run-{number}")
        fell.update(kill_often(parent, run.name, CASES[case], kills))
        same(whole, run)
        assert read_record(run)["status"] == "FINISHED"
        assert points(run, "step/loss") == points(whole, "step/loss")
        if sum(fell.values()) >= KILLS and expected <= set(fell):
            break
    else:
        pytest.fail(f"{MOST_RUNS} runs were killed by {dict(fell)}: not often enough, or not by all of {expected}")
