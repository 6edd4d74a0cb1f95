"""Every registered component keeps the promises of its kind, and the kit notices when a promise is broken."""

import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.api import Batch, ConfigError, DataSpec, EpochEnd
from expkit.registry import KINDS, Entry, entries
from expkit.testing import CHECKS, ConformanceError, check_dataset, example_batch, example_specs
from expkit.testing.base import check_options

# Paddle looks for a compiler cache when it is imported and warns that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")

ADAPTERS = {
    "paddle_layer",
    "paddle_loss",
    "paddle_metric",
    "paddle_transform",
}  # of objects; they have tests of their own
BUILT_IN = [
    entry
    for kind in KINDS
    if kind.name in CHECKS
    for found in entries(kind).values()
    for entry in found
    if entry.distribution == "expkit" and entry.name not in ADAPTERS
]


NEEDED = {  # options without which a component is refused
    "per_pattern": {"l2": {"*.weight": 0.01}},
    "paddle_vision": {"name": "lenet"},
}


def load(entry: Entry):
    return getattr(importlib.import_module(entry.module), entry.attribute)


def component(kind: str, name: str):
    return load(next(e for e in BUILT_IN if e.kind.name == kind and e.name == name))


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda e: f"{e.kind.name}/{e.name}")
def test_built_in_component_conforms(entry):
    CHECKS[entry.kind.name](functools.partial(load(entry), **NEEDED.get(entry.name, {})))


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("model", "cnn", {"channels": [4], "kernel": 3}),
        ("model", "mlp", {"hidden": [32], "activation": "tanh"}),
        ("model", "mlp", {"hidden": [64], "dropout": 0.2}),
        ("model", "mlp", {"hidden": []}),
        ("model", "mlp", {"output": "softmax"}),
        ("model", "linear", {"output": "softmax"}),
        ("model", "linear", {"output": "log_softmax"}),
        ("model", "linear", {"output": "sigmoid"}),
        ("model", "cnn", {"channels": [4], "output": "softmax"}),
        ("loss", "cross_entropy", {"label_smoothing": 0.1}),
        ("loss", "cross_entropy", {"from_probabilities": True}),
        ("loss", "cross_entropy", {"from_probabilities": True, "label_smoothing": 0.1}),
        ("loss", "bce", {"from_probabilities": True}),
        ("loss", "huber", {"delta": 0.1}),
        ("metric", "accuracy", {"top_k": 3}),
        ("metric", "mae", {"own_unit": True}),
        ("metric", "rmse", {"own_unit": True}),
        ("metric", "precision", {"average": "weighted"}),
        ("metric", "recall", {"average": "micro"}),
        ("metric", "f1", {"average": "micro"}),
        ("optimizer", "adam", {"fused": False}),
        ("optimizer", "adam", {"clip_norm": 0.5}),
        ("optimizer", "momentum", {"nesterov": True}),
        ("optimizer", "rmsprop", {"centered": True, "momentum": 0.5}),
        ("optimizer", "adam", {"amsgrad": True}),
        ("optimizer", "adam", {"amsgrad": True, "fused": False}),
        ("optimizer", "adamw", {"weight_decay": 0.0}),
        ("optimizer", "adamw", {"amsgrad": True}),
        ("optimizer", "lamb", {"weight_decay": 0.0, "always_adapt": True}),
        ("optimizer", "asgd", {"batches": 3}),
        ("optimizer", "rprop", {"max_rate": 0.1}),
        ("schedule", "cosine", {"warmup": 1.0, "end": 0.1}),
        ("schedule", "polynomial", {"power": 2.0, "end": 0.0}),
        ("schedule", "step", {"warmup": 0.5}),
        ("schedule", "multi_step", {"milestones": [1.0, 2.5], "warmup": 1.0}),
        ("schedule", "piecewise", {"boundaries": [2.0], "values": [1.0, 0.5]}),
        ("schedule", "exponential", {"smooth": True}),
        ("schedule", "inverse_time", {"smooth": True}),
        ("schedule", "noam", {"d_model": 512}),
        ("schedule", "one_cycle", {"shape": "linear", "three_phase": True}),
        ("schedule", "reduce_on_plateau", {"patience": 1, "cooldown": 1}),
        ("regularizer", "l2", {"pattern": "*.weight"}),
        ("regularizer", "elastic_net", {"l1": 0.1, "l2": 0.0}),
        ("regularizer", "per_pattern", {"l1": {"*": 0.1}, "l2": {"*.weight": 0.1, "head.*": 0.0}}),
        ("transform", "shift", {"pixels": 0}),
        ("transform", "noise", {"std": 0.5}),
        ("transform", "rotate", {"degrees": 180.0, "probability": 0.5}),
        ("transform", "crop", {"scale": [0.1, 0.2]}),
        ("transform", "flip", {"horizontal": 0.0, "vertical": 1.0}),
        ("transform", "brightness", {"delta": 1.0, "offset": 255.0, "probability": 1.0}),
        ("transform", "erase", {"scale": [1.0, 1.0], "aspect": 1.0, "probability": 1.0}),
        ("transform", "cutmix", {"alpha": 0.1, "probability": 1.0}),
        ("transform", "mosaic", {"reach": 0.49, "probability": 1.0}),
        ("transform", "copy_paste", {"scale": [0.01, 1.0], "threshold": 0, "probability": 1.0}),
        ("transform", "tia_distort", {"segments": 14, "magnitude": 0.5, "probability": 1.0}),
        ("transform", "tia_stretch", {"segments": 14, "magnitude": 0.49, "probability": 1.0}),
        ("transform", "tia_perspective", {"magnitude": 0.49, "probability": 1.0, "outside": "edge"}),
        ("learner", "paddle", {"ema": 0.9}),
        ("learner", "paddle", {"ema": 0.5, "ema_warmup": False}),
        ("learner", "numpy_linear", {"method": "exact"}),
        ("learner", "numpy_linear", {"trainable": ["w5", "x9", "bias"], "initial": {"w5": -100.0}}),
        ("callback", "early_stopping", {"metric": "train/loss", "patience": 1}),
        ("callback", "inspect", {"every": 1, "split": "valid"}),
        ("callback", "weight_norms", {"order": 1, "every": 3}),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value,
)
def test_built_in_component_conforms_with_other_options(kind, name, options):
    CHECKS[kind](functools.partial(component(kind, name), **options))


