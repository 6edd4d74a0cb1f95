"""The dataset `image_folder`: what it finds, in memory and on disk, and what it refuses."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.api import Array, ArraySplit, ConfigError, Data, DataError, Split
from expkit.testing import check_dataset, check_options
from expkit_datasets.image_folder import image_folder

SHADES = {"cat": 40, "dog": 120, "owl": 200}


def picture(path: Path, shade: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, shade).convert(mode).save(path)


def pets(root: Path, count: int = 10) -> Path:
    """Ten pictures a class, whose brightness tells class and number: 40, 41, ... are cats."""
    for label, shade in SHADES.items():
        for number in range(count):
            picture(root / label / f"{number}.png", shade + number)
    return root


def load(root: Path, **options: object) -> Data:
    return image_folder(root=str(root), **{"height": 4, "width": 4, **options})  # type: ignore[arg-type]


def shades(split: Split) -> list[int]:
    raw: Array = split.gather(np.arange(len(split)))[0]
    return [int(image.reshape(-1)[0]) for image in raw]


def targets(split: Split) -> Array:
    return split.gather(np.arange(len(split)))[1]


def test_its_options_are_documented_and_typed() -> None:
    check_options("dataset", image_folder)


# --- what becomes of a folder ---------------------------------------------------------------------


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_keeps_what_a_dataset_promises(tmp_path: Path, in_memory: bool, channels: int) -> None:
    data = load(pets(tmp_path / "pets"), in_memory=in_memory, channels=channels)
    check_dataset(data)
    assert data.spec.name == "pets"
    assert data.spec.labels == ("cat", "dog", "owl")
    assert data.spec.input_shape == (channels, 4, 4)
    assert (data.spec.source.kind, data.spec.source.location) == ("folder", str(tmp_path / "pets"))
    assert [getattr(split, "in_memory", None) for split in (data.train, data.valid, data.test)] == [in_memory] * 3


def test_each_image_is_in_one_split_which_has_its_share_of_each_class(tmp_path: Path) -> None:
    data = load(pets(tmp_path), valid=0.2, test=3)
    splits = (data.train, data.valid, data.test)
    assert [np.bincount(targets(split)).tolist() for split in splits] == [[7] * 3, [2] * 3, [1] * 3]
    every = [shade for split in splits for shade in shades(split)]
    assert sorted(every) == sorted(shade + number for shade in SHADES.values() for number in range(10))
    for split in splits:
        assert [list(SHADES.values())[c] for c in targets(split)] == [shade // 40 * 40 for shade in shades(split)]


def test_memory_and_disk_give_the_same_data(tmp_path: Path) -> None:
    kept, left = (load(pets(tmp_path), in_memory=in_memory) for in_memory in (True, False))
    assert kept.spec == left.spec
    some = np.array([4, 0, 4])
    for one, other in zip(kept.train.gather(some), left.train.gather(some), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_exceeds_the_limit_stays_on_disk(tmp_path: Path) -> None:
    root = pets(tmp_path, count=3)
    assert isinstance(load(root).train, ArraySplit)
    large = load(root, height=200, width=200, memory_limit=1, valid=3, test=3)  # 9 * 200 * 200 * 3 = 1.08 MB
    assert not large.train.in_memory  # type: ignore[attr-defined]
    assert isinstance(load(root, height=200, width=200, memory_limit=1, valid=3, test=3, channels=1).train, ArraySplit)


def test_a_split_on_disk_can_be_sent_to_another_process(tmp_path: Path) -> None:
    split = load(pets(tmp_path), in_memory=False).train
    assert shades(pickle.loads(pickle.dumps(split))) == shades(split)


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(pets(tmp_path))
    scandir, listdir = os.scandir, os.listdir

    class Backwards(list[os.DirEntry[str]]):
        def __enter__(self) -> Backwards:
            return self

        def __exit__(self, *_: object) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setattr(os, "scandir", lambda *path: Backwards(sorted(scandir(*path), key=lambda e: e.name)[::-1]))
    monkeypatch.setattr(os, "listdir", lambda *path: sorted(listdir(*path))[::-1])
    again = load(tmp_path)
    assert shades(again.train) == shades(data.train)
    assert again.spec == data.spec


def test_the_fingerprint_is_that_of_the_files_wherever_they_lie_and_of_the_form_they_get(tmp_path: Path) -> None:
    first = load(pets(tmp_path / "a")).spec.fingerprint
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert load(tmp_path / "b").spec.fingerprint == first
    for change in ({"height": 5}, {"channels": 1}, {"invert": "auto"}, {"split_seed": 1}, {"valid": 3}):
        assert load(tmp_path / "b", **change).spec.fingerprint != first
    picture(tmp_path / "b/cat/0.png", 41)
    assert load(tmp_path / "b").spec.fingerprint != first


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path: Path) -> None:
    for part, label, colour in (("train", "a", (255, 0, 51)), ("train", "b", (0, 0, 51)), ("test", "a", (9, 9, 9))):
        (tmp_path / part / label).mkdir(parents=True)
        Image.new("RGB", (4, 4), colour).save(tmp_path / part / label / "x.png")
        Image.new("RGB", (4, 4), colour).save(tmp_path / part / label / "y.png")
    for in_memory in (True, False):
        data = load(tmp_path, in_memory=in_memory, valid=2, limit=2)
        assert data.spec.input.describe()["mean"] == pytest.approx([0.5, 0.0, 0.2])
        assert data.spec.input.describe()["std"] == pytest.approx([0.5, 1.0, 1.0])  # 1 where all are alike


def test_splits_may_be_folders(tmp_path: Path) -> None:
    pets(tmp_path / "train", count=2)
    picture(tmp_path / "val/dog/a.png", 7)
    picture(tmp_path / "test/owl/b.png", 8)
    (tmp_path / ".cache").mkdir()
    data = load(tmp_path)
    assert [len(data.train), len(data.valid), len(data.test)] == [6, 1, 1]
    assert (shades(data.valid), targets(data.valid).tolist()) == ([7], [1])
    shutil.rmtree(tmp_path / "val")
    data = load(tmp_path, valid=3)
    assert [len(data.train), len(data.valid), len(data.test)] == [3, 3, 1]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for label in ("car", "train", "plane"):
        for number in range(4):
            picture(tmp_path / label / f"{number}.png", 10)
    assert load(tmp_path, valid=1, test=1).spec.labels == ("car", "plane", "train")


def test_images_of_any_kind_are_found_in_folders_of_folders_and_other_files_are_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "cat/a.PNG", 1)
    picture(tmp_path / "cat/2024/may/b.bmp", 2, mode="L")
    picture(tmp_path / "cat/c.gif", 3, (1, 9))
    for number in range(4, 9):
        picture(tmp_path / f"dog/{number}.tiff", number, mode="L")
    for name in ("cat/notes.txt", "cat/.hidden.png", "dog/Thumbs.db"):
        (tmp_path / name).write_text("no image")
    data = load(tmp_path, valid=2, test=2, channels=1)
    assert sorted(shades(data.train) + shades(data.valid) + shades(data.test)) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_files_are_read_as_predict_reads_them(tmp_path: Path) -> None:
    pixels = np.full((40, 40), 255, np.uint8)
    pixels[8:32, 18:22] = 0  # dark ink on white paper
    for label in "ab":
        for number in range(3):
            picture(tmp_path / label / f"{number}.png", 0)
            Image.fromarray(pixels).save(tmp_path / label / f"{number}.png")
    data = load(tmp_path, height=8, width=8, channels=1, invert="auto", valid=1, test=1)
    np.testing.assert_array_equal(data.train.gather(np.array([0]))[0], data.spec.input.read(str(tmp_path / "a/0.png")))
    assert shades(data.train) == [0] * 4


def test_limit_keeps_images_of_all_classes(tmp_path: Path) -> None:
    data = load(pets(tmp_path), limit=6)
    assert [len(data.train), len(data.valid), len(data.test)] == [6, 1, 1]
    assert np.bincount(targets(data.train)).tolist() == [2, 2, 2]


# --- what is refused ------------------------------------------------------------------------------


def test_damaged_files_are_named_at_the_start_or_when_their_batch_is_made(tmp_path: Path) -> None:
    pets(tmp_path / "train", count=4)
    damaged = pets(tmp_path / "test", count=4) / "dog/2.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(DataError, match=r"a file is damaged: .*dog/2\.png: not a readable image .*Replace or delete"):
        load(tmp_path, in_memory=True)
    data = load(tmp_path, in_memory=False)
    with pytest.raises(DataError, match=r"a file is damaged: .*test/dog/2\.png"):
        shades(data.test)


def test_all_damaged_files_are_counted(tmp_path: Path) -> None:
    pets(tmp_path)
    for number in range(7):
        (tmp_path / f"cat/{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"7 files are damaged: .* and 2 more\. Replace or delete them"):
        load(tmp_path)


def test_a_folder_without_classes_is_refused_and_the_one_below_is_found(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no folders; at least two are expected, one for each class\. Set datas"):
        load(tmp_path)
    pets(tmp_path / "pets")
    with pytest.raises(DataError, match=r"holds one folder, pets; .*Did you mean dataset\.root=.*/pets\?"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"nowhere does not exist\. Set dataset\.root"):
        load(tmp_path / "nowhere")


def test_a_class_without_images_is_refused(tmp_path: Path) -> None:
    (pets(tmp_path) / "emu").mkdir()
    with pytest.raises(DataError, match="emu holds no image"):
        load(tmp_path)


def test_a_class_that_training_does_not_know_is_refused(tmp_path: Path) -> None:
    pets(tmp_path / "train")
    picture(tmp_path / "test/emu/x.png", 3)
    with pytest.raises(DataError, match=r"test/emu is no class of training \(cat, dog, owl\)"):
        load(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    for part in ("train", "val", "valid"):
        pets(tmp_path / part, count=1)
    with pytest.raises(DataError, match="holds train, val, valid, two of which are one split"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 0}, "height is 0; expected 1 or more"),
        ({"channels": 4}, r"channels is 4; expected 1 \(grey\) or 3 \(RGB\)"),
        ({"invert": "always"}, "invert is 'always'; expected 'never' or 'auto'"),
        ({"in_memory": "yes"}, "in_memory is 'yes'; expected true, false or 'auto'"),
        ({"memory_limit": 0}, "memory_limit is 0"),
        ({"limit": 0}, "limit is 0"),
        ({"valid": 29}, r"dataset\.valid=29 and dataset\.test=0\.15 leave nothing of 30 samples"),
        ({"test": 22, "valid": 7}, "no sample of '(cat|dog|owl)' is left for training, of 10 in all"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"dataset 'image_folder': {message}"):
        load(pets(tmp_path), **options)
