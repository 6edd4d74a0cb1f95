"""Networks of `paddle.vision.models`, and layers that know nothing of expkit."""

import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

import paddle
from paddle import nn

from expkit.api import Classes, ConfigError, Values
from expkit.testing import check_model, example_specs
from expkit_models.paddle_layer import PaddleLayer
from expkit_models.paddle_vision import NAMES, PaddleVision

GREY, COLOUR, TABLE = example_specs()
TWO = replace(TABLE, target=Classes(("no", "yes")))


class Plain(nn.Layer):
    """A network as people have them: its own idea of inputs and answers."""

    def __init__(self, inputs: int, outputs: int, *, answers: str = "tensor"):
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)
        self.answers = answers

    def forward(self, x):
        out = self.fc(x if x.ndim == 2 else x.mean(axis=[1, 2]))
        return {"tensor": out, "tuple": (x, out), "dict": {"out": out}, "one": out[:, 0]}[self.answers]


def answer(model, spec, samples=3):
    model.eval()
    inputs = np.random.default_rng(0).standard_normal((samples, *spec.input_shape)).astype("float32")
    return model(paddle.to_tensor(inputs))


def test_every_name_is_a_network_of_paddle():
    missing = [name for name in NAMES if name != "lenet" and not hasattr(paddle.vision.models, name)]
    assert missing == []


@pytest.mark.parametrize("spec", [GREY, COLOUR], ids=["grey 28x28", "colour 32x32"])
@pytest.mark.parametrize("name", ["lenet", "shufflenet_v2_x0_25", "mobilenet_v3_small", "googlenet"])
def test_a_network_fits_images_of_any_size_and_channels(name, spec):
    assert answer(PaddleVision(spec, name=name), spec).shape == [3, spec.outputs]


def test_a_grey_image_is_answered_as_its_copy_in_three_colours():
    options = {"name": "shufflenet_v2_x0_25", "size": 32}
    paddle.seed(0)
    colour = PaddleVision(replace(COLOUR, target=GREY.target), **options)
    paddle.seed(0)
    grey = PaddleVision(GREY, **options)
    image = paddle.randn([2, 1, 32, 32])
    for model in (colour, grey):
        model.eval()
    assert np.allclose(grey(image).numpy(), colour(image.tile([1, 3, 1, 1])).numpy(), rtol=1e-3, atol=1e-6)


def test_values_are_predicted_with_one_output_each():
    spec = replace(GREY, target=Values(("a", "b"), (0.0, 0.0), (1.0, 1.0)))
    assert answer(PaddleVision(spec, name="lenet"), spec).shape == [3, 2]


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (TABLE, {"name": "lenet"}, "needs images"),
        (GREY, {"name": "resnet8"}, "Did you mean 'resnet18'"),
        (GREY, {"name": "lenet", "size": 32}, "28 x 28 pixels only"),
        (GREY, {"name": "mobilenet_v1", "size": 16}, "needs 32 or more"),
        (GREY, {"name": "mobilenet_v1", "arguments": {"wdth": 2}}, "does not take them"),
        (GREY, {"name": "mobilenet_v1", "arguments": {"num_classes": 2}}, "sets it by the data"),
        (GREY, {"name": "lenet", "pretrained": True}, "no weights of lenet"),
        (
            GREY,
            {"name": "shufflenet_v2_x0_25", "pretrained": True},
            "the weights of shufflenet_v2_x0_25 are not at hand",
        ),
        (replace(GREY, target=TABLE.target), {"name": "squeezenet1_1"}, "nothing below 0"),
    ],
)
def test_what_cannot_be_is_told(spec, options, message, monkeypatch):
    def no_network(url, md5sum=None):
        raise RuntimeError(f"Download from {url} failed. Retry limit reached")

    monkeypatch.setattr("paddle.vision.models.shufflenetv2.get_weights_path_from_url", no_network)
    with pytest.raises(ConfigError, match=message):
        PaddleVision(spec, **options)


