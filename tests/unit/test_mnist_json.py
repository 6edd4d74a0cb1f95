"""MNIST as the textbook's JSON: the same pixels as IDX, kept parsed; another layout is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from mnist_files import small, small_set, write_set

from expkit.api import Array, DataError


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    monkeypatch.setenv("EXPKIT_CACHE_DIR", str(tmp_path / "cache"))


def write_json(path: Path, arrays: dict[str, Array], scale: int, valid: int = 10) -> Path:
    images, labels = arrays["train_images"].reshape(-1, 784) / scale, arrays["train_labels"]
    content = [
        [images[:-valid].tolist(), labels[:-valid].tolist()],
        [images[-valid:].tolist(), labels[-valid:].tolist()],
        [(arrays["test_images"].reshape(-1, 784) / scale).tolist(), arrays["test_labels"].tolist()],
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


@pytest.mark.parametrize("scale", [255, 256])
def test_json_gives_exactly_the_pixels_of_idx(tmp_path: Path, scale: int) -> None:
    write_json(tmp_path / "json" / "mnist.json.gz", small_set(), scale)
    folder = write_set(tmp_path / "idx", small_set())
    assert small(tmp_path / "json").spec.fingerprint == small(folder).spec.fingerprint


def test_parsed_json_is_kept_in_the_cache_under_its_content(tmp_path: Path) -> None:
    path = write_json(tmp_path / "json" / "mnist.json.gz", small_set(), 256)
    first = small(path.parent)
    [kept] = (tmp_path / "cache" / "parsed").iterdir()
    written = kept.stat().st_mtime_ns
    assert small(path.parent).spec.fingerprint == first.spec.fingerprint
    assert kept.stat().st_mtime_ns == written
    write_json(path, {**small_set(), "test_labels": np.zeros(10, np.uint8)}, 256)
    assert small(path.parent).spec.fingerprint != first.spec.fingerprint


def test_a_damaged_cache_of_json_is_read_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_json(tmp_path / "json" / "mnist.json.gz", small_set(), 256)
    first = small(path.parent)
    [kept] = (tmp_path / "cache" / "parsed").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    assert small(path.parent).spec.fingerprint == first.spec.fingerprint
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("as_file", [True, False], ids=["cache-is-a-file", "cache-in-a-file"])
def test_json_is_read_though_the_cache_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_file: bool
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EXPKIT_CACHE_DIR", str(tmp_path / "file" / ("" if as_file else "in")))
    assert len(small(write_json(tmp_path / "json" / "mnist.json.gz", small_set(), 255).parent).train) == 30


ROW = [0.0] * 784
GOOD = [[ROW, ROW], [1, 2]]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{}", r"is not laid out as \[\[images, labels\], \.\.\.\]"),
        (b"[[1, 2", "is not JSON"),
        (b"[[[0, [1]], [1]], [[[0]], [1]], [[[0]], [1]]]", "is not laid out as"),
        (b"[[[], []], [[], []], [[], []]]", "is not laid out as"),
        (b"\xff\xfe", "is not JSON"),
        (gzip.compress(b"[[[[0.0" * 500)[:-9], "is a damaged gzip file"),
        (
            json.dumps([GOOD, [[ROW], [1, 2]], GOOD]).encode(),
            "holds 1 images but 2 labels of valid",
        ),
        (
            json.dumps([GOOD, GOOD, [[ROW[:5], ROW], [1, 2]]]).encode(),
            "an image of eval that is not a row of 784",
        ),
        (
            json.dumps([GOOD, GOOD, [[[7.0] * 784, ROW], [1, 2]]]).encode(),
            r"holds a pixel of 7\.0 in eval; expected 0 to 1",
        ),
        (
            json.dumps([GOOD, [[[float("nan")] * 784, ROW], [1, 2]], GOOD]).encode(),
            "holds a pixel of nan in valid",
        ),
        (
            json.dumps([GOOD, [[ROW, ROW], ["one", 2]], GOOD]).encode(),
            "labels of valid that are not whole numbers",
        ),
        (
            json.dumps([GOOD, [[ROW, ROW], [0.5, 2]], GOOD]).encode(),
            "labels of valid that are not whole numbers",
        ),
        (
            json.dumps([GOOD, [[ROW, ROW], [[1], [2, 3]]], GOOD]).encode(),
            "is not laid out as",
        ),
    ],
    ids=[
        "object",
        "cut",
        "loose-zero",
        "empty",
        "binary",
        "cut-gzip",
        "counts",
        "ragged",
        "range",
        "nan",
        "words",
        "halves",
        "nested",
    ],
)
def test_json_that_is_laid_out_otherwise_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "mnist.json.gz").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        small(tmp_path)
    assert not (tmp_path / "cache").exists()
