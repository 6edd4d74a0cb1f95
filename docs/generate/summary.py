"""Summarises models: their layers, what these answer, and how many numbers they learn."""

from __future__ import annotations

import math
from typing import Any

from expkit.api import ConfigError, DataSpec, ImageInput, inspection
from expkit.testing import example_batch, example_specs
from generate.drawing import with_spec


def summarised(make: Any) -> tuple[str, str] | None:
    """Return what a model was given, and the table of its layers; None where it takes none of the example data.

    Args:
        make: the class of the model.
    """
    for spec in example_specs():
        batch = example_batch(spec, samples=2)
        try:
            look = inspection.look_inside(
                with_spec(make, spec),
                lambda outputs, _: outputs.mean(),
                spec.input.normalise(batch.inputs),
                batch.targets,
            )
        except ConfigError:  # it is for other data
            continue
        return f"With the default options, given {_words(spec)}.", inspection.layer_table(look)
    return None


def _words(spec: DataSpec) -> str:
    shape = list(spec.input_shape)
    what = "images" if isinstance(spec.input, ImageInput) else f"rows of {math.prod(shape)} numbers"
    outputs = f"{spec.outputs} classes" if spec.is_classification else f"{spec.outputs} value"
    return f"{what} {shape} and {outputs}"
