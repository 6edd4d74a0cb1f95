"""Runs that were made for it are listed, compared, shown and told apart by the verbs of the command line."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from expkit import experiment
from expkit.cli import main
from expkit.config import compose
from expkit.errors import TrainingStoppedError
from expkit.runs import read_record
from expkit.tracking.query import open_query
from tests.integration import resuming
from tests.integration.test_docs import BLOCK, as_pattern

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs/comparing.md"
RATES, SEEDS = (0.1, 0.01), (0, 1, 2)
RUNS, SWEEP = Path("runs/housing_numpy_sgd"), "sweep-20261123-120000-ab12cd"
QUICK = (
    *("+experiment=housing_numpy_sgd", "dataset.download=false", "trainer.epochs=20"),
    *("export=none", "plots=none", "tracking.checkpoints=false"),
)
Call = Callable[..., str]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep of two rates and three seeds, one run that is in no store, and one that failed."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("EXPKIT_DATA_DIR", raising=False)
        for number, (rate, seed) in enumerate(itertools.product(RATES, SEEDS)):
            sweep = ("+tracking.tags.sweep=ab12cd", f"tracking.run_name='numpy_linear lr={rate} seed={seed}'")
            _train(f"{SWEEP}/{number}", f"learner.learning_rate={rate}", f"seed={seed}", *sweep)
        time.sleep(1.1)  # a folder tells the second of the start only
        _train("20261126-130000-bbbbbb", "tracking=none", "seed=7")
        with pytest.raises(TrainingStoppedError):
            _train("20261126-140000-cccccc", "learner.learning_rate=1e200", "seed=0")
    return folder


def _train(name: str, *overrides: str) -> None:
    experiment.run(compose([*QUICK, *overrides]), RUNS / name, resuming.console())


@pytest.fixture
def expkit(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call the command line in the project's folder; returns what it printed."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: str, code: int = 0) -> str:
        assert main(list(arguments)) == code
        out, err = capsys.readouterr()
        return err if code else out

    return call


@contextmanager
def moved_away(project: Path) -> Iterator[None]:
    """Within this context no run's folder is where it was."""
    (project / RUNS).rename(project / "away")
    try:
        yield
    finally:
        (project / "away").rename(project / RUNS)


def records(project: Path, rate: float) -> list[dict[str, Any]]:
    first = RATES.index(rate) * len(SEEDS)
    return [read_record(project / RUNS / SWEEP / str(first + number)) for number in range(len(SEEDS))]


def test_seeds_are_one_line_with_mean_and_deviation_of_what_their_folders_say(expkit: Call, project: Path) -> None:
    out = expkit("compare", "status=FINISHED", "seed<7")
    assert out.splitlines()[0] == (
        "housing_numpy_sgd: 6 runs in 2 groups of runs/mlflow.db, the best valid/best_mse first (lower is better)"
    )
    values = [one["metrics"]["valid/mse"] for one in records(project, 0.1)]
    assert len(values) == 3
    line = next(line for line in out.splitlines() if " 0.1 " in line)
    assert f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}" in line
    assert f"{statistics.fmean([one['metrics']['test/mse'] for one in records(project, 0.1)]):.4f} ± " in line
    assert out.index(" 0.1 ") < out.index(" 0.01 ")


def test_without_groups_each_run_has_a_line_and_its_seed(expkit: Call) -> None:
    out = expkit(
        "compare", "learning_rate=0.1", "seed<3", "--no-group", "--sort", "seed", "--descending", "--limit", "2"
    )
    assert "3 runs of runs/mlflow.db, by seed, the greatest first" in out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("ab12cd")] == ["ab12cd.2", "ab12cd.1"]
    assert "... and 1 more line; --limit N shows more" in out


def test_the_list_has_every_run_the_newest_first_with_its_true_status(expkit: Call) -> None:
    out = expkit("runs")
    assert out.startswith("8 runs of housing_numpy_sgd in runs/mlflow.db\n")
    assert [line.split()[0] for line in out.splitlines()[3:5]] == ["cccccc", "bbbbbb"]
    assert "failed" in out
    assert "one of the runs is in no tracking store" in out
    assert expkit("runs", "--ids", "status=FAILED") == "20261126-140000-cccccc\n"
    assert json.loads(expkit("runs", "--json", "bbbbbb"))[0]["mlflow_run_id"] is None
    assert "... and 5 more" in expkit("runs", "--limit", "3")


