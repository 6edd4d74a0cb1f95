"""Arms of spirals."""

import hashlib
import math

import numpy as np
from expkit.api import ArraySplit, Classes, ConfigError, Data, DataSource, DataSpec, TableInput


def spirals(*, arms: int = 3, samples: int = 1500, turns: float = 0.8, noise: float = 0.03, seed: int = 0) -> Data:
    """Points on the arms of spirals in a plane, which no straight line tells apart; made, not loaded.

    Point i of n on arm k of K is at radius r = (i + 1) / n and angle 2 pi (turns r + k / K). As a task for
    networks: Lang and Witbrock 1988.

    Args:
        arms: number of classes, 2 or more.
        samples: points in all; of ten, 6 are for training, 2 for validation and 2 for test.
        turns: of an arm around the centre.
        noise: standard deviation of what is added to both coordinates; the radius is 1.
        seed: of noise and order; equal seeds make equal points on every machine.

    Raises:
        ConfigError: an option is out of range.
    """
    if arms < 2:
        raise ConfigError(f"dataset.arms={arms}: must be at least 2.")
    if samples < 10 * arms:
        raise ConfigError(f"dataset.samples={samples}: must be at least 10 for each of {arms} arms.")
    if not math.isfinite(turns):
        raise ConfigError(f"dataset.turns={turns}: must be a number.")
    if not 0 <= seed < 2**32:
        raise ConfigError(f"dataset.seed={seed}: must be from 0 to {2**32 - 1}.")
    if not noise >= 0:
        raise ConfigError(f"dataset.noise={noise}: must be 0 or above.")
    generator = np.random.RandomState(seed)  # its streams are frozen; those of default_rng may change
    classes = np.arange(samples) % arms
    radius = (np.arange(samples) + 1) / samples
    angle = 2 * np.pi * (turns * radius + classes / arms)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points += noise * generator.standard_normal(points.shape)
    order = generator.permutation(samples)
    points, classes = points[order], classes[order].astype(np.int64)

    cuts = [samples * 6 // 10, samples * 8 // 10]
    raw = zip(np.split(points, cuts), np.split(classes, cuts), strict=True)
    train, valid, test = (ArraySplit(inputs, targets) for inputs, targets in raw)
    spec = DataSpec(
        name="spirals",
        input=TableInput(
            columns=("x", "y"),
            mean=tuple(train.inputs.mean(axis=0).tolist()),  # learned on the training split only
            scale=tuple(train.inputs.std(axis=0).tolist()),
        ),
        target=Classes(tuple(f"arm {number}" for number in range(arms))),
        source=DataSource("generated", f"spirals, seed {seed}"),
        fingerprint=hashlib.sha256(points.tobytes() + classes.tobytes()).hexdigest(),
    )
    return Data(spec, train, valid, test)
