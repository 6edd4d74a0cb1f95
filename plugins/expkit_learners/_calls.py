"""Calls of Paddle that every step makes, without what its Python side looks after each time.

Each ends in the very call that Paddle's own function ends in, with the same arguments. Beside a step of a few
microseconds, the way there takes as long as what is computed.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import paddle
from paddle import Tensor
from paddle.base import core
from paddle.profiler.utils import in_profiler_mode

from expkit.api import Array

_CPU = core.CPUPlace()
_fill = paddle.original_init
"""The constructor of `Tensor` itself; another one, in Python, is put before it."""


def cpu_tensor(values: Array) -> Tensor:
    """Return what `paddle.to_tensor` makes of an array where the CPU computes: a copy.

    It has to be one: where in memory an array begins decides over the last bits of a product.
    """
    if not isinstance(values, np.ndarray):
        return paddle.to_tensor(values)
    made = Tensor.__new__(Tensor)
    _fill(made, values, _CPU, False, False, None, True)  # not persistable, copied, a name of its own, no gradient
    return made


def backward(loss: Tensor) -> None:
    """Compute gradients as `loss.backward()` does."""
    if in_profiler_mode():
        loss.backward()
    else:
        core.eager.run_backward([loss], [], False, None)


def clear(parameters: Iterable[Any]) -> None:
    """Forget gradients as `Optimizer.clear_grad` does."""
    for parameter in parameters:
        if not parameter.stop_gradient:
            parameter.clear_gradient(True)
