import math

import paddle
import pytest
from expkit.api import ConfigError
from expkit.testing import check_loss, example_specs

from plugin_name.poly1 import Poly1


def test_it_keeps_the_promises_of_a_loss():
    check_loss(Poly1)


def test_its_value_is_that_of_the_formula():
    logits = paddle.to_tensor([[math.log(3.0), 0.0]])  # p = 3/4
    loss = Poly1(example_specs()[0], epsilon=2.0)(logits, paddle.to_tensor([0]))
    assert float(loss) == pytest.approx(-math.log(0.75) + 2.0 * 0.25, rel=1e-6)


def test_an_epsilon_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="epsilon=-2: must be -1 or above"):
        Poly1(example_specs()[0], epsilon=-2)
