"""Makes a Paddle export a quarter of its size: weights kept in 8 bits, and made whole again when it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from expkit.api import Array
from expkit.errors import ExportError
from expkit.export.converter import listed, walk
from expkit.export.weights import read_weights, write_weights

SMALLEST = 256
"""Weights of fewer numbers stay as they are, unless all are so small."""
_LARGEST = 127
_FLOATS = {"0.t_f32": "float32", "0.t_f64": "float64"}
_FIRST_AXIS = ("1.conv2d", "1.conv3d", "1.depthwise_conv2d", "1.embedding")
_SECOND_AXIS = ("1.conv2d_transpose", "1.conv3d_transpose", "1.depthwise_conv2d_transpose")


def quantise_paddle(source: Path, target: Path) -> None:
    """Write `model.json` and `model.pdiparams` whose large weights are int8, with a scale for each output channel.

    The graph begins with what turns them back into floating-point numbers: it answers as the model does whose weights
    are rounded so, on each device that runs the original, and computes no faster.

    Args:
        source: holds `model.json` and `model.pdiparams` of `paddle.jit.save`.
        target: another folder.

    Raises:
        ExportError: the graph has no weight that could be rounded, or the files are not Paddle's.
    """
    document = json.loads((source / "model.json").read_text(encoding="utf-8"))
    block = document["program"]["regions"][0]["blocks"][0]
    parameters = {listed(one["O"])[0]["%"]: one for one in block["ops"] if one["#"] == "p"}
    weights = read_weights(source / "model.pdiparams", [_name(one) for one in parameters.values()])
    axes = _axes(block, parameters)
    chosen = {number: axis for number, axis in axes.items() if weights[_name(parameters[number])].size >= SMALLEST}
    chosen = chosen or axes
    if not chosen:
        raise ExportError(
            "paddle-int8: this model has no linear layer, convolution or embedding whose weights could be int8. Leave "
            "paddle-int8 out of export.formats."
        )
    fresh = _Numbers(max(value["%"] for one in walk(block) for value in listed(one.get("O", []))))
    made: list[dict[str, Any]] = []
    scales: list[dict[str, Any]] = []
    for number, axis in chosen.items():
        operator = parameters[number]
        name = _name(operator)
        weights[name], weights[f"{name}.scale"] = rounded(weights[name], axis)
        scale = _parameter(f"{name}.scale", fresh.next(), operator, weights[f"{name}.scale"].shape)
        scales.append(scale)
        made += _restored(operator, scale, number, fresh)
    first = next(n for n, one in enumerate(block["ops"]) if one["#"] != "p")
    block["ops"][first:first] = [*scales, *made]
    (target / "model.json").write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")
    write_weights(target / "model.pdiparams", weights)


def rounded(weight: Array, axis: int) -> tuple[Array, Array]:
    """Return int8 numbers and the scales that they are to be multiplied by, one for each index of an axis."""
    others = tuple(n for n in range(weight.ndim) if n != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest / _LARGEST, 1).astype(weight.dtype)
    return np.clip(np.rint(weight / scale), -_LARGEST, _LARGEST).astype(np.int8), scale


class _Numbers:
    """Hands out numbers for new values of a graph."""

    def __init__(self, largest: int) -> None:
        self._last = largest

    def next(self) -> int:
        """Return a number that no value has."""
        self._last += 1
        return self._last


def _axes(block: dict[str, Any], parameters: dict[int, dict[str, Any]]) -> dict[int, int]:
    """Return the axis of the output channels of each weight that only layers use whose channels are known."""
    axes: dict[int, set[int | None]] = {}
    for one in walk(block):
        for place, value in enumerate(listed(one.get("I", []))):
            if value["%"] in parameters:
                axes.setdefault(value["%"], set()).add(_axis(one, place, parameters[value["%"]]))
    known = {number: next(iter(found)) for number, found in axes.items() if len(found) == 1}
    return {number: axis for number, axis in known.items() if axis is not None and _kind(parameters[number]) in _FLOATS}


def _axis(operator: dict[str, Any], place: int, parameter: dict[str, Any]) -> int | None:
    """Return the axis of the channels that an operator makes of a weight; None where it uses it otherwise."""
    kind, dimensions = operator["#"], len(_shape(parameter))
    if kind == "1.matmul" and place == 1 and dimensions >= 2:
        turned = any(a.get("N") == "transpose_y" and a["AT"]["D"] for a in operator["A"])
        return dimensions - 2 if turned else dimensions - 1
    if kind in _FIRST_AXIS and place == 1:
        return 0
    return 1 if kind in _SECOND_AXIS and place == 1 else None


def _name(parameter: dict[str, Any]) -> str:
    return str(parameter["A"][3])


def _kind(parameter: dict[str, Any]) -> str:
    return str(listed(parameter["O"])[0]["TT"]["D"][0]["#"])


def _shape(parameter: dict[str, Any]) -> list[int]:
    shape: list[int] = listed(parameter["O"])[0]["TT"]["D"][1]
    return shape


def _value(number: int, kind: str, shape: tuple[int, ...] | list[int]) -> dict[str, Any]:
    return {"%": number, "TT": {"#": "0.t_dtensor", "D": [{"#": kind}, list(shape), "NCHW", [], 0]}}


def _parameter(name: str, number: int, like: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    attributes = [*like["A"][:3], name]
    return {**like, "A": attributes, "O": _value(number, _kind(like), shape), "OA": [1, 1, 0]}


def _restored(operator: dict[str, Any], scale: dict[str, Any], number: int, fresh: _Numbers) -> list[dict[str, Any]]:
    """Make a parameter int8, and return what computes the value that it was."""
    kind, shape = _kind(operator), _shape(operator)
    small, cast = fresh.next(), fresh.next()
    operator["O"], operator["OA"] = _value(small, "0.t_i8", shape), [1, 1, 0]
    constant = [{"AT": {"#": "0.a_array", "D": [{"#": "0.a_bool", "D": True}]}, "N": "stop_gradient"}]
    as_float = [{"AT": {"#": "1.a_dtype", "D": _FLOATS[kind]}, "N": "dtype"}]
    return [
        {"#": "1.cast", "A": as_float, "I": [{"%": small}], "O": [_value(cast, kind, shape)], "OA": constant},
        {
            "#": "1.multiply",
            "A": [],
            "I": [{"%": cast}, {"%": listed(scale["O"])[0]["%"]}],
            "O": [_value(number, kind, shape)],
            "OA": constant,
        },
    ]
