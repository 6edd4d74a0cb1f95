"""How raw data becomes a model's input, and a model's output becomes an answer.

This file needs only NumPy and Pillow and imports nothing of expkit: it is copied as it is beside every exported
model, so that what predicts outside is the very code that trained inside.

Shapes: N samples, C channels, H rows, W columns, F features, K outputs.
"""

from __future__ import annotations

import csv
import io
import math
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Source = str | Path | IO[bytes]
"""A file by its name, or one that is open for reading bytes."""
MAX_PIXELS = 64_000_000
"""Larger images are refused: a small file can unpack to gigabytes."""
SCORES = ("logits", "probabilities", "log_probabilities", "sigmoid")
"""What the outputs of a classifier can be."""
PRECISIONS = ("float32", "float64")
"""What tables and values may be computed in."""


class UnreadableInputError(ValueError):
    """A file that is not what the model takes."""


@dataclass(frozen=True)
class ImageInput:
    """Grey or colour images, kept as uint8 and normalised a whole batch at a time.

    Attributes:
        height: rows of the model's input.
        width: columns of the model's input.
        channels: 1 (grey) or 3 (RGB).
        mean: per channel, of pixel / 255 over the training split.
        std: per channel, likewise.
        invert: "auto" inverts a file whose border is brighter than its middle range (dark ink on white paper) when
            the training images are bright on dark; "never" takes files as they are.
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    invert: str = "never"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one model input: (C, H, W)."""
        return (self.channels, self.height, self.width)

    @property
    def dtype(self) -> str:
        """Dtype of the model's input."""
        return "float32"

    def normalise(self, raw: Array) -> Array:
        """Turn raw [N, H, W] or [N, H, W, C] uint8 into [N, C, H, W] float32: (pixel / 255 - mean) / std."""
        scale = (1.0 / (255.0 * np.asarray(self.std, dtype=np.float64))).astype(np.float32)
        shift = (-np.asarray(self.mean, dtype=np.float64) / np.asarray(self.std, dtype=np.float64)).astype(np.float32)
        if self.channels == 1:
            out = raw.reshape(len(raw), 1, self.height, self.width).astype(np.float32)
            out *= scale[0]
            out += shift[0]
            return out
        out = np.ascontiguousarray(raw.transpose(0, 3, 1, 2), dtype=np.float32)
        out *= scale[:, None, None]
        out += shift[:, None, None]
        return out

    def read(self, source: Source) -> Array:
        """Read one image file of any size and mode as raw [1, H, W] (grey) or [1, H, W, 3] uint8.

        Raises:
            UnreadableInputError: the file is not an image, is damaged, or is larger than `MAX_PIXELS`.
        """
        from PIL import Image, ImageOps

        try:
            with warnings.catch_warnings():
                # Pillow's own limit is higher and only warns; ours is checked below.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                opened_file = Image.open(source)
            with opened_file as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise UnreadableInputError(f"{opened.width} x {opened.height} pixels; at most {MAX_PIXELS:,}")
                image = ImageOps.exif_transpose(opened)
                image = _flat(image).convert("L" if self.channels == 1 else "RGB")
        except UnreadableInputError:
            raise
        except Exception as error:  # for damaged files, Pillow's formats raise nearly anything
            raise UnreadableInputError(f"not a readable image ({error})") from error
        pixels = np.asarray(image.resize((self.width, self.height), Image.Resampling.LANCZOS), dtype=np.uint8)
        if self.invert == "auto" and _bright_border(pixels):
            pixels = 255 - pixels
        return pixels[None]

    def describe(self) -> dict[str, Any]:
        """Plain values from which `from_description` makes an equal object."""
        return {"kind": "image", **_plain(asdict(self))}


