"""A run's model outside: loaded by MLflow, and served by its server, where there is no expkit."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from expkit.tracking import StoreSettings, Tracker
from expkit.tracking.store import import_mlflow
from tests.integration.exports import COLOUR, HOUSES, PRICE, Export
from tests.integration.tracked import begin, wait_for

RAW = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
ROWS = np.array([[6.5, 65.0, 296.0], [5.0, 20.0, 300.0]])


def png(pixels: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def in_text(pixels: Any) -> str:
    return base64.b64encode(png(pixels)).decode()


def recorded(runs: Path, export: Export, raw: Any) -> tuple[Path, Tracker]:
    """Where MLflow keeps the model of a run with an export."""
    tracker = begin(StoreSettings(None, "demo", "run", runs, runs / "mlartifacts"))
    tracker.log_model(export.folder, raw)
    tracker.finish()
    client = import_mlflow().MlflowClient(tracker.uri)
    (model,) = client.search_logged_models([tracker.experiment_id], f"source_run_id = '{tracker.run_id}'")
    return Path(model.artifact_location.removeprefix("file://")), tracker


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def digits(runs: Path) -> Export:
    return Export(runs / "digits")


@pytest.fixture(scope="module")
def said(runs: Path) -> list[logging.LogRecord]:
    """What MLflow and we warn of while models are recorded and loaded."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append  # type: ignore[method-assign]
    for name in ("mlflow", "expkit"):
        logging.getLogger(name).addHandler(handler)
    return records


@pytest.fixture(scope="module")
def place(runs: Path, digits: Export, said: list[logging.LogRecord]) -> Path:
    found = recorded(runs, digits, RAW)[0]
    assert not list(found.rglob("__pycache__")), "whoever loads it may compile it, but not before it is stored"
    return found


@pytest.fixture(scope="module")
def model(place: Path) -> Any:
    import_mlflow()
    from mlflow import pyfunc

    return pyfunc.load_model(str(place))


@pytest.fixture(scope="module")
def houses(runs: Path, said: list[logging.LogRecord]) -> Export:
    return Export(runs / "houses", HOUSES, PRICE)


@pytest.fixture(scope="module")
def house_place(runs: Path, houses: Export) -> Path:
    return recorded(runs, houses, ROWS)[0]


@pytest.fixture(scope="module")
def house_model(house_place: Path) -> Any:
    import_mlflow()
    from mlflow import pyfunc

    return pyfunc.load_model(str(house_place))


def images(of: Any) -> dict[str, Any]:
    import pandas as pd

    return {
        "pixels": of,
        "pixels with a channel": of[..., None],
        "pixels by name": {"image": of},
        "pixels of a JSON": of.astype(np.int64),
        "files": pd.DataFrame({"image": [png(one) for one in of]}),
        "texts": pd.DataFrame({"image": [in_text(one) for one in of]}),
        "texts of a page": pd.DataFrame({"image": ["data:image/png;base64," + in_text(one) for one in of]}),
        "texts in lines": pd.DataFrame({"image": [base64.encodebytes(png(one)).decode() for one in of]}),
        "both": pd.DataFrame({"image": [png(of[0]), in_text(of[1]), png(of[2])]}),
        "files in an array": np.array([png(one) for one in of], dtype=object),
    }


@pytest.mark.parametrize("what", list(images(RAW)))
def test_images_may_be_files_base64_text_or_pixels(model: Any, digits: Export, what: str) -> None:
    answers = model.predict(images(RAW)[what])
    for (_, row), expected in zip(answers.iterrows(), digits.answers(RAW), strict=True):
        assert row["label"] == expected["label"]
        assert row["probability"] == pytest.approx(expected["probability"], abs=1e-5)
        assert row["p(3)"] == pytest.approx(expected["probabilities"]["3"], abs=1e-5)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (RAW[0], r"got pixels \[28, 28\] uint8; expected \[N, 28, 28\] uint8"),
        (RAW / 255, r"got pixels \[3, 28, 28\] float64 from 0 to 1; expected .* as they are before normalisation"),
        (RAW.astype(np.int64) - 1, "from -1 to 254"),
        (np.zeros((1, 32, 32), np.uint8), r"\[1, 32, 32\] uint8; expected"),
        (["digit.png"], "image 0: 'digit.png' is not base64 text. Send the content of the file: base64 -w0 FILE"),
        ([png(RAW[0]), b"%PDF-1.7"], r"image 1: not a readable image \(cannot identify image file\)"),
        ([png(RAW[0])[:200]], "image 0: not a readable image .*truncated"),
        ([3], "image 0 is of type int; expected the bytes of an image file"),
    ],
    ids=["one image", "normalised", "negative", "size", "path", "another file", "truncated", "number"],
)
def test_what_is_no_image_is_refused_with_what_is_expected(model: Any, given: Any, told: str) -> None:
    import pandas as pd
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match=told) as caught:
        model.predict(pd.DataFrame({"image": given}) if isinstance(given, list) else given)
    assert caught.value.get_http_status_code() == 400


