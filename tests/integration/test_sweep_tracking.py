"""A sweep in MLflow: its own run, the runs of its jobs in it, and what becomes of them when something dies."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from expkit import tracking
from expkit.cli.sync import main
from expkit.config import ExperimentConfig, compose
from expkit.errors import TrackingError
from expkit.lock import RunLock
from expkit.sweeping.jobs import Job, Outcome, Report
from expkit.sweeping.parent_run import NoParent, Sweep, open_parent
from expkit.sweeping.results import of_jobs
from expkit.sweeping.standing import Before, sum_up
from expkit.tracking.left_behind import send_left_behind
from expkit.tracking.store import import_mlflow, sqlite_uri
from tests.integration.tracked import wait_for

MONITOR = {"name": "valid/accuracy", "higher_is_better": True}


class Sweeping:
    """A sweep whose jobs only write what a job leaves behind."""

    def __init__(self, folder: Path, config: ExperimentConfig) -> None:
        self.runs = folder / "runs"
        self.folder = self.runs / "mnist_cnn" / "sweep-20260101-120000-ab12cd"
        self.folder.mkdir(parents=True)
        self.locked = ExitStack()  # as a sweep that runs is
        self.locked.enter_context(RunLock(self.folder))
        self.sweep = Sweep(
            self.folder,
            config,
            "python -m expkit -m +experiment=mnist_cnn optimizer=sgd,adam",
            ["+experiment=mnist_cnn", "seed=1"],
            ["optimizer"],
            jobs=2,
        )
        self.jobs: list[Job] = []
        self.outcomes: dict[int, Outcome] = {}

    def job(self, parent: NoParent, number: int, optimizer: str, value: float | None) -> str:
        """One job that comes to a value, or dies; returns the id of its run."""
        varies, choices = (f"optimizer={optimizer}",), {"optimizer": optimizer}
        job = Job(number, self.folder / str(number), varies, varies, json.dumps(choices), choices, str(number))
        job.folder.mkdir(exist_ok=True)
        name = str(parent.run_name(number, varies, choices))
        enabled = self.sweep.config.tracking.kind != "none"
        settings = tracking.StoreSettings(
            None, "mnist_cnn", name, self.runs, self.runs / "mlartifacts", enabled=enabled
        )
        tags = {"run.folder": str(job.folder), **parent.tags(number)}
        identity = f"{self.folder.name}.{number}"
        tracker = tracking.open_tracker(settings, job.folder, params=choices, tags=tags, identity=identity)
        record: dict[str, Any] = {"name": "mnist_cnn", "status": "RUNNING", "mlflow_run_id": tracker.run_id}
        parent.started(job, "cpu 0", 1)
        outcome = Outcome("CRASHED", "killed by SIGKILL")
        if value is not None:
            parent.reported(job, Report(1, 1, 5, 5, {}, value, "valid/accuracy"))
            record.update(status="FINISHED", metrics={"valid/accuracy": value, "test/accuracy": value}, monitor=MONITOR)
            tracker.finish()
            outcome = Outcome("FINISHED", value=value)
        (job.folder / "run.json").write_text(json.dumps(record))
        parent.ended(job, outcome)
        self.jobs.append(job)
        self.outcomes[number] = outcome
        return tracker.run_id

    @property
    def client(self) -> Any:
        return import_mlflow().MlflowClient(sqlite_uri(self.runs / "mlflow.db"))

    def run(self, run_id: str) -> Any:
        return self.client.get_run(run_id)

    @property
    def view(self) -> Any:
        """The page of the sweep."""
        tags = self.client.get_experiment_by_name("mnist_cnn").tags
        return json.loads(tags.get("mlflow.sharedViewState.sweep-ab12cd", "null"))

    @property
    def own(self) -> str:
        """Id of the sweep's own run."""
        return str(json.loads((self.folder / "tracking.sent.json").read_text())["run_id"])

    def send_left_behind(self) -> int:
        return send_left_behind(tracking.StoreSettings(None, "", "", self.runs, self.runs / "mlartifacts"))


@pytest.fixture
def sweeping(tmp_path: Path) -> Iterator[Sweeping]:
    made = Sweeping(tmp_path, compose(["+experiment=mnist_cnn", f"runs_dir={tmp_path / 'runs'}"]))
    with made.locked:
        yield made


