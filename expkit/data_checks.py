"""Checks that a dataset keeps its word, before a run begins."""

from __future__ import annotations

import numpy as np

from expkit.api import Array, Classes, Data, DataSpec, Split, Values
from expkit.errors import DataError, ExpkitError, PluginError

LOOKED_AT = 1000
LOOKED_AT_ON_DISK = 16
"""Samples of a split that says that it is not in memory: each of them may be a picture to decode."""


def check_data(data: object, name: str) -> Data:
    """Return what a dataset plugin returned if its splits fit its spec.

    Args:
        data: what it returned.
        name: of the dataset, for messages.

    Raises:
        PluginError: it is no `Data`, or inputs, targets or labels are not what the spec says.
        DataError: a split is empty.
    """
    if not isinstance(data, Data):
        made = type(data)
        named = name if "." in name else f"{made.__module__}.{made.__qualname__}"
        near = (
            f" For a dataset as Paddle has it: dataset=paddle_dataset dataset.of._target_={named}"
            if hasattr(made, "__getitem__") or hasattr(made, "__iter__")
            else ""
        )
        raise PluginError(f"dataset {name!r} returned a {made.__name__}, not an expkit.api.Data.{near}")
    if isinstance(data.spec.target, Classes):
        labels = data.spec.target.labels
        if not all(isinstance(label, str) for label in labels) or len(set(labels)) != len(labels):
            raise PluginError(f"dataset {name!r}: labels must be different strings; they are {labels[:10]!r}.")
    for part, split in (("train", data.train), ("valid", data.valid), ("test", data.test)):
        if len(split) == 0:
            raise DataError(f"dataset {name!r}: its {part} split has no samples.")
        _check_split(split, data.spec, f"dataset {name!r}: its {part} split")
    return data


def _check_split(split: Split, spec: DataSpec, where: str) -> None:
    count = LOOKED_AT if getattr(split, "in_memory", True) else LOOKED_AT_ON_DISK
    raw, targets = split.gather(np.arange(min(count, len(split))))
    wanted = (len(raw[:2]), *spec.input_shape)
    try:
        inputs = spec.input.normalise(raw[:2])
    except ExpkitError:
        raise
    except Exception as error:  # of whatever arrays a plugin gives
        kind, what = type(spec.input).__name__, f"{type(error).__name__}: {error}".strip()
        raise PluginError(
            f"{where} gives samples {list(np.shape(raw[:2]))}, which the {kind} of its spec cannot make inputs "
            f"{list(wanted)} of: {what}"
        ) from error
    if tuple(inputs.shape) != wanted or str(inputs.dtype) != spec.input_dtype:
        raise PluginError(
            f"{where} gives inputs {list(inputs.shape)} {inputs.dtype} for {wanted[0]} samples; its spec says "
            f"{list(wanted)} {spec.input_dtype}."
        )
    _check_targets(np.asarray(targets), len(raw), spec, where)


def _check_targets(targets: Array, count: int, spec: DataSpec, where: str) -> None:
    if spec.is_classification:
        if targets.shape != (count,) or targets.dtype != np.int64:
            raise PluginError(f"{where} gives targets {list(targets.shape)} {targets.dtype}; classes are [N] int64.")
        if targets.min() < 0 or targets.max() >= spec.outputs:
            raise PluginError(
                f"{where} has classes from {targets.min()} to {targets.max()}; with {spec.outputs} labels they are "
                f"0 to {spec.outputs - 1}."
            )
        return
    precision = spec.target.precision if isinstance(spec.target, Values) else "float32"
    if targets.shape != (count, spec.outputs) or targets.dtype != precision:
        raise PluginError(
            f"{where} gives targets {list(targets.shape)} {targets.dtype}; {spec.outputs} values are "
            f"[N, {spec.outputs}] {precision}."
        )
