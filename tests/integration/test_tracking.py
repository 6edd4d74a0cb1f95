"""Real stores, real processes: SQLite files, MLflow's client, models loaded where there is no expkit."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expkit import preprocess
from expkit.api import Classes, DataSource, DataSpec, EpochEnd, ImageInput, StepEnd, TableInput, Values
from expkit.errors import TrackingError
from expkit.tracking import StoreSettings, Tracker, TrackingCallback
from expkit.tracking.schema_lock import file_lock
from expkit.tracking.store import ANSWER_SECONDS, import_mlflow, resolve_uri
from expkit.tracking.text import as_text, clean_key, explain, masked, shortened
from tests.integration.tracked import begin, wait_for

SPEC = DataSpec(
    name="digits (stand-in for mnist)",
    input=ImageInput(28, 28, 1, (0.13,), (0.31,)),
    target=Classes(tuple("0123456789")),
    source=DataSource("stand-in", "scikit-learn", "mnist"),
    fingerprint="0123456789abcdef" * 4,
)


def settings(folder: Path, uri: str | None = None, experiment: str = "mnist_cnn") -> StoreSettings:
    return StoreSettings(uri, experiment, "cnn-adam", folder, folder / "mlartifacts")


def client(folder: Path) -> Any:
    return import_mlflow().MlflowClient(f"sqlite:///{folder}/mlflow.db")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the tests that need no fresh one; its creation takes 2 s."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def tracker(runs: Path) -> Iterator[Tracker]:
    opened = begin(settings(runs), params={"model": "cnn"}, tags={}, description="")
    yield opened
    opened.finish()


# --- a run -----------------------------------------------------------------------------------------------------


def test_run_holds_parameters_tags_description_and_status(runs: Path) -> None:
    params = {
        "model": "cnn",
        "model.channels": [20, 20],
        "schedule.power": None,
        "tune": True,
        "learning_rate": 1e-3,
    }
    tracker = begin(settings(runs), params=params, tags={"data.source": "cache"}, description="# card")
    tracker.finish("KILLED", "interrupted with Ctrl-C")
    run = client(runs).get_run(tracker.run_id)
    assert run.data.params == {
        "model": "cnn",
        "model.channels": "[20, 20]",
        "schedule.power": "null",
        "tune": "true",
        "learning_rate": "0.001",
    }
    assert run.info.status == "KILLED"
    assert run.info.run_name == "cnn-adam"
    assert run.info.end_time >= run.info.start_time
    assert run.data.tags["data.source"] == "cache"
    assert run.data.tags["mlflow.note.content"] == "# card"
    assert run.data.tags["status.reason"] == "interrupted with Ctrl-C"


def test_artifacts_lie_below_the_artifact_root(runs: Path, tracker: Tracker, tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "loss.png").write_bytes(b"png")
    (tmp_path / "run.log").write_text("log")
    tracker.log_artifacts(tmp_path / "plots", "plots")
    tracker.log_artifact(tmp_path / "run.log", "")
    tracker.finish()
    assert sorted(f.path for f in client(runs).list_artifacts(tracker.run_id)) == ["plots", "run.log"]
    assert (runs / "mlartifacts/mnist_cnn" / tracker.run_id / "artifacts/plots/loss.png").read_bytes() == b"png"
    with pytest.raises(FileNotFoundError):
        tracker.log_artifact(tmp_path / "missing.png")


def test_hundreds_of_parameters_long_values_and_odd_names_are_taken(runs: Path) -> None:
    params = {f"p{i}": i for i in range(250)} | {"long": "x" * 7000, "odd@key[1]": 1}
    tracker = begin(settings(runs), params=params, tags={"big": "y" * 9000}, description="")
    tracker.finish()
    run = client(runs).get_run(tracker.run_id)
    assert len(run.data.params) == 252
    assert run.data.params["long"] == "x" * 5999 + "…"
    assert run.data.params["odd_key_1_"] == "1"
    assert run.data.tags["params.shortened"] == "long"
    assert run.data.tags["big"] == "y" * 7999 + "…"


def test_every_step_and_epoch_becomes_a_point(runs: Path, tracker: Tracker) -> None:
    callback = TrackingCallback(tracker)
    for step in range(1, 2501):
        callback.on_step_end(StepEnd(1, step, step, 64, 1 / step, 0.01, {"accuracy": step / 2500}))
    epoch = {"train/loss": 0.1, "valid/accuracy": 0.9}
    callback.on_epoch_end(EpochEnd(1, 2500, epoch, True, 12.5, lambda reason: None))
    tracker.finish()
    store = client(runs)
    loss = store.get_metric_history(tracker.run_id, "step/loss")
    assert [(m.step, m.value) for m in loss] == [(step, 1 / step) for step in range(1, 2501)]
    assert store.get_run(tracker.run_id).data.metrics == {
        "step/loss": 1 / 2500,
        "step/accuracy": 1.0,
        "step/learning_rate": 0.01,
        "train/loss": 0.1,
        "valid/accuracy": 0.9,
        "valid/best_accuracy": 0.9,
        "time/epoch_seconds": 12.5,
    }
    assert store.get_metric_history(tracker.run_id, "valid/accuracy")[0].step == 1


def test_log_every_keeps_the_first_step_and_every_nth(runs: Path, tracker: Tracker) -> None:
    callback = TrackingCallback(tracker, log_every=10)
    for step in range(1, 31):
        callback.on_step_end(StepEnd(1, step, step, 64, 1.0, 0.01, {}))
    tracker.finish()
    assert [m.step for m in client(runs).get_metric_history(tracker.run_id, "step/loss")] == [1, 10, 20, 30]
    with pytest.raises(ValueError, match="at least 1"):
        TrackingCallback(tracker, log_every=0)


def test_nan_and_infinity_are_stored_as_mlflow_does(runs: Path, tracker: Tracker) -> None:
    tracker.log_metrics({"nan": math.nan, "inf": math.inf, "-inf": -math.inf}, step=1)
    tracker.finish()
    values = client(runs).get_run(tracker.run_id).data.metrics
    assert math.isnan(values["nan"])
    assert values["inf"] == -values["-inf"] == sys.float_info.max


def test_points_reach_the_store_while_training_goes_on(runs: Path, tracker: Tracker) -> None:
    tracker.log_metrics({"step/loss": 1.0}, step=1)
    wait_for(lambda: client(runs).get_metric_history(tracker.run_id, "step/loss"))


def test_data_is_an_input_for_each_split(runs: Path, tracker: Tracker) -> None:
    tracker.log_data(SPEC, {"train": 1347, "valid": 200, "test": 250})
    tracker.finish()
    inputs = client(runs).get_run(tracker.run_id).inputs.dataset_inputs
    seen = {tag.value: i for i in inputs for tag in i.tags if tag.key == "mlflow.data.context"}
    assert set(seen) == {"train", "valid", "test"}
    train = seen["train"]
    assert (train.dataset.name, train.dataset.digest) == ("digits (stand-in for mnist), train", "01234567")
    assert {t.key: t.value for t in train.tags} == {
        "mlflow.data.context": "train",
        "samples": "1347",
        "source": "stand-in",
        "stand_in_for": "mnist",
    }
    assert json.loads(train.dataset.source) == {"uri": "scikit-learn"}


def test_neighbouring_runs_get_different_colours(runs: Path) -> None:
    colours = []
    for _ in range(3):
        tracker = begin(settings(runs, experiment="colours"), params={}, tags={})
        tracker.finish()
        colours.append(client(runs).get_run(tracker.run_id).data.tags["mlflow.runColor"])
        time.sleep(0.01)  # the newest run is found by its start in milliseconds
    assert len(set(colours)) == 3


def test_importing_the_module_does_not_import_mlflow() -> None:
    code = "import sys, expkit.tracking; sys.exit('mlflow' in sys.modules or 'paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- many processes ----------------------------------------------------------------------------------------------

TOGETHER = """
import os, sys
from pathlib import Path
from expkit.lock import RunLock
from expkit.tracking import StoreSettings, open_tracker
from expkit.tracking.store import import_all_of_mlflow

