from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from expkit import preprocess
from expkit.preprocess import Classes, ImageInput, TableInput, UnreadableInputError, Values, from_description

GREY = ImageInput(8, 8, 1, mean=(0.5,), std=(0.25,))
COLOUR = ImageInput(8, 8, 3, mean=(0.5, 0.25, 0.0), std=(0.25, 0.5, 1.0))
TABLE = TableInput(("a", "b", "c"), mean=(1.0, 2.0, 3.0), scale=(1.0, 2.0, 0.5))


def saved(folder: Path, image: Image.Image, name: str = "image.png", **options: object) -> Path:
    image.save(folder / name, **options)
    return folder / name


def csv_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and ends where its pixels would begin."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + size + chunk(b"IDAT", b"")


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (300, 20), (3, 900)])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK", "YCbCr"])
def test_every_mode_and_size_becomes_raw_pixels_of_the_models_size(tmp_path, mode, size):
    image = Image.new("RGBA", size, (255, 255, 255, 255))
    image = image.convert("L").convert(mode) if mode in ("I;16", "I", "F") else image.convert(mode)
    path = saved(tmp_path, image, "image.tiff" if mode in ("I", "F", "CMYK", "YCbCr") else "image.png")
    for wanted, shape in ((GREY, (1, 8, 8)), (COLOUR, (1, 8, 8, 3))):
        pixels = wanted.read(path)
        assert pixels.shape == shape
        assert pixels.dtype == np.uint8
        assert pixels.min() == 255  # white stays white


def test_sixteen_bit_grey_is_scaled_to_eight(tmp_path):
    values = np.full((8, 8), 32768, np.uint16)
    values[0, 0] = 65535
    pixels = GREY.read(saved(tmp_path, Image.fromarray(values)))[0]
    assert pixels[0, 0] == 255
    assert pixels[4, 4] == 127


@pytest.mark.parametrize(("top", "dtype"), [(1.0, np.float32), (255.0, np.float32), (4095, np.uint16)])
def test_fractions_and_twelve_bits_have_a_scale_of_their_own(tmp_path, top, dtype):
    values = np.linspace(0, top, 64).reshape(8, 8).astype(dtype)
    path = saved(tmp_path, Image.fromarray(values), "image.tif")
    read = ImageInput(8, 8, 1, (0.5,), (0.25,), invert="never").read(path)
    np.testing.assert_allclose(read[0], values / top * 255, atol=1)


def test_white_ink_on_transparent_is_seen(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[3:5, 1:7] = 255
    read = GREY.read(saved(tmp_path, Image.fromarray(pixels)))
    assert read[0, 4, 4] == 255
    assert read[0, 0, 0] == 0


def test_transparent_pixels_are_white_paper(tmp_path):
    ink = np.zeros((8, 8, 4), np.uint8)  # black all over, and transparent but for one column
    ink[:, 4, 3] = 255
    for image in (Image.fromarray(ink), Image.fromarray(ink).convert("LA")):
        pixels = GREY.read(saved(tmp_path, image))[0]
        assert pixels[3].tolist() == [255, 255, 255, 255, 0, 255, 255, 255]


def test_a_palette_with_a_transparent_colour_is_white_there(tmp_path):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 0, 0, 0] + [0] * 762)
    image.putpixel((2, 1), 1)
    pixels = COLOUR.read(saved(tmp_path, image, transparency=0))[0]
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 2].tolist() == [0, 0, 0]


def test_grey_of_a_colour_follows_its_brightness(tmp_path):
    path = saved(tmp_path, Image.new("RGB", (8, 8), (255, 0, 0)))
    assert set(GREY.read(path).ravel()) == {76}  # 0.299 * 255 (ITU-R 601)
    assert COLOUR.read(path)[0, 0, 0].tolist() == [255, 0, 0]


def test_the_orientation_of_a_camera_is_followed(tmp_path):
    picture = Image.new("L", (16, 8), 0)
    picture.paste(255, (0, 0, 8, 8))  # the left half is bright
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: left becomes top
    pixels = GREY.read(saved(tmp_path, picture, exif=exif))[0]
    assert pixels[:3].min() > 200
    assert pixels[5:].max() < 50


