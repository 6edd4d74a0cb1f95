"""Automatic mixed precision: the model computes in 16 bits where that is safe, its weights stay in 32."""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import paddle
from paddle import _C_ops, nn

from expkit.api import ConfigError
from expkit_learners import _calls

Kind = Literal["none", "bfloat16", "float16"]
_FIRST, _GOOD_STEPS = 2.0**16, 2000
"""Scale to begin with, and steps without overflow after which it doubles: those of `paddle.amp.GradScaler`."""


def choose(kind: Kind, model: nn.Layer, *, to_static: bool) -> "Precision":
    """Return how a model is trained with `learner.amp=kind`.

    Args:
        kind: what was chosen: bfloat16 or float16.
        model: to train.
        to_static: whether a traced graph is trained.

    Raises:
        ConfigError: there is no such kind; Paddle would ignore it here, or it does not go with the model or the graph.
    """
    if kind not in ("bfloat16", "float16"):
        raise ConfigError(f"learner.amp={kind!r}: must be none, bfloat16 or float16.")
    if to_static:
        raise ConfigError(f"learner.amp={kind} goes with trainer.to_static=false only. Choose one of the two.")
    other = [f"{name} is {_shown(p)}" for name, p in model.named_parameters() if p.dtype != paddle.float32]
    if other:
        raise ConfigError(f"learner.amp={kind} is for float32 weights, but {other[0]}. Set learner.amp=none.")
    if not computes_in(kind):
        raise ConfigError(
            f"learner.amp={kind}: Paddle does not compute in {kind} on {paddle.get_device()}; it would ignore this "
            "and go on in float32. Set learner.amp=none, or choose a GPU that can (device=gpu)."
        )
    return Scaled() if kind == "float16" else Precision(kind)


def computes_in(kind: Kind) -> bool:
    """Whether mixed precision has an effect on the device in use; Paddle says no more than a warning where it has none.

    Args:
        kind: bfloat16 or float16.
    """
    with warnings.catch_warnings(), paddle.no_grad():
        warnings.simplefilter("ignore", UserWarning)
        with paddle.amp.auto_cast(dtype=kind):
            one = paddle.ones([1, 1])
            return bool(paddle.matmul(one, one).dtype == getattr(paddle, kind))


class Precision:
    """What a step does otherwise in some precision; here nothing but the cast.

    Args:
        kind: in which the model computes; its loss is always taken in float32.
    """

    def __init__(self, kind: Kind = "none") -> None:
        self._kind = kind

    @property
    def forgives(self) -> bool:
        """Whether gradients that are infinite or NaN may be the fault of the precision, and a later step better."""
        return False

    def cast(self) -> AbstractContextManager[Any]:
        """Return a context in which the model computes in this precision."""
        if self._kind == "none":
            return nullcontext()
        context: AbstractContextManager[Any] = paddle.amp.auto_cast(dtype=self._kind, level="O1")
        return context

    def widen(self, outputs: Any) -> Any:
        """Return outputs in float32, where the cast made them narrower."""
        return outputs if self._kind == "none" else outputs.astype("float32")

    def backward(self, loss: Any) -> None:
        """Compute gradients."""
        _calls.backward(loss)

    def settle(self, model: nn.Layer) -> bool:
        """Make gradients what they should be; false where they cannot be used and the step is to be left out."""
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs, as plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""


class Scaled(Precision):
    """float16, with a loss scaled up so that small gradients do not vanish (Micikevicius et al. 2018, sec. 3.2).

    When scaled gradients overflow, the step is left out and the scale halved, down to 1; after 2,000 steps without, it
    doubles. At a scale of 1 an overflow is the training's fault. Rules and operator are those of
    `paddle.amp.GradScaler`. The class itself (Paddle 3.3) fails at the first overflow with NumPy 2.4, and lets Adamax's
    state move in a step that it leaves out.

    Attributes:
        scale: of the loss.
    """

    def __init__(self) -> None:
        super().__init__("float16")
        self.scale, self._good = _FIRST, 0

    @property
    def forgives(self) -> bool:
        """Whether the scale can still be made smaller."""
        return self.scale > 1

    def backward(self, loss: Any) -> None:
        """Compute scaled gradients."""
        _calls.backward(loss * self.scale)

    def settle(self, model: nn.Layer) -> bool:
        """Scale gradients back; false after an overflow.

        Raises:
            ConfigError: one of them is sparse.
        """
        given = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
        sparse = [name for name, gradient in given if not gradient.is_dense()]
        if sparse:
            raise ConfigError(
                f"learner.amp=float16: the gradient of {sparse[0]} is sparse and cannot be scaled. Build the model "
                "with sparse=False, or set learner.amp=bfloat16."
            )
        scale = paddle.to_tensor(self.scale, dtype="float32")
        _, overflow = _C_ops.check_finite_and_unscale_([gradient for _, gradient in given], scale)
        if overflow:
            self.scale, self._good = max(1.0, self.scale / 2), 0
            return False
        self._good += 1
        if self._good == _GOOD_STEPS:
            self.scale, self._good = self.scale * 2, 0
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the scale, and the steps since it last changed."""
        return {"scale": self.scale, "good_steps": self._good}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.scale, self._good = float(state["scale"]), int(state["good_steps"])


def _shown(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("paddle.")