def work(folder, number):
    settings = StoreSettings(None, "sweep", "job " + number, folder, folder / "mlartifacts")
    run = folder / "runs" / ("20260101-120000-" + number)
    with RunLock(run):
        tracker = open_tracker(settings, run, params={"job": number}, tags={})
        for step in range(2000):
            tracker.log_metrics({"loss": step}, step)
        tracker.finish()

import_all_of_mlflow()
waits, starts = os.pipe()
children = []
for number in range(8):
    child = os.fork()
    if not child:
        os.close(starts)
        os.read(waits, 1)  # the end of the pipe, at the same instant as all others
        work(Path(sys.argv[1]), str(number))
        os._exit(0)
    children.append(child)
os.close(starts)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_eight_processes_start_together_on_a_fresh_store(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOGETHER, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), (
        "MLflow's and alembic's chatter must be silent too"
    )
    store = client(tmp_path)
    found = store.search_runs([store.get_experiment_by_name("sweep").experiment_id])
    assert sorted(run.data.params["job"] for run in found) == list("01234567")
    assert {run.info.status for run in found} == {"FINISHED"}
    assert {len(store.get_metric_history(run.info.run_id, "loss")) for run in found} == {2000}


def test_lock_is_released_when_its_holder_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from expkit.tracking.schema_lock import file_lock\n"
        "with file_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(TrackingError, match="another process has held"),
            file_lock(tmp_path / "lock", 0.2),
        ):
            pass
        holder.kill()
        holder.wait()
    with file_lock(tmp_path / "lock", 5):
        pass


