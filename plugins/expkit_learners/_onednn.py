"""Convolutions through oneDNN, which Paddle's dynamic graph does not use by itself; docs/design/0021-onednn-engine.md.

The model's code runs as ever. Only a plain `nn.Conv2D` computes otherwise: as a program of one operator, with the
attribute by which Paddle chooses its oneDNN kernel, and another such program for the gradients.
"""

import logging
from collections.abc import Mapping
from types import MethodType
from typing import Any

import numpy as np
import paddle
from paddle import _legacy_C_ops, nn
from paddle.autograd import PyLayer
from paddle.base import core
from paddle.nn import functional as F  # noqa: N812 - Paddle's own convention

from expkit.api import ConfigError

_log = logging.getLogger("expkit.learners")
_TOLERANCE = 1e-4
"""Of the largest number: float32 sums in another order differ by some 5e-6 of it, a wrong kernel by about 1."""
_SHAPES = 8
"""After so many new shapes of inputs, what oneDNN keeps for each of them is given back."""
_AS_EVER = "Set device.engine=paddle."


class Engine:
    """Computes the convolutions of models.

    Before it computes with inputs of some shape for the first time, it holds output and gradients for random numbers of
    that very shape against Paddle's own kernel. Where they differ, or a program fails, everything is computed by
    Paddle's own kernels from then on, and a warning says so.

    Args:
        device: as Paddle calls it.
        to_static: whether a traced graph is trained.

    Raises:
        ConfigError: it has no effect here.
    """

    def __init__(self, device: str, *, to_static: bool = False) -> None:
        if to_static:
            raise ConfigError(
                "device.engine=onednn goes with trainer.to_static=false only: a traced graph has kernels of its own. "
                "Choose one of the two."
            )
        if device != "cpu":
            raise ConfigError(f"device.engine=onednn is for the CPU, but this run uses {device}. {_AS_EVER}")
        if not core.is_compiled_with_onednn():
            raise ConfigError(f"device.engine=onednn: this Paddle ({paddle.__version__}) has no oneDNN. {_AS_EVER}")
        self._why_not = ""
        self._convolutions: dict[Any, _Convolution] = {}
        self._proven: set[Any] = set()

    @property
    def told(self) -> str:
        """What computes, in words."""
        return f"paddle (oneDNN given up: {self._why_not})" if self._why_not else "onednn"

    def take(self, model: nn.Layer) -> None:
        """Let this compute the convolutions of a model, in place; subclasses of `nn.Conv2D` are their authors'.

        Raises:
            ConfigError: there is none.
        """
        taken = [layer for layer in model.sublayers(include_self=True) if _plain(layer)]
        if not taken:
            raise ConfigError(
                f"device.engine=onednn: {type(model).__name__} has no float32 nn.Conv2D with plain settings, and "
                f"nothing else is faster with it. {_AS_EVER}"
            )
        for layer in taken:
            layer.forward = MethodType(self._forward, layer)

    def _forward(self, layer: Any, x: Any) -> Any:
        if self._why_not or x.dtype != paddle.float32 or x.ndim != 4 or 0 in x.shape:
            return nn.Conv2D.forward(layer, x)
        weight = layer.weight
        grad = paddle.is_grad_enabled()
        needs = (grad and not x.stop_gradient, grad and not weight.stop_gradient)
        convolution = self._convolution(layer)
        if not self._is_proven(convolution, tuple(x.shape), needs):
            return nn.Conv2D.forward(layer, x)
        out = convolution(x, weight, needs)
        return out if layer.bias is None else out + layer.bias.reshape([-1, 1, 1])

    def _convolution(self, layer: Any) -> "_Convolution":
        options = {
            "strides": _pair(layer._stride),
            "paddings": _pair(layer._updated_padding),
            "dilations": _pair(layer._dilation),
            "groups": int(layer._groups),
        }
        key = (tuple(layer.weight.shape), str(options))
        if key not in self._convolutions:  # layers alike share what oneDNN keeps
            self._convolutions[key] = _Convolution(key[0], options)
        return self._convolutions[key]

    def _is_proven(self, convolution: "_Convolution", shape: tuple[int, ...], needs: tuple[bool, bool]) -> bool:
        key = (convolution, shape, needs)
        if key in self._proven:
            return True
        try:
            wrong = convolution.differs(shape, needs)
        except Exception as error:  # noqa: BLE001 - whatever Paddle raises, its own kernels remain
            wrong = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
        if wrong:
            self._why_not = f"convolution {list(convolution.shape)} of inputs {list(shape)}: {wrong}"
            _log.warning("device.engine=onednn is given up, Paddle's own kernels go on: %s", self._why_not)
            return False
        self._proven.add(key)
        if len(self._proven) % (_SHAPES * len(self._convolutions)) == 0:
            core.clear_executor_cache()  # programs are prepared again when they run next
        return True


