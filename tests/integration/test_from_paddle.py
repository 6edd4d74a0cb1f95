"""What somebody has for Paddle already, all at once: it trains, pauses, goes on bit by bit, and is exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from paddle import nn
from paddle.io import Dataset

from expkit import experiment
from expkit.config import compose
from tests.integration.resuming import console, same

pytestmark = pytest.mark.slow


class Stripes(Dataset):
    """Grey pictures of 3 classes, normalised: where the bright row is."""

    def __init__(self, count: int = 90, transform: object = None):
        self.count, self.transform = count, transform

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[object, object]:
        picture = np.random.default_rng(number).integers(0, 90, (28, 28, 1), dtype=np.uint8)
        picture[number % 3 * 9 : number % 3 * 9 + 9] += 120
        return self.transform(picture), np.array([number % 3])  # type: ignore[operator]


class Pair(nn.Layer):
    """Takes rows, and answers features and logits."""

    def __init__(self, hidden: int):
        super().__init__()
        self.body = nn.Linear(784, hidden)
        self.norm = nn.BatchNorm1D(hidden)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(hidden, 3)

    def forward(self, x):  # type: ignore[no-untyped-def]
        features = self.drop(nn.functional.relu(self.norm(self.body(x))))
        return features, self.head(features)


HERE = "tests.integration.test_from_paddle"
MINE = (
    *("+experiment=mnist_mlp", "trainer.epochs=2", "dataset=paddle_dataset", f"dataset.of._target_={HERE}.Stripes"),
    "+dataset.of.transform={_target_: paddle.vision.transforms.Compose, transforms: ["
    "{_target_: paddle.vision.transforms.ToTensor}, "
    "{_target_: paddle.vision.transforms.Normalize, mean: [0.5], std: [0.5]}]}",
    *("dataset.mean=[0.5]", "dataset.std=[0.5]", "dataset.batch_size=16"),
    *("loss=paddle_loss", "loss.of._target_=paddle.nn.CrossEntropyLoss", "loss.targets=column"),
    "transforms=[paddle_transform]",
    "transforms.paddle_transform.of=[{_target_: paddle.vision.transforms.RandomCrop, size: 28, padding: 1}]",
    "metrics=[accuracy,paddle_metric]",
    "metrics.paddle_metric.of._target_=paddle.metric.Accuracy",
    *("tracking=none", "plots=none"),
)
OWN_LAYER = (
    *("model=paddle_layer", f"model.of._target_={HERE}.Pair", "+model.of.hidden=8"),
    *("model.input=[flatten]", "model.answer=1"),
)


@pytest.mark.parametrize("model", [OWN_LAYER, ("model=paddle_vision", "model.name=lenet")], ids=["layer", "lenet"])
def test_what_is_there_trains_pauses_goes_on_and_is_exported(tmp_path: Path, model: tuple[str, ...]) -> None:
    runs = [f"runs_dir={tmp_path / 'runs'}", *MINE, *model]
    whole = experiment.run(compose([*runs, "export=none"]), tmp_path / "whole", console())
    experiment.run(compose([*runs, "trainer.stop_after=1"]), tmp_path / "paused", console())
    resumed = experiment.resume(tmp_path / "paused", console=console())
    same(whole.folder, resumed.folder)
    assert resumed.metrics == whole.metrics
    assert resumed.metrics["test/accuracy"] == pytest.approx(resumed.metrics["test/paddle_metric"])
    assert resumed.metrics["train/loss"] < 1.2
    certificate = json.loads((resumed.folder / "export" / "paddle" / "certificate.json").read_text())
    assert certificate
    parameters = compose(runs).parameters()
    assert parameters["dataset.of.target"] == f"{HERE}.Stripes"
    assert parameters["loss.of.target"] == "paddle.nn.CrossEntropyLoss"
