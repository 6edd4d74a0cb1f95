"""Example data: specs of several tasks, and random batches that fit them."""

from __future__ import annotations

import numpy as np

from expkit.api import Array, Batch, Classes, DataSource, DataSpec, ImageInput, TableInput, Values


def example_specs() -> tuple[DataSpec, ...]:
    """Specs of three tasks: grey images of ten classes, colour images of five, a table with one value."""
    source = DataSource("generated", "expkit.testing")
    grey = ImageInput(height=28, width=28, channels=1, mean=(0.5,), std=(0.29,))
    colour = ImageInput(height=32, width=32, channels=3, mean=(0.5, 0.5, 0.5), std=(0.29, 0.29, 0.29))
    table = TableInput(tuple(f"x{i}" for i in range(13)), mean=(10.0,) * 13, scale=(2.0,) * 13)
    value = Values(("y",), mean=(20.0,), scale=(5.0,))
    return (
        DataSpec("example grey images", grey, Classes(tuple("0123456789")), source, "0" * 64),
        DataSpec("example colour images", colour, Classes(tuple("abcde")), source, "1" * 64),
        DataSpec("example table", table, value, source, "2" * 64),
    )


def trial_specs() -> tuple[DataSpec, ...]:
    """Specs that a component is tried on: `example_specs()`; tables with three values, in float64, with two classes."""
    source = DataSource("generated", "expkit.testing")
    values = Values(("a", "b", "c"), mean=(0.0, 5.0, -5.0), scale=(1.0, 2.0, 4.0))
    narrow = TableInput(("x0", "x1", "x2", "x3"), mean=(10.0,) * 4, scale=(2.0,) * 4)
    exact = TableInput(narrow.columns, mean=narrow.mean, scale=narrow.scale, precision="float64")
    value = Values(("y",), mean=(20.0,), scale=(5.0,), precision="float64")
    return (
        *example_specs(),
        DataSpec("example table of three values", narrow, values, source, "3" * 64),
        DataSpec("example table in float64", exact, value, source, "4" * 64),
        DataSpec("example table of two classes", narrow, Classes(("no", "yes")), source, "5" * 64),
    )


def example_batch(spec: DataSpec, *, samples: int = 16, seed: int = 0) -> Batch:
    """Make raw samples with random inputs and targets that fit a spec.

    Args:
        spec: with images (uint8) or a table (float64) as input.
        samples: N.
        seed: equal seeds make equal batches.
    """
    generator = np.random.default_rng(seed)
    if isinstance(spec.input, ImageInput):
        channels, *size = spec.input_shape
        shape = (samples, *size) if channels == 1 else (samples, *size, channels)
        inputs: Array = generator.integers(0, 256, size=shape, dtype=np.uint8)
    else:
        inputs = generator.normal(10.0, 2.0, size=(samples, *spec.input_shape))
    precision = spec.target.precision if isinstance(spec.target, Values) else "float32"
    targets: Array = generator.standard_normal((samples, spec.outputs)).astype(precision)
    if spec.is_classification:
        # The first K samples show every class once.
        targets = (generator.permutation(samples) % spec.outputs).astype(np.int64)
    return Batch(inputs, targets)
