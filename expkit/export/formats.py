"""What a model can be exported as, and how each format is made of Paddle's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from expkit.api import Array


@dataclass(frozen=True)
class Format:
    """One way to write a model.

    Attributes:
        make: writes it, from a folder with Paddle's `model.json` and `model.pdiparams`, into another; the last
            argument returns normalised inputs of training, to measure on what int8 has to hold.
        runtimes: that can run it; the first one has to.
        about: in words.
        exact: whether it has to answer as the model does; else its accuracy is looked at.
        needs: what `requirements.txt` lists for its first runtime.
        output: name of what the network answers; what it takes is always called "input".
    """

    make: Callable[[Path, Path, Callable[[], Array]], None]
    runtimes: tuple[str, ...]
    about: str
    exact: bool
    needs: tuple[str, ...]
    output: str


def _paddle(source: Path, target: Path, calibration: Callable[[], Array]) -> None:
    for path in source.glob("model.*"):
        shutil.copyfile(path, target / path.name)


def _onnx(source: Path, target: Path, calibration: Callable[[], Array]) -> None:
    from expkit.export.onnx import write_onnx

    write_onnx(source, target / "model.onnx")


def _onnx_int8(source: Path, target: Path, calibration: Callable[[], Array]) -> None:
    from expkit.export.int8 import quantise_onnx
    from expkit.export.onnx import write_onnx

    exact = target / "exact.onnx"
    write_onnx(source, exact)
    quantise_onnx(exact, target / "model.onnx", calibration())
    exact.unlink()


def _paddle_int8(source: Path, target: Path, calibration: Callable[[], Array]) -> None:
    from expkit.export.paddle_int8 import quantise_paddle

    quantise_paddle(source, target)


def require(formats: Iterable[str]) -> None:
    """Find out that what formats need is installed, before a training that would end without its export.

    Raises:
        ExportError: it is not; says how to install it.
    """
    from expkit.export.onnx import require_onnx

    wanted = [name for name in formats if name.startswith("onnx")]
    if wanted:
        require_onnx(int8="onnx-int8" in wanted)


_PADDLE, _ONNX = ("paddlepaddle",), ("onnxruntime",)
FORMATS: dict[str, Format] = {
    "paddle": Format(_paddle, ("jit", "inference"), "Paddle's own", exact=True, needs=_PADDLE, output="fetch_name_0"),
    "onnx": Format(
        _onnx, ("onnxruntime",), "for ONNX Runtime and many others", exact=True, needs=_ONNX, output="output"
    ),
    "paddle-int8": Format(
        _paddle_int8, ("jit", "inference"), "Paddle, 8-bit weights", exact=False, needs=_PADDLE, output="fetch_name_0"
    ),
    "onnx-int8": Format(
        _onnx_int8, ("onnxruntime",), "ONNX, computed in 8 bit", exact=False, needs=_ONNX, output="output"
    ),
}