# --- stores that fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("foo://x", "not a tracking store. Allowed: sqlite"),
        ("/tmp/folder", "not a folder"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////proc/nowhere/mlflow.db", "cannot create the folder"),
        ("http://127.0.0.1:9", "Connection refused.*tracking.kind=none"),
        ("postgresql://me:secret@127.0.0.1:9/runs", r"me:\*\*\*@.*refused"),
    ],
)
def test_bad_store_is_a_quick_error_with_a_remedy(tmp_path: Path, uri: str, message: str) -> None:
    before = time.monotonic()
    with pytest.raises(TrackingError, match=message) as caught:
        begin(settings(tmp_path, uri), params={}, tags={})
    assert time.monotonic() - before < 60, "MLflow itself tries for two minutes"
    assert "secret" not in str(caught.value)


def test_server_that_never_answers_is_given_up_within_ten_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ANSWER_SECONDS < 10
    monkeypatch.setattr("expkit.tracking.store.ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TrackingError, match=f"^tracking store {address}: timed out. "):
            begin(settings(tmp_path, address), params={}, tags={})
        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):  # it was asked once, and by nothing that is more patient
            silent.accept()


def test_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("hello " * 1000)
    with pytest.raises(TrackingError, match=r"not an SQLite database\. Move it away"):
        begin(settings(tmp_path), params={}, tags={})


def test_deleted_experiment_says_how_to_restore_it(runs: Path) -> None:
    begin(settings(runs, experiment="gone"), params={}, tags={}).finish()
    store = client(runs)
    store.delete_experiment(store.get_experiment_by_name("gone").experiment_id)
    with pytest.raises(TrackingError, match="mlflow experiments restore --experiment-id"):
        begin(settings(runs, experiment="gone"), params={}, tags={})


def test_training_goes_on_when_the_store_breaks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = begin(settings(tmp_path))
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("ALTER TABLE metrics RENAME TO lost")
    with caplog.at_level(logging.WARNING, logger="expkit.tracking"):
        for step in range(100):
            tracker.log_metrics({"loss": 1.0, "accuracy": 0.5}, step)
        wait_for(lambda: caplog.records)
        assert "Training goes on" in caplog.text
        tracker.finish()
    assert len(caplog.records) == 2
    last = caplog.records[-1].getMessage()
    assert "mlflow.db: 200 metric points, the run's status. The last error" in last
    assert "no such table: metrics" in last
    assert "python -m expkit sync" in last


