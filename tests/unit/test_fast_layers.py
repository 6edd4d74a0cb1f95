from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from expkit_learners.fast_layers import speed_up

ROOT = Path(__file__).parents[2]


def answers(layer, x):
    """Output, and the gradients of input and parameters, for gradients of the output that differ everywhere."""
    inputs = paddle.to_tensor(x, stop_gradient=False)
    outputs = layer(inputs)
    weights = np.random.default_rng(1).normal(size=outputs.shape).astype(np.float32)
    (outputs * paddle.to_tensor(weights)).sum().backward()
    gradients = [p.grad.numpy() for p in layer.parameters() if not p.stop_gradient]
    return [outputs.numpy(), inputs.grad.numpy(), *gradients]


def compare(make, x):
    """Hold a layer that was sped up against its stock twin, bit by bit; return how many layers were changed."""
    stock, fast = make(), make()
    fast.set_state_dict(stock.state_dict())
    changed = speed_up(fast)
    for wanted, found in zip(answers(stock, x), answers(fast, x), strict=True):
        assert found.shape == wanted.shape
        assert found.tobytes() == wanted.tobytes()
    return changed


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(3, 4, 11, 9), (1, 4, 3, 3), (16, 4, 28, 28)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1},
        {"padding": [1, 2]},
        {"padding": [1, 2, 0, 1]},
        {"padding": [[0, 0], [0, 0], [1, 2], [0, 1]]},
        {"stride": 2, "padding": 1},
        {"stride": [1, 2], "padding": 2},
        {"dilation": 2, "padding": 2},
        {"groups": 2, "padding": 1},
        {"groups": 4, "padding": 1},
    ],
)
def test_a_convolution_is_bit_equal(shape, options):
    assert compare(lambda: nn.Conv2D(4, 8, 3, **options), images(*shape)) == 1


@pytest.mark.parametrize("shape", [(3, 4, 11, 9), (1, 4, 28, 28), (3, 4, 7, 7)])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 5, "padding": 2},
        {"kernel_size": 5, "padding": 2, "bias_attr": False},
        {"kernel_size": 7, "padding": 3, "groups": 4},
        {"kernel_size": [1, 5], "padding": [0, 2]},
        {"kernel_size": [5, 3], "padding": [2, 1]},
        {"kernel_size": 5, "padding": [4, 0, 1, 2]},
        {"kernel_size": 3, "padding": [[0, 0], [0, 0], [0, 1], [0, 1]]},
        {"kernel_size": 1, "padding": 2},
    ],
)
def test_a_convolution_whose_margin_is_laid_beforehand_is_bit_equal(shape, options):
    assert compare(lambda: nn.Conv2D(4, 8, **options), images(*shape)) == 1


def test_layers_that_a_model_sets_anew_compute_what_they_are_set_to():
    class Anew(nn.Layer):
        def __init__(self):
            super().__init__()
            self.convolution, self.pool = nn.Conv2D(4, 4, 3, padding=[2, 0, 2, 0]), nn.MaxPool2D(3, 1, 1)

        def forward(self, x):
            for padding, dilation in (([2, 0, 2, 0], 1), ([0, 2, 0, 2], 1), ([3, 3], 1), ([2, 2], 2), ([1, 1], 1)):
                self.convolution._updated_padding, self.convolution._dilation = padding, [dilation] * 2
                x = self.convolution(x)
            self.pool.stride, self.pool.padding, self.pool.ceil_mode = 2, 1, True
            return self.pool(x)

    assert compare(Anew, images(2, 4, 12, 12)) == 2


@pytest.mark.parametrize("full_graph", [True, False])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # Paddle's, while it traces
def test_a_part_that_a_model_traces_by_itself_computes_the_same(full_graph):
    def make():
        part = nn.Sequential(nn.Conv2D(1, 4, 5, padding=2), nn.MaxPool2D(3, 1, 1), nn.Flatten(), nn.Linear(576, 3))
        return paddle.jit.to_static(part, full_graph=full_graph)

    stock, fast = make(), make()
    fast.set_state_dict(stock.state_dict())
    assert speed_up(fast) == 3
    for wanted, found in zip(answers(stock, images(2, 1, 12, 12)), answers(fast, images(2, 1, 12, 12)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_faster_model_is_copied_and_pickled_as_any():
    model = nn.Sequential(nn.Conv2D(1, 4, 5, padding=2), nn.MaxPool2D(2), nn.Flatten(), nn.Linear(144, 3))
    assert speed_up(model) == 3
    x = paddle.to_tensor(images(2, 1, 12, 12))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other(x).numpy().tobytes() == model(x).numpy().tobytes()
        model[3].weight.set_value(model[3].weight + 1)
        assert other(x).numpy().tobytes() != model(x).numpy().tobytes()
        model[3].weight.set_value(other[3].weight)


def test_branches_that_part_from_one_tensor_differ_by_the_order_of_a_sum_at_most():
    class Branches(nn.Layer):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2D(3, 8, 1)
            self.branches = nn.LayerList(nn.Conv2D(8, 8, k, padding=k // 2, bias_attr=False) for k in (1, 3, 5))

        def forward(self, x):
            stem = nn.functional.relu(self.stem(x))
            return sum(branch(stem) for branch in self.branches)

    stock, fast = Branches(), Branches()
    fast.set_state_dict(stock.state_dict())
    assert speed_up(fast) == 2
    for wanted, found in zip(answers(stock, images(4, 3, 16, 16)), answers(fast, images(4, 3, 16, 16)), strict=True):
        assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max()


def test_the_gradient_of_a_gradient_through_a_margin_is_bit_equal():
    def pulled(fast):
        paddle.seed(3)
        layer = nn.Conv2D(4, 8, 5, padding=2)
        assert speed_up(layer) == 1 if fast else True
        x = paddle.to_tensor(images(2, 4, 12, 12), stop_gradient=False)
        (slope,) = paddle.grad((layer(x) ** 3).sum(), x, create_graph=True)
        (slope**2).sum().backward()
        return [x.grad.numpy(), layer.weight.grad.numpy()]

    for wanted, found in zip(pulled(False), pulled(True), strict=True):
        assert np.abs(wanted).max() > 0
        assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.float32), (4, np.float64), (4, np.int32)])
def test_what_a_convolution_refuses_is_refused_in_the_same_words(channels, dtype):
    def told(fast):
        layer = nn.Conv2D(4, 8, 5, padding=2)
        assert speed_up(layer) == 1 if fast else True
        with pytest.raises((ValueError, RuntimeError)) as refused:
            layer(paddle.to_tensor(images(2, channels, 12, 12).astype(dtype)))
        return str(refused.value).split("[Hint")[-1]

    assert told(True) == told(False)


@pytest.mark.parametrize("shape", [(3, 4, 11, 9), (1, 1, 3, 3), (16, 20, 28, 28)])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 0]},
        {"kernel_size": 1, "stride": 2},
    ],
)
def test_max_pooling_is_bit_equal(shape, options):
    assert compare(lambda: nn.MaxPool2D(**options), images(*shape)) == 1


