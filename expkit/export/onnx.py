"""Writes ONNX, from what `paddle.jit.save` wrote."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from expkit.errors import ExportError
from expkit.export import converter
from expkit.export.program import Operator, read_operators, users

INPUT, OUTPUT = "input", "output"
"""Names of the values that go in and come out."""


def require_onnx(*, int8: bool = False) -> None:
    """Find out that what writes and runs ONNX is installed, before a training whose export needs it.

    Args:
        int8: whether what ONNX Runtime needs to make int8 versions is needed as well.

    Raises:
        ExportError: it is not; says how to install it.
    """
    needed = ("paddle2onnx", "onnx", "onnxruntime", *["ml_dtypes"] * int8)
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"the ONNX formats need {', '.join(missing)}. Install with: pip install 'expkit[onnx]'")


def write_onnx(paddle_folder: Path, target: Path) -> None:
    """Write an ONNX file whose input is named "input", its output "output", and whose batch size is free.

    Args:
        paddle_folder: holds `model.json` and `model.pdiparams` of `paddle.jit.save`.
        target: the file; is replaced if it exists.

    Raises:
        ExportError: packages are missing; the model uses an operator that ONNX, or its converter, does not have.
    """
    require_onnx()
    import onnx

    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "model.onnx"
        done = _run("convert", paddle_folder, made)
        if done.returncode:
            raise ExportError(_explain(paddle_folder, done.stdout, Path(scratch)))
        model = onnx.load(made)
    _tidy(model)
    _rename(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(_invalid(str(error), read_operators(paddle_folder))) from error
    onnx.save(model, target)


def _run(wanted: str, folder: Path, target: Path) -> subprocess.CompletedProcess[str]:
    extension, library = _file("paddle2onnx", "paddle2onnx_cpp2py_export"), _file("paddle", "base/libpaddle")
    code = Path(converter.__file__).read_text(encoding="utf-8")
    command = [sys.executable, "-c", code, wanted, extension, library, str(folder), str(target)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")


def _file(package: str, name: str) -> str:
    """Return the compiled module of that name in a package, without importing it."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    files = (Path(folder) / f"{name}{suffix}" for folder in folders for suffix in EXTENSION_SUFFIXES)
    return next((str(path) for path in files if path.exists()), "")


def _tidy(model: Any) -> None:
    """Make constants weights, and leave out what does nothing; runtimes warn of unused ones, and quantisers see none.

    A graph with branches or loops stays as it is: a value of it may be used inside them.
    """
    from onnx import AttributeProto

    graph = model.graph
    if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for node in graph.node for a in node.attribute):
        return
    outputs = {value.name for value in graph.output}
    stands_for: dict[str, str] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [stands_for.get(name, name) for name in node.input]
        if node.op_type == "Constant" and node.attribute[0].name == "value" and node.output[0] not in outputs:
            weight = node.attribute[0].t
            weight.name = node.output[0]
            graph.initializer.append(weight)
        elif node.op_type == "Identity" and node.output[0] not in outputs:
            stands_for[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input}
    weights = [weight for weight in graph.initializer if weight.name in used | outputs]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(weights)
    del graph.value_info[:]
    _end_without_identity(graph)


def _end_without_identity(graph: Any) -> None:
    last = {node.output[0]: node for node in graph.node if node.op_type == "Identity"}
    inner = {name: node for node in graph.node for name in node.output}
    for value in graph.output:
        node = last.get(value.name)
        if node is None or node.input[0] not in inner or any(node.input[0] == other.name for other in graph.output):
            continue
        old, new = node.input[0], value.name
        graph.node.remove(node)
        for one in graph.node:
            one.input[:] = [new if name == old else name for name in one.input]
            one.output[:] = [new if name == old else name for name in one.output]


def _rename(model: Any) -> None:
    """Give input and output their names, and the free batch size the name N."""
    graph = model.graph
    names = {}
    if len(graph.input) == 1:
        names[graph.input[0].name] = INPUT
    if len(graph.output) == 1:
        names[graph.output[0].name] = OUTPUT
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {w.name for w in graph.initializer}
    names = {old: new for old, new in names.items() if new not in taken or old == new}
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
        dimensions = value.type.tensor_type.shape.dim
        if dimensions and not dimensions[0].HasField("dim_value"):
            dimensions[0].dim_param = "N"
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


_CURE = (
    "Write it with operations that ONNX has (sums, products, powers, exp, log, comparisons, `where`, ...), or leave "
    "the ONNX formats out of export.formats: Paddle's need no such change."
)


def _explain(folder: Path, said: str, scratch: Path) -> str:
    """Say why the conversion ended, and in which layer."""
    operators = read_operators(folder)
    if converter.REFUSED in said:
        kinds = _unsupported(folder, scratch)
        found = [one for one in operators if one.kind in kinds]
        if found:
            return f"ONNX, or its converter Paddle2ONNX, has no operator for {users(found)}. {_CURE}"
    where = users(_last_begun(operators, said)) or f"one of {', '.join(sorted({one.name for one in operators}))}"
    return f"Paddle2ONNX cannot convert {where}: {_reason(said)} {_branches(operators) or _CURE}"


def _branches(operators: list[Operator]) -> str:
    """Return what to do about branches and loops in a graph; empty if it has none."""
    found = [one for one in operators if one.name in ("if", "while")]
    if not found:
        return ""
    return (
        f"Of branches and loops that depend on a tensor's numbers it converts only simple ones, and this model has "
        f"{users(found)}. Compute both ways and choose with `paddle.where`, or leave the ONNX formats out of "
        "export.formats: Paddle's need no such change."
    )


def _unsupported(folder: Path, scratch: Path) -> set[str]:
    found = scratch / "unsupported.json"
    done = _run("unsupported", folder, found)
    return set() if done.returncode else set(json.loads(found.read_text(encoding="utf-8")))


def _last_begun(operators: list[Operator], said: str) -> list[Operator]:
    """Return the operator at which the conversion ended."""
    begun = re.findall(r"Start export pd_op\.(\w+), op_id", said)
    if not begun:
        return []
    same = [one for one in operators if one.name == begun[-1]]
    return same[begun.count(begun[-1]) - 1 :][:1] or same[:1]


def _reason(said: str) -> str:
    """Return the sentence that matters of all that was printed."""
    lines = [line for line in said.splitlines() if "ERROR" in line or line.startswith("RuntimeError")]
    text = re.sub(r"^\S*(ERROR|RuntimeError)[\]:]*\s*(\[Paddle2ONNX\])?\s*", "", lines[-1]) if lines else ""
    return (text or "it gives no reason").rstrip(". ") + "."


def _invalid(said: str, operators: list[Operator]) -> str:
    first = next((line for line in said.splitlines() if line.strip()), "")
    cure = _branches(operators) or "Leave the ONNX formats out of export.formats."
    return f"Paddle2ONNX wrote a model that is not valid ONNX: {first.rstrip('. ')}. {cure}"
