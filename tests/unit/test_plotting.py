from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from expkit.api import ArraySplit, Batch, Classes, DataSource, DataSpec, ImageInput, TableInput, Values
from expkit.plotting import draw_augmented, draw_confusion, draw_curves, draw_mistakes, draw_values

SOURCE = DataSource("generated", "tests")
TITLE = "mnist_cnn  |  mnist  |  20261123-120000-ab12cd"


@pytest.fixture(autouse=True)
def nothing_is_said():
    """Matplotlib warns of what does not fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def classes(*labels, channels=1, scores="logits"):
    values = (0.5,) * channels
    return DataSpec("images", ImageInput(28, 28, channels, values, values), Classes(labels, scores), SOURCE, "0" * 64)


def answers(count, samples=60, right=0.8, seed=0):
    """Logits whose largest is the target in about that share of samples."""
    random = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(count), random.integers(0, count, samples)])
    said = np.where(random.random(len(targets)) < right, targets, (targets + 1) % count)
    return (4 * np.eye(count)[said] + random.random((len(targets), count))).astype(np.float32), targets


def epochs(count, *metrics):
    names = [f"{split}/{name}" for split in ("train", "valid") for name in ("loss", *metrics)]
    return [{"epoch": n, "seconds": 1.0, **dict.fromkeys(names, 1.0 / n)} for n in range(1, count + 1)]


def size(path):
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).std() > 5  # something is drawn
        return picture.size


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("metrics", [(), ("accuracy",), ("accuracy", "mae", "mse", "$ cost $")])
def test_curves_of_any_number_of_epochs_and_metrics(tmp_path, count, metrics):
    draw_curves(tmp_path / "plots", TITLE, [2.0, 1.5, 1.0] * count, epochs(count, *metrics))
    width, height = size(tmp_path / "plots" / "curves.png")
    assert 500 <= width <= 2000
    assert 400 <= height <= 2000


def test_a_loss_that_falls_by_decades_is_seen_to_the_end(tmp_path):
    losses = [
        {"epoch": n, "train/loss": 10.0 ** (4 - n / 10), "valid/loss": 10.0 ** (4 - n / 10)} for n in range(1, 41)
    ]
    draw_curves(tmp_path, TITLE, [], losses)
    with Image.open(tmp_path / "curves.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    orange = (pixels[..., 0] > 200) & (pixels[..., 2] < 60)
    rows, columns = np.nonzero(orange)
    late = rows[columns > pixels.shape[1] / 2]  # without the legend, which is in the upper right
    assert np.ptp(late[late > pixels.shape[0] / 3]) > pixels.shape[0] / 4


def test_curves_with_nan_and_without_more_steps_than_epochs(tmp_path):
    history = epochs(3, "accuracy")
    history[1]["valid/accuracy"] = float("nan")
    draw_curves(tmp_path, TITLE, [1.0, 1.0, 1.0], history)
    size(tmp_path / "curves.png")


@pytest.mark.parametrize(
    "labels",
    [
        tuple("0123456789"),
        ("no", "yes"),
        tuple(f"class number {n}" for n in range(30)),
        tuple(f"c{n}" for n in range(1000)),
        (
            "a very long name of a class, with commas",
            "Straßenbahnhaltestellenschild",
            "$5 to $10 _bills_",
            "",
        ),
    ],
)
def test_confusion_of_few_and_many_classes_is_of_a_sensible_size(tmp_path, labels):
    draw_confusion(tmp_path, TITLE, classes(*labels), *answers(len(labels)))
    width, height = size(tmp_path / "confusion.png")
    assert 450 <= width <= 2500
    assert 400 <= height <= 2200


def test_confusion_has_true_classes_in_rows(tmp_path):
    outputs = np.eye(2, dtype=np.float32)[[1, 1, 1, 1]]  # always says "b"
    draw_confusion(tmp_path, "", classes("a", "b"), outputs, np.array([0, 0, 0, 0]))
    with Image.open(tmp_path / "confusion.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    dark = (pixels[..., 2] > pixels[..., 0] + 60) & (pixels[..., 0] < 60)
    rows, columns = np.nonzero(dark)
    assert len(rows) > 1000
    assert rows.mean() < pixels.shape[0] / 2  # the first row,
    assert columns.mean() > pixels.shape[1] / 2  # the second column


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("most", [1, 7, 25])
def test_mistakes_are_counted_and_the_surest_drawn(tmp_path, channels, most):
    spec = classes("$a$", "Straßenbahnhaltestellenschild", "c", channels=channels)
    outputs, targets = answers(3, samples=100)
    shape = (len(targets), 28, 28, 3)[: 3 if channels == 1 else 4]
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    wrong = int((outputs.argmax(axis=1) != targets).sum())
    assert draw_mistakes(tmp_path, TITLE, spec, ArraySplit(images, targets), outputs, targets, most) == wrong > 7
    width, height = size(tmp_path / "mistakes.png")
    assert 200 <= width <= 1100
    assert 300 <= height <= 1400


def test_the_surest_mistake_comes_first(tmp_path):
    images = np.zeros((4, 28, 28), np.uint8)
    asked = []

    class Watched(ArraySplit):
        def gather(self, indices):
            asked.extend(indices.tolist())
            return super().gather(indices)

    outputs = np.array([[1, 0], [9, 0], [0, 9], [3, 0]], np.float32)  # of class 1: wrong, surest, right, surer
    targets = np.ones(4, np.int64)
    count = draw_mistakes(tmp_path, "", classes("a", "b"), Watched(images, targets), outputs, targets, 2)
    assert (count, asked) == (3, [1, 3])


def test_sureness_is_read_from_outputs_as_what_they_are(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda self, text, **_: titles.append(text))
    split, targets = ArraySplit(np.zeros((1, 28, 28), np.uint8), np.ones(1, np.int64)), np.ones(1, np.int64)
    for scores, outputs in (("logits", [1.0, 0.0]), ("probabilities", [0.9, 0.1]), ("log_probabilities", [-0.1, -2.4])):
        spec = classes("a", "b", scores=scores)
        assert draw_mistakes(tmp_path, "", spec, split, np.array([outputs], np.float32), targets, 1) == 1
    assert [title.partition("(")[2] for title in titles] == ["73%)", "90%)", "90%)"]


def test_without_mistakes_nothing_is_drawn(tmp_path):
    outputs, targets = answers(2, right=1.0)
    images = np.zeros((len(targets), 28, 28), np.uint8)
    split = ArraySplit(images, targets)
    assert draw_mistakes(tmp_path, TITLE, classes("a", "b"), split, outputs, targets, 25) == 0
    assert list(tmp_path.iterdir()) == []


def test_mistakes_on_a_table_are_counted_and_not_drawn(tmp_path):
    spec = DataSpec("table", TableInput(("x",), (0.0,), (1.0,)), Classes(("a", "b")), SOURCE, "0")
    outputs, targets = answers(2)
    split = ArraySplit(np.zeros((len(targets), 1)), targets)
    assert draw_mistakes(tmp_path, TITLE, spec, split, outputs, targets, 25) > 0
    assert list(tmp_path.iterdir()) == []


def drawn_texts(monkeypatch, tmp_path, spec, before, after):
    """What stands above the images, of each sample: before, after."""
    figures = []
    monkeypatch.setattr("expkit.plotting.save", lambda figure, path: figures.append(figure))
    draw_augmented(tmp_path, TITLE, spec, before, after, 25)
    return [text.get_text() for text in figures[0].axes[0].texts]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("most", "lines"), [(1, 1), (7, 1), (25, 4)])
def test_augmented_samples_stand_below_their_originals(tmp_path, channels, most, lines):
    spec = classes("$a$", "Straßenbahnhaltestellenschild", "c", channels=channels)
    shape = (30, 28, 28, 3)[: 3 if channels == 1 else 4]
    before = Batch(np.full(shape, 255, np.uint8), np.arange(30) % 3)
    after = Batch(np.zeros(shape, np.uint8), np.full((30, 3), 1 / 3, np.float32))
    draw_augmented(tmp_path / "plots", TITLE, spec, before, after, most)
    width, height = size(tmp_path / "plots" / "augmented.png")
    assert 500 <= width <= 1300
    assert height == pytest.approx(lines * 360 + 70, abs=40)
    with Image.open(tmp_path / "plots" / "augmented.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    black = np.flatnonzero((pixels == 0).mean(axis=1) > 0.08)  # rows of pixels that show augmented samples
    assert black.min() > height / lines / 2, "the first line shows originals, the second what became of them"


def test_a_target_of_classes_of_shares_and_of_values_is_said(monkeypatch, tmp_path):
    images = np.zeros((4, 28, 28, 1), np.uint8)
    before = Batch(images, np.array([1, 1, 1, 0]))
    shares = [[0.38, 0.62, 0, 0], [0.003, 0.997, 0, 0], [0.1, 0.2, 0.3, 0.4], [0, 0.0, 0.5, 0.5]]
    spec = classes("7", "3", "$5", "a class with a long name")
    said = drawn_texts(monkeypatch, tmp_path, spec, before, Batch(images, np.array(shares, np.float32)))
    plain = [text.replace("\N{NO-BREAK SPACE}", " ") for text in said]
    assert plain[:4] == ["3", "3 62% + 7 38%", "3", "3"]
    assert plain[5] == "a class wit… 40% +\n\\$5 30% + 3 20% …"
    assert plain[7] == "\\$5 50% +\na class wit… 50%"
    spec = DataSpec("images", spec.input, Values(("digit",), (4.5,), (2.0,)), SOURCE, "0")
    values = Batch(images[:1], np.array([[1.25]], np.float32))
    assert drawn_texts(monkeypatch, tmp_path, spec, values, values) == ["7", "7"]


@pytest.mark.parametrize("shape", [(32, 320), (320, 32), (1, 500)])
def test_augmented_samples_of_any_shape_are_drawn(tmp_path, shape):
    spec = DataSpec("text", ImageInput(*shape, 1, (0.5,), (0.5,)), Classes(("a", "b")), SOURCE, "0")
    images = np.random.default_rng(0).integers(0, 256, (4, *shape), dtype=np.uint8)
    batch = Batch(images, np.zeros(4, np.int64))
    draw_augmented(tmp_path, TITLE, spec, batch, batch, 4)
    width, height = size(tmp_path / "augmented.png")
    assert 500 <= width <= 1300
    assert 200 <= height <= 2400


def test_nothing_is_drawn_of_an_augmented_table(tmp_path):
    spec = DataSpec("table", TableInput(("x",), (0.0,), (1.0,)), Classes(("a", "b")), SOURCE, "0")
    batch = Batch(np.zeros((4, 1)), np.zeros(4, np.int64))
    draw_augmented(tmp_path, TITLE, spec, batch, batch, 4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("names", [("price",), ("a", "b", "c", "d")])
@pytest.mark.parametrize("unit", ["", "1000 $ of $ 1978"])
def test_predicted_against_true_values(tmp_path, names, unit):
    spec = DataSpec(
        "houses",
        TableInput(("x",), (0.0,), (1.0,)),
        Values(names, (22.0,) * len(names), (9.0,) * len(names), unit),
        SOURCE,
        "0",
    )
    random = np.random.default_rng(0)
    targets = random.normal(size=(50, len(names))).astype(np.float32)
    draw_values(tmp_path, TITLE, spec, targets + 0.1, targets)
    draw_values(tmp_path, TITLE, spec, targets[:1], targets[:1])
    width, height = size(tmp_path / "predictions.png")
    assert 500 <= width <= 2000
    assert 400 <= height <= 2000
