"""Runs as one file: what comes back out of it, and what is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expkit.cli import export_runs, import_runs
from expkit.errors import ConfigError, RunLockedError
from expkit.lock import RunLock
from expkit.tracking import StoreSettings, open_tracker
from expkit.tracking.store import import_mlflow, sqlite_uri
from tests.integration.conftest import QUICK, CommandLine

Facts = dict[str, Any]
PLACE = "demo/20260101-120000-abc123"


def client(runs: Path) -> Any:
    return import_mlflow().MlflowClient(sqlite_uri(runs / "mlflow.db"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with one run that has points, an artifact and a file that its journal does not know."""
    runs = tmp_path_factory.mktemp("there") / "runs"
    folder = runs / PLACE
    settings = StoreSettings(None, "demo", "a run", runs, runs / "mlartifacts")
    tracker = open_tracker(settings, folder, params={"p": 1}, tags={"run.folder": str(folder), "owner": "me"})
    for step in (1, 2):
        tracker.log_metrics({"loss": 1.0 / step}, step)
    (folder / "a.txt").write_text("a" * 10_000)
    tracker.log_artifact(folder / "a.txt")
    (folder / "run.json").write_text(json.dumps({"id": folder.name, "mlflow_run_id": tracker.run_id}))
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/weights").write_bytes(b"w" * 1000)
    tracker.finish()
    file = runs.parent / "runs.zip"
    assert export_runs.main(["all", "--runs-dir", str(runs), "-o", str(file)]) == 0
    return file


def test_a_run_comes_back_whole_and_once(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = tmp_path / "runs"
    assert import_runs.main([str(bundle), "--runs-dir", str(here)]) == 0
    folder = here / PLACE
    assert (folder / "a.txt").read_text() == "a" * 10_000
    assert (folder / "checkpoints/weights").read_bytes() == b"w" * 1000
    experiment = client(here).get_experiment_by_name("demo")
    (run,) = client(here).search_runs([experiment.experiment_id])
    (then,) = client(bundle.parent / "runs").search_runs(["1"])
    assert run.data.params == then.data.params
    assert run.data.tags["owner"] == "me"
    assert run.data.tags["run.folder"] == str(folder)
    assert (run.info.status, run.info.start_time, run.info.end_time) == (
        *("FINISHED", then.info.start_time, then.info.end_time),
    )
    points, before = (
        [(p.step, p.value, p.timestamp) for p in client(runs).get_metric_history(one.info.run_id, "loss")]
        for runs, one in ((here, run), (bundle.parent / "runs", then))
    )
    assert points == before
    assert [item.path for item in client(here).list_artifacts(run.info.run_id)] == ["a.txt"]
    assert json.loads((folder / "run.json").read_text())["mlflow_run_id"] == run.info.run_id
    capsys.readouterr()
    files = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    assert import_runs.main([str(bundle), "--runs-dir", str(here)]) == 0
    assert capsys.readouterr().out == f"{PLACE} is here already, and left as it is\n"
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == files


def test_checkpoints_may_stay_behind_and_a_run_that_trains_does(bundle: Path, tmp_path: Path) -> None:
    runs, file = bundle.parent / "runs", tmp_path / "small.zip"
    export_runs.main(["all", "--runs-dir", str(runs), "-o", str(file), "--no-checkpoints"])
    assert not [name for name in zipfile.ZipFile(file).namelist() if "checkpoints" in name]
    before = file.read_bytes()
    with RunLock(runs / PLACE), pytest.raises(RunLockedError, match="is being trained"):
        export_runs.main(["last", "--runs-dir", str(runs), "-o", str(file)])
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["small.zip"]


def changed(bundle: Path, into: Path, change: Callable[[dict[str, bytes], Facts], None], **attributes: int) -> Path:
    """Write a bundle that somebody changed."""
    with zipfile.ZipFile(bundle) as source:
        contents = {name: source.read(name) for name in source.namelist() if name != "bundle.json"}
        facts = json.loads(source.read("bundle.json"))
    change(contents, facts)
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in {**contents, "bundle.json": json.dumps(facts).encode()}.items():
            about = zipfile.ZipInfo(name)
            about.external_attr = attributes.get(name.rpartition("/")[2].replace(".", "_"), 0) << 16
            target.writestr(about, content)
    return into


def renamed(name: str) -> Callable[[dict[str, bytes], Facts], None]:
    def change(contents: dict[str, bytes], facts: Facts) -> None:
        contents[name] = contents.pop(f"{PLACE}/a.txt")
        facts["files"][name] = facts["files"].pop(f"{PLACE}/a.txt")

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed(f"{PLACE}/../../../evil"), "is no path within a run"),
        (renamed("/tmp/evil"), "is no path within a run"),
        (renamed(f"{PLACE}/C:evil"), "is no path within a run"),
        (renamed(f"{PLACE}/a\\..\\evil"), "is no path within a run"),
        (renamed("other/run/evil"), "belong to none of its runs"),
        (lambda contents, facts: facts.update(format=2), "is of format 2"),
        (lambda contents, facts: facts.update(runs=["mlflow.db"]), "not in the folder of an experiment"),
        (lambda contents, facts: facts.update(runs=[1]), "not in the folder of an experiment"),
        (lambda contents, facts: facts["files"].popitem(), "is damaged: what is in it is not what"),
        (lambda contents, facts: facts["files"][f"{PLACE}/a.txt"].update(size=5), "is damaged: what is in it is not"),
        (lambda contents, facts: facts.pop("files"), "bundle.json is damaged"),
    ],
)
def test_what_no_bundle_of_ours_holds_is_refused(
    bundle: Path, tmp_path: Path, change: Callable[[dict[str, bytes], Facts], None], message: str
) -> None:
    file = changed(bundle, tmp_path / "evil.zip", change)
    with pytest.raises(ConfigError, match=message):
        import_runs.main([str(file), "--runs-dir", str(tmp_path / "runs")])
    assert [path.name for path in tmp_path.iterdir()] == ["evil.zip"]