def test_the_runs_of_the_jobs_are_nested_in_that_of_the_sweep_which_has_its_results(sweeping: Sweeping) -> None:
    parent = open_parent(sweeping.sweep)
    assert sweeping.run(sweeping.own).info.status == "RUNNING"
    first, second = sweeping.job(parent, 0, "sgd", 0.8), sweeping.job(parent, 1, "adam", 0.9)
    (sweeping.folder / "results.csv").write_text("job\n")
    parent.finish(of_jobs(sweeping.jobs, sweeping.outcomes))

    stored = sweeping.run(sweeping.own)
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "sweep optimizer · ab12cd"
    assert stored.data.params == {"experiment": "mnist_cnn", "seed": "1"}
    assert stored.data.metrics["valid/best_accuracy"] == stored.data.metrics["sweep/best"] == 0.9
    assert stored.data.metrics["sweep/jobs_done"] == 2
    best = [(point.step, point.value) for point in sweeping.client.get_metric_history(sweeping.own, "sweep/best")]
    assert sorted(best) == [(1, 0.8), (2, 0.9)], "the end does not repeat the last point"
    tags = stored.data.tags
    assert (tags["sweep.varies"], tags["sweep.jobs"], tags["sweep.best_run_id"]) == ("optimizer", "2", second)
    assert "optimizer=sgd,adam" in tags["command"]
    assert "| 1&emsp; | adam&emsp; | finished&emsp; | 0.9000&emsp; |" in tags["mlflow.note.content"]
    assert [item.path for item in sweeping.client.list_artifacts(sweeping.own)] == ["results.csv"]
    children = [sweeping.run(one) for one in (first, second)]
    assert [one.info.run_name for one in children] == ["0 · sgd · ab12cd.0", "1 · adam · ab12cd.1"]
    assert {one.data.tags["mlflow.parentRunId"] for one in children} == {sweeping.own}
    assert [one.data.tags.get("sweep.best") for one in children] == [None, "true"]


def test_the_page_of_a_sweep_shows_what_varies_and_the_best_first_at_all_times(sweeping: Sweeping) -> None:
    parent = open_parent(sweeping.sweep)
    views = [wait_for(lambda: sweeping.view)]
    sweeping.job(parent, 0, "sgd", 0.8)
    parent.finish(of_jobs(sweeping.jobs, sweeping.outcomes), stopped="the test")
    views.append(sweeping.view)
    open_parent(replace(sweeping.sweep, before=Before(1))).finish(stopped="before any job began")
    views.append(sweeping.view)
    for view in views:
        assert sweeping.own in view["searchFilter"]
        assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`valid/best_accuracy`", False)
        lines, _ = view["compareRunCharts"]
        assert (lines["selectedParams"], lines["selectedMetrics"]) == (["optimizer"], ["valid/best_accuracy"])
    assert parent.where() == f"python -m expkit ui --sweep ab12cd --runs-dir {sweeping.runs}"


def test_one_command_shows_a_sweep_in_another_store(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'mine.db'}"
    config = compose(["+experiment=mnist_cnn", f"tracking.uri={store}", f"runs_dir={tmp_path / 'runs'}"])
    sweeping = Sweeping(tmp_path, config)
    with sweeping.locked:
        parent = open_parent(sweeping.sweep)
        parent.finish(stopped="the test")
    assert parent.where() == f"python -m expkit ui --sweep ab12cd --uri {store} --runs-dir {tmp_path / 'runs'}"


def test_the_chart_has_few_axes_and_those_that_each_job_has(sweeping: Sweeping) -> None:
    always = ["seed", "optimizer", "optimizer.learning_rate", "dataset.batch_size", "trainer.epochs", "model.channels"]
    varies = [*always, "optimizer.momentum", "schedule"]
    open_parent(replace(sweeping.sweep, varies=varies, axes=[*always, "schedule"])).finish()
    lines, _ = sweeping.view["compareRunCharts"]
    expected = ["optimizer", "optimizer.learning_rate", "dataset.batch_size", "trainer.epochs", "model.channels"]
    assert lines["selectedParams"] == expected
    assert "params.`optimizer.momentum`" in sweeping.view["selectedColumns"]


@pytest.mark.slow
def test_the_best_so_far_and_its_steps_go_on_in_a_resumed_sweep(sweeping: Sweeping) -> None:
    parent = open_parent(sweeping.sweep)
    sweeping.job(parent, 0, "sgd", 0.8)
    parent.finish(of_jobs(sweeping.jobs, sweeping.outcomes), stopped="stopped by SIGINT")
    again = open_parent(replace(sweeping.sweep, before=sum_up(sweeping.outcomes, sweeping.sweep.aim)))
    sweeping.job(again, 1, "adam", 0.7)
    again.finish(of_jobs(sweeping.jobs, sweeping.outcomes))
    for name, values in (("sweep/best", {0.8}), ("sweep/jobs_done", {1, 2})):
        history = sorted(sweeping.client.get_metric_history(sweeping.own, name), key=lambda point: point.timestamp)
        steps = [point.step for point in history]
        assert steps == sorted(set(steps))
        assert {point.value for point in history} == values
    open_parent(sweeping.sweep).finish(of_jobs(sweeping.jobs, sweeping.outcomes))  # nothing was left to do
    for name in ("sweep/best", "test/accuracy"):
        assert len(sweeping.client.get_metric_history(sweeping.own, name)) == (2 if name == "sweep/best" else 1)


