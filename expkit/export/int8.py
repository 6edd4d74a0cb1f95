"""Makes int8 versions of exported models."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expkit.api import Array
from expkit.errors import ExportError, first_line
from expkit.export.onnx import require_onnx

_BATCH = 64


def quantise_onnx(model: Path, target: Path, calibration: Array) -> None:
    """Write an ONNX model that computes in 8 bits: weights of each channel and activations are rounded to a grid.

    The activations' grids are measured on samples; the outputs are not rounded. Weights use 7 bits, since CPUs without
    the VNNI instructions add products of 8 bits in a register that they overflow, without saying so.

    Args:
        model: what `write_onnx` wrote.
        target: the file; is replaced if it exists.
        calibration: normalised training samples [N, ...].

    Raises:
        ExportError: packages are missing; ONNX Runtime cannot do it.
    """
    require_onnx(int8=True)
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch, _hushed():
        single, prepared, made = (str(Path(scratch) / name) for name in ("single.onnx", "prepared.onnx", "made.onnx"))
        onnx.save(in_float32(onnx.load(model)), single)
        try:
            # Folds batch normalisation and biases into convolutions. Symbolic shapes would need one more package.
            quant_pre_process(single, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                made,
                _Samples(calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            quantised = onnx.load(made)
            _leave_outputs(quantised.graph)
            onnx.checker.check_model(quantised)
        except Exception as error:
            raise ExportError(
                f"ONNX Runtime cannot make an int8 version of this model: {type(error).__name__}: {first_line(error)}. "
                "Leave onnx-int8 out of export.formats."
            ) from error
        onnx.save(quantised, target)


def in_float32(model: Any) -> Any:
    """Change an ONNX model that computes in float64 to float32; what goes in and out keeps its type."""
    from onnx import AttributeProto, TensorProto, helper, numpy_helper

    graph = model.graph
    if all(value.type.tensor_type.elem_type != TensorProto.DOUBLE for value in graph.input):
        return model
    for weight in graph.initializer:
        if weight.data_type == TensorProto.DOUBLE:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype("float32"), weight.name))
    inner = {value.name: f"{value.name}_float32" for value in (*graph.input, *graph.output)}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.DOUBLE:
                attribute.i = TensorProto.FLOAT
            if attribute.type == AttributeProto.TENSOR and attribute.t.data_type == TensorProto.DOUBLE:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype("float32")))
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    before = [helper.make_node("Cast", [v.name], [inner[v.name]], to=TensorProto.FLOAT) for v in graph.input]
    after = [helper.make_node("Cast", [inner[v.name]], [v.name], to=TensorProto.DOUBLE) for v in graph.output]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model


class _Samples:
    """Calibration samples in batches, as ONNX Runtime asks for them."""

    def __init__(self, inputs: Array) -> None:
        self._batches = ({"input": inputs[n : n + _BATCH]} for n in range(0, len(inputs), _BATCH))

    def get_next(self) -> dict[str, Array] | None:
        """Return the next batch, None after the last."""
        return next(self._batches, None)


def _leave_outputs(graph: Any) -> None:
    """Take the rounding away that ends a graph: it would cut off what is larger than any output in calibration."""
    made = {name: node for node in graph.node for name in node.output}
    for value in graph.output:
        last = made.get(value.name)
        cast = last if last is not None and last.op_type == "Cast" else None
        last = made.get(cast.input[0]) if cast is not None else last
        first = made.get(last.input[0]) if last is not None and last.op_type == "DequantizeLinear" else None
        if last is None or first is None or first.op_type != "QuantizeLinear":
            continue
        users = [node for node in graph.node if {first.input[0], first.output[0]} & set(node.input)]
        if len(users) > 2 or first.input[0] not in made:
            continue
        graph.node.remove(first)
        graph.node.remove(last)
        made[first.input[0]].output[:] = [
            last.output[0] if name == first.input[0] else name for name in made[first.input[0]].output
        ]
    used = {name for node in graph.node for name in node.input}
    weights = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(weights)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep ONNX Runtime's advice off the screen; its quantiser logs to the root logger."""
    import onnxruntime

    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers[:] = [logging.NullHandler()]
    onnxruntime.set_default_logger_severity(4)
    try:
        yield
    finally:
        root.handlers[:] = before
        onnxruntime.set_default_logger_severity(2)
