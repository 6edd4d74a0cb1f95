"""Settings of the documentation site: `python -m sphinx -W docs build/docs` builds it."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for the extension `generate`, which lies beside this file

project = "expkit"
author = "the expkit authors"
project_copyright = "the expkit authors, Apache-2.0"
version = release = version_of("expkit")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "generate",
]

default_role = "py:obj"  # `Values.normalise` in a docstring is a link where there is such an object, and code elsewhere
add_module_names = False
python_use_unqualified_type_names = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_preprocess_types = False

myst_heading_anchors = 4
linkcheck_anchors_ignore_for_url = [r"https://github\.com/.*"]  # they are made by scripts
linkcheck_ignore = [
    r"http://(127\.0\.0\.1|localhost|host\b|mlflow\.lab).*",  # on the reader's machine, or an example
    r"[\w-]+\.html$",  # within the site, which the build itself has checked
    r"file:line$",  # words that look like an address
]

html_theme = "furo"
html_title = f"expkit {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "tango"
pygments_dark_style = "github-dark"
