"""The gallery of all built-in components: a page for each, one for each kind, through what `list` and `show` use."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from sphinx.util import logging

from expkit import registry
from expkit.cli.experiments import bases, presets
from expkit.cli.show import as_override, example_command, preset_command
from expkit.docstring import option_docs
from expkit.errors import PluginError
from expkit.registry import Entry, Kind
from expkit.signature import REQUIRED, Description, Option, describe
from generate.pictures import Drawing, Gallery
from generate.writing import Pages, block, code, indent, plain, table, title, toctree

_LOGGER = logging.getLogger(__name__)
_ROOT = Path(__file__).parents[2]
_SECTION = re.compile(r"^(\w[\w ]*):\n(?=[ \n])", re.M)
_ABOUT = {
    "dataset": "What to learn from.",
    "model": "What is trained. The page of each shows its layers.",
    "loss": "What training minimises. The curves show what one sample costs.",
    "optimizer": "How weights follow their gradients.",
    "schedule": "How the learning rate changes. Each picture shows a training with the default options.",
    "regularizer": "Which weights decay, and how.",
    "metric": "What is measured beside the loss, any number at once.",
    "transform": "How training samples are augmented, any number at once, in the order given. Above samples, below "
    "what became of them.",
    "learner": "Which engine trains.",
    "callback": "Who else watches training, any number at once.",
}


def write(pages: Pages) -> None:
    """Write the pages below `components`."""
    gallery = Gallery(pages)
    text = title("Components") + (
        "Everything that comes with expkit and can be chosen by name. ``python -m expkit list`` prints the same, and "
        "what your plugins add to it; ``python -m expkit show model/cnn`` prints one of them.\n\n"
    )
    for kind in registry.KINDS:
        entries = [e for found in registry.entries(kind).values() for e in found if e.distribution == "expkit"]
        described = {entry: found for entry in entries if (found := _described(entry)) is not None}
        drawings = {entry: gallery.drawing(entry, found) for entry, found in described.items()}
        for entry, found in described.items():
            pages.write(f"components/{kind.plural}/{entry.name}.rst", _page(entry, found, drawings[entry]))
        pages.write(f"components/{kind.plural}/index.rst", _overview(kind, described, drawings))
        names = ", ".join(f":doc:`{entry.name} <{kind.plural}/{entry.name}>`" for entry in described)
        text += f":doc:`{_name(kind)} <{kind.plural}/index>`: {_ABOUT.get(kind.name, '')}\n   {names}\n\n"
    pages.write("components/index.rst", text + toctree(f"{kind.plural}/index" for kind in registry.KINDS))


def _described(entry: Entry) -> Description | None:
    try:
        return describe(entry, run=False)
    except PluginError as error:
        _LOGGER.warning("%s/%s: %s", entry.kind.name, entry.name, error)
        return None


def _name(kind: Kind) -> str:
    return kind.plural.capitalize()


def _overview(kind: Kind, described: dict[Entry, Description], drawings: dict[Entry, Drawing]) -> str:
    """Return the page of a kind: a card for each component, and the presets."""
    chosen = f"Chosen by ``{kind.config_group}={'[A,B]' if kind.many else 'NAME'}``."
    text = title(_name(kind)) + f"{_ABOUT.get(kind.name, '')} {chosen}\n\n.. container:: cards\n\n"
    for entry, found in described.items():
        image = drawings[entry].image
        picture = f".. image:: {image}\n   :alt: {entry.name}\n   :target: {entry.name}.html\n\n" if image else ""
        card = f"{picture}:doc:`{entry.name} <{entry.name}>`\n\n{plain(found.summary)}\n\n"
        text += "   .. container:: card\n\n" + indent(card, 6)
    own = [preset for preset in presets(kind) if preset.owner == "expkit"]
    if own:
        text += title("Presets", 2)
        rows = [[code(p.name), plain(p.summary), ", ".join(bases(p)), code(preset_command(p))] for p in own]
        text += table(["preset", "what it is", "of", "command"], rows, [20, 35, 15, 30])
    return text + toctree(f"{entry.name} <{entry.name}>" for entry in described)


def _page(entry: Entry, description: Description, drawing: Drawing) -> str:
    """Return the page of a component."""
    summary, body, rest = _sections(description.doc)
    text = title(f"{entry.kind.name}/{entry.name}") + f"{plain(summary)}\n\n"
    if drawing.image:
        text += (
            f".. figure:: {drawing.image}\n   :alt: {entry.name}\n   :class: drawing\n\n   {plain(drawing.caption)}\n\n"
        )
    text += "".join(f"{_paragraph(paragraph)}\n\n" for paragraph in body)
    text += block(example_command(entry, description))
    text += title("Options", 2) + _options(entry.kind, description.options)
    if drawing.layers:
        text += title("Layers", 2) + f"{plain(drawing.caption)}\n\n" + block(drawing.layers, "text")
    return text + "".join(_section(name, lines) for name, lines in rest.items()) + _source(description)


def _sections(doc: str) -> tuple[str, list[str], dict[str, str]]:
    """Return the first paragraph of a docstring, the others before its sections, and the sections but for options."""
    parts = _SECTION.split(doc)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    summary, _, body = parts[0].partition("\n\n")
    rest = {name: text for name, text in sections.items() if name not in ("Args", "Arguments")}
    return " ".join(summary.split()), [p for p in body.split("\n\n") if p.strip()], rest


def _section(name: str, text: str) -> str:
    """Return a section of a docstring: an example as it is, a list of names with what is said of each, or prose."""
    if ">>>" in text:
        return title(name, 2) + block(inspect.cleandoc("\n" + text).replace("  # doctest: +SKIP", ""), "pycon")
    names = option_docs(f"Attributes:\n{text}")
    if names and name in ("Attributes", "Raises"):
        return title(name, 2) + "".join(f"- ``{one}``: {plain(said)}\n" for one, said in names.items()) + "\n"
    return title(name, 2) + _paragraph(inspect.cleandoc("\n" + text)) + "\n\n"


def _paragraph(text: str) -> str:
    """Return prose; a list or indented lines as they are."""
    lines = text.strip("\n").splitlines()
    if all(line.startswith((" ", "-")) for line in lines):
        return plain(text)
    return plain(" ".join(line.strip() for line in lines))


def _options(kind: Kind, options: tuple[Option, ...]) -> str:
    if not options:
        return "It has no options.\n\n"
    prefix = f"{kind.config_group}.NAME" if kind.many else kind.config_group
    rows = [[code(o.name), code(o.type_text), _default(o), plain(o.doc)] for o in options]
    said = f"Each is set with ``{prefix}.OPTION=VALUE``.\n\n"
    return said + table(["option", "type", "default", "what it is"], rows, [18, 18, 18, 46])


def _default(option: Option) -> str:
    return "required" if option.default is REQUIRED else code(as_override(option.default))


def _source(description: Description) -> str:
    """Return the source of a component, folded away."""
    path = description.source.resolve()
    shown = path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else path.name
    text = path.read_text(encoding="utf-8")
    head = f'<details class="source"><summary>Source: {shown}, line {description.line}</summary>'
    return f".. raw:: html\n\n   {head}\n\n{block(text, 'python')}.. raw:: html\n\n   </details>\n"
