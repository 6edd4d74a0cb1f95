"""A picture of answers: images beside what the network saw of them, or the rows of tables."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.cells import cell_len

from expkit.api import Array
from expkit.figures import drawn_text, empty_figure, figure_of, save
from expkit.inputs import ARRAY, STDIN, Sample, content_of
from expkit.plotting import INK, TRAIN, VALID, draw_matrix
from expkit.predict import Answered
from expkit.preprocess import Classes, ImageInput
from expkit.scoring import Truth

MOST_IMAGES = 24
MOST_ROWS = 40
MOST_POINTS = 20_000
PALE = "#cbd5e1"
_SIDE, _GAP, _HEAD, _BAR = 1.25, 0.12, 0.26, 0.2
"""Inches: of a picture, between two, of the name above them, of a line below them."""
_CELL = 2 * _SIDE + _GAP


class Picture:
    """Collects what is drawn of many answers.

    Args:
        reader: of the model's inputs.
        target: of the model.
        truth: what tables say is true.
        top: labels that are shown of an image.
    """

    def __init__(self, reader: Any, target: Any, truth: Truth, top: int) -> None:
        self._reader, self._target, self._truth, self._top = reader, target, truth, top
        self._kept: list[tuple[Answered, Any]] = []
        self._count = 0
        self._matrix = self._empty_matrix()
        self._most = MOST_IMAGES if isinstance(reader, ImageInput) else MOST_POINTS if self._scatters else MOST_ROWS

    @property
    def _scatters(self) -> bool:
        return bool(self._truth.names) and not isinstance(self._target, Classes)

    def _empty_matrix(self) -> Array | None:
        """Return what counts how often each class was taken for each other, where a table says what is true."""
        if not (self._truth.names and isinstance(self._target, Classes)) or isinstance(self._reader, ImageInput):
            return None
        return np.zeros((len(self._target.labels), len(self._target.labels)), dtype=np.int64)

    def add(self, answered: Answered) -> None:
        """Keep an answer while there is room for it."""
        if answered.answer is None:
            return
        self._count += 1
        if self._matrix is not None and (true := self._truth.of(answered.sample.cells)) in self._target.labels:
            self._matrix[self._target.labels.index(true), self._target.labels.index(answered.answer["label"])] += 1
        if len(self._kept) < self._most:
            self._kept.append((answered, self._truth.of(answered.sample.cells) if self._truth.names else None))

    def draw(self, file: Path, title: str) -> str:
        """Write the picture.

        Args:
            file: where to, such as a PNG.
            title: above it.

        Returns:
            What is on it, for people; empty where there was nothing to draw.

        Raises:
            OSError: it cannot be written.
        """
        if not self._kept:
            return ""
        if self._matrix is not None and self._matrix.any():
            draw_matrix(file, title, self._target.labels, self._matrix)
            return f"{self._matrix.sum():,} rows"
        shown, what = len(self._kept), "images" if isinstance(self._reader, ImageInput) else "rows"
        said = f"{shown:,} {what[: -1 if shown == 1 else None]}"
        said = said if shown == self._count else f"the first {shown:,} of {self._count:,} {what}"
        if isinstance(self._reader, ImageInput):
            figure = self._images(title, said)
        else:
            figure = self._scatter(title, said) if self._scatters else self._rows(title, said)
        save(figure, file)
        return said

    def _images(self, title: str, said: str) -> Any:
        columns = min(4, len(self._kept))
        lines = min(self._top, len(self._target.labels)) if isinstance(self._target, Classes) else 1
        high, wide = _HEAD + _SIDE + lines * _BAR + 0.3, _CELL + 0.45
        width, height = columns * wide, -(-len(self._kept) // columns) * high
        figure = empty_figure((max(width + 0.3, 5.2), height + 0.8))
        size = f"{self._reader.height} x {self._reader.width} pixels"
        figure.suptitle(
            f"{drawn_text(title)}\n{said}: left as given, right as the network sees it ({size})", fontsize=9
        )
        axis = figure.add_subplot()
        for number, (answered, true) in enumerate(self._kept):
            left, top = number % columns * wide + 0.2, number // columns * high
            right = true is None or (answered.answer or {}).get("label") == true
            name = _name(answered.sample, 34) if right else f"{_name(answered.sample, 20)} (is {drawn_text(true, 14)})"
            axis.text(left, top + _HEAD - 0.06, name, va="bottom", color=INK if right else VALID, fontsize=7.5)
            original = _original(answered.sample)
            _place(axis, original if original is not None else answered.sample.raw, left, top + _HEAD)
            _place(axis, answered.sample.raw, left + _SIDE + _GAP, top + _HEAD)
            self._bars(axis, answered.answer or {}, left, top + _HEAD + _SIDE + 0.1)
        axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axis.set_axis_off()
        return figure

    def _bars(self, axis: Any, answer: Mapping[str, Any], left: float, top: float) -> None:
        """Draw the most probable labels as bars; values are written."""
        if "values" in answer:
            said = ", ".join(f"{name} {value:.4g}" for name, value in answer["values"].items())
            axis.text(left, top + _BAR / 2, drawn_text(said, 40), va="center", color=INK, fontsize=8)
            return
        ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])[: self._top]
        names = [drawn_text(label, 14) for label, _ in ranked]
        begin = left + 0.1 + 0.085 * max(cell_len(name.replace("\\", "")) for name in names)
        full = left + _CELL - 0.5 - begin
        for number, (name, (_, share)) in enumerate(zip(names, ranked, strict=True)):
            middle = top + (number + 0.5) * _BAR
            axis.text(begin - 0.08, middle, name, ha="right", va="center", color=INK, fontsize=8)
            axis.barh(middle, full, 0.6 * _BAR, left=begin, color="#f1f5f9")
            axis.barh(middle, full * share, 0.6 * _BAR, left=begin, color=TRAIN if number == 0 else PALE)
            axis.text(begin + full + 0.06, middle, f"{share:.1%}", va="center", color=INK, fontsize=7.5)

    def _scatter(self, title: str, said: str) -> Any:
        names = self._truth.names
        figure, axes = figure_of(len(names), f"{title}: {said}")
        unit = f" ({self._target.unit})" if self._target.unit else ""
        for name, axis in zip(names, axes, strict=True):
            pairs = [(_of(true, name), (answered.answer or {})["values"][name]) for answered, true in self._kept]
            x, y = np.array([pair for pair in pairs if pair[0] is not None], dtype=np.float64).reshape(-1, 2).T
            ends = [min([*x, *y], default=0.0), max([*x, *y], default=1.0)]
            axis.plot(ends, ends, color=INK, linewidth=0.8)
            axis.scatter(x, y, s=10, color=TRAIN, alpha=0.6 if len(x) < 1000 else 0.25)
            axis.set_aspect("equal", adjustable="datalim")
            axis.set_xlabel(drawn_text(f"true {name}{unit}"))
            axis.set_ylabel("predicted")
        return figure

    def _rows(self, title: str, said: str) -> Any:
        classes = isinstance(self._target, Classes)
        names = [""] if classes else list(self._target.names)
        figure, axes = figure_of(len(names), f"{title}: {said}", size=5.5)
        figure.set_figheight(1.3 + 0.22 * len(self._kept) * -(-len(names) // 3))
        places = range(len(self._kept))
        for name, axis in zip(names, axes, strict=True):
            said_of = [answered.answer or {} for answered, _ in self._kept]
            values = [one["probability"] if classes else one["values"][name] for one in said_of]
            bars = axis.barh(places, values, 0.7, color=TRAIN)
            written = [
                f"{one['label']} {value:.1%}" if classes else f"{value:.4g}"
                for one, value in zip(said_of, values, strict=True)
            ]
            axis.bar_label(bars, [drawn_text(text, 40) for text in written], padding=3, color=INK, fontsize=8)
            if classes:
                axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
            axis.set_yticks(places, [_name(answered.sample, 28) for answered, _ in self._kept], fontsize=8)
            axis.set_ylim(len(self._kept) - 0.4, -0.6)
            axis.margins(x=0.3)
            unit = f" ({self._target.unit})" if not classes and self._target.unit else ""
            axis.set_xlabel("probability" if classes else drawn_text(f"{name}{unit}"))
        return figure


def _of(true: Any, name: str) -> Any:
    return true.get(name) if isinstance(true, dict) else true


def _name(sample: Sample, most: int) -> str:
    """Return the name of a file, of a long one its end."""
    name = "stdin" if sample.file == STDIN else sample.file
    short = name if len(name) <= most else f"…{name[1 - most :]}"
    return drawn_text(short if sample.row is None else f"{short}, row {sample.row}")


def _original(sample: Sample) -> Array | None:
    """Return an image as it was given, small; None for a row of an array, which is what the network sees."""
    from PIL import Image, ImageOps

    if Path(sample.file).suffix.lower() == ARRAY:
        return None
    try:
        with Image.open(io.BytesIO(content_of(sample.file))) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith(("I", "F")):  # more than 8 bits: from the darkest to the brightest
                values = np.asarray(image, dtype=np.float64)
                image = Image.fromarray(np.uint8(255 * (values - values.min()) / max(np.ptp(values), 1e-9)))
            image = image.convert("RGBA")
            image.thumbnail((300, 300))
    except Exception:  # noqa: BLE001 - it was readable a moment ago; without it the picture is still worth having
        return None
    return np.asarray(image)


def _place(axis: Any, image: Any, left: float, top: float) -> None:
    """Draw an image into a square, in its own proportions."""
    high, wide = image.shape[:2]
    scale = _SIDE / max(high, wide)
    x, y = left + (_SIDE - wide * scale) / 2, top + (_SIDE - high * scale) / 2
    place = (x, x + wide * scale, y + high * scale, y)
    axis.imshow(image, "gray", vmin=0, vmax=255, extent=place, interpolation="nearest" if wide < 100 else "antialiased")
