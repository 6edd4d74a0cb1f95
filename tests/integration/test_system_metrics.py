"""System metrics on request: what a run holds of the machine's use, and that the watching ends with the run."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from expkit import experiment
from expkit.api import Callback, ConfigError, FitStart
from expkit.config import compose
from expkit.tracking import SystemMonitor
from expkit.tracking.journal import METRICS, read_journal
from expkit.tracking.store import import_mlflow
from tests.integration.test_resume import console

pytest.importorskip("psutil")

QUICK = (
    *("+experiment=mnist_cnn", "dataset.download=false", "dataset.limit=200", "trainer.epochs=1", "model=linear"),
    *("export=none", "plots=none", "tracking.system_metrics=true", "tracking.system_metrics_every=1"),
)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)


class Slowly(Callback):
    """Takes its time."""

    def on_fit_start(self, event: FitStart) -> None:
        time.sleep(1.5)


def steps(folder: Path, name: str) -> list[int]:
    found = [o for o in read_journal(folder) if o.what == METRICS and name in o.facts["values"]]
    return [operation.facts["step"] for operation in found]


def is_watched() -> bool:
    return any(thread.name == "expkit-system" for thread in threading.enumerate())


def test_a_run_records_what_machine_and_process_do_and_goes_on_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "mnist_cnn" / "one"
    experiment.run(compose(list(QUICK)), folder, console(), last_step=2, further=[Slowly()])
    assert not is_watched()
    before = steps(folder, "system/process_memory_usage_megabytes")
    assert before, "a run that pauses has them, too"

    experiment.resume(folder, [], console(), further=[Slowly()])
    assert not is_watched()
    client = import_mlflow().MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    metrics = run.data.metrics
    assert 50 < metrics["system/process_memory_usage_megabytes"] < 50_000
    assert metrics["system/system_memory_usage_percentage"] > 0
    assert metrics["system/disk_available_megabytes"] > 0
    assert metrics.keys() >= {
        *("system/cpu_utilization_percentage", "system/process_cpu_utilization_percentage"),
        *("system/network_receive_megabytes", "system/network_transmit_megabytes"),
    }
    points = client.get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")
    seconds = sorted(point.step for point in points)
    assert seconds[: len(before)] == before
    assert len(set(seconds)) == len(seconds) > len(before), "the axis goes on where it was"


def test_without_the_package_the_remedy_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ConfigError, match=r"pip install 'expkit\[system\]'"):
        experiment.run(compose(list(QUICK)), tmp_path / "runs" / "mnist_cnn" / "one", console())
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_ends_the_watching_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(values: object, step: int) -> None:
        raise OSError("no room")

    with SystemMonitor(refuse, tmp_path, began=time.time() - 60, every=60):
        pass
    assert not is_watched()
    assert "The system metrics end here: OSError: no room" in caplog.text


def test_it_ends_with_what_it_watches_and_says_what_was_used_until_then(tmp_path: Path) -> None:
    found: list[int] = []
    with (
        pytest.raises(KeyboardInterrupt),
        SystemMonitor(lambda _, step: found.append(step), tmp_path, began=0, every=60),
    ):
        raise KeyboardInterrupt
    assert not is_watched()
    assert len(found) == 1, "less than an interval, and yet a point"
