"""Explains why a model cannot be exported: in which layer, at which line, and what to write instead."""

from __future__ import annotations

import copy
import re
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from paddle import nn

from expkit.api import Array, DataSpec, ExportError
from expkit_learners._where import Where, line_of, operators

_BATCHES = (3, 1)
_CURES = (
    (
        "UndefinedVar",
        "Set the variable before the `if`, or in each branch of it.",
    ),
    (
        r"numpy API|[Nn]umpy|ndarray",
        "Use Paddle's functions on tensors, not NumPy's: in a graph a tensor has no numbers yet.",
    ),
    (
        "while pred change",
        "Put the condition into the loop's head: `while x.abs().max() >= 1:` instead of `while True:` and `break`.",
    ),
    (
        r"whole batch|Not support zip",
        "Compute on the whole batch at once: `x * 2` instead of `[row * 2 for row in x]`.",
    ),
    (
        r"but got (tuple|list|dict)|'(tuple|list|dict)' object|static_op_arg_pre_cast_hook",
        "A layer before it returns several tensors: pick one, such as `out[0]`.",
    ),
    (
        r"Value|Variable|'place'|\.cpu\(|NoneType",
        "In a graph a tensor has no numbers yet, only a shape and a type: leave out what needs them.",
    ),
)
_USUAL = (
    "Python code that depends on a tensor's numbers, or on the batch's size, is the usual cause: use `paddle.where` "
    "for a choice, and shapes with -1."
)
_DATA_DEPENDENT = ("masked_select", "nonzero", "unique", "unique_consecutive")
_NO_EXPORT = "export=none trains without exporting."
_FREE_SIZE = "Write `reshape([-1, ...])` or `flatten(1)`, so that the first extent follows the batch."


def untraceable(model: nn.Layer, where: Where, error: Exception) -> ExportError:
    """Return the error for a model whose code fails while it is traced."""
    text = f"{error}\n" if "In transformed code" in str(error) else "".join(traceback.format_exception(error))
    reason = _reason(error)
    cure = next((cure for pattern, cure in _CURES if re.search(pattern, reason)), _USUAL)
    place = where.layer if "UndefinedVar" in reason else _at(where, text)
    return ExportError(
        f"{type(model).__name__} cannot be turned into a static graph: {place} fails: {reason} {cure} {_NO_EXPORT}"
    )


def foreign_tensor(model: nn.Layer, program: Any) -> ExportError | None:
    """Return the error for a tensor in the graph that the model does not own; None if there is none."""
    own = {tensor.name for tensor in (*model.parameters(), *model.buffers())}
    for operator in program.global_block().ops:
        name = operator.attrs().get("parameter_name")
        if operator.name() == "builtin.parameter" and name not in own:
            users = operator.results()[0].all_used_ops()
            place = users[0].attrs().get("struct_name", "") if users else ""
            return ExportError(
                f"{type(model).__name__} cannot be exported: {place or 'its code'} computes with a tensor that is "
                "neither a parameter nor a buffer, so that it would not be saved. Keep it with "
                f"`self.register_buffer('name', tensor)` in `__init__`. {_NO_EXPORT}"
            )
    return None


def check_graph(model: nn.Layer, program: Any, exported: Callable[[Array], Any], spec: DataSpec) -> None:
    """Compare a graph with the model's own code, on random inputs, for batches of several sizes.

    Args:
        model: a copy that has not been traced; in evaluation mode.
        program: the graph.
        exported: runs what was written.
        spec: says what goes in and comes out.

    Raises:
        ExportError: the model is not steady, answers something else than one tensor, or the graph answers otherwise.
    """
    random = np.random.default_rng(0)
    for size in _BATCHES:
        inputs = random.normal(size=(size, *spec.input_shape)).astype(spec.input_dtype)
        own = _answer(model, program, inputs)
        try:
            found = exported(inputs)
        except Exception as error:
            raise _fixed_size(model, program, size, _reason(error)) from error
        if found.shape != own.shape:
            raise _fixed_size(model, program, size, f"it answers {list(found.shape)} instead of {list(own.shape)}.")
        if not _alike(own, found):
            raise _frozen(model, program, inputs, spec)


def _answer(model: nn.Layer, program: Any, inputs: Array) -> Array:
    """Return what a model answers, if it does so twice."""
    outputs = _outputs(model, program, inputs)
    again = _outputs(model, program, inputs) if len(inputs) == _BATCHES[0] else outputs
    for (name, given, one), (_, given_again, other) in zip(outputs, again, strict=False):
        if isinstance(one, np.ndarray) and not _alike(one, other):
            own_doing = not isinstance(given, np.ndarray) or _alike(given, given_again)
            who = f"{name} answers" if own_doing else f"the code before {name} answers"
            raise ExportError(
                f"{type(model).__name__} cannot be exported: {who} the same inputs differently each time, in "
                "evaluation mode: it draws random numbers, or keeps something from call to call. Do so only "
                f"`if self.training`. {_NO_EXPORT}"
            )
    own = outputs[-1][2]
    if not isinstance(own, np.ndarray):
        raise ExportError(
            f"{type(model).__name__} cannot be exported: it answers a {own}, and an export answers one tensor "
            f"[N, outputs]. Return that alone in evaluation mode: `if not self.training: return logits`. {_NO_EXPORT}"
        )
    return own


