"""An optimizer's accumulators by the structured names of parameters, which no other model in the process shifts."""

from collections.abc import Mapping
from typing import Any

import paddle
from paddle import nn
from paddle.utils import unique_name

from expkit.api import Array


def private_names() -> Any:
    """Return a generator of names that nothing else in the process uses."""
    before = unique_name.switch()
    private, _ = unique_name.switch(*before)
    return private


def read(optimizer: Any, model: nn.Layer) -> tuple[dict[str, Array], dict[str, Any] | None]:
    """Return copies of the accumulators by "<structured name>/<slot>", and the schedule's position, if there is one.

    Args:
        optimizer: a `paddle.optimizer.Optimizer`.
        model: whose parameters it moves.
    """
    structured = {p.name: name for name, p in model.named_parameters()}
    state = optimizer.state_dict()
    slots = {_structured(k, structured): v.numpy().copy() for k, v in state.items() if isinstance(v, paddle.Tensor)}
    schedule = state.get("LR_Scheduler")
    return slots, None if schedule is None else dict(schedule)


def write(optimizer: Any, model: nn.Layer, slots: Mapping[str, Array], schedule: Mapping[str, Any] | None) -> None:
    """Take back what `read` gave, into an optimizer that has made no step yet.

    Args:
        optimizer: a `paddle.optimizer.Optimizer`.
        model: whose parameters it moves.
        slots: by "<structured name>/<slot>".
        schedule: the position of its schedule.
    """
    names = {name: p.name for name, p in model.named_parameters()}
    state: dict[str, Any] = {}
    for key, array in slots.items():
        structured, _, slot = key.rpartition("/")
        state[f"{names[structured]}_{slot}"] = paddle.to_tensor(array)
    if schedule is not None:
        state["LR_Scheduler"] = dict(schedule)
    optimizer.set_state_dict(state)


def _structured(key: str, structured: Mapping[str, str]) -> str:
    """Turn Paddle's "linear_0.w_0_moment1_0" into "head.weight/moment1_0"."""
    owner = max((name for name in structured if key.startswith(f"{name}_")), key=len)
    return f"{structured[owner]}/{key[len(owner) + 1 :]}"
