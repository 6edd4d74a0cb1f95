"""Rotation, crops, mirror images, brightness and erasing; the rules that all image transforms keep."""

import numpy as np
import pytest

from expkit.api import Batch, ConfigError
from expkit.testing import example_batch, example_specs
from expkit_transforms.brightness import Brightness
from expkit_transforms.copy_paste import CopyPaste
from expkit_transforms.crop import Crop
from expkit_transforms.cutmix import CutMix
from expkit_transforms.erase import Erase
from expkit_transforms.flip import Flip
from expkit_transforms.mosaic import Mosaic
from expkit_transforms.rotate import Rotate
from expkit_transforms.shift import Shift
from expkit_transforms.tia_distort import TiaDistort
from expkit_transforms.tia_perspective import TiaPerspective
from expkit_transforms.tia_stretch import TiaStretch

DIGITS, COLOURS, TABLE = example_specs()
MIXING = [CutMix, Mosaic, CopyPaste]
WARPS = [TiaDistort, TiaStretch, TiaPerspective]
ALL = [Brightness, Crop, Erase, Flip, Rotate, Shift, *WARPS, *MIXING]


class Fixed:
    """A generator whose answers are given, whatever is asked."""

    def __init__(self, *, uniform=None, random=0.0, integers=None):
        self._uniform, self._random, self._integers = uniform, random, integers

    def uniform(self, low, high, size):
        return np.broadcast_to(np.asarray(self._uniform, float), size).copy()

    def random(self, size, dtype=np.float64):
        return np.broadcast_to(np.asarray(self._random, dtype), size).copy()

    def integers(self, low, high, size, dtype):
        return np.full(size, self._integers, dtype)


def always(kind):
    return {} if kind in (Flip, Shift) else {"probability": 1.0}


def blank(size=28, count=1):
    return np.zeros((count, size, size), np.uint8)


def classes(count):
    return np.zeros(count, np.int64)


def turned(images, degrees):
    generator = Fixed(uniform=degrees)
    return Rotate(DIGITS, degrees=180)(Batch(images, classes(len(images))), generator).inputs


@pytest.mark.parametrize("kind", ALL)
def test_grey_images_and_images_of_one_channel_are_treated_alike(kind):
    grey = example_batch(DIGITS, samples=12)
    with_axis = Batch(grey.inputs[..., None], grey.targets)
    transform = kind(DIGITS, **always(kind))
    one, other = (transform(batch, np.random.default_rng(5)) for batch in (grey, with_axis))
    np.testing.assert_array_equal(one.inputs, other.inputs[..., 0])
    np.testing.assert_array_equal(one.targets, other.targets)


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not Erase])
def test_channels_move_together(kind):
    grey = example_batch(DIGITS, samples=12)
    colour = Batch(np.stack([grey.inputs] * 3, axis=-1), grey.targets)
    transform = kind(DIGITS, **always(kind))
    one, other = (transform(batch, np.random.default_rng(5)) for batch in (grey, colour))
    for channel in range(3):
        np.testing.assert_array_equal(one.inputs, other.inputs[..., channel])


@pytest.mark.parametrize("kind", ALL)
def test_numbers_are_drawn_alike_whatever_is_in_the_images(kind):
    first, second = example_batch(DIGITS, seed=1), Batch(blank(count=16), classes(16))
    generators = [np.random.default_rng(5) for _ in range(2)]
    for batch, generator in zip((first, second), generators, strict=True):
        kind(DIGITS)(batch, generator)
    assert generators[0].bit_generator.state == generators[1].bit_generator.state


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in (Flip, Shift)])
def test_with_probability_0_images_stay_as_they_are(kind):
    batch = example_batch(COLOURS)
    out = kind(COLOURS, probability=0.0)(batch, np.random.default_rng(0))
    np.testing.assert_array_equal(out.inputs, batch.inputs)
    assert out.inputs is not batch.inputs
    shares = out.targets if kind in MIXING else np.eye(5)[out.targets]
    np.testing.assert_array_equal(shares, np.eye(5)[batch.targets])


