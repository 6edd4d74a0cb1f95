"""What the tests of resuming share."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from rich.console import Console

from expkit.callbacks import read_epochs, read_steps
from expkit.checkpoint import CheckpointFolder

QUICK = (
    *("+experiment=mnist_cnn", "dataset.download=false", "dataset.limit=200", "trainer.epochs=3"),
    *("export=none", "plots=none", "schedule=polynomial", "transforms=[shift]", "callbacks=[early_stopping]"),
    *("model=mlp", "model.hidden=[16]", "model.dropout=0.2", "metrics=[accuracy,auc,f1]"),
)


def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def same(one: Path, other: Path) -> None:
    """Compare weights, optimizer, losses and metrics of two runs, bit by bit."""
    mine, theirs = (CheckpointFolder(run / "checkpoints").load("last").learner for run in (one, other))
    for part in ("model", "optimizer"):
        arrays, wanted = getattr(mine, part), getattr(theirs, part)
        assert arrays.keys() == wanted.keys()
        assert all(np.array_equal(arrays[key], wanted[key]) for key in arrays)
    assert mine.extra == theirs.extra
    assert read_steps(one) == read_steps(other)
    curves = [[{**epoch, "seconds": 0} for epoch in read_epochs(run)] for run in (one, other)]
    assert curves[0] == curves[1]


def choose(folder: Path, name: str, kind: str, module: str = "tests.integration.test_resume") -> None:
    """Make `callbacks=[name]` known in a folder."""
    (folder / "conf" / "callbacks").mkdir(parents=True, exist_ok=True)
    (folder / "conf" / "callbacks" / f"{name}.yaml").write_text(
        f"# @package callbacks.{name}\n_target_: {module}.{kind}\n"
    )
