"""The reader of IDX files: every way in which a file can be wrong has its own sentence."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from expkit.api import DataError
from expkit_datasets.idx import content_md5, read_idx

IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
IMAGES_FILE = struct.pack(">IIII", 0x00000803, 3, 4, 5) + IMAGES.tobytes()


def written(folder: Path, content: bytes, name: str = "images-idx3-ubyte") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_raw_images_are_read_with_their_shape(tmp_path: Path) -> None:
    values = read_idx(written(tmp_path, IMAGES_FILE), ndim=3, dataset="mnist")
    np.testing.assert_array_equal(values, IMAGES)
    assert values.dtype == np.uint8
    assert values.flags["C_CONTIGUOUS"]
    assert not values.flags["WRITEABLE"]


def test_labels_are_read_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, struct.pack(">II", 0x00000801, 4) + bytes([7, 2, 1, 0]))
    assert read_idx(path, ndim=1, dataset="mnist").tolist() == [7, 2, 1, 0]


@pytest.mark.parametrize("name", ["images.gz", "images-without-the-ending"])
def test_gzip_is_seen_from_the_content_not_the_name(tmp_path: Path, name: str) -> None:
    values = read_idx(written(tmp_path, gzip.compress(IMAGES_FILE), name), ndim=3, dataset="mnist")
    np.testing.assert_array_equal(values, IMAGES)


def test_a_raw_file_with_a_gz_name_is_read(tmp_path: Path) -> None:
    values = read_idx(written(tmp_path, IMAGES_FILE, "images.gz"), ndim=3, dataset="mnist")
    np.testing.assert_array_equal(values, IMAGES)


def test_gzip_of_several_members_is_read_whole(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(IMAGES_FILE[:30]) + gzip.compress(IMAGES_FILE[30:]))
    np.testing.assert_array_equal(read_idx(path, ndim=3, dataset="mnist"), IMAGES)


def test_content_md5_does_not_depend_on_packing() -> None:
    import hashlib

    assert content_md5(IMAGES) == hashlib.md5(IMAGES_FILE).hexdigest()


def test_truncated_raw_file_says_how_much_there_is(tmp_path: Path) -> None:
    path = written(tmp_path, IMAGES_FILE[:40])
    with pytest.raises(DataError) as caught:
        read_idx(path, ndim=3, dataset="mnist")
    assert str(caught.value) == (
        f"dataset 'mnist': {path} ends after 40 of 76 bytes. Delete it and run again, or set dataset.root."
    )


def test_truncated_gzip_says_how_much_there_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8).tobytes()
    whole = gzip.compress(struct.pack(">IIII", 0x803, 50, 40, 100) + noise)
    path = written(tmp_path, whole[:100_000], "images.gz")
    with pytest.raises(DataError, match=r"images\.gz ends after 99,\d{3} of 200,016 bytes\. Delete it"):
        read_idx(path, ndim=3, dataset="mnist")


def test_gzip_without_its_end_mark_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(IMAGES_FILE)[:-6])
    with pytest.raises(DataError, match="all 76 bytes, but the end of its gzip stream is missing"):
        read_idx(path, ndim=3, dataset="mnist")


def test_flipped_bits_in_gzip_are_noticed(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(IMAGES_FILE, compresslevel=0))
    packed[-20] ^= 0xFF
    with pytest.raises(DataError, match="is a damaged gzip file"):
        read_idx(written(tmp_path, bytes(packed)), ndim=3, dataset="mnist")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"\x89PNG\r\n\x1a\n" + bytes(20),
            r"it starts with 89 50 4e 47 \(a PNG image\), expected 00 00 08 03",
        ),
        (b"hello, I am a text file", "it starts with 68 65 6c 6c, expected 00 00 08 03"),
        (b"<!DOCTYPE html><html></html>", "an HTML or XML page"),
        (b"", r"it starts with nothing \(an empty file\)"),
        (struct.pack(">II", 0x801, 2) + b"\1\2", r"not an IDX file of images: .*\(labels\)"),
        (struct.pack(">IIII", 0xD03, 1, 1, 1) + bytes(4), "starts with 00 00 0d 03, expected 00 00 08 03"),
        (IMAGES_FILE[:9], "ends after 9 bytes, within its header of 16 bytes"),
        (IMAGES_FILE + b"x", "goes on after the 76 bytes that its header announces"),
    ],
    ids=["png", "text", "html", "empty", "labels", "floats", "header", "too-long"],
)
def test_a_file_that_is_something_else_is_named_for_what_it_is(tmp_path: Path, content: bytes, sentence: str) -> None:
    for packed in (content, gzip.compress(content)):
        with pytest.raises(DataError, match=sentence):
            read_idx(written(tmp_path, packed), ndim=3, dataset="mnist")


def test_absurd_sizes_in_a_header_do_not_allocate_memory(tmp_path: Path) -> None:
    path = written(tmp_path, struct.pack(">IIII", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"abc")
    with pytest.raises(DataError, match="ends after 19 of 79,228,162,458,924,105,385,300,197,391 bytes"):
        read_idx(path, ndim=3, dataset="mnist")


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"images cannot be read \(Is a directory\)"):
        read_idx(tmp_path / "images", ndim=3, dataset="mnist")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, IMAGES_FILE)
    path.chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        read_idx(path, ndim=3, dataset="mnist")