def test_files_hold_every_run_with_its_values(expkit: Call, project: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(expkit("compare", "--csv", "-", "--limit", "1"))))
    assert len(rows) == 8
    by_id = {row["run"]: row for row in rows}
    for record in records(project, 0.01):
        row = by_id[record["id"]]
        assert float(row["test/mse"]) == record["metrics"]["test/mse"]
        assert float(row["valid/best_mse"]) == record["metrics"]["valid/mse"]
        assert (row["learner.learning_rate"], row["seed"]) == ("0.01", str(record["seed"]))
        assert (row["mlflow_run_id"], row["folder"].endswith("ab12cd/" + record["id"][-1])) == (
            record["mlflow_run_id"],
            True,
        )
    out = expkit("compare", "--json", str(tmp_path / "x.json"), "--parquet", str(tmp_path / "x.parquet"))
    assert "(8 runs, " in out
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(tmp_path / "x.parquet")
    assert frame["seed"].tolist() == [row["seed"] for row in json.loads((tmp_path / "x.json").read_text())]


def test_curves_are_drawn_from_folders_and_from_the_store(expkit: Call, project: Path, tmp_path: Path) -> None:
    from PIL import Image

    pictures = [tmp_path / "folders.png", tmp_path / "store.png"]
    expkit("compare", "seed<3", "--plot", str(pictures[0]))
    with moved_away(project):
        expkit("compare", "seed<3", "--plot", str(pictures[1]))
    first, second = (Image.open(picture).convert("RGB").tobytes() for picture in pictures)
    assert first == second


def test_mlflows_own_conditions_are_understood(expkit: Call) -> None:
    out = expkit("runs", "--ids", "--where", "params.`learner.learning_rate` = '0.1' and params.seed = '2'")
    assert out == f"{SWEEP}.2\n"
    said = expkit("runs", "--where", "params.seed ~ 2", code=2)
    assert said.startswith("error: --where 'params.seed ~ 2': ")
    assert "It is written as in MLflow's search" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "housing_nump_sgd"], "called 'housing_nump_sgd'. Did you mean 'housing_numpy_sgd'?"),
        (["compare", "learnin_rate=1"], "no run has 'learnin_rate'. Did you mean 'learning_rate'"),
        (["compare", "seed=12345"], "none of the 8 runs of housing_numpy_sgd in runs/mlflow.db fits: seed=12345"),
        (["runs", "--runs-dir", "nix"], "there are no runs in nix: neither mlflow.db nor a run's folder. Start one"),
        (["runs", "--uri", "sqlite:///nix.db"], "there is no tracking store"),
        (["compare", "--csv", "-", "--json", "-"], "--csv - and --json - both write to stdout. Name a file for one"),
        (["compare", "--csv", "nix/x.csv"], "nix/x.csv cannot be written: No such file or directory"),
    ],
)
def test_mistakes_are_explained(expkit: Call, arguments: list[str], said: str) -> None:
    out = expkit(*arguments, code=2)
    assert out.startswith("error: ")
    assert said in out


def test_folders_alone_are_enough(expkit: Call, project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / RUNS, tmp_path / RUNS.name)
    alone = expkit("compare", "seed<3", "status=FINISHED", "--csv", "-", "--runs-dir", str(tmp_path))
    stored = expkit("compare", "seed<3", "status=FINISHED", "--csv", "-")
    values = ("run", "seed", "learner.learning_rate", "test/mse", "valid/best_mse", "data_fingerprint", "git_commit")
    both = [[[row[key] for key in values] for row in csv.DictReader(io.StringIO(text))] for text in (alone, stored)]
    assert both[0] == both[1]