def test_example_is_what_the_server_takes(place: Path, model: Any, digits: Export) -> None:
    from mlflow.models.utils import load_serving_example
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    example = json.loads(load_serving_example(str(place)))
    answers = model.predict(infer_and_parse_data(example, model.metadata.get_input_schema()))
    assert list(answers["label"]) == [answer["label"] for answer in digits.answers(RAW[:2])]
    assert list(model.predict(model.input_example)["label"]) == list(answers["label"])
    assert model.metadata.signature.outputs.input_names() == ["label", "probability", *(f"p({n})" for n in range(10))]


def test_what_is_told_of_the_answers_is_what_they_are(model: Any, house_model: Any) -> None:
    from mlflow.models import infer_signature

    for one in (model, house_model):
        answered = infer_signature(model_output=one.predict(one.input_example)).outputs
        assert one.metadata.signature.outputs == answered


@pytest.mark.slow
def test_an_inexact_model_has_no_results_that_another_was_measured_by(tmp_path: Path, runs: Path) -> None:
    export = Export(tmp_path / "export")
    described = yaml.safe_load((export.folder / "model.yaml").read_text())
    (export.folder / "model.yaml").write_text(yaml.safe_dump({**described, "written_as": "onnx-int8"}))
    tracker = begin(StoreSettings(None, "demo", "run", runs, runs / "mlartifacts"))
    tracker.log_metrics({"test/accuracy": 0.97}, step=0)
    tracker.log_model(export.folder, RAW, name="model-onnx-int8")
    tracker.finish()
    client = import_mlflow().MlflowClient(tracker.uri)
    (model,) = client.search_logged_models([tracker.experiment_id], f"source_run_id = '{tracker.run_id}'")
    assert not model.metrics
    assert "Format onnx-int8, run by onnxruntime" in model.tags["mlflow.note.content"]
    assert f'load_model("runs:/{tracker.run_id}/model-onnx-int8")' in model.tags["mlflow.note.content"]


def test_an_onnx_model_needs_no_paddle(place: Path) -> None:
    needed = [line.partition("==")[0] for line in (place / "requirements.txt").read_text().splitlines()]
    assert needed == ["mlflow", "onnxruntime", "numpy", "pandas", "pyyaml", "pillow"]
    about = yaml.safe_load((place / "MLmodel").read_text())
    assert about["metadata"]["format"] == "onnx"
    assert about["metadata"]["takes"].startswith("a column 'image' of image files")
    running = ".".join(map(str, sys.version_info[:3]))
    assert yaml.safe_load((place / "python_env.yaml").read_text())["python"] == running


@pytest.mark.slow
def test_colours_are_files_or_pixels(tmp_path: Path, runs: Path) -> None:
    import pandas as pd
    from mlflow import pyfunc

    raw = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    export = Export(tmp_path / "export", COLOUR)
    loaded = pyfunc.load_model(str(recorded(runs, export, raw)[0]))
    expected = [answer["label"] for answer in export.answers(raw)]
    assert list(loaded.predict(raw)["label"]) == expected
    assert list(loaded.predict(pd.DataFrame({"image": [png(one) for one in raw]}))["label"]) == expected


def test_a_table_may_have_whole_numbers_in_any_order_and_index(house_model: Any, houses: Export) -> None:
    import pandas as pd

    rows = np.array([[6, 65, 296], [5, 20, 300]])
    table = pd.DataFrame(rows[:, ::-1], columns=["tax", "age", "rooms"], index=[41, 7])
    assert set(map(str, table.dtypes)) == {"int64"}
    expected = [answer["values"]["price"] for answer in houses.answers(rows.astype(float))]
    assert list(house_model.predict(table)["price"]) == pytest.approx(expected, rel=1e-5)
    assert list(house_model.predict({"rooms": 6, "age": 65, "tax": 296})["price"]) == pytest.approx(expected[:1])