@dataclass(frozen=True)
class TableInput:
    """Rows of numbers, normalised per column: (value - mean) / scale.

    Attributes:
        columns: names of the F features, in order.
        mean: per column, learned on the training split.
        scale: per column (standard deviation or range), learned on the training split; never 0.
        precision: dtype of the model's input, "float32" or "float64"; it is worked out in float64 in any case.

    Raises:
        ValueError: the precision is neither of these.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    precision: str = "float32"

    def __post_init__(self) -> None:
        _check_precision(self.precision)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one model input: (F,)."""
        return (len(self.columns),)

    @property
    def dtype(self) -> str:
        """Dtype of the model's input."""
        return self.precision

    def normalise(self, raw: Array) -> Array:
        """Turn raw [N, F] numbers into [N, F] of the precision."""
        return _scaled(raw, self.mean, self.scale, self.precision)

    def read(self, source: Source) -> Array:
        """Read a CSV file as raw [N, F] float64: with a header (columns in any order) or without (in our order).

        Raises:
            UnreadableInputError: a column is missing, or a cell is not a number.
        """
        try:
            content = Path(source).read_bytes() if isinstance(source, (str, Path)) else source.read()
            reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
            rows = [(reader.line_num, [c.strip() for c in row]) for row in reader if any(c.strip() for c in row)]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UnreadableInputError(f"not a readable CSV file ({error})") from error
        if not rows:
            raise UnreadableInputError("the file is empty")
        order, width, head = list(range(len(self.columns))), len(self.columns), rows[0][1]
        if any(_number(cell) is None for cell in head):
            if twice := [c for c in self.columns if head.count(c) > 1]:
                raise UnreadableInputError(f"column {', '.join(twice)} stands twice in the header")
            if missing := [c for c in self.columns if c not in head]:
                raise UnreadableInputError(f"no column {', '.join(missing)}; expected {', '.join(self.columns)}")
            order, width, rows = [head.index(c) for c in self.columns], len(head), rows[1:]
            if not rows:
                raise UnreadableInputError("there is no row below the header")
        return np.array([self._row(cells, order, width, line) for line, cells in rows], dtype=np.float64)

    def _row(self, cells: list[str], order: list[int], width: int, line: int) -> list[float]:
        if len(cells) != width:  # without a header, one value too many would shift all that follow it
            raise UnreadableInputError(f"line {line} has {len(cells)} values; expected {width}")
        values = [_number(cells[i]) for i in order]
        for name, value, i in zip(self.columns, values, order, strict=True):
            if value is None or not math.isfinite(value):
                raise UnreadableInputError(f"line {line}, column {name}: {cells[i]!r} is not a finite number")
        return [v for v in values if v is not None]

    def describe(self) -> dict[str, Any]:
        """Plain values from which `from_description` makes an equal object."""
        return {"kind": "table", **_plain(asdict(self))}


@dataclass(frozen=True)
class Classes:
    """A target that is one of K classes; the model answers K scores.

    Attributes:
        labels: name of each class, in the order of the outputs.
        scores: what the model's outputs are, as its loss says: "logits" (softmax makes them probabilities),
            "probabilities", "log_probabilities", or "sigmoid" (independent logits, each class against all others).

    Raises:
        ValueError: scores is another word.
    """

    labels: tuple[str, ...]
    scores: str = "logits"

    def __post_init__(self) -> None:
        if self.scores not in SCORES:
            raise ValueError(f"scores={self.scores!r} is unknown; choose {', '.join(SCORES)}")

    @property
    def outputs(self) -> int:
        """Number of model outputs K."""
        return len(self.labels)

    @np.errstate(over="ignore", invalid="ignore")
    def probabilities(self, outputs: Array) -> Array:
        """Turn scores [N, K] into probabilities [N, K] float64; NaN for an infinite logit, any sum for "sigmoid"."""
        values: Array = outputs.astype(np.float64)
        if self.scores == "logits":
            values = np.exp(values - values.max(axis=1, keepdims=True))
            values /= values.sum(axis=1, keepdims=True)
        elif self.scores == "log_probabilities":
            values = np.exp(values)
        elif self.scores == "sigmoid":
            values = np.exp(-np.logaddexp(0.0, -values))  # exp(-values) alone would overflow
        return values

    def decode(self, outputs: Array) -> list[dict[str, Any]]:
        """Turn scores [N, K] into one answer a sample: label, probability, and the probabilities of all labels."""
        return [
            {
                "label": self.labels[int(p.argmax())],
                "probability": float(p.max()),
                "probabilities": {label: float(v) for label, v in zip(self.labels, p, strict=True)},
            }
            for p in self.probabilities(outputs)
        ]

    def describe(self) -> dict[str, Any]:
        """Plain values from which `from_description` makes an equal object."""
        return {"kind": "classes", **_plain(asdict(self))}


