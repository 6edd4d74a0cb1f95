"""A Sphinx extension that writes the pages that are made of code: components, contracts, configs, commands.

They are written before each build, into `docs/reference` and `docs/project`, which git ignores, through the code that
`list`, `show` and `--help` use. What cannot be told is a warning, and so, with -W, an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject

from generate import commands, configs, contracts, experiments, gallery, outside
from generate.anchors import check_output
from generate.writing import Pages


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_lexer("csv", TextLexer)
    app.connect("builder-inited", write_pages)
    app.connect("source-read", outside.lead_inside)
    app.connect("autodoc-process-signature", contracts.tidy_signature)
    app.connect("autodoc-process-docstring", contracts.escape_marks, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", contracts.tidy_types, priority=900)
    for field in PyObject.doc_field_types:
        if field.name == "variable":  # what napoleon makes of "Attributes:"
            field.label = "Attributes"
    app.connect("build-finished", check_output)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(app: Sphinx) -> None:
    """Write all generated pages."""
    reference = Pages(Path(app.srcdir) / "reference")
    contracts.write(reference)
    gallery.write(reference)
    experiments.write(reference)
    configs.write(reference)
    commands.write(reference)
    reference.finish()
    project = Pages(Path(app.srcdir) / "project")
    outside.write(project)
    project.finish()