@pytest.mark.parametrize(
    "transform",
    [
        Rotate(COLOURS, degrees=0.0),
        Crop(COLOURS, scale=[1.0, 1.0]),
        Flip(COLOURS, horizontal=0.0, vertical=0.0),
        Brightness(COLOURS, delta=0.0, probability=1.0),
        TiaDistort(COLOURS, magnitude=0.0, probability=1.0),
        TiaStretch(COLOURS, magnitude=0.0, probability=1.0),
        TiaPerspective(COLOURS, magnitude=0.0, probability=1.0),
        TiaPerspective(COLOURS, magnitude=0.0, probability=1.0, outside="edge"),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_without_strength_images_stay_as_they_are_to_the_last_bit(transform):
    batch = example_batch(COLOURS)
    np.testing.assert_array_equal(transform(batch, np.random.default_rng(0)).inputs, batch.inputs)


@pytest.mark.parametrize("kind", [Rotate, Crop, Brightness, Erase, *WARPS])
def test_about_the_given_share_of_images_is_changed(kind):
    batch = example_batch(DIGITS, samples=400)
    out = kind(DIGITS, probability=0.25)(batch, np.random.default_rng(0)).inputs
    changed = (out != batch.inputs).any(axis=(1, 2)).mean()
    assert changed == pytest.approx(0.25, abs=0.06)  # standard deviation 0.022


@pytest.mark.parametrize("kind", ALL)
def test_tables_are_refused(kind):
    name = {TiaDistort: "tia_distort", TiaStretch: "tia_stretch", TiaPerspective: "tia_perspective"}
    name = name.get(kind, {CopyPaste: "copy_paste"}.get(kind, kind.__name__.lower()))
    with pytest.raises(ConfigError, match=rf"transforms={name} needs images, but .* the shape \[13\]. Leave it out"):
        kind(TABLE)


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in (Flip, Shift, CutMix)])
def test_images_of_another_dtype_are_refused(kind):
    batch = Batch(np.zeros((2, 28, 28), np.float32), classes(2))
    with pytest.raises(ConfigError, match=r"needs raw uint8 images, not float32 inputs of shape \[2, 28, 28\]"):
        kind(DIGITS)(batch, np.random.default_rng(0))


@pytest.mark.parametrize("kind", ALL)
def test_inputs_without_rows_and_columns_are_refused(kind):
    batch = Batch(np.zeros((2, 784), np.uint8), classes(2))
    with pytest.raises(ConfigError, match=r"needs raw images \[N, H, W\].*not inputs of shape \[2, 784\]"):
        kind(DIGITS)(batch, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Rotate, {"degrees": -1.0}, r"rotate\.degrees=-1\.0: must be from 0 to 180"),
        (Rotate, {"degrees": float("nan")}, r"rotate\.degrees=nan"),
        (Rotate, {"probability": 1.5}, r"rotate\.probability=1\.5: must be from 0 to 1"),
        (Crop, {"scale": [0.0, 1.0]}, r"crop\.scale=\[0,1\]: must be the smallest and the largest share"),
        (Crop, {"scale": [0.9, 0.8]}, r"crop\.scale=\[0\.9,0\.8\]"),
        (Crop, {"scale": [0.9]}, r"crop\.scale=\[0\.9\]"),
        (Flip, {"vertical": -0.1}, r"flip\.vertical=-0\.1"),
        (Brightness, {"delta": 1.1}, r"brightness\.delta=1\.1: must be from 0 to 1"),
        (Brightness, {"offset": 300.0}, r"brightness\.offset=300\.0: must be from 0 to 255"),
        (Erase, {"aspect": 0.5}, r"erase\.aspect=0\.5: must be 1 or a number above 1"),
        (Erase, {"scale": [0.1, 2.0]}, r"erase\.scale=\[0\.1,2\]"),
        (CutMix, {"alpha": 0.0}, r"cutmix\.alpha=0\.0: must be a number above 0"),
        (Mosaic, {"reach": 0.5}, r"mosaic\.reach=0\.5: must be from 0 to below 0\.5"),
        (CopyPaste, {"threshold": 255}, r"copy_paste\.threshold=255: must be from 0 to 254"),
        (TiaDistort, {"segments": 0}, r"tia_distort\.segments=0: must be from 1 to 14, as images are 28 pixels wide"),
        (TiaDistort, {"magnitude": 0.6}, r"tia_distort\.magnitude=0\.6: must be from 0 to 0\.5"),
        (TiaStretch, {"segments": 1}, r"tia_stretch\.segments=1: must be from 2 to 14"),
        (TiaPerspective, {"outside": "white"}, r"tia_perspective\.outside='white' is unknown; choose black or edge"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, message):
    with pytest.raises(ConfigError, match=message):
        kind(DIGITS, **options)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("quarters", [-1, 1, 2])
