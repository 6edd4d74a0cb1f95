"""Paddle's weights of ImageNet for a network with another head."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

from paddle import nn

from expkit.api import ConfigError

_PLACE = "~/.cache/paddle/hapi/weights"


def load_pretrained(network: nn.Layer, name: str, factory: Callable[..., nn.Layer], arguments: dict[str, Any]) -> None:
    """Give a network the weights that Paddle has for it, except those of its head, whose shape is another one.

    Args:
        network: to be filled.
        name: of the network, for messages.
        factory: Paddle's function for it.
        arguments: of the function.

    Raises:
        ConfigError: Paddle has no such weights, or they are not at hand and cannot be downloaded.
    """
    if name == "lenet":
        raise ConfigError("model.pretrained=true: Paddle has no weights of lenet. Set model.pretrained=false.")
    with _quiet():
        try:
            given = factory(pretrained=True, **arguments).state_dict()
        except AssertionError as error:
            raise ConfigError(
                f"model.pretrained=true: Paddle has no weights of {name}{' with these arguments' * bool(arguments)}. "
                "Set model.pretrained=false, or choose another network."
            ) from error
        except (RuntimeError, OSError) as error:
            raise ConfigError(
                f"model.pretrained=true: the weights of {name} are not at hand, and not to be had: {error}. With a "
                f"network, run it once, and they stay in {_PLACE}; or copy that file there; or set "
                "model.pretrained=false."
            ) from error
    own = network.state_dict()
    fitting = {key: tensor for key, tensor in given.items() if key in own and tensor.shape == own[key].shape}
    network.set_state_dict({**own, **fitting})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the lines of three attempts off the screen: what they come to is said in one."""
    log = logging.getLogger("paddle.utils.download")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
