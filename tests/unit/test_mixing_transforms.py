"""CutMix, mosaic and CopyPaste: what is mixed, and the shares of classes that become the target."""

import dataclasses

import numpy as np
import pytest

from expkit.api import Batch, ConfigError, Values
from expkit.testing import example_batch, example_specs
from expkit_transforms.copy_paste import CopyPaste
from expkit_transforms.cutmix import CutMix
from expkit_transforms.mosaic import Mosaic

DIGITS, COLOURS, _ = example_specs()
MIXING = [CutMix, Mosaic, CopyPaste]


class Swaps:
    """A generator that pairs each sample with the next, and answers the rest as given."""

    def __init__(self, *, beta=None, uniform=None, random=0.0):
        self._beta, self._uniform, self._random = beta, uniform, random
        self._asked = 0

    def permutation(self, count):
        self._asked += 1
        return np.roll(np.arange(count), -self._asked)

    def beta(self, a, b, size):
        return np.full(size, float(self._beta))

    def uniform(self, low, high, size):
        return np.broadcast_to(np.asarray(self._uniform, float), size).copy()

    def random(self, size):
        return np.broadcast_to(np.asarray(self._random, float), size).copy()


def plain(*levels, size=8):
    """Images of one level each, of the classes 0, 1, 2, ..."""
    images = np.repeat(np.array(levels, np.uint8), size * size).reshape(len(levels), size, size)
    return Batch(images, np.arange(len(levels)))


def first_shares(batch, count):
    assert batch.targets.dtype == np.float32
    assert batch.targets.shape[1] == 10
    assert not batch.targets[:, count:].any()
    return batch.targets[0, :count].tolist()


@pytest.mark.parametrize("kind", MIXING)
def test_shares_add_up_and_follow_the_samples_order(kind):
    batch = example_batch(DIGITS, samples=64)
    out = kind(DIGITS, probability=0.5)(batch, np.random.default_rng(0))
    assert out.targets.shape == (64, 10)
    np.testing.assert_allclose(out.targets.sum(axis=1), 1, atol=1e-6)
    pure = out.targets.max(axis=1) == 1
    np.testing.assert_array_equal(out.targets[pure].argmax(axis=1), batch.targets[pure])
    assert 0.3 < pure.mean() < 0.8


@pytest.mark.parametrize("first", MIXING)
@pytest.mark.parametrize("second", MIXING)
def test_shares_are_mixed_again(first, second):
    batch = example_batch(COLOURS, samples=32)
    generator = np.random.default_rng(0)
    once = first(COLOURS, probability=1.0)(batch, generator)
    kept = once.targets.copy()
    twice = second(COLOURS, probability=1.0)(once, generator).targets
    assert (twice.shape, twice.dtype) == ((32, 5), np.float32)
    np.testing.assert_allclose(twice.sum(axis=1), 1, atol=1e-6)
    assert (np.count_nonzero(twice, axis=1) > 2).any()
    np.testing.assert_array_equal(once.targets, kept)


@pytest.mark.parametrize(("kind", "name"), [(CutMix, "cutmix"), (Mosaic, "mosaic"), (CopyPaste, "copy_paste")])
def test_values_are_refused(kind, name):
    spec = dataclasses.replace(DIGITS, target=Values(("digit",), (4.5,), (3.0,)))
    with pytest.raises(ConfigError, match=rf"transforms={name} mixes classes, but targets of .* are values\. Leave it"):
        kind(spec)


def test_cutmix_replaces_a_box_and_shares_the_target_by_its_area():
    # 3/4 is kept, so that the box has half of each side: 4 x 4 of 8 x 8 pixels, around the pixel (4, 4).
    generator = Swaps(beta=0.75, random=np.array([[0.5], [0.5], [0.0]]))
    out = CutMix(DIGITS, probability=1.0)(plain(10, 20), generator)
    expected = np.full((8, 8), 10)
    expected[2:6, 2:6] = 20
    np.testing.assert_array_equal(out.inputs[0], expected)
    assert first_shares(out, 2) == [0.75, 0.25]


def test_cutmix_counts_only_what_of_the_box_is_in_the_image():
    # The same box around the upper right corner: rows 0 and 1, columns 5 to 7, that is 6 of 64 pixels.
    generator = Swaps(beta=0.75, random=np.array([[0.0], [0.99], [0.0]]))
    out = CutMix(DIGITS, probability=1.0)(plain(10, 20), generator)
    expected = np.full((8, 8), 10)
    expected[:2, 5:] = 20
    np.testing.assert_array_equal(out.inputs[0], expected)
    assert first_shares(out, 2) == pytest.approx([58 / 64, 6 / 64])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_cutmix_targets_are_what_the_pixels_say(alpha):
    batch = plain(*range(10))
    out = CutMix(DIGITS, alpha=alpha, probability=1.0)(batch, np.random.default_rng(0))
    seen = (out.inputs[..., None] == np.arange(10)).mean(axis=(1, 2))
    np.testing.assert_allclose(out.targets, seen, atol=1e-6)