class _Convolution:
    """One kind of convolution, for inputs of any shape.

    Args:
        shape: of the weights.
        options: attributes of Paddle's operator.
    """

    def __init__(self, shape: tuple[int, ...], options: Mapping[str, Any]) -> None:
        self.shape, self._options = shape, options
        self._out = self._program("conv2d", {"Input": "x", "Filter": "w"}, {"Output": "y"})
        self._gradients: dict[tuple[bool, bool], _Program] = {}

    def __call__(self, x: Any, weight: Any, needs: tuple[bool, bool]) -> Any:
        """Return x [N, C, H, W] convolved; `needs` says which of the two gets a gradient."""
        return _Differentiable.apply(x, weight, self, needs) if any(needs) else self.forward(x, weight)

    def forward(self, x: Any, weight: Any) -> Any:
        """Return the output alone."""
        return self._out(x, weight)[0]

    def backward(self, x: Any, weight: Any, gradient: Any, needs: tuple[bool, bool]) -> tuple[Any, ...]:
        """Return the gradients of x and of the weights, None for what needs none."""
        if needs not in self._gradients:
            names = {"Input@GRAD": "dx" if needs[0] else "", "Filter@GRAD": "dw" if needs[1] else ""}
            given = {"Input": "x", "Filter": "w", "Output@GRAD": "dy"}
            self._gradients[needs] = self._program("conv2d_grad", given, names)
        found = iter(self._gradients[needs](x, weight, gradient))
        return tuple(next(found) if needed else None for needed in needs)

    def differs(self, shape: tuple[int, ...], needs: tuple[bool, bool]) -> str:
        """Say what Paddle's own kernel computes otherwise; with two weights, since one may be kept by mistake."""
        draw = np.random.default_rng(0)
        for _ in range(2):
            x, weight = (paddle.to_tensor(draw.normal(size=size).astype(np.float32)) for size in (shape, self.shape))
            x.stop_gradient, weight.stop_gradient = not needs[0], not needs[1]
            with paddle.enable_grad():
                wanted = self._stock(x, weight)
            found = [("output", wanted, self.forward(x, weight))]
            if any(needs):
                gradient = paddle.to_tensor(draw.normal(size=wanted.shape).astype(np.float32))
                wanted.backward(gradient)
                gradients = self.backward(x, weight, gradient, needs)
                found += [("input's gradient", x.grad, gradients[0]), ("weight's gradient", weight.grad, gradients[1])]
            for name, stock, own in found:
                if stock is not None and not _alike(stock.numpy(), own.numpy()):
                    return f"the {name} is another"
        return ""

    def _stock(self, x: Any, weight: Any) -> Any:
        options = self._options
        return F.conv2d(
            x, weight, None, options["strides"], options["paddings"], options["dilations"], options["groups"]
        )

    def _program(self, kind: str, given: Mapping[str, str], found: Mapping[str, str]) -> "_Program":
        return _Program(kind, given, found, self._options)


