import pytest
from expkit.api import ConfigError
from expkit.testing import check_regularizer

from plugin_name.weights import WeightsOnly


def test_it_keeps_the_promises_of_a_regularizer():
    check_regularizer(WeightsOnly)


def test_weights_decay_and_biases_do_not():
    regularizer = WeightsOnly()
    assert regularizer.decay("head.weight", (64, 10)) is not None
    assert regularizer.decay("head.bias", (10,)) is None


def test_a_negative_coefficient_is_refused():
    with pytest.raises(ConfigError, match="coefficient=-1: must be a number above 0"):
        WeightsOnly(coefficient=-1)