def test_mosaic_shows_four_samples_around_its_centre():
    # The centre is at 0.5 + 0.25 of 8 rows and 0.5 - 0.125 of 8 columns: after row 6 and column 3.
    generator = Swaps(uniform=np.array([[0.25], [-0.125]]))
    out = Mosaic(DIGITS, reach=0.25, probability=1.0)(plain(10, 20, 30, 40), generator)
    expected = np.empty((8, 8))
    expected[:6, :3], expected[:6, 3:], expected[6:, :3], expected[6:, 3:] = 10, 20, 30, 40
    np.testing.assert_array_equal(out.inputs[0], expected)
    assert first_shares(out, 4) == pytest.approx([18 / 64, 30 / 64, 6 / 64, 10 / 64])


def test_mosaic_shows_each_sample_whole():
    batch = example_batch(DIGITS, samples=4)
    out = Mosaic(DIGITS, probability=1.0)(batch, Swaps(uniform=0.0)).inputs[0]
    # In a quadrant of half the side, each pixel is the mean of four.
    halves = batch.inputs.reshape(4, 14, 2, 14, 2).mean(axis=(2, 4))
    expected = np.block([[halves[0], halves[1]], [halves[2], halves[3]]])
    np.testing.assert_allclose(out, expected, atol=0.5)


def test_mosaic_of_one_sample_is_four_times_itself():
    batch = plain(10)
    out = Mosaic(DIGITS, probability=1.0)(batch, np.random.default_rng(0))
    np.testing.assert_array_equal(out.inputs, batch.inputs)
    assert first_shares(out, 1) == [1.0]


def test_copy_paste_lets_the_image_show_through_the_background():
    below, above = np.zeros((2, 8, 8), np.uint8)
    below[:, 2:] = 100  # 48 pixels
    above[:4] = 200  # of half the size: 2 x 4 pixels
    batch = Batch(np.stack([below, above]), np.array([0, 1]))
    generator = Swaps(uniform=0.5, random=np.array([[0.5], [0.5], [0.0]]))
    out = CopyPaste(DIGITS, threshold=50, probability=1.0)(batch, generator)
    expected = below.copy()
    expected[2:4, 2:6] = 200  # what is pasted takes rows and columns 2 to 5; its lower half is background
    np.testing.assert_array_equal(out.inputs[0], expected)
    assert first_shares(out, 2) == pytest.approx([40 / 48, 8 / 48])


def test_copy_paste_makes_smaller_without_losing_lines():
    ruled = np.zeros((1, 12, 12), np.uint8)
    ruled[0, ::3] = 240
    batch = Batch(np.repeat(ruled, 2, axis=0), np.array([0, 1]))
    batch.inputs[0] = 0
    generator = Swaps(uniform=0.5, random=np.zeros((3, 1)))
    out = CopyPaste(DIGITS, threshold=0, probability=1.0)(batch, generator).inputs[0]
    # Each pixel is the mean of two rows, of which every third is drawn.
    np.testing.assert_array_equal(out[:6, 2], [120, 120, 0, 120, 120, 0])


def test_copy_paste_of_nothing_leaves_image_and_target():
    out = CopyPaste(DIGITS, probability=1.0)(plain(0, 0), np.random.default_rng(1))
    assert not out.inputs.any()
    assert out.targets.tolist() == np.eye(10, dtype=np.float32)[:2].tolist()


def test_copy_paste_hides_what_it_covers():
    # A full image of the full size covers all that was there.
    out = CopyPaste(DIGITS, scale=[1.0, 1.0], probability=1.0)(plain(100, 200), Swaps(uniform=1.0))
    np.testing.assert_array_equal(out.inputs, plain(200, 100).inputs)
    assert first_shares(out, 2) == [0.0, 1.0]


def test_what_any_channel_shows_is_foreground():
    batch = Batch(np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1]))
    batch.inputs[0] = 255
    batch.inputs[1, ..., 2] = 90  # blue
    out = CopyPaste(COLOURS, scale=[0.5, 0.5], probability=1.0)(batch, Swaps(uniform=0.5))
    assert (out.inputs[0] == [0, 0, 90]).all(axis=-1).sum() == 16
    assert out.targets[0, :2].tolist() == [0.75, 0.25]