def _outputs(model: nn.Layer, program: Any, inputs: Array) -> list[tuple[str, Any, Any]]:
    """Return what each layer is given and answers, in the order in which they do, and the model at the end."""
    found: list[tuple[str, Any, Any]] = []

    def keep(name: str, given: Any, outputs: Any) -> None:
        found.append((f"layer {name}", _numbers(given[0]) if given else None, _numbers(outputs)))

    with Where(model, keep) as where, paddle.no_grad():
        try:
            found.append((type(model).__name__, inputs, _numbers(model(paddle.to_tensor(inputs)))))
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            raise ExportError(
                f"{type(model).__name__} cannot be exported: {_at(where, text)} fails on a batch of {len(inputs)}, and "
                f"an exported model has to take any: {_reason(error)} {_cure_of_sizes(program)} {_NO_EXPORT}"
            ) from error
    return found


def _numbers(outputs: Any) -> Any:
    """Return a tensor's numbers, and the name of the type of anything else."""
    return outputs.numpy() if isinstance(outputs, paddle.Tensor) else type(outputs).__name__


def _fixed_size(model: nn.Layer, program: Any, size: int, what: str) -> ExportError:
    return ExportError(
        f"{type(model).__name__} cannot be exported: with {size} {'input' if size == 1 else 'inputs'}, its graph fails"
        f"{_last_free(program)}: {what} {_cure_of_sizes(program)} {_NO_EXPORT}"
    )


def _cure_of_sizes(program: Any) -> str:
    for operator in operators(program.global_block()):
        name = operator.name().partition(".")[2]
        if name in _DATA_DEPENDENT:
            return (
                f"The size of what {name} gives in {_place(operator)} depends on the numbers in it: choose with "
                "`paddle.where(condition, x, zeros)`, which keeps the shape."
            )
    return _FREE_SIZE


def _place(operator: Any) -> str:
    return str(operator.attrs().get("struct_name", "its own code"))


def _last_free(program: Any) -> str:
    """Say where a graph loses its free size: at the first operator that takes one and gives none."""
    for operator in operators(program.global_block()):
        taken = [value.shape for value in operator.operands_source() if value.initialized()]
        given = [value.shape for value in operator.results()]
        if any(-1 in shape for shape in taken) and given and all(shape and -1 not in shape for shape in given):
            name = operator.name().partition(".")[2]
            return f", since {name} in {_place(operator)} fixes the batch's size"
    return ""


def _frozen(model: nn.Layer, program: Any, inputs: Array, spec: DataSpec) -> ExportError:
    """Return the error for a graph that computes something else than the code it was traced from."""
    name = _first_difference(model, program, inputs, spec)
    return ExportError(
        f"{type(model).__name__} cannot be exported: for a batch of {len(inputs)}, {name} computes something else in "
        "the graph than in Python. A graph keeps the way that the code took when it was traced, with a batch of "
        "unknown size: what depends on that, on time or on what an object keeps is frozen. Use `paddle.where`, or "
        f"tensors in place of Python's numbers. {_NO_EXPORT}"
    )


class _Probed(nn.Layer):
    """Answers what each layer of a model answers."""

    def __init__(self, model: nn.Layer) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Any) -> Any:
        found = []

        def keep(name: str, given: Any, outputs: Any) -> None:
            if not isinstance(outputs, (tuple, list, dict)):
                found.append(outputs)

        with Where(self.model, keep):
            self.model(inputs)
        return found


def _first_difference(model: nn.Layer, program: Any, inputs: Array, spec: DataSpec) -> str:
    """Name the first layer that a graph computes otherwise."""
    own = [
        (name, numbers) for name, _, numbers in _outputs(model, program, inputs)[:-1] if isinstance(numbers, np.ndarray)
    ]
    signature = [paddle.static.InputSpec([None, *spec.input_shape], spec.input_dtype, name="input")]
    try:
        probed = paddle.jit.to_static(_Probed(copy.deepcopy(model)), input_spec=signature, full_graph=True)
        probed.eval()
        with paddle.no_grad():
            traced = [tensor.numpy() for tensor in probed(paddle.to_tensor(inputs))]
    except Exception:  # noqa: BLE001 - it is an explanation that is lost, not an export
        return "it"
    return next(
        (name for (name, one), two in zip(own, traced, strict=False) if not _alike(one, two)), "its own forward"
    )


def _alike(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool((one == other).all())
    scale = float(np.abs(one).max(initial=0.0, where=np.isfinite(one)))
    return bool(np.allclose(one, other, rtol=0, atol=1e-3 * max(scale, 1e-6), equal_nan=True))


def _at(where: Where, text: str) -> str:
    line = line_of(text)
    return f"{where.layer}, {line}," if line else where.layer


def _reason(error: BaseException) -> str:
    """Return the sentence of an error that says what is wrong, without Paddle's traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return f"{type(error).__name__}."
    known = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b.*:|\(\w+\) ", line)]
    first = known[-1] if known else lines[0]
    first = re.sub(r" \(at /paddle/\S+\)|\((?:Fatal|[A-Z][a-z]+[A-Z]\w+)\) ", "", first)
    first = re.sub(r"^[\w.]*\.(?=\w+(Error|Exception):)", "", first)
    named = first if re.match(r"\w*(Error|Exception):", first) else f"{type(error).__name__}: {first}"
    return named[:400].rstrip(".") + "."
