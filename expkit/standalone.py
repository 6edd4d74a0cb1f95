"""Answers of an exported model, without expkit: `python predict.py digit.png`, or `from predict import open_model`.

This file needs only NumPy, PyYAML, Pillow (for images) and the model's own runtime, and imports nothing of expkit. It
is copied as `predict.py` beside every exported model, and is what expkit itself loads an export with.

Shapes: N samples, K outputs.
"""
# mypy: disable-error-code="import-untyped, import-not-found, unused-ignore"
# Neither the runtimes nor PyYAML bring types, and a model needs one of the runtimes only.

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Network = Callable[[Array], Array]
"""Normalised inputs [N, *shape] -> outputs [N, K]. For one thread at a time."""

FILES = {"jit": "model.json", "inference": "model.json", "onnxruntime": "model.onnx"}
"""Runtimes, by the file that they load: `paddle.jit.load`, `paddle.inference` with oneDNN, and ONNX Runtime."""
BATCH_SIZE = 256


class UnusableExportError(ValueError):
    """The folder holds no whole export, or none for the runtime that was asked for."""


@dataclass(frozen=True)
class Model:
    """An exported model that is ready to answer.

    Attributes:
        about: what `model.yaml` says.
        reader: reads files (`read`) and normalises raw inputs (`normalise`); see `preprocess.py`.
        target: turns outputs into answers (`decode`).
        network: runs the model itself.
    """

    about: dict[str, Any]
    reader: Any
    target: Any
    network: Network

    def answers(self, raw: Array) -> list[dict[str, Any]]:
        """Answer raw inputs [N, ...], such as `reader.read` gives, one answer for each."""
        parts = (raw[start : start + BATCH_SIZE] for start in range(0, len(raw), BATCH_SIZE))
        return [answer for part in parts for answer in self.target.decode(self.network(self.reader.normalise(part)))]


def open_model(folder: str | Path = Path(__file__).parent, runtime: str = "") -> Model:
    """Load the exported model in a folder.

    Args:
        folder: that of this file by default.
        runtime: one of `FILES`; by default the fastest of those that gave the trained model's answers at the export.

    Raises:
        UnusableExportError: there is no such export.
        ImportError: the runtime is not installed.
    """
    folder = Path(folder)
    about = read_about(folder)
    preprocess = _load_module(folder / "preprocess.py")
    reader, target = (preprocess.from_description(about[part]) for part in ("input", "target"))
    return Model(about, reader, target, connect(folder, runtime, about))


def read_about(folder: Path) -> dict[str, Any]:
    """Return what `model.yaml` says, once every file that it names is found to be what was exported.

    Raises:
        UnusableExportError: it is not there or damaged, or another file is.
    """
    about = parse_about(folder)
    for name, digest in dict(about.get("sha256", {})).items():  # of truncated weights, Paddle reads garbage
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise UnusableExportError(f"{folder / name} cannot be read: {error.strerror}.") from error
        if found != digest:
            raise UnusableExportError(f"{folder / name} is damaged: it is not the file that was exported.")
    return about