def test_points_wait_for_a_store_that_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = begin(settings(tmp_path))
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("ALTER TABLE metrics RENAME TO lost")
    tracker.log_metrics({"loss": 1.0}, 1)
    wait_for(lambda: caplog.records)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("ALTER TABLE lost RENAME TO metrics")
    tracker.finish()
    assert "Not stored" not in caplog.text
    assert [m.value for m in client(tmp_path).get_metric_history(tracker.run_id, "loss")] == [1.0]


def test_paths_with_spaces_and_percent_signs_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "my runs 100%20"
    tracker = begin(settings(folder), params={}, tags={})
    tracker.log_metrics({"loss": 1.0}, 1)
    (tmp_path / "a.txt").write_text("a")
    tracker.log_artifact(tmp_path / "a.txt")
    tracker.finish()
    assert sorted(p.name for p in folder.iterdir()) == ["mlartifacts", "mlflow.db", "mlflow.db.lock", "runs"]
    assert list(tmp_path.glob("my runs 100%20/mlartifacts/**/a.txt"))


# --- models --------------------------------------------------------------------------------------------------------

PREDICT = """
import sys, json
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("expkit", "expkit_models"):
            raise ImportError("expkit is not installed here")
sys.meta_path.insert(0, Blocked())
import mlflow, numpy as np, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
raw = np.load(sys.argv[3], allow_pickle=False)
if sys.argv[4:]:
    raw = pd.DataFrame(raw, columns=sys.argv[4:])
print(model.predict(raw).to_json(orient="records"))
assert "expkit" not in sys.modules
"""


def export(folder: Path, shape: tuple[int, ...], outputs: int, about: dict[str, Any]) -> Any:
    """What the exporter writes, by hand; answers the network."""
    import paddle
    import yaml

    folder.mkdir()
    paddle.seed(1)
    network = paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(math.prod(shape), outputs))
    network.eval()
    paddle.jit.save(network, str(folder / "model"), input_spec=[paddle.static.InputSpec([None, *shape], "float32")])
    (folder / "model.yaml").write_text(yaml.safe_dump(about))
    shutil.copy(preprocess.__file__, folder / "preprocess.py")
    return network


def predict_elsewhere(tracker: Tracker, uri: str, raw: Any, folder: Path, columns: Sequence[str] = ()) -> Any:
    np.save(folder / "raw.npy", raw)
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, tracker.uri, uri, str(folder / "raw.npy"), *columns],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_image_model_predicts_where_there_is_no_expkit(runs: Path, tracker: Tracker, tmp_path: Path) -> None:
    import paddle

    about = {"name": "cnn", "input": SPEC.input.describe(), "target": SPEC.target.describe()}
    network = export(tmp_path / "export", (1, 28, 28), 10, about)
    raw = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    tracker.log_data(SPEC, {"test": 250})
    tracker.log_metrics({"test/accuracy": 0.98, "step/loss": 0.1}, step=4)
    place = tracker.log_model(tmp_path / "export", raw[:1], step=100)
    assert place is not None
    tracker.set_description(f"load {place}")
    tracker.finish()
    assert import_mlflow().active_run() is None
    store = client(runs)
    run = store.get_run(tracker.run_id)
    uri = run.data.tags["mlflow.note.content"].removeprefix("load ")
    assert uri == f"runs:/{tracker.run_id}/model"

    answers = predict_elsewhere(tracker, uri, raw, tmp_path)
    logits = network(paddle.to_tensor(SPEC.input.normalise(raw))).numpy()
    for answer, expected in zip(answers, SPEC.target.decode(logits), strict=True):
        assert answer["label"] == expected["label"]
        assert answer["probability"] == pytest.approx(expected["probability"], abs=1e-5)
        assert answer["p(3)"] == pytest.approx(expected["probabilities"]["3"], abs=1e-5)

    model = logged_model(runs, tracker)
    assert [(o.model_id, o.step) for o in run.outputs.model_outputs] == [(model.model_id, 100)]
    assert (model.source_run_id, str(model.status)) == (tracker.run_id, "READY")
    assert [(m.key, m.value, m.dataset_name) for m in model.metrics] == [
        ("test/accuracy", 0.98, "digits (stand-in for mnist), test")
    ]
    assert model.params == {"model": "cnn"}
    assert len(store.get_metric_history(tracker.run_id, "test/accuracy")) == 1, "not recorded twice"

    meta = import_mlflow().models.Model.load(Path(model.artifact_location.removeprefix("file://")))
    assert str(meta.signature.inputs) == "['image': Tensor('object', (-1,))]"
    assert meta.signature.outputs.input_names()[:2] == ["label", "probability"]
    assert meta.saved_input_example_info["artifact_path"] == "input_example.json"
    pinned = Path(model.artifact_location.removeprefix("file://"), "requirements.txt").read_text()
    assert all(f"{name}==" in pinned for name in ("numpy", "pillow", "pyyaml", "mlflow"))
    assert "paddlepaddle" in pinned


