import paddle
import pytest
from expkit.api import ConfigError
from expkit.testing import check_model, example_specs

from plugin_name.resmlp import ResidualMLP


def test_it_keeps_the_promises_of_a_model():
    check_model(ResidualMLP)


def test_blocks_that_add_nothing_change_nothing():
    model = ResidualMLP(example_specs()[0], width=8, blocks=1)
    inputs = paddle.randn([4, 1, 28, 28])
    down = model.blocks[0].down
    for parameter in (down.weight, down.bias):
        parameter.set_value(paddle.zeros_like(parameter))
    without = model.head(paddle.nn.functional.relu(model.norm(model.first(inputs.flatten(1)))))
    assert bool((model(inputs) == without).all())


def test_a_width_of_zero_is_refused():
    with pytest.raises(ConfigError, match="width=0: must be at least 1"):
        ResidualMLP(example_specs()[0], width=0)
