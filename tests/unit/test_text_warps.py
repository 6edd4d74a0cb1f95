"""The warps of text images, and the moving least squares that they are made with."""

import numpy as np
import pytest

from expkit.api import Batch
from expkit.testing import example_batch, example_specs
from expkit_transforms import _least_squares
from expkit_transforms.tia_distort import TiaDistort
from expkit_transforms.tia_perspective import TiaPerspective
from expkit_transforms.tia_stretch import TiaStretch

DIGITS, *_ = example_specs()
SIZE = (28, 28)
CORNERS = np.array([0, 27, 27j, 27 + 27j])


class Ends:
    """A generator that always draws the same share of a range."""

    def __init__(self, share):
        self.share = share

    def random(self, size):
        return np.full(size, self.share)

    def uniform(self, low, high, size):
        return np.full(size, low + self.share * (high - low))


def pixels():
    return np.arange(28) + 1j * np.arange(28)[:, None]


def found(points, moved):
    rows, columns = _least_squares.origins(np.asarray(points), np.asarray(moved)[None], SIZE)
    return columns[0] + 1j * rows[0]


@pytest.mark.parametrize(
    ("turn", "move"), [(1, 0), (1, 3 - 2j), (1.5, 0), (np.exp(0.3j), 1 + 1j)], ids=["none", "move", "grow", "turn"]
)
def test_a_similarity_of_the_control_points_is_that_of_the_whole_image(turn, move):
    # Schaefer et al. 2006, sec. 2: what the control points have in common is reproduced everywhere.
    points = np.array([0, 9 + 3j, 27, 27j, 20 + 27j])
    np.testing.assert_allclose(found(points, turn * points + move), (pixels() - move) / turn, atol=1e-4)


def test_a_control_point_is_followed_exactly():
    moved = CORNERS + np.array([4 + 8j, 0, 0, 0])  # to a place where the deformation is computed, not interpolated
    assert found(CORNERS, moved)[8, 4] == pytest.approx(0, abs=1e-4)


def test_near_control_points_count_more_than_far_ones():
    moves = found(CORNERS, CORNERS + np.array([3, 0, 0, 0])) - pixels()
    assert abs(moves[1, 1]) > 2
    assert abs(moves[26, 26]) < 0.2


@pytest.mark.parametrize("transform", [TiaDistort, TiaStretch, TiaPerspective])
def test_warps_change_images_and_keep_targets(transform):
    batch = example_batch(DIGITS)
    out = transform(DIGITS, probability=1.0)(batch, np.random.default_rng(0))
    assert (out.inputs != batch.inputs).any(axis=(1, 2)).all()
    assert out.targets is batch.targets


def white(count=1, size=29):
    return Batch(np.full((count, size, size), 255, np.uint8), np.zeros(count, np.int64))


def test_perspective_moves_corners_inwards_by_the_magnitude():
    # All corners move by the whole magnitude: a quarter of 28 rows from above and from below is left black.
    out = TiaPerspective(DIGITS, magnitude=0.25, probability=1.0)(white(), Ends(0.9999)).inputs[0]
    for column in (0, 28):
        assert out[:6, column].max() == 0
        assert out[[7, 21], column].min() > 240
        assert out[23:, column].max() == 0
    assert out[8:21, 1:28].min() == 255


def test_outside_of_the_frame_the_edge_may_go_on():
    out = TiaPerspective(DIGITS, magnitude=0.25, probability=1.0, outside="edge")(white(), Ends(0.9999)).inputs
    assert (out == 255).all()


def test_distortion_moves_corners_inwards_along_both_axes():
    # One segment of 28 pixels has corners only; they move by 7 pixels, which halves the image around its middle.
    transform = TiaDistort(DIGITS, segments=1, magnitude=0.25, probability=1.0)
    out = transform(white(), Ends(0.9999)).inputs[0]
    assert out[7:22, 7:22].min() >= 254
    assert out[7:22, 7:22].size * 255 == pytest.approx(out.sum(dtype=int), rel=0.01)


def test_distortion_moves_points_between_corners_both_ways():
    # Segments of 7 pixels: a magnitude of 0.5 is 1.75 pixels up or down, and none in the middle of the range.
    transform = TiaDistort(DIGITS, segments=4, magnitude=0.5, probability=1.0)
    downwards, still, upwards = (transform(white(), Ends(share)).inputs[0, :, 14] for share in (0.9999, 0.5, 0.0))
    assert still.min() > 220  # a tenth of a pixel, as corners move
    assert downwards[0] == 0
    assert downwards[-1] == 255
    assert upwards[0] == 255
    assert upwards[-1] == 0


def test_stretching_moves_cuts_sideways_and_corners_not():
    # Two segments of 14 pixels: the cut at column 14 moves to the right by 0.25 * 14 = 3.5.
    batch = white()
    batch.inputs[:] = np.arange(29) * 9
    out = TiaStretch(DIGITS, segments=2, magnitude=0.25, probability=1.0)(batch, Ends(0.9999)).inputs[0] / 9
    assert np.interp(14, out[0], np.arange(29)) == pytest.approx(17.5, abs=0.3)
    assert np.interp(14, out[28], np.arange(29)) == pytest.approx(17.5, abs=0.3)
    assert out[[0, 0, 28, 28], [0, 28, 0, 28]].tolist() == pytest.approx([0, 28, 0, 28], abs=0.1)
    assert (np.diff(out, axis=1) > 0).all(), "nothing is folded"


@pytest.mark.parametrize("size", [(28, 28), (32, 128)])
@pytest.mark.parametrize("transform", [TiaDistort, TiaStretch, TiaPerspective])
def test_no_image_is_folded_by_default(transform, size):
    columns = np.broadcast_to(np.linspace(0, 255, size[1]).astype(np.uint8), (100, *size))
    batch = Batch(columns, np.zeros(100, np.int64))
    out = transform(DIGITS, probability=1.0, outside="edge")(batch, np.random.default_rng(0)).inputs.astype(int)
    assert np.diff(out, axis=2).min() >= -3, "left of a column nothing is shown that belongs right of it"
