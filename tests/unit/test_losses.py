import math
import os

import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.api import Classes, ConfigError, DataSource, DataSpec
from expkit.testing import example_specs

# Paddle looks for a compiler cache when it is imported and warns that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")


DIGITS, COLOURS, TABLE = example_specs()
SINGLE = DataSpec("one class", DIGITS.input, Classes(("price",)), DataSource("generated", "here"), "0" * 64)


def tensor(values, dtype="float32"):
    import paddle

    return paddle.to_tensor(values, dtype=dtype)


def cross_entropy(*args, **kwargs):
    from expkit_losses.cross_entropy import CrossEntropy

    return CrossEntropy(*args, **kwargs)


def squared_error(*args):
    from expkit_losses.squared_error import SquaredError

    return SquaredError(*args)


def test_cross_entropy_of_equal_logits_is_log_of_the_number_of_classes():
    value = cross_entropy(COLOURS)(tensor([[0.0] * 5, [7.0] * 5]), tensor([0, 4], "int64"))
    assert value.shape == []
    assert float(value) == pytest.approx(math.log(5))


def test_cross_entropy_is_the_mean_over_the_batch():
    # softmax of (ln 6, 0, 0, 0, 0) is 6/10 and 1/10 each.
    logits = tensor([[math.log(6), 0, 0, 0, 0]] * 2)
    value = cross_entropy(COLOURS)(logits, tensor([0, 1], "int64"))
    assert float(value) == pytest.approx((-math.log(0.6) - math.log(0.1)) / 2, rel=1e-6)


def test_label_smoothing_spreads_its_share_over_all_classes():
    logits = tensor([[math.log(6), 0, 0, 0, 0]])
    value = cross_entropy(COLOURS, label_smoothing=0.5)(logits, tensor([0], "int64"))
    # Target 0.5 + 0.5 / 5 for class 0, 0.5 / 5 for the four others.
    assert float(value) == pytest.approx(-0.6 * math.log(0.6) - 0.4 * math.log(0.1), rel=1e-6)


def test_cross_entropy_refuses_values():
    with pytest.raises(ConfigError, match=r"targets of example table are numbers\. Choose loss=squared_error"):
        cross_entropy(TABLE)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_label_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(ConfigError, match=r"loss\.label_smoothing=\S+: must be from 0 to below 1"):
        cross_entropy(COLOURS, label_smoothing=smoothing)


@pytest.mark.parametrize(
    ("outputs", "targets"), [([2, 4], [2]), ([2, 5], [1]), ([2, 5], [2, 1]), ([5], [1]), ([2, 5], [])]
)
def test_cross_entropy_refuses_other_shapes(outputs, targets):
    import paddle

    with pytest.raises(ConfigError, match=r"needs logits \[N, 5\] and classes \[N\]"):
        cross_entropy(COLOURS)(paddle.zeros(outputs), paddle.zeros(targets, dtype="int64"))


def test_squared_error_is_the_mean_over_batch_and_outputs():
    value = squared_error(TABLE)(tensor([[1.0], [2.0]]), tensor([[0.0], [4.0]]))
    assert float(value) == 2.5


def test_squared_error_takes_classes_as_numbers_with_a_single_output():
    value = squared_error(SINGLE)(tensor([[1.0], [2.0]]), tensor([0, 4], "int64"))
    assert float(value) == 2.5


@pytest.mark.parametrize(("outputs", "targets"), [([4, 1], [4]), ([4, 1], [1, 1]), ([4, 1], [4, 2]), ([4], [4])])
def test_squared_error_never_broadcasts(outputs, targets):
    import paddle

    with pytest.raises(ConfigError, match=r"needs outputs and targets of one shape \[N, K\]"):
        squared_error(TABLE)(paddle.zeros(outputs), paddle.zeros(targets))


def test_squared_error_refuses_classes():
    with pytest.raises(ConfigError, match=r"are 10 classes\. Choose loss=cross_entropy"):
        squared_error(DIGITS)
