"""Every registered component keeps the promises of its kind, one by one; what the kit itself notices is test_kit.py."""

import importlib
import os
from pathlib import Path

import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.testing import CHECKS, entries_of, examine_entry, example_specs, promises

# Paddle looks for a compiler cache when it is imported and warns that there is none.
pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")

DOCS = Path(__file__).parents[2] / "docs"
ENTRIES = {f"{entry.kind.name}/{entry.name}": entry for entry in entries_of("expkit")}
NEEDED = {  # options without which a component is refused
    "regularizer/per_pattern": {"l2": {"*.weight": 0.01}},
    "model/paddle_vision": {"name": "lenet"},
}
# Datasets that read files have their own tests, beside files for them; adapters of objects, beside such objects.
FILES = ("csv", "image_folder", "mnist", "paddle_dataset", "fashion_mnist", "cifar10", "cifar100", "flowers")
WITH_FILES = tuple(f"dataset/{name}" for name in FILES)
ADAPTERS = ("model/paddle_layer", "loss/paddle_loss", "metric/paddle_metric", "transform/paddle_transform")
SPECLESS = ("dataset", "optimizer", "schedule", "regularizer")
VARIANTS = [
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
]


@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in (*WITH_FILES, *ADAPTERS)])
def test_built_in_component_conforms(name):
    examine_entry(ENTRIES[name], options=NEEDED.get(name)).require()


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    VARIANTS,
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value,
)
def test_built_in_component_conforms_with_other_options(kind, name, options):
    entry = ENTRIES[f"{kind}/{name}"]
    component = getattr(importlib.import_module(entry.module), entry.attribute)
    # What does not depend on the options, or takes long, is examined once, with the defaults.
    left_out = {"schema", "refuses", "watches"} & {promise.name for promise in promises(kind)}
    specs = {} if kind in SPECLESS else {"specs": example_specs()}
    CHECKS[kind](component, skip=dict.fromkeys(left_out, "examined with the defaults"), **specs, **options)
