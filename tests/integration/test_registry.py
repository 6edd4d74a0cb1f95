"""Runs that register their models: versions, their tags, and who gets the alias."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expkit.cli.sync import main as sync
from expkit.errors import ConfigError
from expkit.registration import register_export
from expkit.settings import ExportSettings, Settings, check
from expkit.tracking import RegisterRequest, StoreSettings, Tracker, extend_tracker, open_tracker
from expkit.tracking.left_behind import settings_of
from expkit.tracking.registry import Registered, compare, register
from expkit.tracking.store import Store, import_mlflow
from tests.integration.conftest import QUICK, CommandLine
from tests.integration.exports import Export
from tests.integration.test_journal import server
from tests.integration.tracked import begin

ROOT = Path(__file__).parents[2]
RAW = np.random.default_rng(0).integers(0, 256, (2, 28, 28), dtype=np.uint8)
REQUEST = RegisterRequest(
    name="digits",
    alias="champion",
    run="20260101-120000-abcdef",
    experiment="mnist_cnn",
    metric="valid/accuracy",
    value=0.9,
    mode="max",
    data="mnist",
    fingerprint="f" * 64,
    format="onnx",
    card="**card**",
)
TAGS = REQUEST.tags("m-1")


def settings(runs: Path, uri: str | None = None) -> StoreSettings:
    return StoreSettings(uri, "mnist_cnn", "run", runs, runs / "mlartifacts")


def client(runs: Path) -> Any:
    return import_mlflow().MlflowClient(f"sqlite:///{runs}/mlflow.db")


def registers(runs: Path, export: Path, request: RegisterRequest, uri: str | None = None) -> Tracker:
    """A run that registers an export as its model."""
    tracker = begin(settings(runs, uri))
    assert tracker.log_model(export, RAW, step=3) is not None
    tracker.register(export, request, step=3)
    tracker.finish()
    return tracker


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def export(runs: Path) -> Path:
    return Export(runs / "export").folder


def test_a_version_knows_its_run_and_the_better_one_gets_the_alias(
    runs: Path, export: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="expkit.told"):
        trackers = [registers(runs, export, replace(REQUEST, value=value)) for value in (0.9, 0.9, 0.95)]
    store = client(runs)
    first, second, third = (store.get_model_version("digits", number) for number in "123")
    assert [one.run_id for one in (first, second, third)] == [one.run_id for one in trackers]
    assert [one.description for one in (first, second)] == ["**card**", "**card**"]
    (model,) = store.get_run(first.run_id).outputs.model_outputs
    assert first.tags == {
        "run": "20260101-120000-abcdef",
        "experiment": "mnist_cnn",
        "metric": "valid/accuracy",
        "metric.value": "0.9",
        "metric.mode": "max",
        "data": "mnist",
        "data.fingerprint": "f" * 64,
        "format": "onnx",
        "model_id": model.model_id,
        "decision": "champion: nobody had it before; valid/accuracy 0.9",
    }
    assert second.tags["decision"] == "not champion: valid/accuracy 0.9 is no better than 0.9 of version 1"
    assert third.tags["decision"] == "champion: valid/accuracy 0.95 is better than 0.9 of version 1"
    registered = store.get_registered_model("digits")
    assert registered.aliases == {"champion": "3"} or registered.aliases == {"champion": 3}
    assert "models:/digits@champion" in registered.description
    noted = json.loads(store.get_logged_model(model.model_id).tags["mlflow.modelVersions"])
    assert noted == [{"name": "digits", "version": 1}]
    told = [told for told in caplog.messages if told.startswith("registered")]
    assert told[2] == f"registered as version 3 of digits, {third.tags['decision']}"
    assert store.get_run(third.run_id).data.tags["registered.digits"] == told[2].removeprefix("registered as ")


@pytest.mark.slow
def test_what_is_registered_is_loaded_by_its_alias(runs: Path, export: Path) -> None:
    registers(runs, export, replace(REQUEST, name="loaded"))
    mlflow = import_mlflow()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{runs}/mlflow.db")
    try:
        from mlflow import pyfunc

        assert len(pyfunc.load_model("models:/loaded@champion").predict(RAW)) == 2
    finally:
        mlflow.set_tracking_uri(before)


@pytest.mark.parametrize(
    ("new", "old", "better", "why"),
    [
        ({}, None, True, "nobody had it before; valid/accuracy 0.9"),
        ({"metric.value": "nan"}, None, False, "its valid/accuracy nan is no number to compare by"),
        ({"metric.value": "0.91"}, {}, True, "valid/accuracy 0.91 is better than 0.9 of version 1"),
        ({}, {}, False, "valid/accuracy 0.9 is no better than 0.9 of version 1"),
        (
            {"metric.value": "0.91", "metric.mode": "min"},
            {"metric.mode": "min"},
            False,
            "valid/accuracy 0.91 is worse than 0.9 of version 1",
        ),
        (
            {"metric.value": "0.99"},
            {"data.fingerprint": "0", "data": "digits"},
            False,
            "version 1 cannot be compared with it: that was measured on other data (digits)",
        ),
        (
            {"metric.value": "0.99"},
            {"metric": "valid/loss"},
            False,
            "version 1 cannot be compared with it: that is measured by valid/loss, this one by valid/accuracy",
        ),
    ],
)
def test_only_what_is_better_on_the_same_data_gets_the_alias(
    new: Mapping[str, str], old: Mapping[str, str] | None, better: bool, why: str
) -> None:
    theirs = None if old is None else {**TAGS, **old}
    assert compare({**TAGS, **new}, theirs, "version 1") == (better, why)


def test_a_version_of_another_kind_than_the_one_before_is_told(runs: Path, export: Path) -> None:
    pictures = replace(REQUEST, name="kinds", inputs="images of 28 x 28 pixels", outputs="the labels 0, 1")
    houses = replace(pictures, inputs="tables with the columns rooms, age", fingerprint="a" * 64)
    told = [registers(runs, export, one).told[0] for one in (pictures, pictures, houses, houses)]
    assert told[2].endswith(
        "other data (mnist). Of another kind than the one before: it takes tables with the columns rooms, age, "
        "and version 2 images of 28 x 28 pixels"
    )
    assert not any("another kind" in one for one in (*told[:2], told[3]))
    assert client(runs).get_model_version("kinds", "3").tags["outputs"] == "the labels 0, 1"


@pytest.mark.slow
def test_a_version_that_somebody_registered_by_hand_keeps_the_alias(runs: Path, export: Path) -> None:
    store = client(runs)
    store.create_registered_model("by-hand", description="ours")
    store.create_model_version("by-hand", str(export))
    store.set_registered_model_alias("by-hand", "champion", "1")
    tracker = registers(runs, export, replace(REQUEST, name="by-hand"))
    told = store.get_run(tracker.run_id).data.tags["registered.by-hand"]
    assert told == (
        "version 2 of by-hand, not champion: version 1 cannot be compared with it: that is measured by no metric of "
        "expkit's, this one by valid/accuracy"
    )
    assert store.get_registered_model("by-hand").description == "ours"


@pytest.mark.slow
def test_without_an_alias_nobody_gets_one(runs: Path, export: Path) -> None:
    tracker = registers(runs, export, replace(REQUEST, name="plain", alias=None))
    assert not client(runs).get_registered_model("plain").aliases
    assert client(runs).get_run(tracker.run_id).data.tags["registered.plain"] == "version 1 of plain"


def test_a_crash_between_the_version_and_its_note_makes_no_second_version(
    runs: Path, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = import_mlflow()

    def lost(*_: Any) -> None:
        raise OSError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", lost)
        tracker = registers(runs, export, replace(REQUEST, name="once"))
    store = client(runs)
    assert [one.version for one in store.search_model_versions("name = 'once'")] == [1]
    assert "registered.once" not in store.get_run(tracker.run_id).data.tags
    folder = next(path.parent for path in runs.glob("runs/*/tracking.sent.json") if tracker.run_id in path.read_text())
    assert sync([str(folder), "--runs-dir", str(runs)]) == 0
    assert [one.version for one in store.search_model_versions("name = 'once'")] == [1]
    assert store.get_model_version_by_alias("once", "champion").run_id == tracker.run_id


def test_a_registry_that_is_gone_is_told_later(runs: Path, export: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(settings(runs)).finish()
    with sqlite3.connect(runs / "mlflow.db") as database:
        database.execute("ALTER TABLE model_versions RENAME TO lost")
    tracker = registers(runs, export, replace(REQUEST, name="gone"))
    assert "Not stored in" in caplog.text
    assert "its registration as gone" in caplog.text
    with sqlite3.connect(runs / "mlflow.db") as database:
        database.execute("ALTER TABLE lost RENAME TO model_versions")
    assert sync([str(runs / "runs"), "--runs-dir", str(runs)]) == 0
    (version,) = client(runs).search_model_versions("name = 'gone'")
    assert version.run_id == tracker.run_id


def test_who_takes_the_alias_from_a_better_version_gives_it_back(
    runs: Path, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = (registers(runs, export, replace(REQUEST, name="others")) for _ in range(2))
    store = Store(client(runs), "http://a.server.has.no.lock", mine.experiment_id)
    models = [store.client.get_run(one.run_id).outputs.model_outputs[0].model_id for one in (mine, theirs)]
    give = import_mlflow().MlflowClient.set_registered_model_alias
    between: list[Registered] = []

    def give_late(self: Any, name: str, alias: str, version: str) -> None:
        if not between:
            between.append(Registered(name, 0))
            better = replace(REQUEST, name="race", value=0.95)
            between[0] = register(store, theirs.run_id, models[1], better)
        give(self, name, alias, version)

    monkeypatch.setattr(import_mlflow().MlflowClient, "set_registered_model_alias", give_late)
    came = register(store, mine.run_id, models[0], replace(REQUEST, name="race"))
    assert between == [Registered("race", 2, True, "champion: nobody had it before; valid/accuracy 0.95")]
    assert came == Registered("race", 1, False, "not champion: valid/accuracy 0.9 is worse than 0.95 of version 2")
    assert store.client.get_model_version_by_alias("race", "champion").run_id == theirs.run_id


def test_the_best_of_those_that_come_at_once_need_not_be_the_newest(runs: Path, export: Path) -> None:
    trackers = [registers(runs, export, replace(REQUEST, name="others")) for _ in range(3)]
    store = Store(client(runs), "http://a.server.has.no.lock", trackers[0].experiment_id)
    models = [store.client.get_run(one.run_id).outputs.model_outputs[0].model_id for one in trackers]
    best = replace(REQUEST, name="three", value=0.95, alias=None)  # it has not come to the alias yet
    register(store, trackers[0].run_id, models[0], best)
    worst = replace(REQUEST, name="three", value=0.91, alias=None)
    register(store, trackers[1].run_id, models[1], worst)
    store.client.set_registered_model_alias("three", "champion", "2")
    came = register(store, trackers[2].run_id, models[2], replace(REQUEST, name="three", value=0.93))
    assert came == Registered("three", 3, False, "not champion: valid/accuracy 0.93 is worse than 0.95 of version 1")
    assert store.client.get_model_version_by_alias("three", "champion").version in (1, "1")


# --- a run that has ended ------------------------------------------------------------------------------------------


def ended(runs: Path) -> Path:
    """A run that was trained without MLflow."""
    folder = runs / "mnist_cnn" / f"20260101-120000-{os.urandom(3).hex()}"
    open_tracker(replace(settings(runs), enabled=False), folder, params={}, tags={}).finish()
    np.save(Export(folder / "export/onnx").folder / "example.npy", RAW)
    return folder


def record_of(folder: Path) -> dict[str, Any]:
    return {
        "id": folder.name,
        "name": "mnist_cnn",
        "metrics": {"valid/loss": 0.07, "valid/accuracy": 0.98, "test/accuracy": 0.97},
        "best_epoch": 4,
        "monitor": {"name": "valid/loss", "higher_is_better": False},
        "data": {"name": "mnist", "fingerprint": "ab" * 32, "source": {"kind": "root", "stand_in_for": None}},
    }


def register_ended(folder: Path, name: str, uri: str | None = None) -> list[str]:
    store = settings_of(folder)
    assert store is not None
    export = folder / "export/onnx"
    tracker = extend_tracker(store if uri is None else replace(store, uri=uri), folder)
    tracker.log_model(export, RAW, step=4)
    register_export(tracker, export, record_of(folder), ExportSettings(register=name), step=4)
    tracker.close()
    return tracker.told


def test_an_ended_run_is_registered_once(runs: Path) -> None:
    folder = ended(runs)
    told = "registered as version 1 of later, champion: nobody had it before; valid/loss 0.07"
    assert register_ended(folder, "later") == [told]
    assert register_ended(folder, "later") == ["registered as version 1 of later, champion already"]
    (version,) = client(runs).search_model_versions("name = 'later'")
    assert version.tags["metric.mode"] == "min"
    assert version.tags["decision"] in told
    assert "valid   0.07   0.98" in version.description
    assert version.description.startswith("valid/loss 0.07, test accuracy 0.97, on mnist\n")
    assert "- format: onnx, run by onnxruntime" in version.description
    assert version.tags["inputs"] == "images of 28 x 28 pixels"
    assert version.tags["outputs"].startswith("the labels 0, 1, 2")
    assert client(runs).get_run(version.run_id).info.status == "FINISHED"


def test_an_ended_run_waits_for_a_server_that_is_down(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = ended(runs)
    assert register_ended(folder, "down", uri="http://127.0.0.1:9") == []
    assert "its registration as down" in caplog.text
    assert sync([str(folder), "--runs-dir", str(runs)]) == 0
    assert len(client(runs).search_model_versions("name = 'down'")) == 1


@pytest.mark.parametrize(
    ("name", "alias", "told"),
    [
        ("a:b", "champion", "export.register='a:b': the name"),
        ("", "champion", "export.register='': the name"),
        ("digits", "latest", "export.alias='latest': an alias is one word"),
        ("digits", "v2", "none of MLflow's own"),
        ("digits", "two words", "export.alias='two words'"),
    ],
)
def test_names_that_the_registry_would_refuse_are_refused_before_training(name: str, alias: str, told: str) -> None:
    chosen = Settings()
    chosen.export.register, chosen.export.alias = name, alias
    with pytest.raises(ConfigError, match=told):
        check(chosen)


def test_registering_without_an_export_is_refused() -> None:
    chosen = Settings()
    chosen.export.register, chosen.export.enabled = "digits", False
    with pytest.raises(ConfigError, match="nothing to register without an export"):
        check(chosen)


# --- many at once --------------------------------------------------------------------------------------------------

FORKS = """
import os, sys
from dataclasses import replace
from pathlib import Path
import onnxruntime, pandas
from expkit.tracking.store import import_all_of_mlflow
from tests.integration.test_registry import REQUEST, registers
import_all_of_mlflow()
runs, export, uri, *values = sys.argv[1:]
children = []
for value in values:
    child = os.fork()
    if not child:
        registers(Path(runs), Path(export), replace(REQUEST, value=float(value)), uri or None)
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(values)
"""


def at_once(runs: Path, export: Path, values: list[float], uri: str = "") -> None:
    """Processes that register a version each, at the same time."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"}
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(runs), str(export), uri, *map(str, values)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Not stored" not in done.stderr, done.stderr


