"""How a Paddle layer is exported, whatever engine found its weights."""

from collections.abc import Callable
from pathlib import Path

import paddle
from paddle import nn

from expkit.api import Array, DataSpec, ExportError


def write_graph(model: nn.Layer, folder: Path, spec: DataSpec) -> Callable[[Array], Array]:
    """Write `model.json` and `model.pdiparams` with `paddle.jit.save`; return what `paddle.jit.load` reads back.

    Args:
        model: inputs [N, *spec.input_shape] -> outputs [N, K]; is traced in evaluation mode.
        folder: where to.
        spec: for shape and dtype of the inputs; the batch size is dynamic.

    Raises:
        ExportError: Paddle cannot turn the model's code into a graph, or cannot read back what it wrote.
    """
    model.eval()
    signature = [paddle.static.InputSpec([None, *spec.input_shape], spec.input_dtype, name="input")]
    try:
        paddle.jit.save(model, str(folder / "model"), input_spec=signature)
    except OSError:
        raise
    except Exception as error:  # tracing runs the model's own code
        raise ExportError(
            f"{type(model).__name__} cannot be turned into a static graph: {type(error).__name__}: {error}. "
            "Control flow on tensor values and Python side effects in `forward` are the usual causes; "
            "export=none trains without exporting."
        ) from error
    try:
        reloaded = paddle.jit.load(str(folder / "model"))
    except (RuntimeError, ValueError) as error:  # Paddle does not notice a disk that is full
        raise ExportError(f"Paddle cannot read back what it wrote to {folder}: {error}. Is the disk full?") from error
    reloaded.eval()

    def predict(inputs: Array) -> Array:
        with paddle.no_grad():
            result: Array = reloaded(paddle.to_tensor(inputs)).numpy()
        return result

    return predict
