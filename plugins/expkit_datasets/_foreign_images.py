"""Turns images in any layout and scale into raw pixels, as expkit keeps them, and back into what a script fed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from expkit.api import Array, ConfigError, DataError, ImageInput
from expkit_datasets._foreign import NAME

LAYOUTS = ("auto", "chw", "hwc", "hw")
_CLOSE = 0.02
"""How far a value may be off a whole number to have been a pixel: rounding of float32 stays far below."""


@dataclass(frozen=True)
class Pixels:
    """How images of one shape become raw pixels [H, W] (grey) or [H, W, 3].

    Attributes:
        shape: of an image as it is given.
        layout: "chw", "hwc" or "hw".
        mean: that a script has subtracted from pixel / 255, per channel.
        std: that it has divided by then.
        scale: what given values are multiplied by to be pixel / 255 after all this: 1/255 for uint8, else 1.
        whole: whether the pixels are whole numbers and become uint8.
    """

    shape: tuple[int, ...]
    layout: str
    mean: Array
    std: Array
    scale: float
    whole: bool = False

    @property
    def channels(self) -> int:
        """1 or 3."""
        return {"chw": self.shape[0], "hwc": self.shape[-1], "hw": 1}[self.layout]

    def raw(self, image: Array, where: str) -> Array:
        """Return raw pixels of one image.

        Raises:
            DataError: its shape is not that of the others.
        """
        if image.shape != self.shape:
            raise DataError(
                f"dataset '{NAME}': {where} has the shape {list(image.shape)}, the first one {list(self.shape)}. All "
                "need one shape: resize them in the dataset."
            )
        if self.layout == "chw":
            image = np.moveaxis(image, 0, -1)
        elif self.layout == "hw":
            image = image[..., None]
        if image.dtype != np.uint8 or self.scale == 1:
            image = ((image.astype(np.float64) * self.scale) * self.std + self.mean) * 255.0
        pixels = np.rint(image).clip(0, 255).astype(np.uint8) if self.whole else image.astype(np.float32)
        return pixels[..., 0] if self.channels == 1 else pixels

    def input(self, mean: Sequence[float], std: Sequence[float]) -> ImageInput:
        """Return how raw pixels become inputs."""
        _, height, width = {"chw": self.shape, "hwc": (0, *self.shape[:2]), "hw": (0, *self.shape[:2])}[self.layout]
        return ImageInput(height, width, self.channels, tuple(mean), tuple(std))


def recognise(images: Sequence[Array], layout: str, mean: Sequence[float], std: Sequence[float]) -> Pixels:
    """Return how images are read, from the first few of them.

    Args:
        images: [C, H, W], [H, W, C] or [H, W], of uint8, or of floats.
        layout: one of `LAYOUTS`.
        mean: with which they were normalised; empty if they were not.
        std: likewise.

    Raises:
        ConfigError: layout or scale cannot be told; says which option does.
    """
    shape = images[0].shape
    layout = _layout(shape, layout)
    channels = {"chw": shape[0], "hwc": shape[-1], "hw": 1}[layout]
    if channels not in (1, 3):
        raise ConfigError(
            f"dataset '{NAME}': inputs of shape {list(shape)} have {channels} channels as dataset.layout={layout}; "
            "expected 1 (grey) or 3 (RGB)."
        )
    if bool(mean) != bool(std) or len(mean) not in (0, 1, channels) or len(std) not in (0, 1, channels):
        raise ConfigError(
            f"dataset.mean={list(mean)} dataset.std={list(std)}: give both, with one number or {channels}, as "
            "paddle.vision.transforms.Normalize got them."
        )
    averages, spreads = (np.broadcast_to(np.asarray(v or [d], np.float64), channels) for v, d in ((mean, 0), (std, 1)))
    if (spreads <= 0).any():
        raise ConfigError(f"dataset.std={list(std)}: must be above 0.")
    low, high = min(float(i.min()) for i in images), max(float(i.max()) for i in images)
    scale = 1 / 255.0 if images[0].dtype.kind in "iu" else 1.0
    fits = low >= 0 and high <= (255 if scale != 1 else 1)
    if not mean and not fits:
        raise ConfigError(
            f"dataset '{NAME}': inputs go from {low:g} to {high:g}, so that their pixels are not known. Give the "
            "numbers that they were normalised with (after ToTensor): dataset.mean=[0.1307] dataset.std=[0.3081]; or, "
            "if they are no pictures, dataset.mean=[0] dataset.std=[1]."
        )
    found = Pixels(shape, layout, averages, spreads, 1.0 if mean else scale)
    pixels = np.stack([found.raw(image, "an image").astype(np.float64) for image in images])
    if images[0].dtype == np.uint8 and not mean:
        return replace(found, whole=True)
    inside = pixels.min() >= -_CLOSE and pixels.max() <= 255 + _CLOSE
    return replace(found, whole=bool(inside and np.abs(pixels - np.rint(pixels)).max() < _CLOSE))


def _layout(shape: tuple[int, ...], layout: str) -> str:
    if layout not in LAYOUTS:
        raise ConfigError(f"dataset.layout={layout!r}: must be one of {', '.join(LAYOUTS)}.")
    if len(shape) == 2 and layout in ("auto", "hw"):
        return "hw"
    if len(shape) == 3 and layout in ("chw", "hwc"):
        return layout
    if len(shape) == 3 and layout == "auto":
        first, last = (extent in (1, 3) for extent in (shape[0], shape[-1]))
        if first != last:
            return "chw" if first else "hwc"
    raise ConfigError(
        f"dataset '{NAME}': inputs of shape {list(shape)} do not tell their layout with dataset.layout={layout}. Set "
        "dataset.layout=chw, hwc or hw; one, two or three axes can be taken, and 1 or 3 channels."
    )
