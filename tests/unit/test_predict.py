from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from expkit.api import ArraySplit, Data, ExportError
from expkit.export import Exporter
from expkit.inputs import Inputs, Sample
from expkit.predict import Predictor
from expkit.preprocess import UnreadableInputError
from expkit.scoring import truth_in
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


def png_of(path, size=(40, 30)):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"%PDF-1.4", "not a readable image: it is a PDF; save the page as PNG"),
        (b"\0\0\0\x18ftypheic\0\0", "not a readable image: it is HEIC, which phones write; convert it to JPEG or PNG"),
        (b"a,b\n1,2\n", "not a readable image: it is text ('a,b'), and this model takes images"),
        (b"\x00\x01\x02\x03\xff", "not a readable image: no format that Pillow knows"),
    ],
)
def test_what_is_no_image_is_said_to_be_what_it_is(exported, tmp_path, content, message):
    (tmp_path / "x.png").write_bytes(content)
    (answer,) = Predictor.of_export(exported[1]).files([str(tmp_path / "x.png")])
    assert answer.error == message


def test_a_file_that_may_not_be_read_and_a_broken_link_are_named(exported, tmp_path, monkeypatch):
    png_of(tmp_path / "closed.png")
    (tmp_path / "link.png").symlink_to("nowhere.png")
    monkeypatch.setattr(
        Path, "read_bytes", lambda self: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    predictor = Predictor(SPEC.input, SPEC.target, exported[0].predict, {})
    closed, link = predictor.files([str(tmp_path / "closed.png"), str(tmp_path / "link.png")])
    assert closed.error == "it cannot be read: Permission denied"
    assert link.error == "there is no such file: the link leads to nowhere.png, which is not there"


def test_a_folder_stands_for_the_images_in_it(exported, tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.PNG", "a.jpg", "deep/c.bmp", ".hidden.png"):
        Image.linear_gradient("L").save(tmp_path / name, "PNG")
    (tmp_path / "notes.txt").write_text("no")
    answers = Predictor.of_export(exported[1]).files([str(tmp_path)])
    assert [answer.file for answer in answers] == [str(tmp_path / name) for name in ("a.jpg", "b.PNG", "deep/c.bmp")]
    assert all(len(answer.answers) == 1 for answer in answers)


def counting(batch_size):
    """Return a predictor that notes how many samples the network is given at once."""
    sizes = []

    def outputs(inputs):
        sizes.append(len(inputs))
        return np.eye(10, dtype=np.float32)[np.arange(len(inputs)) % 10]

    predictor = Predictor(SPEC.input, SPEC.target, outputs, {})
    predictor.batch_size = batch_size
    return predictor, sizes


def test_inputs_go_through_the_network_in_batches_and_come_out_in_order(tmp_path):
    predictor, sizes = counting(4)
    names = [str(tmp_path / f"{number}.png") for number in range(9)]
    for name in names:
        png_of(Path(name))
    given = [*names[:3], "missing", *names[3:], "missing"]
    answers = predictor.files(given)
    assert [answer.file for answer in answers] == given
    assert [answer.answers[0]["label"] for answer in answers if not answer.error] == list("012301230")
    assert sizes == [4, 4, 1]


def test_only_as_much_is_read_as_the_network_sees_at_once():
    predictor, _ = counting(4)
    read = []

    def samples():
        for number in range(100):
            read.append(number)
            yield Sample("x", number, raw=np.full((28, 28), number, np.uint8))

    next(predictor.stream(samples()))
    assert len(read) == 4


def test_arrays_are_answered_without_files():
    predictor, sizes = counting(4)
    raw = np.random.default_rng(0).integers(0, 256, (5, 28, 28))
    assert [answer["label"] for answer in predictor.answers(raw)] == list("01230")
    assert sizes == [4, 1]
    for one in (raw[0], raw[0].tolist(), raw[:1, :, :, None].astype(np.uint8)):
        assert predictor.answers(one)[0]["label"] == "0"
    assert predictor.answers(raw[:0]) == []


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((2, 28, 27), np.uint8), r"an array of shape \[2, 28, 27\]; the model takes \[N, 28, 28\]"),
        (np.zeros((1, 28, 28)), "an array of float64; the model takes raw pixels, whole numbers from 0 to 255"),
        (np.full((1, 28, 28), 256), "pixels from 256 to 256; the model takes 0 to 255"),
        (np.full((1, 28, 28), -1), "pixels from -1 to -1"),
        ([[1, 2], [3]], "no array of numbers"),
        (np.uint8(7), r"an array of shape \[\]"),
    ],
)
def test_an_array_that_is_no_sample_is_refused(raw, message):
    with pytest.raises(UnreadableInputError, match=message):
        counting(4)[0].answers(raw)


def test_folders_that_are_called_like_labels_say_what_is_true(tmp_path):
    for name in ("0/a.png", "1/b.png", "1/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        png_of(tmp_path / name)

    def said_of(*given):
        predictor, _ = counting(4)
        inputs = Inputs([str(tmp_path / one) for one in given], SPEC.input)
        truth = truth_in(inputs, SPEC.input, SPEC.target)
        for answered in predictor.stream(inputs.samples()):
            truth.add(answered)
        return truth.said()

    assert said_of("") == "accuracy 0.6667 (2 of 3 images, by the names of their folders)"
    assert said_of("0/a.png", "1/b.png") == said_of("1") == ""  # files by name, and one folder that may mean anything
    (tmp_path / "other").mkdir()
    png_of(tmp_path / "other" / "d.png")
    assert said_of("") == ""


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
