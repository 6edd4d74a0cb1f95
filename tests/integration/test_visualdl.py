"""VisualDL gets the very scalars that MLflow gets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from expkit import experiment
from expkit.api import ConfigError
from expkit.config import compose
from expkit.tracking.store import import_mlflow
from tests.integration.test_resume import console

QUICK = (
    *("+experiment=mnist_cnn", "dataset.download=false", "dataset.limit=200", "trainer.epochs=2", "model=linear"),
    *("export=none", "plots=none", "tracking.visualdl=true"),
)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)


def test_visualdl_holds_the_same_points_as_mlflow(tmp_path: Path) -> None:
    visualdl = pytest.importorskip("visualdl")
    folder = tmp_path / "runs" / "mnist_cnn" / "one"
    experiment.run(compose(list(QUICK)), folder, console())
    (file,) = (folder / "visualdl").iterdir()
    reader = visualdl.LogReader(file_path=str(file))
    client = import_mlflow().MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert set(reader.get_tags()["scalar"]) == set(run.data.metrics) >= {"step/loss", "valid/loss", "test/accuracy"}
    for name in ("step/loss", "valid/accuracy", "test/loss"):
        stored = sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))
        written = [(point.id, point.value) for point in reader.get_data("scalar", name)]
        assert [step for step, _ in written] == [step for step, _ in stored]
        assert [value for _, value in written] == pytest.approx([value for _, value in stored], rel=1e-6)


def test_without_the_package_the_remedy_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "visualdl", None)
    with pytest.raises(ConfigError, match=r"pip install 'expkit\[visualdl\]'"):
        experiment.run(compose(list(QUICK)), tmp_path / "runs" / "mnist_cnn" / "one", console())
    assert list(tmp_path.iterdir()) == []
