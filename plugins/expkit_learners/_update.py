"""The update of an optimizer without what Paddle works out anew at each step: longer than a small update itself."""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import paddle
from paddle import _C_ops
from paddle.base import framework
from paddle.utils import unique_name

from expkit_learners import _calls
from expkit_learners._slots import private_names

Given = list[tuple[Any, Any]]
"""Parameters with a gradient, and these."""
Move = Callable[[Given], None]
_GROUP = "FP32_DenseTensor"
"""What a fused optimizer calls the parameters in float32."""
_PLAIN = {"learning_rate": 1.0}
_KNOWN = ("SGD", "Momentum", "Adagrad", "RMSProp", "Adadelta", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Lamb")


class Update:
    """Makes the updates of one optimizer.

    `paddle.optimizer.Optimizer.step` enters seven context managers, looks for parallel training in four ways and for
    accumulators to create, and only then calls an operator for each parameter. Where none of that can matter, as in
    every step but the first of the classes in `_KNOWN`, the same operators are called in the same order with the same
    arguments, by the optimizer's own methods: the weights are the same to the last bit. SGD and fused Adam are
    spared these methods, too, where nothing pulls or clips.

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
        self._short: Move | None = None
        self._block: Any = None

    def __call__(self) -> None:
        """Move the weights by their gradients."""
        given = self._given() if self._direct else None
        if given and self._is_like_before(given):
            self._follow_schedule()
            short = self._short if self._short is not None and _is_plain(self._optimizer, self._before) else self._move
            short(given)
            return
        with unique_name.guard(self._names):
            self._optimizer.step()
        self._before = [parameter for parameter, _ in given or ()]
        self._short = _short(self._optimizer, self._before) if self._direct else None
        self._block = framework.default_main_program().global_block()

    def clear(self) -> None:
        """Forget the gradients."""
        if self._direct:
            _calls.clear(self._optimizer._parameter_list)
        else:
            self._optimizer.clear_grad()

    def _given(self) -> Given | None:
        """Return the parameters with a gradient, and these; None where one of these is sparse."""
        found = []
        for parameter in self._optimizer._param_groups:
            gradient = None if parameter.stop_gradient else parameter._grad_ivar()
            if gradient is not None:
                if not gradient.is_dense():
                    return None
                found.append((parameter, gradient))
        return found

    def _is_like_before(self, given: Given) -> bool:
        """Whether the stock step has been made for these parameters, and so their accumulators are there."""
        before = self._before
        return len(given) == len(before) and all(one[0] is other for one, other in zip(given, before, strict=True))

    def _follow_schedule(self) -> None:
        schedule = self._optimizer._learning_rate
        if not isinstance(schedule, float):
            rate, place = self._optimizer._global_learning_rate(), framework._current_expected_place()
            _C_ops.full_(rate, rate.shape, float(schedule()), rate.dtype, place)

    @paddle.no_grad()  # type: ignore[untyped-decorator]
    def _move(self, given: Given) -> None:
        optimizer = self._optimizer
        if optimizer._grad_clip is not None:
            given = optimizer._grad_clip(given)
        given = optimizer.append_regularization_ops(given, optimizer.regularization)
        if self._fused:
            optimizer._append_optimize_multi_tensor_op(self._block, given, param_group_idx=0)
        else:
            for pair in given:
                optimizer._append_optimize_op(self._block, pair)
        optimizer._finish_update(self._block, given)


def _short(optimizer: Any, parameters: list[Any]) -> Move | None:
    """Return what moves these parameters by operators alone; on few numbers, methods take three times as long as these.

    It is right where `_is_plain`. None: the class is none that is known here.

    Args:
        optimizer: that has made a step.
        parameters: that it has moved.
    """
    if type(optimizer) is paddle.optimizer.SGD:
        return partial(_sgd, optimizer)
    if type(optimizer) is paddle.optimizer.Adam and optimizer._use_multi_tensor:
        grouped = optimizer._param_dict[_GROUP][0]
        if len(grouped) == len(parameters) and all(map(operator.is_, grouped, parameters)):
            return partial(_fused_adam, optimizer)
    return None


def _is_plain(optimizer: Any, parameters: list[Any]) -> bool:
    """Whether nothing pulls or clips, and all have the same rate; asked at each step, for a callback may change it."""
    if optimizer._multi_precision or optimizer._grad_clip is not None or optimizer.regularization is not None:
        return False
    return all(one.regularizer is None and one.optimize_attr == _PLAIN for one in parameters)


def _sgd(optimizer: Any, given: Given) -> None:
    rate = optimizer._global_learning_rate()
    for parameter, gradient in given:
        _C_ops.sgd_(parameter, rate, gradient, None, False)


def _fused_adam(optimizer: Any, given: Given) -> None:
    largest = optimizer._moment2_max_dict[_GROUP][0] if optimizer._amsgrad else None
    _C_ops.merged_adam_(
        optimizer._param_dict[_GROUP][0],
        [gradient for _, gradient in given],
        [optimizer._global_learning_rate()] * len(given),
        optimizer._moment1_dict[_GROUP][0],
        optimizer._moment2_dict[_GROUP][0],
        largest,
        optimizer._beta1_pow_acc_dict[_GROUP][0],
        optimizer._beta2_pow_acc_dict[_GROUP][0],
        None,
        *(optimizer._beta1, optimizer._beta2, optimizer._epsilon),
        *(False, False, optimizer._amsgrad),
    )
