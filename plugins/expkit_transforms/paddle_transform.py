"""Transforms of `paddle.vision.transforms`, and others that take one image at a time."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from expkit.api import Array, Batch, ConfigError, DataSpec

from . import _checks

_LOCK = threading.Lock()


class PaddleTransform:
    """Transforms of `paddle.vision.transforms` by name, or any callable from an image to an image, one after the other.

    Each image is given as one of Pillow's, as Paddle's own need it (arrays are for OpenCV there), or as an array
    [H, W, C] uint8, and has to come back as bytes of that size. ToTensor and Normalize are left out: expkit
    normalises. Their random numbers come from Python's and NumPy's global generators, which are seeded from the
    batch's own for that time and put back, so that every step can be replayed; hence it is not run in a thread beside
    training (`dataset.loading`). It works image by image: a flip takes ten times as long as expkit's own.

    Args:
        spec: supplied; inputs must be images.
        of: the transforms in their order, each as `_target_` (package.module.Name) and its arguments; built by then.
        image: what each image is given as: pil, rgb (grey ones in three colours, and turned back) or array.

    Raises:
        ConfigError: there is none, or the inputs are no images.

    Example:
        >>> PaddleTransform(spec, of=[paddle.vision.transforms.ColorJitter(brightness=0.4)])  # doctest: +SKIP
    """

    draws_globally = True

    def __init__(
        self, spec: DataSpec, *, of: list[dict[str, object]] = (), image: Literal["pil", "rgb", "array"] = "pil"
    ):
        self._size = _checks.image_spec("paddle_transform", spec)
        wrong = [type(one).__name__ for one in of if not callable(one)]
        if not of or wrong:
            raise ConfigError(
                f"transforms.paddle_transform.of {f'holds a {wrong[0]}' if wrong else 'is missing'}; expected "
                "transforms: 'transforms.paddle_transform.of=[{_target_: paddle.vision.transforms.RandomRotation, "
                "degrees: 10}]'."
            )
        if image not in ("pil", "rgb", "array"):
            raise ConfigError(f"transforms.paddle_transform.image={image!r}: must be pil, rgb or array.")
        self._form = image
        self._steps: list[Callable[..., Any]] = list(of)

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch.

        Args:
            batch: raw images [N, H, W] or [N, H, W, C] uint8.
            generator: seeds what the transforms draw, one number a batch.

        Raises:
            ConfigError: a transform gives something else than an image of bytes of the same size.
        """
        images = _checks.pixels("paddle_transform", batch.inputs)
        grey = images.ndim == 3
        out = np.empty_like(images)
        with _seeded(int(generator.integers(2**32))):
            for number, image in enumerate(images[..., None] if grey else images):
                changed = self._applied(image.copy())
                out[number] = changed[..., 0] if grey else changed
        return Batch(out, batch.targets)

    def _applied(self, image: Array) -> Array:
        wanted = image.shape
        for step in self._steps:
            given = self._changed(step, image)
            image = given[..., None] if given.ndim == 2 else given
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != wanted[2]:
                raise ConfigError(self._told(step, given, "[H, W, C] uint8 as it was given"))
        if image.shape != wanted:
            raise ConfigError(self._told(self._steps[-1], image, f"{list(wanted)} at the end"))
        return image

    def _changed(self, step: Callable[..., Any], image: Array) -> Array:
        from PIL import Image

        grey, given = image.shape[2] == 1, image
        if self._form != "array":
            given = Image.fromarray(image[..., 0] if grey else image)
        if self._form == "rgb" and grey:
            given = given.convert("RGB")
        try:
            found = step(given)
        except Exception as error:  # somebody's code may raise anything
            others = [form for form in ("pil", "rgb", "array") if form != self._form]
            raise ConfigError(
                f"transforms.paddle_transform: {type(step).__name__} fails on an image {list(image.shape)} given as "
                f"{self._form}: {type(error).__name__}: {error}. Perhaps it wants "
                f"transforms.paddle_transform.image={' or '.join(others)}."
            ) from error
        if self._form == "rgb" and grey and isinstance(found, Image.Image):
            found = found.convert("L")
        return np.asarray(found)

    def _told(self, step: object, given: Array, wanted: str) -> str:
        name = type(step).__name__
        remedy = " expkit makes tensors and normalises by itself: leave it out." * (name in ("ToTensor", "Normalize"))
        return (
            f"transforms.paddle_transform.of: {name} gives {list(given.shape)} {given.dtype}; expected an image "
            f"{wanted}.{remedy}"
        )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, and put them back."""
    with _LOCK:
        before = random.getstate(), np.random.get_state()
        try:
            random.seed(seed)
            np.random.seed(seed)
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
