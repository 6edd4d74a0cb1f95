import numpy as np
import pytest
from expkit.api import ConfigError
from expkit.testing import check_dataset, check_options

from plugin_name.spirals import spirals


def test_it_keeps_the_promises_of_a_dataset():
    check_options("dataset", spirals)
    check_dataset(spirals())


def test_points_are_on_their_arms():
    data = spirals(arms=2, samples=200, turns=1.0, noise=0.0)
    radius = np.hypot(*data.train.inputs.T)
    angle = 2 * np.pi * (radius + data.train.targets / 2)
    on_arms = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(data.train.inputs, on_arms, atol=1e-12)


def test_one_arm_is_refused():
    with pytest.raises(ConfigError, match="arms=1: must be at least 2"):
        spirals(arms=1)