def test_max_pooling_gives_a_tie_to_the_same_pixel():
    flat = np.zeros((2, 3, 8, 8), np.float32)
    assert compare(lambda: nn.MaxPool2D(3, 1, 1), flat) == 1
    assert compare(lambda: nn.MaxPool2D(2), np.maximum(images(4, 3, 8, 8), 0)) == 1


@pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")  # Paddle, of BatchNorm
def test_a_whole_network_is_bit_equal():
    def make():
        return nn.Sequential(
            nn.Conv2D(1, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2D(2),
            nn.Sequential(nn.Conv2D(6, 8, 3), nn.BatchNorm2D(8), nn.MaxPool2D(3, 2)),
            nn.Flatten(),
            nn.Linear(8 * 5 * 5, 10),
        )

    assert compare(make, images(5, 1, 28, 28)) == 5


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2D(4, 8, 3, padding="SAME"),
        lambda: nn.Conv2D(4, 8, 3, padding="SAME", stride=2),
        lambda: nn.Conv2D(4, 8, 3, padding="VALID"),
        lambda: nn.Conv2D(4, 8, 3, padding=1, padding_mode="reflect"),
        lambda: nn.Conv2D(4, 8, 3, bias_attr=False),
        lambda: nn.MaxPool2D(3, 2, padding="SAME"),
        lambda: nn.MaxPool2D(3, 2, padding="VALID"),
        lambda: nn.MaxPool2D(3, 2, padding=[1, 0, 1, 0]),
        lambda: nn.MaxPool2D(3, 2, padding=[[0, 0], [0, 0], [1, 0], [0, 1]]),
        lambda: nn.MaxPool2D(3, 2, padding=1, ceil_mode=True),
        lambda: nn.MaxPool2D(2, 2, padding=1, ceil_mode=True),  # windows that lie outside the image
    ],
)
def test_what_the_fast_kernels_cannot_do_is_left_to_the_stock_layer(make):
    assert compare(make, images(3, 4, 11, 9)) == 0


@pytest.mark.parametrize("bias", [None, False])
@pytest.mark.parametrize("shape", [(1, 13), (64, 13), (2, 5, 13)])
def test_a_linear_layer_is_bit_equal(shape, bias):
    assert compare(lambda: nn.Linear(13, 7, bias_attr=bias), images(*shape)) == 1


def test_a_linear_layer_whose_weight_a_hook_works_out_is_bit_equal():
    """`weight_norm` takes the weight out of the layer's parameters, and puts one made of two in its place."""
    assert compare(lambda: nn.utils.weight_norm(nn.Linear(13, 7)), images(4, 13)) == 1


def test_subclasses_and_layers_with_a_forward_of_their_own_are_left_alone():
    class Scaled(nn.Conv2D):
        def forward(self, x):
            return 2 * super().forward(x)

    replaced = nn.MaxPool2D(2)
    replaced.forward = lambda x: x
    model = nn.Sequential(Scaled(4, 8, 3), replaced, nn.MaxPool2D(2, return_mask=True), nn.AvgPool2D(2))
    assert speed_up(model) == 0
    assert replaced.forward("x") == "x"


def test_a_second_call_changes_nothing_more():
    model = nn.Sequential(nn.Conv2D(1, 2, 3), nn.MaxPool2D(2))
    assert speed_up(model) == 2
    assert speed_up(model) == 0


def test_a_layer_alone_is_sped_up_too_and_its_weights_stay_its_own():
    layer = nn.Conv2D(1, 2, 3)
    names = set(layer.state_dict())
    assert speed_up(layer) == 1
    assert set(layer.state_dict()) == names == {"weight", "bias"}


def test_values_that_are_not_finite_are_as_in_the_stock_layer():
    # In a process of its own: Paddle's kernel writes outside its memory for a window of NaN.
    code = (
        "import numpy as np\n"
        "from tests.unit.test_fast_layers import compare, images, nn\n"
        "for value in (float('nan'), float('inf'), float('-inf')):\n"
        "    print(value, flush=True)\n"
        "    some = images(3, 4, 8, 8)\n"
        "    some[:, :, :3, :3] = value\n"
        "    compare(lambda: nn.MaxPool2D(2), some)\n"
        "    for _ in range(3):\n"
        "        compare(lambda: nn.MaxPool2D(2), np.full((16, 20, 28, 28), value, np.float32))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
