"""Exports of small networks, written by hand, and what they have to answer."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from expkit import preprocess, standalone
from expkit.api import Classes, ImageInput, TableInput, Values

DIGITS = ImageInput(28, 28, 1, (0.13,), (0.31,))
COLOUR = ImageInput(8, 8, 3, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
TEN = Classes(tuple("0123456789"))
HOUSES = TableInput(("rooms", "age", "tax"), (6.0, 60.0, 400.0), (1.0, 30.0, 160.0))
PRICE = Values(("price",), (22.5,), (9.2,), "1000 dollars")


class Export:
    """A linear network in a folder as the exporter leaves it.

    Args:
        folder: to be made.
        reader: of its inputs.
        target: of its outputs.
        runtime: that it is for.
    """

    def __init__(self, folder: Path, reader: Any = DIGITS, target: Any = TEN, runtime: str = "onnxruntime") -> None:
        self.folder, self.reader, self.target = folder, reader, target
        random = np.random.default_rng(7)
        self._weight = random.normal(0, 0.1, (math.prod(reader.shape), target.outputs)).astype(np.float32)
        folder.mkdir(parents=True)
        (self._write_onnx if runtime == "onnxruntime" else self._write_paddle)()
        about = {
            "name": "small",
            "input": reader.describe(),
            "target": target.describe(),
            "input_shape": [None, *reader.shape],
            "input_dtype": "float32",
            "runtimes": [runtime],
            "sha256": {part.name: hashlib.sha256(part.read_bytes()).hexdigest() for part in folder.iterdir()},
        }
        (folder / "model.yaml").write_text(yaml.safe_dump(about))
        for module, name in ((preprocess, "preprocess.py"), (standalone, "predict.py")):
            shutil.copy(str(module.__file__), folder / name)

    def answers(self, raw: npt.NDArray[Any]) -> list[dict[str, Any]]:
        """Return what it has to answer, worked out in NumPy."""
        inputs = self.reader.normalise(raw)
        return list(self.target.decode(inputs.reshape(len(raw), -1) @ self._weight))

    def _write_onnx(self) -> None:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        shape: Sequence[Any] = ["N", *self.reader.shape]
        nodes = [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["y"]),
        ]
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", self.target.outputs])],
            [numpy_helper.from_array(self._weight, "weight")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, str(self.folder / "model.onnx"))

    def _write_paddle(self) -> None:
        import paddle

        linear = paddle.nn.Linear(*self._weight.shape, bias_attr=False)
        linear.weight.set_value(self._weight)
        network = paddle.nn.Sequential(paddle.nn.Flatten(), linear)
        network.eval()
        inputs = [paddle.static.InputSpec([None, *self.reader.shape], "float32")]
        paddle.jit.save(network, str(self.folder / "model"), input_spec=inputs)
