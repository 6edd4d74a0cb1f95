"""Runs Paddle2ONNX in a process of its own: it prints as it likes, and ends its process where an operator is missing.

Its text is what that process runs (`python -c`), so that it starts without expkit and without Paddle's Python part:
a fifth of a second where `import paddle` takes seconds.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

OPSET = 17
"""Version of ONNX's operators: the first with layer normalisation, known to runtimes since 2022."""
REFUSED = "Due to the unsupported operators"
"""What Paddle2ONNX says before it ends the process. Which operators it means it forgets to print."""

_NAME = "paddle2onnx_cpp2py_export"
_NEVER_ASKED = ("p", "1.data", "1.fetch", "1.if", "1.while", "1.print")  # parameters, and what it handles itself


def load(extension: str, library: str) -> ModuleType:
    """Return Paddle2ONNX's compiled part.

    Args:
        extension: its file.
        library: Paddle's own, which it is linked with.
    """
    try:
        ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
        spec = importlib.util.spec_from_file_location(_NAME, extension)
        if spec is None or spec.loader is None:
            raise ImportError(extension)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (ImportError, OSError):  # another layout of these packages
        return importlib.import_module(f"paddle2onnx.{_NAME}")
    return module


def convert(module: ModuleType, program: Path, weights: Path) -> bytes:
    """Return the ONNX file, or end the process; says on the way which operator it is at."""
    verbose, checked, experimental, optimised = True, False, True, True
    made: bytes = module.export(
        str(program),
        str(weights),
        OPSET,
        True,
        verbose,
        checked,
        experimental,
        optimised,
        {},
        "onnxruntime",
        "",
        "",
        False,
    )
    return made


def unsupported(module: ModuleType, program: Path, weights: Path, trial: Path) -> list[str]:
    """Return the kinds of operators that Paddle2ONNX has nothing for: each is tried alone, in a copy of this process.

    Args:
        module: Paddle2ONNX's compiled part.
        program: `model.json`.
        weights: `model.pdiparams`.
        trial: a file that is written over.
    """
    document = json.loads(program.read_text(encoding="utf-8"))
    block = document["program"]["regions"][0]["blocks"][0]
    everything = list(walk(block))
    values = {value["%"]: value for operator in everything for value in listed(operator.get("O", []))}
    data = next(operator for operator in everything if operator["#"] == "1.data")
    fetch = next(operator for operator in everything if operator["#"] == "1.fetch")
    parameters = [operator for operator in block["ops"] if operator["#"] == "p"]
    own = {value["%"] for operator in parameters for value in listed(operator["O"])}
    missing = []
    for kind, operator in {operator["#"]: operator for operator in reversed(everything)}.items():
        if kind in _NEVER_ASKED or not operator.get("O"):
            continue
        given = {value["%"] for value in listed(operator.get("I", []))} - own
        inputs = [{**data, "O": [values[number]]} for number in sorted(given) if number in values]
        outputs = [{**fetch, "I": [{"%": listed(operator["O"])[0]["%"]}]}]
        block["ops"] = [*parameters, *inputs, operator, *outputs]
        trial.write_text(json.dumps(document), encoding="utf-8")
        if REFUSED in _said(module, trial, weights):
            missing.append(kind)
    return missing


def walk(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the operators of a block and of the blocks inside them, in order."""
    for operator in block["ops"]:
        yield operator
        for region in operator.get("regions", []):
            for inner in region["blocks"]:
                yield from walk(inner)


def listed(values: Any) -> list[dict[str, Any]]:
    """Return what may stand alone or in a list as a list."""
    return values if isinstance(values, list) else [values]


def _said(module: ModuleType, program: Path, weights: Path) -> str:
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writes, 1)
        os.dup2(writes, 2)
        os.close(reads)
        try:
            convert(module, program, weights)
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    os.waitpid(child, 0)
    return text


def main(wanted: str, extension: str, library: str, folder: str, target: str) -> None:
    """Do what is wanted, "convert" or "unsupported", and write the outcome to a file."""
    module = load(extension, library)
    files = Path(folder, "model.json"), Path(folder, "model.pdiparams")
    if wanted == "convert":
        Path(target).write_bytes(convert(module, *files))
    else:
        Path(target).write_text(json.dumps(unsupported(module, *files, Path(target))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