def test_every_kind_but_dataset_has_a_check():
    assert {kind.name for kind in KINDS} - set(CHECKS) == {"dataset"}


class Writes:
    """Write into the batch."""

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        batch.inputs[0] = 0
        return batch


class Global:
    """Use the global generator."""

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        return Batch((batch.inputs + np.random.rand()).astype(batch.inputs.dtype), batch.targets)


class Halves:
    """Make shares that add up to one half."""

    def __init__(self, spec: DataSpec):
        self.classes = spec.outputs

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        shares = np.zeros((len(batch.inputs), self.classes), np.float32)
        shares[:, 0] = 0.5
        return Batch(batch.inputs, shares)


class Doubles:
    """Make shares in double precision."""

    def __init__(self, spec: DataSpec):
        self.classes = spec.outputs

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        return Batch(batch.inputs, np.full((len(batch.inputs), self.classes), 1 / self.classes))


class Renames:
    """Move every class by one, and the last beyond the end."""

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        return Batch(batch.inputs, batch.targets + 1)


class Undocumented:
    """Say nothing about its option."""

    def __init__(self, *, size: int = 1):
        pass


class Untyped:
    """Have an option whose type says nothing of what is in it.

    Args:
        size: of it.
    """

    def __init__(self, *, size: dict = None):  # noqa: RUF013
        pass


class Forgetful:
    """Measure the last batch only."""

    higher_is_better = True

    def __init__(self):
        self.reset()

    def reset(self):
        self.value = float("nan")

    def update(self, outputs, targets):
        self.value = float((outputs.argmax(1) == targets).mean()) if targets.ndim == 1 else 0.0

    def compute(self):
        return self.value


class Amnesiac:
    """Stop after four epochs, counted in a field that no checkpoint sees."""

    def __init__(self):
        self.seen = 0

    def __getattr__(self, name):
        return lambda *_: {} if name == "state_dict" else None

    def on_epoch_end(self, event: EpochEnd) -> None:
        self.seen += 1
        if self.seen > 4:
            event.stop("enough")


def sum_loss(outputs, targets):
    """Add up instead of taking the mean."""
    if outputs.shape != targets.shape:
        raise ConfigError("one shape")
    return (outputs - targets).square().sum()