def test_rotation_by_quarters_is_that_of_numpy(size, quarters):
    images = np.random.default_rng(0).integers(0, 256, (3, size, size), dtype=np.uint8)
    np.testing.assert_array_equal(turned(images, 90 * quarters), np.rot90(images, quarters, axes=(1, 2)))


def test_rotation_keeps_the_middle_and_each_image_has_its_own_angle():
    images = blank(size=9, count=3)
    images[:, 4, 4] = 200
    images[:, 4, 7] = 100
    out = turned(images, [0.0, 90.0, 180.0])
    assert (out[:, 4, 4] == 200).all()
    assert [tuple(map(int, at)) for at in np.argwhere(out == 100)] == [(0, 4, 7), (1, 1, 4), (2, 4, 1)]


def test_rotation_reads_between_pixels_and_brings_in_black():
    square = np.full((1, 2, 2), 100, np.uint8)
    # A corner pixel, 0.707 from the middle, is read 0.207 below the upper edge pixels' centres and half way between
    # the left and right ones: (1 - 0.207) * 100.
    assert turned(square, 45.0).tolist() == [[[79, 79], [79, 79]]]


def test_angles_reach_from_left_to_right():
    images = blank(size=29, count=300)
    images[:, 14, 28] = 255  # 14 to the right of the middle
    out = Rotate(DIGITS, degrees=14.0)(Batch(images, classes(300)), np.random.default_rng(0)).inputs
    rows = (out.astype(float) * np.arange(29)[:, None]).sum(axis=(1, 2)) / out.sum(axis=(1, 2)) - 14
    reach = 14 * np.sin(np.radians(14))
    assert rows.min() == pytest.approx(-reach, abs=0.3)
    assert rows.max() == pytest.approx(reach, abs=0.3)
    assert rows.mean() == pytest.approx(0, abs=0.4)  # standard deviation 0.11


def test_a_crop_of_a_quarter_is_enlarged_twice():
    image = blank(size=8)
    image[0, :4, 4:] = 80
    # A quarter of the area is half of each side; 0 and 1 of the room put it in the upper right corner.
    generator = Fixed(uniform=0.25, random=np.array([[0.0], [1.0], [0.0]]))
    out = Crop(DIGITS, scale=[0.25, 0.25])(Batch(image, classes(1)), generator).inputs[0]
    assert (out[:7, 1:] == 80).all()
    # Row 7 is read a quarter of a pixel below the last bright row, column 0 as much left of the first.
    assert out[7, 4] == 60
    assert out[3, 0] == 60
    assert out[7, 0] == 45


def test_crops_are_anywhere_in_the_image_with_equal_chances():
    images = np.broadcast_to(np.arange(0, 252, 9, dtype=np.uint8), (3000, 28, 28))
    for axis in (1, 2):
        batch = Batch(images if axis == 2 else images.swapaxes(1, 2), classes(3000))
        out = Crop(DIGITS, scale=[0.25, 0.25])(batch, np.random.default_rng(0)).inputs
        middles = out.mean(axis=(1, 2)) / 9  # of what was cut out, in pixels
        assert middles.min() == pytest.approx(6.5, abs=0.1)
        assert middles.max() == pytest.approx(20.5, abs=0.1)
        assert middles.mean() == pytest.approx(13.5, abs=0.25)


def test_mirror_images_are_those_of_numpy():
    batch = example_batch(COLOURS)
    seed = np.random.default_rng
    sideways = Flip(COLOURS, horizontal=1.0)(batch, seed(0)).inputs
    over = Flip(COLOURS, horizontal=0.0, vertical=1.0)(batch, seed(0)).inputs
    both = Flip(COLOURS, horizontal=1.0, vertical=1.0)(batch, seed(0)).inputs
    np.testing.assert_array_equal(sideways, batch.inputs[:, :, ::-1])
    np.testing.assert_array_equal(over, batch.inputs[:, ::-1])
    np.testing.assert_array_equal(both, batch.inputs[:, ::-1, ::-1])


