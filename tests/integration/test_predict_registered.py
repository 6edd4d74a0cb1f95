"""`predict` with models of MLflow's registry, and what it draws of images; the run is shared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.cli import main
from expkit.tracking.reading import open_reader
from expkit.tracking.store import import_mlflow
from tests.integration.warm import Warm, warm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registered")
    with warm(folder) as parent:
        return _trained(parent)


def _trained(parent: Warm) -> Path:
    """Train a run whose model is registered: version 1 is the champion."""
    options = ("+experiment=mnist_mlp", "+debug=smoke", "plots=none", "dataset.download=false")
    assert parent("one", *options) == 0, parent.said("one")
    runs = parent.folder / "runs"
    client = open_reader(None, runs).client
    (model,) = client.search_logged_models([one.experiment_id for one in client.search_experiments()])
    client.create_registered_model("digits")
    client.create_model_version("digits", model.artifact_location)
    client.set_registered_model_alias("digits", "champion", "1")
    return parent.path("one")


@pytest.fixture
def digit(run: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(run.parents[2])
    pixels = np.full((60, 40), 255, np.uint8)
    pixels[10:50, 18:22] = 0
    Image.fromarray(pixels).save("digit.png")
    return "digit.png"


def test_a_registered_model_answers_as_its_run_does(
    run: Path, digit: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_mlflow(), "get_tracking_uri", lambda: pytest.fail("asked MLflow's own settings"))
    answers = []
    for model in (str(run), "digits@champion", "models:/digits@champion", "models:/digits/1", "models:/digits"):
        assert main(["predict", model, digit, "--json", "--runtime", "inference"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["answers"][0]["label"] in set("0123456789")
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("digits@champoin", "has no alias 'champoin'. Did you mean 'champion'? Its aliases: champion (version 1)"),
        ("digts@champion", "no model 'digts' is registered in sqlite"),
        ("models:/digits/7", "has no version '7'. Its versions: 1; models:/digits/latest is the newest"),
        ("models:/m-0123", "the model models:/m-0123 cannot be read"),
        ("models:/digits/1 --format onnx", "no export of the format 'onnx'"),
        ("models:/digits/1 --checkpoint best", "is a registered model, which has no checkpoints"),
        ("digits", "A registered model is written digits@ALIAS"),
        ("models:/digits/1 --tracking-uri sqlite:///elsewhere.db", "there is no tracking store"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_those_that_are(
    digit: str, model: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = model.split()
    assert main(["predict", name, digit, *options]) == 2
    assert message in capsys.readouterr().err


def test_images_are_drawn_beside_what_the_network_saw(
    run: Path, digit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.linear_gradient("L").save("手写 $x$.png")
    np.save("raw.npy", np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8))
    assert main(["predict", str(run), digit, "手写 $x$.png", "raw.npy", "--plot", "new/answers.png", "--csv"]) == 0
    assert "the first 24 of 32 images" in capsys.readouterr().err
    with Image.open("new/answers.png") as picture:
        width, height = picture.size
    assert width > 1000
    assert height > 1500