def broadcasting_loss(outputs, targets):
    """Broadcast [N, 1] with [N]."""
    return (outputs - targets).square().mean()


def stubborn(parameters, learning_rate: float = 0.1):
    """Ignore regularizers.

    Args:
        parameters: supplied.
        learning_rate: of it.
    """
    import paddle

    optimizer = paddle.optimizer.SGD(learning_rate, parameters=parameters)
    for parameter in parameters:
        parameter.regularizer = None
    return optimizer


def deaf(parameters, learning_rate: float = 0.1):
    """Take the first rate of a schedule for all.

    Args:
        parameters: supplied.
        learning_rate: of it.
    """
    import paddle

    rate = learning_rate if isinstance(learning_rate, float) else learning_rate()
    return paddle.optimizer.SGD(rate, parameters=parameters)


def nameless(learning_rate):
    """Follow a metric without a name."""
    import paddle

    return paddle.optimizer.lr.ReduceOnPlateau(learning_rate)


class OnePattern:
    """Have one pattern where several are promised."""

    patterns = "*.weight"

    def decay(self, name, shape):
        return None


@pytest.mark.parametrize(
    ("kind", "broken", "message"),
    [
        ("transform", Writes, "Writes: writes into the batch"),
        ("transform", Global, "another result|global generator"),
        ("transform", Halves, "shares of classes that are below 0 or do not add up to 1"),
        ("transform", Doubles, r"targets float64 \(16, 10\) .*as they were, or shares float32 \(16, 10\)"),
        ("transform", Renames, r"a class that is not within 0\.\.9"),
        ("callback", Undocumented, "'size' has no line under Args"),
        ("callback", Untyped, "'size' needs a type that can be checked"),
        ("metric", Forgetful, "depends on how samples are batched"),
        ("callback", Amnesiac, "decides differently after a resume"),
        ("optimizer", stubborn, "ignores a parameter's regularizer"),
        ("optimizer", deaf, "does not follow the schedule; use it or refuse it"),
        ("schedule", nameless, "returns a ReduceOnPlateau without an attribute `metric: str`"),
        ("regularizer", OnePattern, r"has patterns '\*\.weight'; expected a list of strings"),
    ],
)
def test_kit_names_the_broken_promise(kind, broken, message):
    with pytest.raises(ConformanceError, match=message):
        CHECKS[kind](broken)


@pytest.mark.parametrize(
    ("function", "message"),
    [(sum_loss, "must be the mean over the batch"), (broadcasting_loss, "must never be broadcast")],
)
def test_kit_names_the_broken_promise_of_a_loss(function, message):
    def build():
        """Build the loss."""
        return function

    with pytest.raises(ConformanceError, match=message):
        CHECKS["loss"](build, specs=[example_specs()[2]])


def doubting_loss(outputs, targets):
    """Take half of each share."""
    import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses

    if len(outputs) != len(targets):
        raise ConfigError("one target each")
    return F.cross_entropy(outputs, targets / 2 if targets.ndim == 2 else targets, soft_label=targets.ndim == 2)


def misleading_loss(outputs, targets):
    """Say that outputs are something unknown."""


misleading_loss.scores = "softmax"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (doubting_loss, r"is 1\.\d+ for shares that are all one class, but 2\.\d+ for these classes"),
        (misleading_loss, "has scores 'softmax'; known are logits, probabilities, log_probabilities, sigmoid"),
    ],
)
def test_kit_names_the_broken_promise_of_a_loss_of_classes(function, message):
    def build():
        """Build the loss."""
        return function

    with pytest.raises(ConformanceError, match=message):
        CHECKS["loss"](build, specs=[example_specs()[0]])


def test_kit_lets_a_loss_of_classes_refuse_shares():
    import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses

    def build():
        """Build the loss."""
        return lambda outputs, targets: F.cross_entropy(outputs, targets)

    CHECKS["loss"](build, specs=[example_specs()[0]])


class Surprise:
    """Measure the mean of -log p, of what is always taken for logits."""

    higher_is_better = False

    def __init__(self):
        self.reset()

    def reset(self):
        self.sum, self.count = 0.0, 0

    def update(self, outputs, targets):
        odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        chosen = odds[np.arange(len(targets)), targets] / odds.sum(axis=1)
        self.sum, self.count = self.sum - float(np.log(chosen).sum()), self.count + len(targets)

    def compute(self):
        return self.sum / self.count if self.count else float("nan")


