import numpy as np
import pytest
from expkit.api import ConfigError
from expkit.testing import check_metric, example_specs

from plugin_name.calibration import CalibrationError


def test_it_keeps_the_promises_of_a_metric():
    check_metric(CalibrationError)


def test_its_value_can_be_checked_by_hand():
    metric = CalibrationError(example_specs()[0])
    logits = np.full((4, 10), -100.0, np.float32)
    logits[:, :2] = [np.log(0.8), np.log(0.2)]  # sure to 80%, four times
    metric.update(logits, np.array([0, 0, 1, 1]))  # and right twice
    assert metric.compute() == pytest.approx(0.3, rel=1e-6)


def test_no_bins_are_refused():
    with pytest.raises(ConfigError, match="bins=0: must be at least 1"):
        CalibrationError(example_specs()[0], bins=0)
