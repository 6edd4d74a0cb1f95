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


@pytest.mark.parametrize("name", ["cnn", "mlp", "linear"])
def test_the_output_is_what_is_asked_for_and_adds_no_parameter(name):
    import paddle

    inputs, made = paddle.randn([3, *DIGITS.input_shape]), {}
    for output in ("logits", "softmax", "log_softmax", "sigmoid"):
        paddle.seed(0)
        made[output] = model(name, DIGITS, output=output)
        assert shapes(made[output]) == shapes(model(name, DIGITS))
    logits = made["logits"](inputs)
    softmax = paddle.nn.functional.softmax(logits)
    expected = {
        "logits": logits,
        "softmax": softmax,
        "log_softmax": softmax.log(),
        "sigmoid": 1 / (1 + (-logits).exp()),
    }
    for output, wanted in expected.items():
        assert abs(made[output](inputs) - wanted).max() < 1e-5
    assert {output: each.scores for output, each in made.items()} == {
        "logits": "logits",
        "softmax": "probabilities",
        "log_softmax": "log_probabilities",
        "sigmoid": "probabilities",
    }


@pytest.mark.parametrize("name", ["mlp", "linear"])
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("softmax", "model.output=softmax needs classes, but the targets of example table are numbers"),
        ("log_softmax", "model.output=log_softmax needs classes"),
        ("argmax", "model.output='argmax' is unknown; choose logits, softmax, log_softmax, sigmoid"),
    ],
)
def test_an_output_that_makes_no_sense_is_refused(name, output, message):
    with pytest.raises(ConfigError, match=message):
        model(name, TABLE, output=output)


@pytest.mark.parametrize(
    ("name", "spec", "options"),
    [("cnn", DIGITS, {}), ("mlp", DIGITS, {"output": "log_softmax"}), ("linear", TABLE, {"output": "sigmoid"})],
)
def test_exported_model_answers_the_same(name, spec, options, tmp_path):
    import paddle

    made = model(name, spec, **options)
    made.eval()
    inputs = paddle.randn([3, *spec.input_shape])
    shape = paddle.static.InputSpec([None, *spec.input_shape], "float32")
    expected = made(inputs).numpy()
    paddle.jit.save(paddle.jit.to_static(made, input_spec=[shape], full_graph=True), str(tmp_path / "model"))
    assert abs(paddle.jit.load(str(tmp_path / "model"))(inputs).numpy() - expected).max() <= 1e-5