def test_kit_notices_a_metric_that_takes_probabilities_for_logits():
    with pytest.raises(ConformanceError, match=r"for probabilities, but .* for their logits; see spec\.target"):
        CHECKS["metric"](Surprise, specs=[example_specs()[0]])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ("probabilities", "says that it answers probabilities, but answers from -"),
        ("log_probabilities", "says that it answers log-probabilities, but their exponentials do not sum to 1"),
    ],
)
def test_kit_notices_a_model_that_answers_something_else_than_it_says(scores, message):
    from paddle import nn

    class Boastful(nn.Sequential):
        """A linear layer."""

        def __init__(self):
            super().__init__(nn.Flatten(), nn.Linear(784, 10))
            self.scores = scores

    with pytest.raises(ConformanceError, match=message):
        CHECKS["model"](Boastful, specs=[example_specs()[0]])


def test_kit_notices_a_model_with_an_idle_parameter():
    from paddle import nn

    class Idle(nn.Layer):
        """A linear layer and one that nobody asks."""

        def __init__(self, spec: DataSpec):
            super().__init__()
            self.used = nn.Linear(13, 1)
            self.idle = nn.Linear(13, 1)

        def forward(self, inputs):
            return self.used(inputs)

    with pytest.raises(ConformanceError, match=r"parameter idle\.weight gets no gradient"):
        CHECKS["model"](Idle, specs=[example_specs()[2]])


def test_component_that_refuses_every_spec_does_not_conform():
    with pytest.raises(ConformanceError, match="accepts none of the specs: model=cnn needs images"):
        CHECKS["model"](component("model", "cnn"), specs=[example_specs()[2]])


def test_supplied_parameters_need_no_documentation():
    def schedule(learning_rate, epochs):
        """Keep the rate."""

    check_options("schedule", schedule)


@pytest.mark.parametrize(
    "annotation",
    [Literal["same", "valid"], Path, Path | None, dict[str, float], list[list[int]] | None, "Sequence[str]", int | str],
    ids=str,
)
def test_types_that_a_config_can_check_are_accepted(annotation):
    def schedule(size=None):
        """Keep the rate.

        Args:
            size: of it.
        """

    schedule.__annotations__["size"] = annotation
    check_options("schedule", schedule)


@pytest.mark.parametrize("annotation", [dict, list, Any, dict[str, Any], np.ndarray, "list[np.ndarray]"], ids=str)
def test_types_that_no_config_can_check_are_refused(annotation):
    def schedule(size=None):
        """Keep the rate.

        Args:
            size: of it.
        """

    schedule.__annotations__["size"] = annotation
    with pytest.raises(ConformanceError, match="'size' needs a type that can be checked"):
        check_options("schedule", schedule)


def test_kit_shows_no_noise_of_paddles_import():
    code = "from expkit.testing import check_schedule\ndef keep(): 'Keep the rate.'; return 0.1\ncheck_schedule(keep)"
    done = subprocess.run([sys.executable, "-W", "default::UserWarning", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class TestDataset:
    @staticmethod
    def data(spec: DataSpec | None = None, **changes):
        from expkit.api import ArraySplit, Data

        spec = spec or example_specs()[0]
        splits = {}
        for seed, name in enumerate(("train", "valid", "test")):
            batch = example_batch(spec, samples=20, seed=seed)
            splits[name] = ArraySplit(batch.inputs, changes.get(name, batch.targets))
        return Data(spec, **splits)

    @pytest.mark.parametrize("spec", example_specs(), ids=lambda s: s.name)
    def test_example_data_conforms(self, spec):
        check_dataset(self.data(spec))

    def test_class_out_of_range_is_noticed(self):
        with pytest.raises(ConformanceError, match=r"split valid: a class is not within 0\.\.9"):
            check_dataset(self.data(valid=np.full(20, 10)))

    def test_wrong_target_dtype_is_noticed(self):
        with pytest.raises(ConformanceError, match=r"split train: targets are int32 \(20,\); expected int64"):
            check_dataset(self.data(train=np.zeros(20, dtype=np.int32)))