def champion_of(store: Any) -> str:
    return str(store.get_model_version_by_alias("digits", "champion").tags["metric.value"])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_eight_processes_register_at_once_and_the_best_is_champion(tmp_path: Path, export: Path) -> None:
    values = [0.91, 0.98, 0.93, 0.97, 0.92, 0.95, 0.96, 0.94]
    at_once(tmp_path, export, values)
    store = client(tmp_path)
    versions = store.search_model_versions("name = 'digits'")
    assert sorted(int(one.version) for one in versions) == [*range(1, 9)]
    assert sorted(float(one.tags["metric.value"]) for one in versions) == sorted(values)
    assert champion_of(store) == "0.98"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="process groups")
def test_a_server_gives_the_alias_to_the_best_of_those_that_come_at_once(tmp_path: Path, export: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    with server(tmp_path, port):
        at_once(tmp_path, export, [0.91, 0.95, 0.93], uri)
        store = import_mlflow().MlflowClient(uri)
        versions = store.search_model_versions("name = 'digits'")
        assert sorted(int(one.version) for one in versions) == [1, 2, 3]
        assert champion_of(store) == "0.95"
        (model,) = store.get_run(versions[0].run_id).outputs.model_outputs
        noted = json.loads(store.get_logged_model(model.model_id).tags["mlflow.modelVersions"])
        assert [(one["name"], int(one["version"])) for one in noted] == [("digits", int(versions[0].version))]


@pytest.mark.slow
def test_the_command_registers_and_says_so(expkit: CommandLine) -> None:
    done = expkit(*QUICK, "model=mlp", "plots=none", "export.register=digits")
    assert "registered as version 1 of digits, champion: nobody had it before" in done.stderr
    record = expkit.record()
    store = import_mlflow().MlflowClient(f"sqlite:///{expkit.folder}/runs/mlflow.db")
    version = store.get_model_version_by_alias("digits", "champion")
    assert version.run_id == record["mlflow_run_id"]
    done = expkit("export", "last", "--format", "onnx", "--register", "digits")
    assert "registered as version 2 of digits, not champion: valid/accuracy" in done.stdout
    assert store.get_model_version("digits", "2").tags["format"] == "onnx"
    assert (
        "--register: only a run's best"
        in expkit(
            *("export", "last", "--checkpoint", "last", "--register", "digits", "--output", "elsewhere"), code=2
        ).stderr
    )
    assert float(version.tags["metric.value"]) == record["metrics"]["valid/accuracy"]
    assert version.tags["data.fingerprint"] == record["data"]["fingerprint"]
    assert "NOT MNIST" in version.description
