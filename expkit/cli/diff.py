"""`python -m expkit diff A B`: what differs between two runs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from expkit.cli.choosing import add_place
from expkit.comparison import difference_view
from expkit.comparison.details import find
from expkit.comparison.difference import difference
from expkit.report import make_console

_DESCRIPTION = """\
Say what differs between two runs: choices and options, code with what was not committed, data, versions, machine,
results, and the step at which their training parts; and in one line what is the same.
"""
_EPILOG = """\
exit code: 0, whether they differ or not; 2 where a run cannot be found

examples:
  python -m expkit diff ab12cd 34ef56
  python -m expkit diff ab12cd.0 ab12cd.1 --patch
  python -m expkit diff runs/mnist_cnn/20261123-120000-ab12cd last --json
"""


def main(arguments: list[str]) -> int:
    """Compare two runs.

    Args:
        arguments: behind the verb.

    Returns:
        0.

    Raises:
        ExpkitError: one of them cannot be found.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit diff",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("A", "B"):
        parser.add_argument(name, help="run folder, run id or the end of it, MLflow run id, or `last`")
    add_place(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--patch", action="store_true", help="print the lines of code that differ, too")
    form.add_argument("--json", action="store_true", help="for scripts: a JSON object")
    options = parser.parse_intermixed_args(arguments)
    with tempfile.TemporaryDirectory(prefix="expkit-diff-") as scratch:
        both = []
        for name in ("A", "B"):
            folder = Path(scratch) / name
            folder.mkdir()
            runs_dir = Path(options.runs_dir)
            both.append(find(getattr(options, name), runs_dir=runs_dir, uri=options.uri, scratch=folder))
        found = difference(both[0], both[1], Path.cwd())
        if options.json:
            sys.stdout.write(difference_view.as_json(found))
        else:
            difference_view.show(make_console(), found, patch=options.patch)
    return 0