def test_links_and_files_that_are_no_zip_are_refused(bundle: Path, tmp_path: Path) -> None:
    file = changed(bundle, tmp_path / "evil.zip", lambda contents, facts: None, a_txt=0o120777)
    with pytest.raises(ConfigError, match=r"a\.txt' is no plain file"):
        import_runs.main([str(file), "--runs-dir", str(tmp_path / "runs")])
    file.write_bytes(bundle.read_bytes()[:-500])
    with pytest.raises(ConfigError, match="is no bundle of runs, or is damaged"):
        import_runs.main([str(file), "--runs-dir", str(tmp_path / "runs")])
    with pytest.raises(ConfigError, match="No such file"):
        import_runs.main([str(tmp_path / "none.zip"), "--runs-dir", str(tmp_path / "runs")])
    assert not (tmp_path / "runs").exists()


def test_a_damaged_run_is_left_out(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(contents: dict[str, bytes], facts: Facts) -> None:
        contents[f"{PLACE}/a.txt"] = b"b" * 10_000

    file = changed(bundle, tmp_path / "damaged.zip", change)
    assert import_runs.main([str(file), "--runs-dir", str(tmp_path / "runs")]) == 1
    assert "a.txt is damaged" in capsys.readouterr().err
    assert [path for path in (tmp_path / "runs").rglob("*") if path.is_file()] == []


@pytest.mark.slow  # a run and a sweep, and the verbs that look at them afterwards
def test_an_imported_run_is_like_any_other(expkit: CommandLine, tmp_path: Path) -> None:
    short = (*QUICK, "plots=none", "model=mlp")
    expkit(*short, "trainer.epochs=2", "trainer.stop_after=1")
    expkit("-m", *short, "seed=0,1", "export=none")
    expkit("export-runs", "all", "-o", "mine.zip")
    other = CommandLine(tmp_path / "other")
    other.folder.mkdir()
    done = other("import-runs", str(expkit.folder / "mine.zip"))
    assert "4 runs: 4 sent" in done.stdout
    names = sorted(run.info.run_name for run in expkit.mlflow_runs())
    assert sorted(run.info.run_name for run in other.mlflow_runs()) == names
    runs = {run.info.run_name: run for run in other.mlflow_runs()}
    ids = {run.info.run_id for run in runs.values()}
    jobs = [run.data.tags for run in runs.values() if "sweep.job" in run.data.tags]
    assert [tags["mlflow.parentRunId"] in ids for tags in jobs] == [True] * 2
    assert "seed" in other("compare").stdout
    (single,) = [run for run in other.runs() if not run.name.isdigit()]
    other("resume", str(single), "trainer.stop_after=null")
    assert (single / "export/paddle/model.json").is_file()
    assert "mlp" in other("show", "run", str(single)).stdout
    assert len(other.mlflow_runs()) == 4
