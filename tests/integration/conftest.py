"""Runs of the real command line, in real processes, in empty folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from expkit import experiment
from expkit.api import Callback
from expkit.config import compose
from expkit.runs import all_runs
from tests.forked import Command
from tests.integration import resuming
from tests.stores import ready_stores

QUICK = (
    "+experiment=mnist_cnn",
    "trainer.epochs=1",
    "trainer.limit_train_batches=8",
    "dataset.download=false",
    "dataset.limit=600",
)


class CommandLine:
    """`python -m expkit` in a folder of its own, without genuine data unless a test gives some.

    Args:
        folder: where it runs.
        forked: from a process that has imported everything, which saves seconds; else what a user types, to the letter.
    """

    def __init__(self, folder: Path, *, forked: bool = True) -> None:
        self.folder = folder
        self._popen = Command if forked else subprocess.Popen
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("EXPKIT_", "MLFLOW_"))}
        self.environment.update(EXPKIT_CACHE_DIR=str(folder / "cache"), COLUMNS="120", PYTHONUNBUFFERED="1")

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return self._popen(
            [sys.executable, "-m", "expkit", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            **options,
        )

    def __call__(self, *arguments: str, code: int = 0, seconds: float = 180) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=seconds)
        finally:
            process.kill()
        done = subprocess.CompletedProcess(arguments, process.returncode, out, err)
        assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
        return done

    def runs(self) -> list[Path]:
        return sorted(all_runs(self.folder / "runs"))

    def record(self) -> dict[str, Any]:
        (run,) = self.runs()
        return dict(json.loads((run / "run.json").read_text()))

    def mlflow_runs(self) -> list[Any]:
        from expkit.tracking.store import import_mlflow

        mlflow = import_mlflow()
        client = mlflow.MlflowClient(f"sqlite:///{self.folder / 'runs' / 'mlflow.db'}")
        ids = [e.experiment_id for e in client.search_experiments()]
        return list(client.search_runs(ids, order_by=["attributes.start_time ASC"]))


@pytest.fixture(scope="session", autouse=True)
def stores_are_copied(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make the tables of a store once for all tests of this process."""
    from expkit.tracking.store import import_mlflow

    import_mlflow()
    ready_stores(tmp_path_factory.mktemp("stores") / "first.db")


@pytest.fixture
def expkit(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def wait_for(condition: Callable[[], Any], seconds: float, process: subprocess.Popen[str]) -> None:
    """Wait until `condition()` is true; fail when the process ends first or the time is over."""
    import time

    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            out, err = process.communicate()
            pytest.fail(f"ended with {process.returncode}\n{out}\n{err}")
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.05)


def with_environment(line: CommandLine, extra: Mapping[str, str]) -> CommandLine:
    line.environment.update(extra)
    return line


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run in this process, in a folder of the test, and return the run folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)

    def train(name: str, *overrides: str, further: Sequence[Callback] = ()) -> Path:
        folder = tmp_path / "runs" / "mnist_cnn" / name
        experiment.run(compose([*resuming.QUICK, *overrides]), folder, resuming.console(), further=further)
        return folder

    return train
