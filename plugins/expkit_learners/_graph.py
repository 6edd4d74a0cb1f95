"""How a Paddle layer is exported, whatever engine found its weights."""

import contextlib
import copy
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paddle
from paddle import nn
from paddle.utils import unique_name

from expkit.api import Array, DataSpec, ExportError
from expkit_learners._bad_graphs import check_graph, foreign_tensor, untraceable
from expkit_learners._where import Where

_SAID_BETTER = ("Found 'dict' in given outputs", "Return results from different branches", "Return results has maybe")
"""What Paddle warns of while it traces, and where it matters is refused with the layer's name."""
_PARAMETER, _NAME = "p", 3
"""How `model.json` calls an operator that stands for a tensor of the weights' file, and where its name is kept."""
_DISK_FULL = "Is the disk full, or a limit set on the size of files (ulimit -f)?"


def write_graph(model: nn.Layer, folder: Path, spec: DataSpec) -> Callable[[Array], Array]:
    """Write `model.json` and `model.pdiparams` with `paddle.jit.save`; return what `paddle.jit.load` reads back.

    Each operator in `model.json` says which layer and line of the model it comes from.

    Args:
        model: inputs [N, *spec.input_shape] -> outputs [N, K]; is traced in evaluation mode.
        folder: where to.
        spec: for shape and dtype of the inputs; the batch size is dynamic.

    Raises:
        ExportError: Paddle cannot turn the model's code into a graph, or cannot read back what it wrote; the graph
            answers otherwise than the code. Names the layer.
    """
    model.eval()
    untraced = _copied(model)
    _derive(model, model if untraced is None else untraced, spec)
    program = _save(model, folder, [paddle.static.InputSpec([None, *spec.input_shape], spec.input_dtype, name="input")])
    _check_size(model, folder)
    try:
        reloaded = paddle.jit.load(str(folder / "model"))
    except (RuntimeError, ValueError) as error:  # Paddle does not notice a disk that is full
        raise ExportError(f"Paddle cannot read back what it wrote to {folder}: {error}. {_DISK_FULL}") from error
    reloaded.eval()

    def predict(inputs: Array) -> Array:
        with paddle.no_grad():
            result: Array = reloaded(paddle.to_tensor(inputs)).numpy()
        return result

    if untraced is not None:
        state = paddle.get_rng_state()
        check_graph(untraced, program, predict, spec)
        paddle.set_rng_state(state)
    return predict


def _derive(model: nn.Layer, called: nn.Layer, spec: DataSpec) -> None:
    """Bring what a layer derives from its weights at each call, and keeps as a tensor, up to date with the weights.

    `nn.utils.weight_norm` and `spectral_norm` set `layer.weight` so. A tracing does not see that it is set, and takes
    what is there. What a call finds for the first time, or in another shape, depends on the batch: it stays as it was.

    Args:
        model: to be traced; its weights were set, but it has not been called.
        called: is called to find the tensors: a copy of the model, or the model itself.
        spec: for shape and dtype of the inputs.
    """
    saved = model.state_dict()
    derived = {name: tensor for name, tensor in model.named_buffers() if name not in saved}
    if not derived:
        return
    state = paddle.get_rng_state()
    with contextlib.suppress(Exception), paddle.no_grad():  # tracing will say in which layer the model fails
        called(paddle.zeros([2, *spec.input_shape], spec.input_dtype))
        found = dict(called.named_buffers())
        for name, tensor in derived.items():
            now = found.get(name)
            if now is not None and (now.shape, now.dtype) == (tensor.shape, tensor.dtype):
                tensor.set_value(now)
    paddle.set_rng_state(state)


def _check_size(model: nn.Layer, folder: Path) -> None:
    """Find files that were cut: Paddle writes on where a disk is full, and reads weights as other numbers.

    Paddle leaves out what does not change the answer, such as a head that only training uses.
    """
    sizes = {tensor.name: tensor.size * tensor.element_size() for tensor in (*model.parameters(), *model.buffers())}
    try:
        graph = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"the graph in {folder} is not whole: {error}. {_DISK_FULL}") from error
    operators = graph["program"]["regions"][0]["blocks"][0]["ops"]
    least = sum(sizes.get(one["A"][_NAME], 0) for one in operators if one["#"] == _PARAMETER)
    file = folder / "model.pdiparams"
    found = file.stat().st_size if file.is_file() else 0
    if found < least:
        raise ExportError(f"of {least:,} bytes of weights, {found:,} were written to {folder}. {_DISK_FULL}")


def _save(model: nn.Layer, folder: Path, signature: list[Any]) -> Any:
    """Trace and save a model; return its graph."""
    for text in _SAID_BETTER:
        warnings.filterwarnings("ignore", text, UserWarning)
    code, program = model.forward, None
    try:
        with Where(model) as where, _whole_batches():
            model.forward = paddle.jit.to_static(model.forward, input_spec=signature, full_graph=True)
            program = model.forward.concrete_program.main_program
            where.mark(program)
            paddle.jit.save(model, str(folder / "model"), input_spec=signature)
    except OSError:
        raise
    except Exception as error:  # tracing runs the model's own code
        foreign = None if program is None else foreign_tensor(model, program)
        raise foreign or untraceable(model, where, error) from error
    finally:
        model.forward = code
    return program


def _copied(model: nn.Layer) -> nn.Layer | None:
    """Return a copy of a model that no tracing has touched; None of one that cannot be copied."""
    try:
        with unique_name.guard():
            return copy.deepcopy(model)
    except Exception:  # noqa: BLE001 - whatever an attribute of the model raises; the export's certificate remains
        return None


@contextlib.contextmanager
def _whole_batches() -> Iterator[None]:
    """Let a loop over the rows of a batch of unknown size fail: while it is traced, it would never end."""
    value = paddle.pir.Value

    def rows(tensor: Any) -> Iterator[Any]:
        if not tensor.shape or tensor.shape[0] < 0:
            raise TypeError("a loop over the samples of a batch cannot be traced, only work on the whole batch")
        return (tensor[number] for number in range(tensor.shape[0]))

    had = hasattr(value, "__iter__")
    if not had:
        value.__iter__ = rows
    try:
        yield
    finally:
        if not had:
            del value.__iter__
