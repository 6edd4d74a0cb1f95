"""The dataset `mnist`: sources, splits, mistakes; genuine files only where EXPKIT_DATA_DIR names them."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mnist_files import inputs, small, small_set, targets, write_set

from expkit.api import ConfigError, Data, DataError
from expkit.testing import check_dataset
from expkit_datasets.mnist import PARTS, mnist

GENUINE = Path(os.environ.get("EXPKIT_DATA_DIR", "/nowhere")) / "mnist"
genuine_only = pytest.mark.skipif(
    not GENUINE.is_dir(), reason="needs genuine MNIST: set EXPKIT_DATA_DIR to the folder that holds mnist/"
)
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    monkeypatch.setenv("EXPKIT_CACHE_DIR", str(tmp_path / "cache"))


# --- splits ---------------------------------------------------------------------------------------


def test_splits_are_cut_in_file_order(tmp_path: Path) -> None:
    arrays = small_set()
    data = small(write_set(tmp_path / "set", arrays), valid=15)
    np.testing.assert_array_equal(inputs(data.train), arrays["train_images"][:25])
    np.testing.assert_array_equal(inputs(data.valid), arrays["train_images"][25:])
    np.testing.assert_array_equal(targets(data.valid), arrays["train_labels"][25:])
    np.testing.assert_array_equal(inputs(data.test), arrays["test_images"])
    assert inputs(data.train).dtype == np.uint8
    assert targets(data.train).dtype == np.int64


def test_normalisation_is_learned_on_the_training_split_only(tmp_path: Path) -> None:
    arrays = small_set()
    arrays["train_images"][:20] = np.array([0, 255] * 392, dtype=np.uint8).reshape(28, 28)
    data = small(write_set(tmp_path / "set", arrays), valid=20)
    image = data.spec.input
    assert image.mean == pytest.approx((0.5,), abs=1e-12)  # type: ignore[attr-defined]
    assert image.std == pytest.approx((0.5,), abs=1e-12)  # type: ignore[attr-defined]
    assert image.invert == "auto"  # type: ignore[attr-defined]
    normalised = image.normalise(inputs(data.train))
    assert normalised.shape == (20, 1, 28, 28)
    assert set(np.unique(normalised.round(4))) == {-1.0, 1.0}


def test_blank_images_do_not_divide_by_zero(tmp_path: Path) -> None:
    arrays = small_set()
    arrays["train_images"][:] = 0
    data = small(write_set(tmp_path / "set", arrays))
    assert np.isfinite(data.spec.input.normalise(inputs(data.train))).all()


def test_limit_keeps_the_first_samples_and_a_fifth_of_the_others(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", small_set())
    whole, part, tiny = small(folder), small(folder, limit=12), small(folder, limit=1)
    assert [len(part.train), len(part.valid), len(part.test)] == [12, 2, 2]
    assert [len(tiny.train), len(tiny.valid), len(tiny.test)] == [1, 1, 1]
    np.testing.assert_array_equal(inputs(part.train), inputs(whole.train)[:12])
    assert part.spec.fingerprint != whole.spec.fingerprint
    assert part.spec.name == whole.spec.name
    assert part.spec.input != whole.spec.input


def test_fingerprint_tells_apart_pixels_labels_and_the_cut(tmp_path: Path) -> None:
    arrays = small_set()
    folder = write_set(tmp_path / "set", arrays)
    prints = {small(folder).spec.fingerprint, small(folder, valid=11).spec.fingerprint}
    arrays["train_images"][0, 0, 0] ^= 1
    prints.add(small(write_set(tmp_path / "pixel", arrays)).spec.fingerprint)
    arrays["test_labels"][0] ^= 1
    prints.add(small(write_set(tmp_path / "label", arrays)).spec.fingerprint)
    assert len(prints) == 4
    assert small(folder).spec.fingerprint in prints


@pytest.mark.parametrize("valid", [0, -1, 40, 10_000])
def test_a_valid_that_leaves_nothing_is_refused(tmp_path: Path, valid: int) -> None:
    folder = write_set(tmp_path / "set", small_set())
    with pytest.raises(ConfigError, match=rf"valid is {valid:,}; expected 1 to 39, as there are 40 .*dataset\.valid"):
        small(folder, valid=valid)


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="limit is 0; expected 1 or more"):
        mnist(limit=0)


def test_an_unknown_on_missing_is_refused() -> None:
    with pytest.raises(ConfigError, match="on_missing is 'download-only'; expected 'stand-in' or 'error'"):
        mnist(on_missing="download-only")


# --- digits as numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [small, lambda folder, **options: mnist(download=False, limit=40, **options)])
def test_a_digit_may_be_a_number_to_predict(tmp_path: Path, make: Callable[..., Data]) -> None:
    folder = write_set(tmp_path / "set", small_set())
    classes, numbers = make(folder), make(folder, target="number")
    check_dataset(numbers)
    assert targets(numbers.train).tolist() == [[float(label)] for label in targets(classes.train)]
    assert not numbers.spec.is_classification
    assert numbers.spec.outputs == 1
    assert numbers.spec.target.decode(np.array([[6.9]]))[0]["values"] == {"digit": 6.9}
    assert numbers.spec.fingerprint == classes.spec.fingerprint


def test_a_digit_is_nothing_else() -> None:
    with pytest.raises(ConfigError, match=r"target is 'label'; expected 'class' or 'number'\. Set dataset\.target"):
        mnist(target="label")


# --- forms of the files ---------------------------------------------------------------------------


def test_raw_gz_and_dotted_names_are_the_same_data(tmp_path: Path) -> None:
    packed = write_set(tmp_path / "packed", small_set())
    raw = write_set(tmp_path / "raw", small_set(), packed=False)
    dotted = write_set(tmp_path / "dotted", small_set(), packed=False)
    for name in FILES:
        (dotted / name).rename(dotted / name.replace("-idx", ".idx"))
    assert len({small(folder).spec.fingerprint for folder in (packed, raw, dotted)}) == 1


# --- mistakes -------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", small_set())
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"set holds no t10k-labels-idx1-ubyte \(\.gz or not\)\. Put the file there"):
        small(folder)


def test_an_empty_root_is_an_error_and_never_a_stand_in(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=r"no train-images-idx3-ubyte, no .* and no mnist\.json\.gz; it holds nothing"):
        small(tmp_path / "set")


def test_root_one_folder_too_high_is_put_right(tmp_path: Path) -> None:
    write_set(tmp_path / "data" / "mnist", small_set())
    with pytest.raises(DataError, match=r"Did you mean dataset\.root=.*/data/mnist\?"):
        small(tmp_path / "data")


def test_root_that_is_missing_or_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        small(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is a file; a folder is expected"):
        small(tmp_path / "file")


def test_a_broken_folder_in_data_dir_is_an_error_and_never_a_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_set(tmp_path / "mnist", small_set())
    monkeypatch.setenv("EXPKIT_DATA_DIR", str(tmp_path))
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz ends after [\d,]+ of 31,376 bytes"):
        mnist(download=False)
    path.unlink()
    with pytest.raises(DataError, match="holds no train-images-idx3-ubyte"):
        mnist(download=False)


def test_images_and_labels_of_different_number_are_refused(tmp_path: Path) -> None:
    arrays = {**small_set(), "train_labels": np.zeros(39, np.uint8)}
    with pytest.raises(DataError, match=r"holds 40 images, but .*train-labels-idx1-ubyte\.gz holds 39 labels"):
        small(write_set(tmp_path / "set", arrays))


def test_a_label_above_nine_is_refused(tmp_path: Path) -> None:
    arrays = small_set()
    arrays["test_labels"][3] = 12
    with pytest.raises(DataError, match=r"holds the label 12 \(sample 3\); expected 0 to 9"):
        small(write_set(tmp_path / "set", arrays))


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    arrays = {**small_set(), "test_images": np.zeros((10, 32, 32), np.uint8)}
    with pytest.raises(DataError, match="holds 10 images of 32 x 32 pixels; expected at least one, of 28 x 28"):
        small(write_set(tmp_path / "set", arrays))


def test_swapped_files_are_noticed(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", small_set())
    shutil.copy(folder / "train-labels-idx1-ubyte.gz", folder / "train-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match=r"is not an IDX file of images: it starts with 00 00 08 01 \(labels\)"):
        small(folder)


def test_a_foreign_set_needs_check_false_and_does_not_pass_for_mnist(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", small_set())
    with pytest.raises(
        DataError, match=r"is not the official file: its 40 train images should be 60,000.*dataset\.check=false"
    ):
        mnist(root=str(folder))
    assert small(folder).spec.name == "mnist (unofficial files)"


# --- no files -------------------------------------------------------------------------------------


def test_without_files_the_stand_in_says_what_it_is_and_why() -> None:
    data = mnist(download=False)
    assert data.spec.name == "digits (stand-in for mnist)"
    assert (data.spec.source.kind, data.spec.source.stand_in_for) == ("stand-in", "mnist")
    assert data.spec.source.location == "scikit-learn load_digits"
    assert [len(data.train), len(data.valid), len(data.test)] == [1297, 200, 300]
    assert "download is switched off" in data.spec.source.note


def test_limit_holds_for_the_stand_in() -> None:
    data = mnist(download=False, limit=50)
    assert [len(data.train), len(data.valid), len(data.test)] == [50, 10, 10]


def test_on_missing_error_forbids_the_stand_in() -> None:
    with pytest.raises(DataError, match=r"no files: .*download is switched off\. Set dataset\.root or EXPKIT_DATA_DIR"):
        mnist(download=False, on_missing="error")


def test_without_network_the_stand_in_takes_over_and_names_what_failed() -> None:
    data = mnist(mirrors=["http://127.0.0.1:9"])
    assert data.spec.source.kind == "stand-in"
    expected = "download failed (http://127.0.0.1:9/train-images-idx3-ubyte.gz: Connection refused)"
    assert expected in data.spec.source.note


def test_a_mirror_with_foreign_files_is_not_trusted(tmp_path: Path) -> None:
    served = write_set(tmp_path / "served", small_set())
    data = mnist(mirrors=[served.as_uri()])
    assert data.spec.source.kind == "stand-in"
    assert "not the official file" in data.spec.source.note
    assert list((tmp_path / "cache" / "mnist").iterdir()) == []


# --- genuine files --------------------------------------------------------------------------------


@genuine_only
def test_genuine_mnist_has_the_textbooks_splits() -> None:
    data = mnist(root=str(GENUINE))
    assert data.spec.name == "mnist"
    assert data.spec.labels == tuple("0123456789")
    assert [len(data.train), len(data.valid), len(data.test)] == [50_000, 10_000, 10_000]
    assert targets(data.train)[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert targets(data.valid)[:8].tolist() == [3, 8, 6, 9, 6, 4, 5, 3]
    assert targets(data.test)[:4].tolist() == [7, 2, 1, 0]
    train = inputs(data.train)
    assert data.spec.input.mean == pytest.approx((train.mean() / 255,))  # type: ignore[attr-defined]
    assert data.spec.input.std == pytest.approx((train.std() / 255,))  # type: ignore[attr-defined]


@genuine_only
def test_genuine_mnist_is_downloaded_once_and_then_cached(tmp_path: Path) -> None:
    served = tmp_path / "served"
    shutil.copytree(GENUINE, served)
    mirrors = [(tmp_path / "gone").as_uri(), served.as_uri()]
    first = mnist(mirrors=mirrors)
    assert (first.spec.source.kind, first.spec.source.location) == ("download", f"{served.as_uri()}/")
    shutil.rmtree(served)
    again = mnist(mirrors=mirrors)
    assert (again.spec.source.kind, again.spec.source.location) == (
        "cache",
        str(tmp_path / "cache" / "mnist"),
    )
    assert again.spec.fingerprint == first.spec.fingerprint


@genuine_only
def test_an_interrupted_download_goes_on_with_the_missing_files(tmp_path: Path) -> None:
    cached = tmp_path / "cache" / "mnist"
    cached.mkdir(parents=True)
    served = tmp_path / "served"
    served.mkdir()
    for number, name in enumerate(FILES):
        shutil.copy(GENUINE / f"{name}.gz", (cached, served)[number % 2])
    assert mnist(mirrors=[served.as_uri()]).spec.name == "mnist"


@genuine_only
def test_genuine_contents_are_official_however_they_are_packed(tmp_path: Path) -> None:
    for number, name in enumerate(FILES):
        content = gzip.decompress((GENUINE / f"{name}.gz").read_bytes())
        packed = gzip.compress(content, compresslevel=1) if number % 2 else content
        (tmp_path / name).write_bytes(packed)
        part = next(part for part in PARTS.values() if part.stem == name)
        assert hashlib.md5(content).hexdigest() == part.content_md5
    assert mnist(root=str(tmp_path)).spec.name == "mnist"


@genuine_only
def test_one_wrong_pixel_in_genuine_mnist_is_noticed(tmp_path: Path) -> None:
    for name in FILES:
        shutil.copy(GENUINE / f"{name}.gz", tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    path.unlink()
    content[-1] ^= 1
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match="its 10,000 test images have md5"):
        mnist(root=str(tmp_path))


def test_few_training_samples_leave_valid_and_test_whole(tmp_path: Path) -> None:
    folder = write_set(tmp_path, small_set())
    whole, few = small(folder), small(folder, train=3)
    assert (len(few.train), len(few.valid), len(few.test)) == (3, len(whole.valid), len(whole.test))
    assert np.array_equal(inputs(few.train), inputs(whole.train)[:3])
    assert np.array_equal(inputs(few.valid), inputs(whole.valid))
    assert few.spec.fingerprint != whole.spec.fingerprint


def test_a_training_split_without_samples_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train is 0; expected 1 or more.*Set dataset\.train"):
        mnist(train=0)