def test_each_image_is_mirrored_on_its_own():
    image = blank()
    image[0, 3, 2] = 1
    batch = Batch(np.repeat(image, 4000, axis=0), classes(4000))
    out = Flip(DIGITS, horizontal=0.5, vertical=0.25)(batch, np.random.default_rng(0)).inputs
    places, counts = np.unique(np.argwhere(out)[:, 1:], axis=0, return_counts=True)
    assert places.tolist() == [[3, 2], [3, 25], [24, 2], [24, 25]]
    np.testing.assert_allclose(counts / 4000, [0.375, 0.375, 0.125, 0.125], atol=0.03)


def test_brightness_multiplies_adds_and_clips():
    levels = np.broadcast_to(np.array([0, 1, 100, 200], np.uint8), (3, 2, 4))
    # Of the factor 0.5, 1 and 1.5; of the offset -10, 0 and 10; chances that are below the probability.
    numbers = np.array([[0.0, 0.5, 1.0], [0.0, 0.5, 1.0], [0.0, 0.0, 0.0]])[:, :, None, None]
    transform = Brightness(DIGITS, delta=0.5, offset=10.0, probability=1.0)
    out = transform(Batch(levels, classes(3)), Fixed(random=numbers)).inputs
    assert out[:, 0].tolist() == [[0, 0, 40, 90], [0, 1, 100, 200], [10, 12, 160, 255]]  # 11.5 is rounded to even
    assert (out[:, 0] == out[:, 1]).all()


def test_brightness_leaves_black_black_and_changes_all_channels_alike():
    batch = example_batch(COLOURS, samples=50)
    black = Batch(np.zeros_like(batch.inputs), batch.targets)
    transform = Brightness(COLOURS, delta=0.3, probability=1.0)
    assert not transform(black, np.random.default_rng(0)).inputs.any()
    grey = Batch(np.full_like(batch.inputs, 100), batch.targets)
    out = transform(grey, np.random.default_rng(0)).inputs
    assert (out == out[:, :1, :1, :1]).all()
    assert out.min() == pytest.approx(70, abs=3)
    assert out.max() == pytest.approx(130, abs=3)


def test_erase_covers_a_box_of_the_asked_area_and_shape():
    image = blank(size=8)
    # A quarter of 64 pixels is 16; as high as wide; at half of the room, rows and columns 2 to 5.
    generator = Fixed(uniform=0.25, random=np.array([[0.5], [0.5], [0.0]]), integers=7)
    generator.uniform = lambda low, high, size: np.full(size, 0.25 if low > 0 else 0.0)
    out = Erase(DIGITS, scale=[0.25, 0.25], probability=1.0)(Batch(image, classes(1)), generator).inputs[0]
    assert (out[2:6, 2:6] == 7).all()
    assert np.count_nonzero(out) == 16


def test_erased_boxes_keep_the_bounds_of_area_and_aspect():
    batch = Batch(blank(size=28, count=3000), classes(3000))
    transform = Erase(DIGITS, scale=[0.02, 0.2], aspect=2.0, probability=1.0)
    out = transform(batch, np.random.default_rng(0)).inputs
    rows, columns = (out.any(axis=axis).sum(axis=1) for axis in (2, 1))
    area = rows * columns / 28**2
    assert 0.015 < area.min() < 0.03
    assert 0.18 < area.max() < 0.22
    assert (rows / columns).max() < 2.6  # 2, and whole pixels
    assert (columns / rows).max() < 2.6
    assert out.any(axis=0).all(), "a box reaches everywhere"


@pytest.mark.parametrize("kind", [Rotate, Crop, *WARPS])
def test_nothing_is_displaced_on_average(kind):
    away = np.arange(28) - 13.5
    blob = 200 * np.exp(-(away[:, None] ** 2 + away**2) / 18)
    batch = Batch(np.repeat(np.rint(blob)[None].astype(np.uint8), 500, axis=0), classes(500))
    out = kind(DIGITS, **always(kind))(batch, np.random.default_rng(0)).inputs.mean(axis=0)
    # An offset by half a pixel, as from counting edges for centres, would be ten times as much.
    assert (out.sum(axis=0) * away).sum() / out.sum() == pytest.approx(0, abs=0.06)
    assert (out.sum(axis=1) * away).sum() / out.sum() == pytest.approx(0, abs=0.06)