def test_a_page_tells_all_of_a_run(expkit: Call, project: Path) -> None:
    record = records(project, 0.1)[1]
    out = expkit("show", "run", "ab12cd.1")
    for text in (
        f"{SWEEP}.1  housing_numpy_sgd",
        "status      finished",
        "command     python -m expkit +experiment=housing_numpy_sgd",
        "STAND-IN DATA: this is NOT housing",
        "seed        1",
        "learner     numpy_linear  learning_rate=0.1",
        f"best epoch {record['best_epoch']} of 20 (valid/mse ",
        f"{record['metrics']['test/rmse']:.4f}",
        f"{record['mlflow_run_id']}  (python -m expkit ui, then #/experiments/",
        "python -m expkit reproduce runs/housing_numpy_sgd/sweep-20261123-120000-ab12cd/1",
    ):
        assert text in out, out
    failed = expkit("show", "run", "cccccc")
    assert "status      failed: " in failed
    assert "python -m expkit resume runs/housing_numpy_sgd/20261126-140000-cccccc" in failed
    untracked = expkit("show", "runs/housing_numpy_sgd/20261126-130000-bbbbbb")
    assert (
        "MLflow run  none; `python -m expkit sync runs/housing_numpy_sgd/20261126-130000-bbbbbb` makes one" in untracked
    )
    facts = json.loads(expkit("show", "run", "ab12cd.1", "--json"))
    assert (facts["metrics"], facts["parameters"]["seed"]) == (record["metrics"], "1")
    assert expkit("show", "run", code=2).startswith("error: which run? `python -m expkit show run last`")


def test_the_store_alone_is_enough_for_a_page_and_for_a_difference(expkit: Call, project: Path) -> None:
    page = expkit("show", "run", "ab12cd.1").split("\n\nrun folder")[0]
    with moved_away(project):
        stored = expkit("show", "run", "ab12cd.1")
        between = expkit("diff", "ab12cd.0", "ab12cd.1")
    table = page.partition("seed  ")[2].partition("run folder")[0]
    assert table in stored
    assert "ab12cd/1  (not here)" in stored
    assert "do it again from what MLflow holds" in stored
    assert between == expkit("diff", "ab12cd.0", "ab12cd.1")


def test_a_difference_tells_what_differs_and_what_is_the_same(expkit: Call, project: Path) -> None:
    one, other = (next(r for r in records(project, rate) if r["seed"] == 0) for rate in RATES)
    found = json.loads(expkit("diff", "ab12cd.0", "ab12cd.3", "--json"))
    assert found["options"] == {"learner.learning_rate": ["0.1", "0.01"]}
    assert found["results"]["test/mse"] == [one["metrics"]["test/mse"], other["metrics"]["test/mse"]]
    assert (found["data"], found["versions"], found["machine"]) == ({}, {}, {})
    assert found["code"] is None or found["code"]["not_compared"]  # the second where these tests are in no checkout
    out = expkit("diff", "ab12cd.0", "ab12cd.3")
    change = f"{other['metrics']['test/mse'] - one['metrics']['test/mse']:+.4g} worse"
    assert any(line.split()[0] == "test/mse" and line.rstrip().endswith(change) for line in out.splitlines() if line)
    assert "training  parts at step " in out
    assert "choices and options; data (diabetes (stand-in for housing), fingerprint " in out.splitlines()[-1]
    same = expkit("diff", "ab12cd.0", "ab12cd.0")
    assert "every step and epoch, bit by bit; results" in same
    assert expkit("diff", "ab12cd.0", "zzzzzz", code=2).startswith("error: no run 'zzzzzz'")


@pytest.mark.skipif(sys.platform == "win32", reason="the page's commands are for a POSIX shell")
def test_the_page_on_comparing_promises_what_is_printed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("PYTHONPATH", str(PAGE.parents[1]))
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    blocks = list(BLOCK.finditer(PAGE.read_text(encoding="utf-8")))
    commands = [(one["text"], after["text"]) for one, after in itertools.pairwise(blocks) if after["kind"] == "text"]
    assert len(commands) == 9
    for command, promised in commands:
        needs_shell = not command.startswith("python -m expkit") or "|" in command  # it costs a second more
        code = subprocess.call(["bash", "-c", command]) if needs_shell else main(shlex.split(command)[3:])
        output = "".join(capfd.readouterr())
        assert code == (2 if promised.startswith("error: ") else 0), output
        assert re.search(as_pattern(promised), output, re.S), f"{command}{output}\npromised:\n{promised}"
    for name in ("curves.png", "runs.csv", "runs.json", "runs.parquet"):
        (project / name).unlink()


def test_what_is_read_from_the_tables_is_what_mlflow_says(project: Path) -> None:
    query = open_query(None, project / "runs")
    assert query is not None
    experiments = query.experiments()
    by_mlflow = query.runs(experiments, where="attributes.status != 'SCHEDULED'")
    assert len(by_mlflow) == 7
    assert query.runs(experiments) == by_mlflow
    assert query.run(by_mlflow[2].id) == by_mlflow[2]
    assert query.run("0" * 32) is None
