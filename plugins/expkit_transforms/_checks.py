"""What the transforms check, so that a mistake names the option as a user types it."""

import math
from collections.abc import Sequence

import numpy as np

from expkit.api import Array, ConfigError, DataSpec


def image_spec(name: str, spec: DataSpec) -> tuple[int, int]:
    """Return rows and columns of the images of a spec.

    Raises:
        ConfigError: its inputs are no images.
    """
    shape = spec.input_shape
    if len(shape) != 3:
        raise ConfigError(
            f"transforms={name} needs images, but inputs of {spec.name} have the shape {list(shape)}. Leave it out."
        )
    return shape[1], shape[2]


def class_spec(name: str, spec: DataSpec) -> int:
    """Return the number of classes of a spec.

    Raises:
        ConfigError: its targets are values, of which half a one and half another is no target.
    """
    if not spec.is_classification:
        raise ConfigError(
            f"transforms={name} mixes classes, but targets of {spec.name} are values. "
            "Leave it out, or choose transforms that keep the target, such as transforms=[rotate,crop]."
        )
    return spec.outputs


def raw_images(name: str, images: Array) -> Array:
    """Return raw images [N, H, W] or [N, H, W, C] of any dtype as they are.

    Raises:
        ConfigError: the raw inputs have another number of axes.
    """
    if images.ndim not in (3, 4):
        raise ConfigError(
            f"transforms={name} needs raw images [N, H, W] or [N, H, W, C], not inputs of shape {list(images.shape)}."
        )
    return images


def pixels(name: str, images: Array) -> Array:
    """Return raw uint8 images [N, H, W] or [N, H, W, C] as they are.

    Raises:
        ConfigError: the raw inputs are of another dtype or have another number of axes.
    """
    if raw_images(name, images).dtype != np.uint8:
        raise ConfigError(
            f"transforms={name} needs raw uint8 images, not {images.dtype} inputs of shape {list(images.shape)}, "
            "whose range it does not know. Leave it out."
        )
    return images


def between(option: str, value: float, low: float, high: float) -> float:
    """Return a number that is from `low` to `high`, both allowed.

    Raises:
        ConfigError: it is not.
    """
    if not low <= value <= high:
        raise ConfigError(f"transforms.{option}={value}: must be from {low:g} to {high:g}.")
    return value


def below(option: str, value: float, limit: float) -> float:
    """Return a number that is from 0 to below a limit.

    Raises:
        ConfigError: it is not.
    """
    if not 0 <= value < limit:
        raise ConfigError(f"transforms.{option}={value}: must be from 0 to below {limit:g}.")
    return value


def above(option: str, value: float, limit: float) -> float:
    """Return a finite number that is above a limit.

    Raises:
        ConfigError: it is not.
    """
    if not (math.isfinite(value) and value > limit):
        raise ConfigError(f"transforms.{option}={value}: must be a number above {limit:g}.")
    return value


def at_least(option: str, value: float, limit: float) -> float:
    """Return a finite number that is not below a limit.

    Raises:
        ConfigError: it is not.
    """
    if not (math.isfinite(value) and value >= limit):
        raise ConfigError(f"transforms.{option}={value}: must be {limit:g} or a number above {limit:g}.")
    return value


def share_range(option: str, values: Sequence[float]) -> tuple[float, float]:
    """Return smallest and largest of a share: above 0, at most 1.

    Raises:
        ConfigError: they are not two rising numbers of that range.
    """
    if len(values) != 2 or not 0 < values[0] <= values[1] <= 1:
        written = ",".join(f"{value:g}" for value in values)
        raise ConfigError(
            f"transforms.{option}=[{written}]: must be the smallest and the largest share, "
            "above 0 and at most 1, such as [0.5,1]."
        )
    return values[0], values[1]
