import dataclasses

import numpy as np
import pytest

from expkit.api import Batch, ConfigError
from expkit.testing import example_batch, example_specs
from expkit_transforms.noise import Noise
from expkit_transforms.shift import Shift

DIGITS, COLOURS, TABLE = example_specs()


class Fixed:
    """Answers `integers` with given moves (rows top, left)."""

    def __init__(self, top, left):
        self.moves = np.array([top, left])

    def integers(self, *args, **kwargs):
        return self.moves


def dot(row, column, size=28):
    image = np.zeros((1, size, size), np.uint8)
    image[0, row, column] = 200
    return image


def where(images):
    return [tuple(map(int, at)) for at in np.argwhere(images)]


def shifted(images, top, left, pixels=2):
    return Shift(DIGITS, pixels=pixels)(Batch(images, np.zeros(len(images), np.int64)), Fixed(top, left)).inputs


def test_shift_moves_each_image_by_its_own_draw():
    images = np.concatenate([dot(10, 10)] * 3)
    # A cut-out that begins at 0 is 2 above and left of the image: its content moves down and right.
    out = shifted(images, top=[0, 2, 4], left=[0, 2, 3])
    assert where(out) == [(0, 12, 12), (1, 10, 10), (2, 8, 9)]


def test_shift_fills_with_zero_and_drops_what_leaves():
    full = np.full((1, 28, 28), 9, np.uint8)
    out = shifted(full, top=[4], left=[2])[0]
    assert (out[:26] == 9).all()
    assert (out[26:] == 0).all()
    assert where(shifted(dot(0, 0), top=[4], left=[4])) == []


def test_shift_moves_all_channels_together():
    grey = example_batch(DIGITS, samples=50)
    generator = np.random.default_rng(3)
    alone = Shift(DIGITS)(grey, np.random.default_rng(3)).inputs
    colour = Shift(DIGITS)(Batch(np.stack([grey.inputs] * 3, axis=-1), grey.targets), generator).inputs
    assert colour.shape == (50, 28, 28, 3)
    assert colour.flags.c_contiguous
    for channel in range(3):
        np.testing.assert_array_equal(colour[..., channel], alone)


def test_shift_reaches_every_move_about_equally():
    images = np.concatenate([dot(10, 10)] * 5000)
    out = Shift(DIGITS, pixels=1)(Batch(images, np.zeros(5000, np.int64)), np.random.default_rng(0)).inputs
    moves, counts = np.unique(np.argwhere(out)[:, 1:] - 10, axis=0, return_counts=True)
    assert moves.tolist() == [[y, x] for y in (-1, 0, 1) for x in (-1, 0, 1)]
    assert counts.min() > 480  # 556 expected, standard deviation 22
    assert counts.max() < 640


@pytest.mark.parametrize("pixels", [-1, 28])
def test_shift_out_of_range_is_refused(pixels):
    with pytest.raises(ConfigError, match=rf"shift\.pixels={pixels}: must be from 0 to 27"):
        Shift(DIGITS, pixels=pixels)


def test_shift_refuses_tables():
    with pytest.raises(ConfigError, match=r"needs images, but inputs of example table have the shape \[13\]"):
        Shift(TABLE)


def test_noise_of_pixels_has_the_given_deviation_and_is_clipped():
    batch = Batch(np.full((40, 28, 28), 128, np.uint8), np.zeros(40, np.int64))
    out = Noise(DIGITS, std=0.1)(batch, np.random.default_rng(0)).inputs
    assert out.dtype == np.uint8
    assert out.std() == pytest.approx(25.5, rel=0.02)
    assert out.mean() == pytest.approx(128, abs=0.5)
    white = Batch(np.full((4, 28, 28), 255, np.uint8), batch.targets[:4])
    bright = Noise(DIGITS, std=0.1)(white, np.random.default_rng(0)).inputs
    assert bright.min() > 100, "255 + noise must not wrap around to 0"
    assert (bright == 255).mean() == pytest.approx(0.5, abs=0.05)


def test_noise_of_a_table_follows_the_scale_of_its_columns():
    spec = dataclasses.replace(TABLE, input=dataclasses.replace(TABLE.input, scale=tuple(np.arange(1.0, 14.0))))
    batch = Batch(np.zeros((20_000, 13), np.float32), np.zeros((20_000, 1), np.float32))
    out = Noise(spec, std=0.5)(batch, np.random.default_rng(0)).inputs
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.std(axis=0), 0.5 * np.arange(1.0, 14.0), rtol=0.03)


def test_noise_of_zero_changes_nothing():
    batch = example_batch(COLOURS)
    np.testing.assert_array_equal(Noise(COLOURS, std=0.0)(batch, np.random.default_rng(0)).inputs, batch.inputs)


def test_noise_refuses_a_range_that_it_does_not_know():
    batch = Batch(np.zeros((2, 28, 28), np.float32), np.zeros(2, np.int64))
    with pytest.raises(ConfigError, match=r"not float32 inputs of shape \[2, 28, 28\]"):
        Noise(DIGITS)(batch, np.random.default_rng(0))


def test_negative_noise_is_refused():
    with pytest.raises(ConfigError, match=r"noise\.std=-0\.1"):
        Noise(DIGITS, std=-0.1)