@dataclass(frozen=True)
class Values:
    """A target of K real numbers that were normalised for training: (value - mean) / scale.

    Attributes:
        names: name of each value.
        mean: per value, learned on the training split (0 where targets are not normalised).
        scale: per value (1 where targets are not normalised); never 0.
        unit: what one unit of the value is, for people ("1000 dollars").
        precision: dtype of normalised targets, "float32" or "float64"; it is worked out in float64 in any case.

    Raises:
        ValueError: the precision is neither of these.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    unit: str = ""
    precision: str = "float32"

    def __post_init__(self) -> None:
        _check_precision(self.precision)

    @property
    def outputs(self) -> int:
        """Number of model outputs K."""
        return len(self.names)

    def normalise(self, raw: Array) -> Array:
        """Turn raw targets [N, K] into normalised [N, K] of the precision."""
        return _scaled(raw, self.mean, self.scale, self.precision)

    def decode(self, outputs: Array) -> list[dict[str, Any]]:
        """Turn normalised outputs [N, K] back into values in their own unit, one answer a sample."""
        values = outputs.astype(np.float64) * np.asarray(self.scale) + np.asarray(self.mean)
        return [
            {"values": {n: float(x) for n, x in zip(self.names, row, strict=True)}, "unit": self.unit} for row in values
        ]

    def describe(self) -> dict[str, Any]:
        """Plain values from which `from_description` makes an equal object."""
        return {"kind": "values", **_plain(asdict(self))}


KINDS = {"image": ImageInput, "table": TableInput, "classes": Classes, "values": Values}


def from_description(description: dict[str, Any]) -> Any:
    """Make an `ImageInput`, `TableInput`, `Classes` or `Values` from what its `describe` gave.

    Raises:
        ValueError: the kind is not one of these.
    """
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in description.items()}
    kind = str(values.pop("kind", ""))
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    return KINDS[kind](**values)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Turn tuples into lists and NumPy's numbers into Python's, which YAML and JSON can write."""
    return {k: [_python(x) for x in v] if isinstance(v, (tuple, list)) else _python(v) for k, v in values.items()}


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected {' or '.join(PRECISIONS)}")


def _scaled(raw: Array, mean: tuple[float, ...], scale: tuple[float, ...], precision: str) -> Array:
    centred = np.asarray(raw, dtype=np.float64) - np.asarray(mean)
    scaled: Array = (centred / np.asarray(scale)).astype(precision)
    return scaled


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _flat(image: Any) -> Any:
    """Transparent images on a background, grey of more than 8 bit scaled: what `convert('L')` alone gets wrong."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        most = values.max(initial=0.0)
        # By convention 0..1 for fractions; 8, 12 (scientific cameras) or 16 bit for whole numbers.
        top = next((t for t in [1.0, 255.0, 4095.0][image.mode != "F" :] if most <= t), 65535.0)
        return Image.fromarray(np.clip(values * 255.0 / top, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ink, opaque = (np.asarray(part, dtype=np.float64) for part in (rgba.convert("L"), rgba.getchannel("A")))
        light = (ink * opaque).sum() > 127 * opaque.sum()  # such ink would vanish on white
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "black" if light else "white"), rgba)
    return image


def _bright_border(pixels: Array) -> bool:
    return bool(np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])) > 127)
