"""Knows which layer of a model is at work, while it is run and while it is traced."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_NOT_THE_USERS = (
    *(str(Path(module.__file__).parent) for module in (paddle, np)),
    str(Path(__file__).parent),
    sysconfig.get_path("stdlib") + "/",
)
_TRACER = "program_translator.py"  # of Paddle; what a graph's code is called by


def _nobody(name: str, inputs: Any, outputs: Any) -> None:
    """Take no notice."""


class Where:
    """Follows the layers of a model as they are called, until its context ends.

    Args:
        model: whose layers are followed.
        returned: is called with the name of each layer, what it was given and what it returned.

    Attributes:
        open: names of the layers that have been called and have not returned, such as "features.1 (Block)".
    """

    def __init__(self, model: nn.Layer, returned: Callable[[str, Any, Any], None] = _nobody) -> None:
        self._model, self._returned = model, returned
        self._marked = 0
        self.open: list[str] = []

    def __enter__(self) -> Where:
        """Begin to follow."""
        self._hooks = []
        for name, layer in self._model.named_sublayers():
            self._hooks += self._follow(layer, f"{name} ({type(layer).__name__})")
        return self

    def __exit__(self, *error: object) -> None:
        """Let the layers go; `open` stays as it was."""
        for hook in self._hooks:
            hook.remove()

    @property
    def layer(self) -> str:
        """The innermost layer at work: "layer features.1 (Block)", or the model by its class."""
        return f"layer {self.open[-1]}" if self.open else type(self._model).__name__

    def _follow(self, layer: nn.Layer, name: str) -> list[Any]:
        def before(layer: nn.Layer, inputs: Any) -> None:
            self.mark()
            self.open.append(name)

        def after(layer: nn.Layer, inputs: Any, outputs: Any) -> None:
            self.mark()
            if type(outputs).__name__ == "UndefinedVar":  # or some later layer would complain
                raise TypeError("UndefinedVar: the layer returns what only one branch of an `if` has set")
            self.open.pop()
            self._returned(name, inputs, outputs)

        return [layer.register_forward_pre_hook(before), layer.register_forward_post_hook(after)]

    def mark(self, program: Any = None) -> None:
        """Write down, at each new operator of a graph that is traced, the layer and the line that it comes from.

        Paddle keeps that text in `model.json`.

        Args:
            program: the graph; the one that is traced now if None.
        """
        if program is None:
            if paddle.in_dynamic_mode():
                return
            program = paddle.static.default_main_program()
        name = self.open[-1] if self.open else type(self._model).__name__
        block = [operator for operator in program.global_block().ops if operator.name() != "builtin.parameter"]
        for one in block[self._marked :]:
            for operator in (one, *(inner for part in one.blocks() for inner in operators(part))):
                line = source_line(operator)
                operator.set_str_attr("struct_name", f"{name}, {line}" if line else name)
        self._marked = len(block)


def operators(block: Any) -> Iterator[Any]:
    """Yield the operators of a block and of the branches and loops in it."""
    for operator in block.ops:
        yield operator
        for inner in operator.blocks():
            yield from operators(inner)


def source_line(operator: Any) -> str:
    """Return the line of the user's code that an operator comes from: "model.py line 9"; empty if none is known."""
    stack = "\n".join(operator.attrs().get("op_callstack", ()))
    return line_of(stack[stack.rfind(_TRACER) + 1 :])


def line_of(text: str) -> str:
    """Return the innermost line of the user's code in a traceback's text; empty if there is none."""
    origins = _origins()
    generated = {file for file, _ in origins}
    for file, number in reversed(_FRAME.findall(text)):
        found = origins.get((file, int(number)))
        if found is not None:
            file, number = found.location.filepath, found.location.lineno
        if file not in generated and not file.startswith(("<", *_NOT_THE_USERS)):
            return f"{Path(file).name} line {number}"
    return ""


def _origins() -> Mapping[tuple[str, int], Any]:
    """Return which line of a model each line comes from that Paddle has made of it; empty where Paddle keeps none."""
    try:
        from paddle.jit.dy2static.origin_info import global_origin_info_map
    except ImportError:
        return {}
    found: Mapping[tuple[str, int], Any] = global_origin_info_map
    return found