def parse_about(folder: Path) -> dict[str, Any]:
    """Return what `model.yaml` says, whatever is in the other files.

    Raises:
        UnusableExportError: it is not there or damaged.
    """
    import yaml

    path = folder / "model.yaml"
    try:
        about: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        dict(about.get("sha256", {}))
        missing = [key for key in ("input", "target", "input_shape", "input_dtype") if key not in about]
    except FileNotFoundError as error:
        raise UnusableExportError(f"{folder} holds no exported model: it has no model.yaml.") from error
    except (OSError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise UnusableExportError(f"{path} is damaged: {error}.") from error
    if missing:
        raise UnusableExportError(f"{path} is damaged: it lacks {', '.join(missing)}.")
    return about


def runtimes(folder: Path, about: dict[str, Any]) -> list[str]:
    """Return the runtimes for an export, those that gave the trained model's answers, the fastest first."""
    return list(about.get("runtimes") or [name for name, file in FILES.items() if (folder / file).is_file()][:1])


def connect(folder: str | Path, runtime: str = "", about: dict[str, Any] | None = None) -> Network:
    """Load the network of an export.

    Args:
        folder: of the export.
        runtime: see `open_model`.
        about: what `read_about` gave; read here where it was not.

    Returns:
        Takes normalised inputs of the model's shape and dtype, and refuses others with a ValueError.

    Raises:
        UnusableExportError: there is no such export.
        ImportError: the runtime is not installed.
    """
    folder = Path(folder)
    about = read_about(folder) if about is None else about
    name = runtime or next(iter(runtimes(folder, about)), "")
    if name not in FILES:
        raise UnusableExportError(f"there is no runtime {name!r}; known: {', '.join(FILES)}.")
    if not (folder / FILES[name]).is_file():
        fit = [other for other, file in FILES.items() if (folder / file).is_file()]
        raise UnusableExportError(
            f"{folder} holds no {FILES[name]}, which runtime {name} loads; of this export: {', '.join(fit) or 'none'}."
        )
    try:
        network = _LOADERS[name](folder)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnusableExportError(f"{folder}: {name} cannot load the exported model: {error}") from error
    shape, dtype = tuple(about["input_shape"][1:]), np.dtype(about["input_dtype"])
    with _silent_stdout(), contextlib.suppress(Exception):  # what is wrong comes out again with real inputs
        network(np.zeros((1, *shape), dtype))

    def checked(inputs: Array) -> Array:
        # Paddle's predictor takes anything that has enough bytes for its input.
        if inputs.shape[1:] != shape or inputs.dtype != dtype:
            raise ValueError(f"the model takes {dtype} [N, {str(shape)[1:-1]}], not {inputs.dtype} {inputs.shape}")
        return network(np.ascontiguousarray(inputs))

    return checked


def _jit(folder: Path) -> Network:
    paddle = _import_paddle()
    model = paddle.jit.load(str(folder / "model"))
    model.eval()

    def run(inputs: Array) -> Array:
        with paddle.no_grad():
            outputs: Array = model(paddle.to_tensor(inputs)).numpy()
        return outputs

    return run


def _inference(folder: Path) -> Network:
    _import_paddle()
    from paddle import inference

    config = inference.Config(str(folder / "model.json"), str(folder / "model.pdiparams"))
    config.disable_gpu()
    config.disable_glog_info()
    config.enable_mkldnn()
    config.set_mkldnn_cache_capacity(16)  # else each new batch size is kept for ever
    config.enable_new_executor(True)  # without it, oneDNN is not used for programs of Paddle 3
    config.set_cpu_math_library_num_threads(_threads())
    predictor = inference.create_predictor(config)
    inlet = predictor.get_input_handle(predictor.get_input_names()[0])
    outlet = predictor.get_output_names()[0]

    def run(inputs: Array) -> Array:
        inlet.reshape(list(inputs.shape))
        inlet.copy_from_cpu(inputs)
        predictor.run()
        outputs: Array = predictor.get_output_handle(outlet).copy_to_cpu()
        return outputs

    return run


def _onnxruntime(folder: Path) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = _threads(), 3
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    inlet = session.get_inputs()[0].name

    def run(inputs: Array) -> Array:
        outputs: Array = session.run(None, {inlet: inputs})[0]
        return outputs

    return run


_LOADERS: dict[str, Callable[[Path], Network]] = {"jit": _jit, "inference": _inference, "onnxruntime": _onnxruntime}


def _import_paddle() -> Any:
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", message="No ccache found", category=UserWarning)
    import paddle

    return paddle


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """Keep the program's output free of what oneDNN prints when it first runs a graph."""
    try:
        sys.stdout.flush()
        kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError, AttributeError):  # there is none
        yield
        return
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _threads() -> int:
    """Return how many threads may run: the cores that this process may use, or what OMP_NUM_THREADS says."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and told != "0" else _cores()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load_module(path: Path) -> ModuleType:
    """Import a file under a name made from its content: two models may bring two versions of it."""
    name = "exported_" + hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up there
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def check(folder: str) -> int:
    """Run exports as the lines of standard input ask for it, and tell on standard output what came of each.

    A line names the `folder` of an export, the `runtimes` to load it with, `inputs` (a file of `numpy.save`), and a
    folder `into` which their outputs go. Told are, for each runtime, `milliseconds` by batch size, or an `error`.

    Args:
        folder: where this file was put for that; is removed in the end, when who asked has died.
    """
    import yaml  # noqa: F401 - what every export needs is imported while there is nothing to do

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Paddle and oneDNN print there when they like to
    _import_paddle()
    for line in sys.stdin:
        wanted = json.loads(line)
        inputs = np.load(wanted["inputs"])
        told = {name: _check_one(wanted["folder"], name, inputs, Path(wanted["into"])) for name in wanted["runtimes"]}
        print(json.dumps(told), flush=True, file=answers)
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _check_one(folder: str, runtime: str, inputs: Array, into: Path) -> dict[str, Any]:
    try:
        network = connect(folder, runtime)
        parts = [network(inputs[start : start + BATCH_SIZE]) for start in range(0, len(inputs), BATCH_SIZE)]
        np.save(into / f"{runtime}.npy", np.concatenate(parts))
        return {"milliseconds": {str(size): _milliseconds(network, inputs[:size]) for size in (1, 32)}}
    except Exception as error:  # noqa: BLE001 - whatever a runtime raises is its answer
        return {"error": f"{type(error).__name__}: {error}"}


def _milliseconds(network: Network, inputs: Array) -> float:
    """Return the least that a call takes, of up to 30 calls or 0.1 seconds; the rest is what else the machine does."""
    network(inputs)
    taken: list[float] = []
    while len(taken) < 3 or (sum(taken) < 0.1 and len(taken) < 30):
        began = time.perf_counter()
        network(inputs)
        taken.append(time.perf_counter() - began)
    return round(1000 * min(taken), 4)


def main(arguments: Sequence[str]) -> int:
    """Print an answer for each file, as a line of JSON."""
    parser = argparse.ArgumentParser(prog="python predict.py", description="Answers of the model in this folder.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="image or CSV file, as the model takes them")
    parser.add_argument("--runtime", default="", choices=list(FILES), help="what runs the model (default: the fastest)")
    options = parser.parse_args(arguments)
    model, bad = open_model(runtime=options.runtime), 0
    for file in options.files:
        try:
            told = {"file": file, "answers": model.answers(model.reader.read(file))}
        except FileNotFoundError:
            told, bad = {"file": file, "error": "there is no such file"}, 2
        except (OSError, ValueError) as error:
            told, bad = {"file": file, "error": str(error)}, 2
        print(json.dumps(told))  # noqa: T201 - the program's output
    return bad


if __name__ == "__main__":
    sys.exit(check(sys.argv[2]) if sys.argv[1:2] == ["--check"] else main(sys.argv[1:]))