def stroke(ink: int, paper: int) -> Image.Image:
    pixels = np.full((40, 40), paper, np.uint8)
    pixels[8:32, 18:22] = ink
    return Image.fromarray(pixels)


def test_auto_inverts_dark_ink_on_white_paper_and_leaves_bright_on_dark(tmp_path):
    auto = ImageInput(8, 8, 1, (0.5,), (0.25,), invert="auto")
    dark_on_white = auto.read(saved(tmp_path, stroke(0, 255)))[0]
    bright_on_dark = auto.read(saved(tmp_path, stroke(255, 0)))[0]
    assert np.array_equal(dark_on_white, bright_on_dark)
    assert bright_on_dark[0].max() == 0
    assert GREY.read(saved(tmp_path, stroke(0, 255)))[0, 0].min() == 255  # invert="never"


def test_auto_inverts_ink_on_transparent_paper(tmp_path):
    auto = ImageInput(8, 8, 1, (0.5,), (0.25,), invert="auto")
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[8:32, 18:22, 3] = 255
    pixels = auto.read(saved(tmp_path, Image.fromarray(rgba)))[0]
    assert pixels[0].max() == 0
    assert pixels[4].max() > 100


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff"])
def test_what_is_no_image_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableInputError, match="not a readable image"):
        GREY.read(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
def test_a_truncated_image_is_refused_whatever_its_format_raises(tmp_path, kind):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    try:
        picture.save(tmp_path / "whole", kind)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    content = (tmp_path / "whole").read_bytes()
    part = tmp_path / "part"
    for share in (0.02, 0.3, 0.6):
        part.write_bytes(content[: int(len(content) * share)])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # "Truncated File Read"
            with pytest.raises(UnreadableInputError, match="not a readable image"):
                GREY.read(part)


@pytest.mark.parametrize(("width", "height"), [(10_000, 8_000), (10_000, 10_000), (60_000, 60_000)])
def test_an_image_that_would_unpack_to_gigabytes_is_refused_from_its_header(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    with pytest.raises(UnreadableInputError, match="pixels"):
        GREY.read(path)


def test_an_open_file_is_read_like_a_named_one_and_stays_open(tmp_path):
    for reader, path in ((GREY, saved(tmp_path, stroke(0, 255))), (TABLE, csv_file(tmp_path, "a,b,c\n1,2,3\n"))):
        with path.open("rb") as file:
            np.testing.assert_array_equal(reader.read(file), reader.read(path))
            assert not file.closed


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for reader in (GREY, TABLE):
        for path in (tmp_path / "missing", tmp_path):
            with pytest.raises(UnreadableInputError, match="not a readable"):
                reader.read(path)


def test_grey_pixels_are_normalised_by_hand():
    raw = np.array([[[0, 255], [51, 102]]], np.uint8)
    image = ImageInput(2, 2, 1, mean=(0.5,), std=(0.25,))
    out = image.normalise(raw)
    assert out.dtype == np.float32
    assert out.shape == (1, *image.shape)
    # (0 - 0.5) / 0.25, (1 - 0.5) / 0.25, (0.2 - 0.5) / 0.25, (0.4 - 0.5) / 0.25
    np.testing.assert_allclose(out[0, 0], [[-2.0, 2.0], [-1.2, -0.4]], atol=1e-6)


def test_colour_pixels_are_normalised_channel_by_channel():
    raw = np.array([[[[255, 255, 255]]]], np.uint8)
    image = ImageInput(1, 1, 3, mean=(0.5, 0.25, 0.0), std=(0.25, 0.5, 1.0))
    np.testing.assert_allclose(image.normalise(raw).ravel(), [2.0, 1.5, 1.0], atol=1e-6)


def test_normalising_leaves_the_raw_batch_alone():
    raw = np.full((2, 8, 8), 7, np.uint8)
    GREY.normalise(raw)
    table = np.ones((2, 3))
    TABLE.normalise(table)
    assert raw.min() == raw.max() == 7
    assert table.min() == table.max() == 1


def test_a_table_is_normalised_by_hand():
    np.testing.assert_array_equal(TABLE.normalise(np.array([[2.0, 4.0, 4.0]])), np.array([[1.0, 1.0, 2.0]], np.float32))


@pytest.mark.parametrize(
    "made", [TableInput(("x",), (0.1,), (0.7,), "float64"), Values(("y",), (0.1,), (0.7,), precision="float64")]
)
def test_double_precision_keeps_every_bit_of_value_minus_mean_over_scale(made):
    normal = made.normalise(np.array([[0.3], [1e17]]))
    assert normal.dtype == np.float64
    assert normal.tolist() == [[(0.3 - 0.1) / 0.7], [(1e17 - 0.1) / 0.7]]
    assert made.describe()["precision"] == "float64"


def test_an_answer_in_double_precision_keeps_every_bit():
    (answer,) = Values(("y",), (0.1,), (0.7,), precision="float64").decode(np.array([[1 / 3]]))
    assert answer["values"] == {"y": 1 / 3 * 0.7 + 0.1}


def test_a_precision_is_that_of_the_inputs_and_one_of_two():
    assert TABLE.dtype == "float32"
    assert TableInput(("x",), (0.0,), (1.0,), "float64").dtype == "float64"
    with pytest.raises(ValueError, match="precision is 'float16'; expected float32 or float64"):
        TableInput(("x",), (0.0,), (1.0,), "float16")
    with pytest.raises(ValueError, match="precision is 'double'"):
        Values(("y",), (0.0,), (1.0,), precision="double")


def test_a_description_from_before_there_were_precisions_is_float32():
    assert from_description({"kind": "table", "columns": ["x"], "mean": [0.0], "scale": [1.0]}).precision == "float32"
    old = {"kind": "values", "names": ["y"], "mean": [0.0], "scale": [1.0], "unit": ""}
    assert from_description(old) == Values(("y",), (0.0,), (1.0,))


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3\n4,5,6\n",
        "a,b,c\n1,2,3\n4,5,6",
        "c,extra,a,b\n3,word,1,2\n6,,4,5\n",
        "\ufeffa,b,c\n1,2,3\n4,5,6\n",
        "\ufeff1,2,3\r\n4,5,6\r\n",
        '\n a , b ,c\n\n" 1 ",2e0,+3\n , ,\n4.0,5,6\n\n',
    ],
)
def test_csv_with_and_without_header_in_any_order(tmp_path, text):
    rows = TABLE.read(csv_file(tmp_path, text))
    assert rows.dtype == np.float64
    assert rows.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n\n , ,\n", "the file is empty"),
        ("a,b,c\n", "no row below the header"),
        ("a,c\n1,2\n", "no column b; expected a, b, c"),
        ("a,b,c,a\n1,2,3,4\n", "column a stands twice in the header"),
        ("1,2\n", "line 1 has 2 values; expected 3"),
        ("1,2,3\n4,5\n", "line 2 has 2 values; expected 3"),
        ("1,2,3,4\n", "line 1 has 4 values; expected 3"),
        ("x,c,b,a\n0,1,2,3\n0,1,2\n", "line 3 has 3 values; expected 4"),
        ("a,b,c\n\n\n1,2,many\n", "line 4, column c: 'many' is not a finite number"),
        ("1,2,3\n4,,6\n", "line 2, column b: '' is not a finite number"),
        ("1,2,3\n4,nan,6\n", "line 2, column b: 'nan' is not a finite number"),
        ("1,2,3\n4,5,-inf\n", "line 2, column c: '-inf' is not a finite number"),
        (b"\xff\xfe1\x00,\x002\x00", "not a readable CSV file"),
    ],
)
def test_csv_that_does_not_fit_says_where(tmp_path, text, message):
    with pytest.raises(UnreadableInputError, match=message):
        TABLE.read(csv_file(tmp_path, text))


