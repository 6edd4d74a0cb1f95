"""The update of an optimizer without what Paddle works out anew at each step: longer than a small update itself."""

from typing import Any

import paddle
from paddle import _C_ops
from paddle.base import framework
from paddle.utils import unique_name

from expkit_learners import _calls
from expkit_learners._slots import private_names

_KNOWN = ("SGD", "Momentum", "Adagrad", "RMSProp", "Adadelta", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Lamb")


class Update:
    """Makes the updates of one optimizer.

    `paddle.optimizer.Optimizer.step` enters seven context managers, looks for parallel training in four ways and for
    accumulators to create, and only then calls an operator for each parameter. Where none of that can matter, as in
    every step but the first of the classes in `_KNOWN`, the same operators are called in the same order with the same
    arguments, by the optimizer's own methods: the weights are the same to the last bit. For plain SGD, whose operator
    needs nothing but the rate, its methods are left out, too: on few numbers they take three times as long as the rest.

    Args:
        optimizer: of Paddle's, or one that works like them.
        direct: whether the shorter way may be taken.
    """

    def __init__(self, optimizer: Any, *, direct: bool) -> None:
        self._optimizer, self._names = optimizer, private_names()  # of what the first step creates
        kind = type(optimizer)
        plain = kind is getattr(paddle.optimizer, kind.__name__, None) and kind.__name__ in _KNOWN
        self._direct = direct and plain and not isinstance(optimizer._param_groups[0], dict)
        self._fused = plain and optimizer._use_multi_tensor and kind.__name__ in ("Momentum", "Adam")
        self._before: list[Any] = []
        self._is_plain_sgd = False
        self._block: Any = None

    def __call__(self) -> None:
        """Move the weights by their gradients."""
        given = self._given() if self._direct else None
        if given and self._is_like_before(given):
            if self._is_plain_sgd:
                rate = self._optimizer._global_learning_rate()
                for parameter, gradient in given:
                    _C_ops.sgd_(parameter, rate, gradient, None, False)
            else:
                self._move(given)
            return
        with unique_name.guard(self._names):
            self._optimizer.step()
        self._before = [parameter for parameter, _ in given or ()]
        self._is_plain_sgd = self._direct and _is_plain_sgd(self._optimizer, self._before)
        self._block = framework.default_main_program().global_block()

    def clear(self) -> None:
        """Forget the gradients."""
        if self._direct:
            _calls.clear(self._optimizer._parameter_list)
        else:
            self._optimizer.clear_grad()

    def _given(self) -> list[tuple[Any, Any]] | None:
        """Return the parameters with a gradient, and these; None where one of these is sparse."""
        found = []
        for parameter in self._optimizer._param_groups:
            gradient = None if parameter.stop_gradient else parameter._grad_ivar()
            if gradient is not None:
                if not gradient.is_dense():
                    return None
                found.append((parameter, gradient))
        return found

    def _is_like_before(self, given: list[tuple[Any, Any]]) -> bool:
        """Whether the stock step has been made for these parameters, and so their accumulators are there."""
        before = self._before
        return len(given) == len(before) and all(one[0] is other for one, other in zip(given, before, strict=True))

    @paddle.no_grad()  # type: ignore[untyped-decorator]
    def _move(self, given: list[tuple[Any, Any]]) -> None:
        optimizer = self._optimizer
        if optimizer._grad_clip is not None:
            given = optimizer._grad_clip(given)
        given = optimizer.append_regularization_ops(given, optimizer.regularization)
        if not isinstance(optimizer._learning_rate, float):
            optimizer._create_global_learning_rate()  # takes in the schedule's present rate
        if self._fused:
            optimizer._append_optimize_multi_tensor_op(self._block, given, param_group_idx=0)
        else:
            for pair in given:
                optimizer._append_optimize_op(self._block, pair)
        optimizer._finish_update(self._block, given)


def _is_plain_sgd(optimizer: Any, parameters: list[Any]) -> bool:
    """Whether nothing pulls or clips, and the rate is one number for all."""
    changes = optimizer._grad_clip, optimizer.regularization, *(parameter.regularizer for parameter in parameters)
    return (
        type(optimizer) is paddle.optimizer.SGD
        and isinstance(optimizer._learning_rate, float)
        and not optimizer._multi_precision
        and all(change is None for change in changes)
        and all(parameter.optimize_attr == {"learning_rate": 1.0} for parameter in parameters)
    )
