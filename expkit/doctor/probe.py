"""The program of a child process: does what it is told on its input, and says how each step went, a JSON object a line.

`python -m expkit.doctor.probe` is started by `children` only.
"""

from __future__ import annotations

import faulthandler
import importlib
import inspect
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from expkit.doctor.children import nearest
from expkit.paddle_import import hush_import, import_paddle
from expkit.processes import die_with_parent

MISSABLE = {"on_missing", "download"}
"""Options of a data set that is genuine, downloaded, or replaced by a stand-in."""


def main(steps: Mapping[str, Callable[..., Any]] | None = None) -> None:
    """Do the steps that the input asks for.

    Args:
        steps: functions by name; `STEPS` when left out.
    """
    known = STEPS if steps is None else steps
    order = json.loads(sys.stdin.readline())
    die_with_parent(order["parent"])
    sys.path[:] = order["path"]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    hush_import()
    warnings.simplefilter("ignore")
    for number, step in enumerate(order["steps"]):
        began = time.perf_counter()
        faulthandler.disable()
        faulthandler.enable()  # so that the parent learns where a signal kills this process; Paddle takes these over
        if step["seconds"]:
            faulthandler.dump_traceback_later(step["seconds"], exit=True)
        try:
            said = {"value": known[step["name"]](**step["values"])}
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - an import runs its author's code, and sys.exit() in it, too
            said = _failure(error, str(step["values"].get("module", "")))
        faulthandler.cancel_dump_traceback_later()
        _tell(answers, {"step": number, "seconds": time.perf_counter() - began, **said})


def _tell(answers: TextIO, said: dict[str, Any]) -> None:
    answers.write(json.dumps(said) + "\n")
    answers.flush()


def _failure(error: BaseException, module: str) -> dict[str, Any]:
    """Say what was raised and where, without the frames that only brought it to the module."""
    trace = error.__traceback__
    while trace is not None and _only_brings(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    frames = [(frame.f_code.co_filename, str(line)) for frame, line in traceback.walk_tb(trace)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, str(error.lineno)))
    text = " ".join(str(error).split())
    lines = "".join(traceback.format_exception(type(error), error, trace)).splitlines()
    return {
        "error": f"{type(error).__name__}: {text}".rstrip(": "),
        "where": nearest(frames[::-1], module),
        "trace": "\n".join(line for line in lines if '"<frozen importlib' not in line),
    }


def _only_brings(file: str) -> bool:
    """Say whether a file is of this program, or of what Python imports with."""
    return file == __file__ or file.startswith("<frozen") or file == importlib.__file__


def paddle() -> dict[str, Any]:
    """Import Paddle, and say what it is."""
    module = import_paddle()
    cuda = bool(module.device.is_compiled_with_cuda())
    return {
        "version": str(module.__version__),
        "file": str(module.__file__),
        "cuda": str(module.version.cuda()) if cuda else "",
        "gpus": int(module.device.cuda.device_count()) if cuda else 0,
    }


def component(kind: str, name: str, module: str, attribute: str) -> None:
    """Import a component."""
    del kind, name
    _imported(module, attribute)


def _imported(module: str, attribute: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def data_set(kind: str, name: str, module: str, attribute: str) -> dict[str, Any] | None:
    """Read a data set whose files may be missing, without a download; None of any other."""
    del kind, name
    try:
        found = _imported(module, attribute)
    except BaseException:  # noqa: BLE001 - which the step "component" tells
        return None
    parameters = inspect.signature(found).parameters
    needs = [one for one in parameters.values() if one.default is one.empty]
    if needs or not parameters.keys() >= MISSABLE:
        return None
    data = found(download=False, on_missing="stand-in")
    source, parts = data.spec.source, (data.train, data.valid, data.test)
    return {
        "name": data.spec.name,
        "kind": source.kind,
        "location": str(source.location),
        "stand_in": bool(source.stand_in_for),
        "note": source.note,
        "sizes": [len(part) for part in parts],
        "downloads": parameters["download"].default is True,
        "stands_in": parameters["on_missing"].default == "stand-in",
    }


def fonts(characters: str) -> dict[str, str]:
    """Look for a font that can write some characters."""
    from expkit.fonts import find_font

    font, missing = find_font(characters)
    return {"font": font, "missing": missing}


STEPS: dict[str, Callable[..., Any]] = {"paddle": paddle, "component": component, "data_set": data_set, "fonts": fonts}

if __name__ == "__main__":
    main()