def test_softmax_by_hand():
    labels = Classes(("cat", "dog"))
    first, second = labels.decode(np.array([[math.log(3), 0.0], [1000.0, 1000.0]], np.float32))
    assert first["label"] == "cat"
    assert first["probability"] == pytest.approx(0.75)
    assert first["probabilities"] == pytest.approx({"cat": 0.75, "dog": 0.25})
    assert second["probabilities"] == {"cat": 0.5, "dog": 0.5}  # no overflow; a tie goes to the first
    assert second["label"] == "cat"
    assert labels.outputs == 2
    assert labels.decode(np.zeros((0, 2))) == []


@pytest.mark.parametrize(
    ("scores", "outputs", "expected"),
    [
        ("logits", [math.log(3), 0.0], [0.75, 0.25]),
        ("probabilities", [0.25, 0.75], [0.25, 0.75]),
        ("log_probabilities", [math.log(0.75), math.log(0.25)], [0.75, 0.25]),
        ("log_probabilities", [-math.inf, 0.0], [0.0, 1.0]),
        ("sigmoid", [math.log(3), math.log(9)], [0.75, 0.9]),  # each class against all others
        ("sigmoid", [-1000.0, 1000.0], [0.0, 1.0]),
        ("sigmoid", [-40.0, 0.0], [math.exp(-40), 0.5]),
    ],
)
def test_probabilities_are_made_from_what_the_outputs_are(scores, outputs, expected):
    target = Classes(("cat", "dog"), scores=scores)
    (answer,) = target.decode(np.array([outputs]))
    assert answer["probabilities"] == pytest.approx({"cat": expected[0], "dog": expected[1]})
    assert answer["probability"] == pytest.approx(max(expected))
    assert answer["label"] == target.labels[int(np.argmax(expected))]
    np.testing.assert_allclose(target.probabilities(np.array([outputs])), [expected])


