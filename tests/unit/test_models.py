import importlib
import os

import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.api import ConfigError
from expkit.testing import example_specs

# Paddle looks for a compiler cache when it is imported and warns that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")


DIGITS, COLOURS, TABLE = example_specs()


def model(name, spec, **options):
    attribute = {"cnn": "CNN", "mlp": "MLP", "linear": "Linear"}[name]
    return getattr(importlib.import_module(f"expkit_models.{name}"), attribute)(spec, **options)


def shapes(layers):
    return {name: list(parameter.shape) for name, parameter in layers.named_parameters()}


def test_cnn_is_the_textbooks():
    cnn = model("cnn", DIGITS)
    assert shapes(cnn) == {
        "conv1.weight": [20, 1, 5, 5],
        "conv1.bias": [20],
        "conv2.weight": [20, 20, 5, 5],
        "conv2.bias": [20],
        "head.weight": [980, 10],
        "head.bias": [10],
    }
    names = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten", "head"]
    assert [name for name, _ in cnn.named_children()] == names


def test_cnn_of_other_channels_and_images():
    assert shapes(model("cnn", COLOURS, channels=[8], kernel=3)) == {
        "conv1.weight": [8, 3, 3, 3],
        "conv1.bias": [8],
        "head.weight": [8 * 16 * 16, 5],
        "head.bias": [5],
    }


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (TABLE, {}, r"needs images \[C, H, W\], but inputs of example table have the shape \[13\]"),
        (DIGITS, {"channels": []}, r"channels=\[\]: give one number above 0"),
        (DIGITS, {"channels": [8, 0]}, r"channels=\[8, 0\]: give one number above 0"),
        (DIGITS, {"kernel": 4}, "kernel=4: must be odd and above 0"),
        (DIGITS, {"kernel": -1}, "kernel=-1: must be odd and above 0"),
        (
            DIGITS,
            {"channels": [4] * 5},
            "halves images 5 times.*28 x 28 pixels, enough for 4. Give at most 4",
        ),
    ],
)
def test_cnn_names_what_it_cannot_do(spec, options, message):
    with pytest.raises(ConfigError, match=message):
        model("cnn", spec, **options)


def test_cnn_takes_as_many_blocks_as_its_message_says():
    assert shapes(model("cnn", DIGITS, channels=[4] * 4))["head.weight"] == [4, 10]


def test_mlp_flattens_and_names_its_layers():
    mlp = model("mlp", DIGITS, hidden=[32, 16], activation="tanh", dropout=0.5)
    names = ["flatten", "hidden1", "tanh1", "dropout1", "hidden2", "tanh2", "dropout2", "head"]
    assert [name for name, _ in mlp.named_children()] == names
    assert shapes(mlp)["hidden1.weight"] == [784, 32]
    assert shapes(mlp)["head.weight"] == [16, 10]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": [32, 0]}, r"hidden=\[32, 0\]"),
        ({"activation": "gelu"}, "activation='gelu' is unknown; choose relu, sigmoid, tanh"),
        ({"dropout": 1.0}, r"dropout=1\.0: must be from 0 to below 1"),
    ],
)
def test_mlp_names_what_it_cannot_do(options, message):
    with pytest.raises(ConfigError, match=message):
        model("mlp", DIGITS, **options)


@pytest.mark.parametrize(("spec", "features", "outputs"), [(DIGITS, 784, 10), (TABLE, 13, 1)])
def test_linear_is_one_layer(spec, features, outputs):
    assert shapes(model("linear", spec)) == {"head.weight": [features, outputs], "head.bias": [outputs]}


@pytest.mark.parametrize(("name", "spec"), [("cnn", DIGITS), ("mlp", DIGITS), ("linear", TABLE)])
def test_exported_model_answers_the_same(name, spec, tmp_path):
    import paddle

    made = model(name, spec)
    made.eval()
    inputs = paddle.randn([3, *spec.input_shape])
    shape = paddle.static.InputSpec([None, *spec.input_shape], "float32")
    expected = made(inputs).numpy()
    paddle.jit.save(paddle.jit.to_static(made, input_spec=[shape], full_graph=True), str(tmp_path / "model"))
    assert abs(paddle.jit.load(str(tmp_path / "model"))(inputs).numpy() - expected).max() <= 1e-5