@pytest.mark.slow
def test_table_model_takes_named_columns_in_any_order(tracker: Tracker, tmp_path: Path) -> None:
    import paddle

    table = TableInput(("rooms", "age", "tax"), (1.0, 2.0, 3.0), (1.0, 2.0, 4.0))
    target = Values(("price",), (22.5,), (9.2,), "1000 dollars")
    network = export(tmp_path / "export", (3,), 1, {"input": table.describe(), "target": target.describe()})
    raw = np.array([[6.5, 65.0, 296.0], [5.0, 20.0, 300.0]])
    tracker.log_model(tmp_path / "export", raw)
    tracker.finish()
    uri = f"runs:/{tracker.run_id}/model"
    answers = predict_elsewhere(tracker, uri, raw[:, ::-1].copy(), tmp_path, ("tax", "age", "rooms"))
    outputs = network(paddle.to_tensor(table.normalise(raw))).numpy()
    expected = [answer["values"]["price"] for answer in target.decode(outputs)]
    assert [answer["price"] for answer in answers] == pytest.approx(expected, rel=1e-5)


def logged_model(runs: Path, tracker: Tracker) -> Any:
    found = client(runs).search_logged_models([tracker.experiment_id], filter_string="name = 'model'")
    (mine,) = [model for model in found if model.source_run_id == tracker.run_id]
    return mine


def test_export_that_is_damaged_is_refused(
    runs: Path, tracker: Tracker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    about = {"input": SPEC.input.describe(), "target": SPEC.target.describe()}
    export(tmp_path / "export", (1, 28, 28), 10, about)
    (tmp_path / "export" / "model.json").write_text("{}")
    tracker.log_model(tmp_path / "export", np.zeros((1, 28, 28), np.uint8))
    tracker.finish()
    assert re.search(r"refused: the exported model .*(does not predict|not a working model)", caplog.text)
    assert str(logged_model(runs, tracker).status) == "FAILED"
    assert client(runs).get_run(tracker.run_id).info.status == "FINISHED", "what comes behind it is sent"


# --- small functions -------------------------------------------------------------------------------------------------


def test_small_functions() -> None:
    assert as_text("cnn") == "cnn"
    assert as_text((8, 16)) == "[8, 16]"
    assert as_text(Path("a")) == "a"
    assert clean_key("f1@5 (macro)") == "f1_5 _macro_"
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
    assert masked("http://me:s3cret@host:1/x") == "http://me:***@host:1/x"
    assert explain(ValueError()) == "ValueError"
    assert resolve_uri(settings(Path("runs"), "sqlite:///x.db")) == f"sqlite:///{Path('x.db').resolve()}"