def test_classes_described_before_scores_existed_answer_logits():
    assert from_description({"kind": "classes", "labels": ["a", "b"]}) == Classes(("a", "b"), scores="logits")


def test_unknown_scores_are_refused():
    with pytest.raises(ValueError, match="scores='softmax' is unknown; choose logits, probabilities, log_prob"):
        Classes(("a", "b"), scores="softmax")


def test_values_come_back_in_their_own_unit():
    price = Values(("price", "rent"), mean=(20.0, 1.0), scale=(5.0, 1.0), unit="1000 dollars")
    (answer,) = price.decode(np.array([[-1.0, 2.0]], np.float32))
    assert answer == {"values": {"price": 15.0, "rent": 3.0}, "unit": "1000 dollars"}
    np.testing.assert_array_equal(price.normalise(np.array([[15.0, 3.0]])), [[-1.0, 2.0]])
    assert price.outputs == 2


@pytest.mark.parametrize(
    "described",
    [
        ImageInput(28, 28, 1, (0.1306604762738429,), (0.30810780385646264,), "auto"),
        COLOUR,
        TABLE,
        Classes(("0", "no", "1e3", "null", "Straße")),
        Classes(("a", "b"), scores="log_probabilities"),
        Values(("y",), (0.1,), (1e-17,), "°C"),
        TableInput(("x",), (0.1,), (0.7,), "float64"),
        Values(("y",), (0.1,), (1e-17,), "°C", "float64"),
    ],
)
def test_a_description_survives_json_and_yaml(described):
    plain = described.describe()
    assert from_description(plain) == described
    assert from_description(json.loads(json.dumps(plain))) == described
    assert from_description(yaml.safe_load(yaml.safe_dump(plain))) == described


def test_a_description_of_numpys_numbers_can_be_written_as_yaml():
    mean = np.float64(0.25)
    described = ImageInput(np.int64(8), 8, 1, (mean,), (np.float32(0.5),))
    assert from_description(yaml.safe_load(yaml.safe_dump(described.describe()))) == described


def test_an_unknown_description_is_refused():
    with pytest.raises(ValueError, match="unknown kind 'sound'; known: image, table, classes, values"):
        from_description({"kind": "sound"})


def test_the_file_works_alone_without_expkit(tmp_path):
    shutil.copyfile(preprocess.__file__, tmp_path / "preprocess.py")
    saved(tmp_path, stroke(0, 255))
    code = (
        "import sys, preprocess\n"
        "image = preprocess.ImageInput(8, 8, 1, (0.5,), (0.25,), 'auto')\n"
        "assert preprocess.from_description(image.describe()) == image\n"
        "print(image.normalise(image.read('image.png')).shape)\n"
        "assert not [m for m in sys.modules if m.partition('.')[0] in ('expkit', 'paddle', 'yaml')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 1, 8, 8)"