def test_a_sweep_fails_with_one_of_its_jobs(sweeping: Sweeping) -> None:
    parent = open_parent(sweeping.sweep)
    sweeping.job(parent, 0, "sgd", 0.8)
    sweeping.job(parent, 1, "adam", None)
    parent.finish(of_jobs(sweeping.jobs, sweeping.outcomes))
    stored = sweeping.run(sweeping.own)
    assert (stored.info.status, stored.data.tags["status.reason"]) == ("FAILED", "1 of 2 jobs failed")


def test_a_resumed_sweep_goes_on_in_its_run_and_has_one_best_job(sweeping: Sweeping) -> None:
    parent = open_parent(sweeping.sweep)
    first = sweeping.job(parent, 0, "sgd", 0.8)
    parent.finish(of_jobs(sweeping.jobs, sweeping.outcomes), stopped="stopped by SIGINT")
    stored = sweeping.run(sweeping.own)
    assert (stored.info.status, stored.data.tags["status.reason"]) == ("KILLED", "stopped by SIGINT")
    assert sweeping.run(first).data.tags["sweep.best"] == "true"

    own = sweeping.own
    again = open_parent(replace(sweeping.sweep, before=Before(1)))
    wait_for(lambda: sweeping.run(own).info.status == "RUNNING")
    second = sweeping.job(again, 1, "adam", 0.9)
    again.finish(of_jobs(sweeping.jobs, sweeping.outcomes))
    stored = sweeping.run(sweeping.own)
    assert stored.info.status == "FINISHED"
    assert "status.reason" not in stored.data.tags
    assert stored.data.metrics["test/accuracy"] == 0.9
    assert "sweep.best" not in sweeping.run(first).data.tags
    assert sweeping.run(second).data.tags["sweep.best"] == "true"


def test_a_sweep_whose_run_was_deleted_gets_a_new_one(sweeping: Sweeping, caplog: pytest.LogCaptureFixture) -> None:
    open_parent(sweeping.sweep).finish(stopped="the test")
    gone = sweeping.own
    sweeping.client.delete_run(gone)
    with caplog.at_level(logging.WARNING):
        open_parent(sweeping.sweep).finish()
    assert sweeping.own != gone
    assert sweeping.run(sweeping.own).info.status == "FINISHED"
    assert "is made there anew" in caplog.text


def test_a_sweep_whose_process_died_is_set_right_by_who_sees_it_next(sweeping: Sweeping) -> None:
    parent = open_parent(sweeping.sweep)
    child, own = sweeping.job(parent, 0, "sgd", None), sweeping.own
    assert sweeping.send_left_behind() == 1, "the job, whose process is dead"
    assert (sweeping.run(own).info.status, sweeping.run(child).info.status) == ("RUNNING", "FAILED")
    sweeping.locked.close()
    assert sweeping.send_left_behind() == 1
    assert sweeping.run(own).info.status == "FAILED"
    reason = sweeping.run(own).data.tags["status.reason"]
    assert "process died" in reason
    assert "resume-sweep" in reason
    assert sweeping.send_left_behind() == 0


def test_without_tracking_a_sweep_can_be_sent_later(tmp_path: Path) -> None:
    config = compose(["+experiment=mnist_cnn", "tracking=none", f"runs_dir={tmp_path / 'runs'}"])
    sweeping = Sweeping(tmp_path, config)
    parent = open_parent(sweeping.sweep)
    sweeping.job(parent, 0, "sgd", 0.8)
    sweeping.job(parent, 1, "adam", 0.9)
    assert parent.where() == ""
    parent.finish(of_jobs(sweeping.jobs, sweeping.outcomes))
    sweeping.locked.close()
    assert not (sweeping.runs / "mlflow.db").exists()
    assert main(["all", "--runs-dir", str(sweeping.runs)]) == 0
    runs = {run.info.run_name: run for run in sweeping.client.search_runs(["1"])}
    assert set(runs) == {"sweep optimizer · ab12cd", "0 · sgd · ab12cd.0", "1 · adam · ab12cd.1"}
    best = runs["1 · adam · ab12cd.1"]
    assert best.data.tags["mlflow.parentRunId"] == sweeping.own
    assert best.data.tags["sweep.best"] == "true"
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_a_store_that_cannot_be_used_is_a_refusal(tmp_path: Path) -> None:
    config = compose(["+experiment=mnist_cnn", "tracking.uri=http://127.0.0.1:9", f"runs_dir={tmp_path / 'runs'}"])
    with pytest.raises(TrackingError, match=r"tracking\.kind=none"):
        open_parent(Sweep(tmp_path, config, ""))
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_goes_away_does_not_stop_the_sweep(sweeping: Sweeping, caplog: pytest.LogCaptureFixture) -> None:
    parent = open_parent(sweeping.sweep)
    sweeping.job(parent, 0, "sgd", 0.8)
    (sweeping.runs / "mlflow.db").unlink()
    (sweeping.runs / "mlflow.db").write_text("this is no database")
    with caplog.at_level(logging.WARNING):
        parent.finish(of_jobs(sweeping.jobs, sweeping.outcomes))
    assert "Not stored in" in caplog.text