class _Differentiable(PyLayer):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, convolution: _Convolution, needs: tuple[bool, bool]) -> Any:
        ctx.save_for_backward(x, weight)
        ctx.convolution, ctx.needs, ctx.versions = convolution, needs, (x.inplace_version, weight.inplace_version)
        return convolution.forward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> tuple[Any, ...]:
        if paddle.is_grad_enabled():
            raise ConfigError(f"device.engine=onednn knows no gradient of a gradient (create_graph=True). {_AS_EVER}")
        x, weight = ctx.saved_tensor()
        if (x.inplace_version, weight.inplace_version) != ctx.versions:
            raise RuntimeError("a convolution's input or weight was changed in place before its gradient was computed")
        gradients: tuple[Any, ...] = ctx.convolution.backward(x, weight, gradient, ctx.needs)
        return gradients


class _Program:
    """One operator, to be run by oneDNN.

    Args:
        kind: of operator.
        given: variable for each of its inputs, in the order in which they are given.
        found: variable for each of its outputs; "" leaves one out.
        options: its attributes.
    """

    def __init__(
        self, kind: str, given: Mapping[str, str], found: Mapping[str, str], options: Mapping[str, Any]
    ) -> None:
        types = core.VarDesc.VarType
        self._program, self._nothing, self._scope = core.ProgramDesc(), core.ProgramDesc(), core.Scope()
        block = self._program.block(0)
        self._names, outputs = list(given.values()), [name for name in found.values() if name]
        for name in (*self._names, *outputs):
            variable = block.var(name.encode())
            variable.set_type(types.DENSE_TENSOR)
            variable.set_dtype(types.FP32)
            variable.set_shape([-1] * 4)
        operator = block.append_op()
        operator.set_type(kind)
        for slot, name in given.items():
            operator.set_input(slot, [name])
        for slot, name in found.items():
            operator.set_output(slot, [name] if name else [])
        for key, value in {
            **options,
            "data_format": "NCHW",
            "padding_algorithm": "EXPLICIT",  # without it Paddle 3.3 crashes
            "use_mkldnn": True,
        }.items():
            operator._set_attr(key, value)
        operator.check_attrs()
        self._outputs = [block.find_var(name.encode()) for name in outputs]
        self._id = paddle.utils._hash_with_id(self._program, self)
        self._no_graph = core.eager.Tensor(types.FP32, [], "cuda_graph", types.RAW, True)
        self._no_graph.stop_gradient = True

    def __call__(self, *tensors: Any) -> list[Any]:
        """Return the outputs that are not left out."""
        outputs: list[Any] = core.create_empty_tensors_with_var_descs(self._outputs)
        options = {
            "forward_global_block": self._program.block(0),
            "backward_global_block": self._nothing.block(0),
            "is_test": True,  # of the run: nothing is kept for a backward run; the operator has no such attribute
            "program_id": self._id,
            "in_pir_pt_mode": True,
            "x_names": self._names,
        }
        flat = [part for pair in options.items() for part in pair]
        with paddle.no_grad():
            _legacy_C_ops.run_program(list(tensors), None, outputs, [self._scope], self._no_graph, *flat)
        return outputs


def _plain(layer: Any) -> bool:
    if type(layer) is not nn.Conv2D or "forward" in vars(layer) or layer._padding_algorithm != "EXPLICIT":
        return False
    return layer._padding_mode == "zeros" and layer._data_format == "NCHW" and layer.weight.dtype == paddle.float32


def _pair(value: Any) -> list[int]:
    return [int(number) for number in value] if isinstance(value, (list, tuple)) else [int(value)] * 2


def _alike(wanted: Any, found: Any) -> bool:
    if wanted.shape != found.shape:
        return False
    return bool(np.abs(wanted - found).max() <= _TOLERANCE * np.abs(wanted).max())
