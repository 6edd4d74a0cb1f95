from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from expkit.api import ArraySplit, Data, ExportError
from expkit.export import Exporter
from expkit.predict import Predictor
from expkit.settings import ExportSettings
from expkit.testing import example_batch
from tests.unit.small_learner import SPEC, learner


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A learner and the folder of its export."""
    trained, batch = learner(), example_batch(SPEC)
    split = ArraySplit(batch.inputs, batch.targets)
    folder = tmp_path_factory.mktemp("run") / "export"
    with Exporter(ExportSettings()) as exporter:
        exporter.export(trained, Data(SPEC, split, split, split), folder, {}).check()
    return trained, folder / "paddle"


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported[1], tmp_path / "export")


def test_bad_files_among_good_ones_are_named_and_the_good_ones_answered(exported, tmp_path):
    trained, folder = exported
    pixels = np.random.default_rng(5).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "part.png").write_bytes((tmp_path / "good.png").read_bytes()[:300])
    (tmp_path / "folder.png").mkdir()
    names = ["text.png", "good.png", "missing.png", "part.png", "folder.png", "good.png"]
    answers = Predictor.of_export(folder).files([str(tmp_path / name) for name in names])
    assert [answer.file for answer in answers] == [str(tmp_path / name) for name in names]
    text, good, missing, part, a_folder, again = answers
    assert text.error == "not a readable image: it is text ('not an image'), and this model takes images"
    assert part.error.startswith("a PNG image that is cut off or damaged (")
    assert missing.error == "there is no such file"
    assert a_folder.error == "there are no images in this folder"
    assert not (text.answers or part.answers or missing.answers or a_folder.answers)
    (wanted,) = SPEC.target.decode(trained.predict(SPEC.input.normalise(pixels[None])))
    for answer in (good, again):
        assert answer.error == ""
        assert answer.answers[0]["label"] == wanted["label"]
        assert answer.answers[0]["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)


def test_an_image_of_one_colour_is_not_guessed_at(exported, tmp_path):
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    (answer,) = Predictor.of_export(exported[1]).files([str(tmp_path / "blank.png")])
    assert answer.error == "all its pixels are the same, so there is nothing to see"
    assert not answer.answers


def test_no_file_is_no_answer(exported):
    assert Predictor.of_export(exported[1]).files([]) == []


@pytest.mark.parametrize("name", ["model.yaml", "model.json", "model.pdiparams"])
def test_a_missing_file_of_the_export_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(
        ExportError, match=rf"holds no exported model \({name} missing\)|{name} cannot be read: No such"
    ):
        Predictor.of_export(copy)


def test_a_run_without_export_says_why_there_may_be_none(tmp_path):
    with pytest.raises(ExportError, match="Was the run interrupted, or started with export=none"):
        Predictor.of_export(tmp_path / "export")


@pytest.mark.parametrize(
    "text", ["", "[1]", "input: {", "input: {kind: image}\ntarget: {}", "input: {kind: image, depth: 3}\n"]
)
def test_a_damaged_description_is_named(copy, text):
    (copy / "model.yaml").write_text(text)
    with pytest.raises(ExportError, match=r"model\.yaml is damaged"):
        Predictor.of_export(copy)


@pytest.mark.parametrize("name", ["model.json", "model.pdiparams"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_named_although_paddle_would_read_garbage(copy, name, keep):
    path = copy / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(ExportError, match=f"{name} is damaged: it is not the file that was exported"):
        Predictor.of_export(copy)


def test_what_paddle_cannot_load_is_an_export_error(copy):
    about = yaml.safe_load((copy / "model.yaml").read_text())
    del about["sha256"]
    (copy / "model.yaml").write_text(yaml.safe_dump(about))
    (copy / "model.json").write_text("{")
    with pytest.raises(ExportError, match="cannot load the exported model"):
        Predictor.of_export(copy)
