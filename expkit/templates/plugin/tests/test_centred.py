import numpy as np
import paddle
import pytest
from expkit.api import ConfigError
from expkit.testing import check_optimizer

from plugin_name.centred import centred


def test_it_keeps_the_promises_of_an_optimizer():
    check_optimizer(centred)


def test_the_sum_of_what_enters_a_unit_stays():
    layer = paddle.nn.Linear(5, 3)
    before = layer.weight.numpy()
    optimizer = centred(layer.parameters(), learning_rate=0.1)
    layer(paddle.randn([7, 5])).square().sum().backward()
    optimizer.step()
    assert not np.allclose(layer.weight.numpy(), before)
    np.testing.assert_allclose(layer.weight.numpy().sum(axis=0), before.sum(axis=0), atol=1e-4)


def test_a_momentum_of_one_is_refused():
    with pytest.raises(ConfigError, match="momentum=1.0: must be from 0 to below 1"):
        centred([], momentum=1.0)