def test_a_table_with_a_gap_is_refused(house_model: Any) -> None:
    import pandas as pd
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="row 1, column age: nan is not a finite number"):
        house_model.predict(pd.DataFrame({"rooms": [6, 5], "age": [65, None], "tax": [296, 300]}))
    with pytest.raises(MlflowException, match=r"row 0, column tax: '\?' is not a finite number"):
        house_model.predict(pd.DataFrame({"rooms": [6], "age": [65], "tax": ["?"]}))
    with pytest.raises(MlflowException, match=r"missing inputs \['tax'\]"):
        house_model.predict(pd.DataFrame({"rooms": [6], "age": [65]}))


def test_nothing_was_warned_of(model: Any, house_model: Any, said: list[logging.LogRecord]) -> None:
    model.predict(RAW)
    assert [record.getMessage() for record in said] == []


# --- a server ------------------------------------------------------------------------------------------------------


@contextmanager
def served(place: Path, folder: Path) -> Iterator[str]:
    """MLflow's own server with a model; answers its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(place), "--env-manager", "local"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=folder,
            env=environment,
        )
        try:
            wait_for(lambda: process.poll() is not None or pings(port), 120)
            assert process.poll() is None, (folder / "server.log").read_text()
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def pings(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def ask(address: str, what: Any) -> Any:
    body = json.dumps(what).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="process groups, curl")
def test_served_images_are_asked_by_curl(place: Path, digits: Export, tmp_path: Path) -> None:
    (tmp_path / "digit.png").write_bytes(png(RAW[0]))
    label = digits.answers(RAW)[0]["label"]
    with served(place, tmp_path) as address:
        command = (
            f"curl -s {address} -H 'Content-Type: application/json' "
            """-d '{"inputs": ["'"$(base64 -w0 digit.png)"'"]}'"""
        )
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
        (answer,) = json.loads(done.stdout)["predictions"]
        assert answer["label"] == label
        assert answer["probability"] == pytest.approx(digits.answers(RAW)[0]["probability"], abs=1e-5)

        text = in_text(RAW[0])
        for asked in (
            {"inputs": text},
            {"inputs": {"image": [text]}},
            {"inputs": RAW[:1].tolist()},
            {"instances": [{"image": text}]},
            {"dataframe_records": [{"image": text}]},
            {"dataframe_split": {"columns": ["image"], "data": [[text]]}},
        ):
            assert [one["label"] for one in ask(address, asked)] == [label]

        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(address, {"inputs": ["digit.png"]})
        assert refused.value.code == 400
        assert "'digit.png' is not base64 text" in refused.value.read().decode()

        expected = [answer["label"] for answer in digits.answers(RAW)]
        found: list[Any] = []
        batches = [np.repeat(RAW[i : i + 1], 100 + i, axis=0) for i in range(3)] * 4
        threads = [
            threading.Thread(target=lambda b=batch: found.append((b, ask(address, {"inputs": b.tolist()}))))
            for batch in batches
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == len(batches)
        for batch, answers in found:
            of = next(i for i in range(3) if (batch[0] == RAW[i]).all())
            assert [one["label"] for one in answers] == [expected[of]] * len(batch)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="process groups")
def test_served_tables_take_whole_numbers(house_place: Path, houses: Export, tmp_path: Path) -> None:
    expected = houses.answers(np.array([[6.0, 65.0, 296.5]]))[0]["values"]["price"]
    row = {"rooms": 6, "age": 65, "tax": 296.5}
    with served(house_place, tmp_path) as address:
        for asked in (
            {"dataframe_records": [row]},
            {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}},
            {"inputs": row},
            {"instances": [row]},
        ):
            assert [one["price"] for one in ask(address, asked)] == pytest.approx([expected])
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(address, {"dataframe_records": [{**row, "age": None}]})
        assert refused.value.code == 400
        assert "column age: None is not a finite number" in refused.value.read().decode()


def test_an_export_that_is_no_longer_what_was_tried_is_refused(
    tmp_path: Path, runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export = Export(tmp_path / "export")
    weights = export.folder / "model.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    tracker = begin(StoreSettings(None, "demo", "run", runs, runs / "mlartifacts"))
    tracker.log_model(export.folder, RAW)
    tracker.finish()
    assert "model.onnx is damaged: it is not the file that was exported" in caplog.text
