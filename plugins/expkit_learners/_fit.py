"""Whether a saved state or a loss fits a learner: what differs is named before anything is changed."""

from typing import Any

from paddle import Tensor, nn

from expkit.api import ConfigError, LearnerState
from expkit_learners._ema import SLOT


def check_loss(loss: object, found: object) -> None:
    """Refuse what a loss has returned, if it is no single number with a gradient.

    Args:
        loss: the loss itself, to name it.
        found: what it returned for a batch.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(found, Tensor) or found.size != 1:
        got = f"a tensor {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise ConfigError(
            f"loss {type(loss).__name__} ({type(loss).__module__}) returns {got}; it has to be a scalar tensor, the "
            "mean over the batch. `python -m expkit plugins check loss/NAME` tries all that it promises."
        )


def is_whole(state: LearnerState) -> bool:
    """Whether there is more in a state than a model."""
    return bool(state.optimizer or state.extra)


def check_weights(state: LearnerState, model: nn.Layer) -> None:
    """Refuse the weights of another model.

    Args:
        state: to load.
        model: to load it into.

    Raises:
        ConfigError: names or shapes differ.
    """
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(array.shape) for name, array in state.model.items()}
    if own == given:
        return
    differ = [
        f"{name}: {_shown(given.get(name))} saved, {_shown(own.get(name))} here"
        for name in sorted({*own, *given})
        if own.get(name) != given.get(name)
    ]
    more = f" and {len(differ) - 4} more" if len(differ) > 4 else ""
    raise ConfigError(f"the saved weights belong to another model: {'; '.join(differ[:4])}{more}.")


def check_options(state: LearnerState, optimizer: Any, *, ema: float | None, scaled: bool) -> None:
    """Refuse a whole state that was made with other options; one that brings a model alone fits any.

    Args:
        state: to load.
        optimizer: in use.
        ema: decay of the average, if there is one.
        scaled: whether the loss is scaled.

    Raises:
        ConfigError: names the option.
    """
    used = type(optimizer).__name__
    if state.extra.get("optimizer", used) != used:
        raise ConfigError(f"the saved state is that of {state.extra['optimizer']}, but the optimizer is {used}.")
    if not is_whole(state):
        return
    whole = "ema" in state.extra and all(f"{name}{SLOT}" in state.optimizer for name in state.model)
    if ema is not None and not whole:
        raise ConfigError(
            f"the saved state has no averaged weights, but learner.ema={ema} is to measure them. "
            "Set learner.ema=null, or start a new run with it."
        )
    if ema is None and "ema" in state.extra:
        raise ConfigError(
            "the saved state has averaged weights, which learner.ema=null would drop. Set learner.ema as the run that "
            "saved it had it."
        )
    if scaled and "scaler" not in state.extra:
        raise ConfigError(
            "the saved state has no scale of the loss, which learner.amp=float16 goes on with. Set learner.amp as the "
            "run that saved it had it."
        )


def _shown(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else str(list(shape))