def test_weights_that_are_at_hand_are_taken_but_for_the_head(tmp_path, monkeypatch):
    paddle.seed(1)
    saved = paddle.vision.models.shufflenet_v2_x0_25().state_dict()
    paddle.save(saved, str(tmp_path / "weights.pdparams"))
    module = "paddle.vision.models.shufflenetv2.get_weights_path_from_url"
    monkeypatch.setattr(module, lambda url, md5sum=None: str(tmp_path / "weights.pdparams"))
    paddle.seed(2)
    own = PaddleVision(COLOUR, name="shufflenet_v2_x0_25", pretrained=True).network.state_dict()
    differ = {key for key, tensor in own.items() if not np.array_equal(tensor.numpy(), saved[key].numpy())}
    assert differ == {"_fc.weight", "_fc.bias"}


@pytest.mark.slow
def test_a_network_conforms():
    check_model(partial(PaddleVision, name="shufflenet_v2_x0_25"), specs=[GREY])


@pytest.mark.parametrize(
    ("spec", "layer", "options"),
    [
        (GREY, partial(Plain, 784), {"input": ["flatten"]}),
        (GREY, partial(Plain, 3), {"input": ["rgb", "channels_last"]}),
        (GREY, partial(Plain, 3), {"input": ["rgb", "channels_last"], "size": [40, 30]}),
        (COLOUR, partial(Plain, 1), {"input": ["grey", "channels_last"]}),
        (TABLE, partial(Plain, 13), {}),
        (TABLE, partial(Plain, 13, answers="tuple"), {"answer": 1}),
        (TABLE, partial(Plain, 13, answers="tuple"), {"answer": -1}),
        (TABLE, partial(Plain, 13, answers="dict"), {"answer": "out"}),
        (TABLE, partial(Plain, 13, answers="one"), {}),
    ],
)
def test_a_layer_is_fed_and_read_as_it_wants(spec, layer, options):
    assert answer(PaddleLayer(spec, of=layer(spec.outputs), **options), spec).shape == [3, spec.outputs]


def test_one_number_is_the_second_of_two_classes():
    logits = PaddleLayer(TWO, of=Plain(13, 1, answers="one"))
    chances = TWO.target.probabilities(answer(logits, TWO).numpy())
    sigmoid = PaddleLayer(TWO, of=nn.Sequential(logits.of, nn.Sigmoid()), scores="probabilities")
    assert np.allclose(chances, answer(sigmoid, TWO).numpy(), atol=1e-6)


def test_a_layer_of_double_precision_answers_in_single():
    layer = Plain(13, 1).to(dtype="float64")
    assert answer(PaddleLayer(TABLE, of=layer, input=["float64"]), TABLE).dtype == paddle.float32


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (GREY, {}, r"model\.of is missing.*model\.of\._target_="),
        (GREY, {"of": "my.Net"}, "model.of is a str"),
        (GREY, {"of": Plain(1, 1), "input": ["flaten"]}, "Did you mean 'flatten'"),
        (TABLE, {"of": Plain(1, 1), "input": ["rgb"]}, "is for images"),
        (TABLE, {"of": Plain(1, 1), "size": [8, 8]}, "give rows and columns of images"),
        (TABLE, {"of": Plain(1, 1), "scores": "odds"}, "model.scores='odds'"),
    ],
)
def test_what_cannot_be_of_a_layer_is_told(spec, options, message):
    with pytest.raises(ConfigError, match=message):
        PaddleLayer(spec, **options)


@pytest.mark.parametrize(
    ("answers", "chosen", "message"), [("tuple", 2, "answers 0 to 1"), ("dict", 0, "answers 'out'")]
)
def test_an_answer_that_is_not_there_is_told(answers, chosen, message):
    layer = PaddleLayer(TABLE, of=Plain(13, 1, answers=answers), answer=chosen)
    with pytest.raises(ConfigError, match=message):
        answer(layer, TABLE)


def test_a_fitted_layer_conforms():
    class Flat(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(784, 10))

    def fitted(spec):
        return PaddleLayer(spec, of=Flat(), input=["flatten"])

    fitted.__doc__ = PaddleLayer.__doc__
    check_model(fitted, specs=[GREY])
