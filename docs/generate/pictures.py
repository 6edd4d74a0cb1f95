"""Pictures of what components do, and summaries of models, made by running them; kept until their source changes."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sphinx.util import logging

from expkit.cli.experiments import ConfFile, bases, choices, presets
from expkit.paddle_import import quiet_import
from expkit.registry import Entry
from expkit.signature import REQUIRED, Description
from generate.writing import Pages

_LOGGER = logging.getLogger(__name__)
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Drawing:
    """What can be shown of a component beside words.

    Attributes:
        image: path within the site, or "" for none.
        caption: below the image, or above the layers.
        layers: table of a model's layers, as plain text.
    """

    image: str = ""
    caption: str = ""
    layers: str = ""


class Gallery:
    """Draws, or finds what an earlier build has drawn."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def drawing(self, entry: Entry, description: Description) -> Drawing:
        """Return what can be shown of a component; nothing where its kind has no picture.

        Nor where it refuses all example data. One with required options is drawn as a preset sets them.
        """
        draw = _DRAWN.get(entry.kind.name)
        required = {option.name for option in description.options if option.default is REQUIRED}
        preset = _preset(entry, required) if required else None
        if draw is None or (required and preset is None):
            return Drawing()
        name = f"{entry.kind.name}-{entry.name}"
        note = self._pages.keep(self._pages.folder / "pictures" / f"{name}.json")
        image = note.with_suffix(".png" if draw is _transform else ".svg")
        if not _is_newer(note, description.source):
            note.write_text(json.dumps(asdict(_drawn(draw, entry, image, preset))), encoding="utf-8")
        drawing = Drawing(**json.loads(note.read_text(encoding="utf-8")))
        if drawing.image:
            self._pages.keep(image)
        return drawing


def _preset(entry: Entry, required: set[str]) -> ConfFile | None:
    """Return the first preset of a component that sets all its required options."""
    ours = [preset for preset in presets(entry.kind) if preset.owner == "expkit" and entry.name in bases(preset)]
    return next((preset for preset in ours if required <= set(_options(preset))), None)


def _options(preset: ConfFile) -> dict[str, Any]:
    return {key.removeprefix(f"{preset.group}."): value for key, value in choices(preset).items()}


def _is_newer(note: Path, source: Path) -> bool:
    sources = [source, *source.parent.glob("_*.py"), *_HERE.glob("*.py")]
    return note.is_file() and note.stat().st_mtime > max(path.stat().st_mtime for path in sources)


def _drawn(draw: Callable[[Any, Path], Drawing], entry: Entry, image: Path, preset: ConfFile | None) -> Drawing:
    try:
        with quiet_import():
            found = getattr(importlib.import_module(entry.module), entry.attribute)
        if preset is None:
            return draw(found, image)
        drawing = draw(functools.partial(found, **_options(preset)), image)
        return replace(drawing, caption=drawing.caption.replace("the default options", f"{preset.group}={preset.name}"))
    except Exception as error:  # noqa: BLE001 - whatever a component does, the others are drawn
        _LOGGER.warning("%s/%s cannot be drawn: %s: %s", entry.kind.name, entry.name, type(error).__name__, error)
        return Drawing()


def _schedule(make: Any, image: Path) -> Drawing:
    from generate.drawing import rate_picture

    return _pictured(rate_picture(make, image), image)


def _transform(make: Any, image: Path) -> Drawing:
    from generate.drawing import transform_picture

    return _pictured(transform_picture(make, image), image)


def _loss(make: Any, image: Path) -> Drawing:
    from generate.drawing import loss_picture

    return _pictured(loss_picture(make, image), image)


def _pictured(caption: str, image: Path) -> Drawing:
    return Drawing(f"/reference/pictures/{image.name}", caption) if caption else Drawing()


def _model(make: Any, image: Path) -> Drawing:
    from generate.summary import summarised

    found = summarised(make)
    return Drawing(caption=found[0], layers=found[1]) if found else Drawing()


_DRAWN = {"schedule": _schedule, "transform": _transform, "loss": _loss, "model": _model}
