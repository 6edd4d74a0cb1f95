"""`python -m expkit runs [FILTER...]`: the newest runs, or those that fit."""

from __future__ import annotations

import argparse
import sys

from expkit.cli.choosing import add_selection, gathered
from expkit.comparison import listing
from expkit.comparison.filters import HELP
from expkit.report import make_console

LIMIT = 20
_DESCRIPTION = """\
List runs, the newest first, with their true status: a run whose process has died is not RUNNING, but DIED.
`show run RUN` shows one of them, `compare` puts them side by side.
"""
_EPILOG = f"""\
{HELP}
examples:
  python -m expkit runs
  python -m expkit runs mnist_cnn status=FAILED,DIED since=1w
  for run in $(python -m expkit runs --ids status=DIED); do python -m expkit resume $run; done
"""


def main(arguments: list[str]) -> int:
    """Print the list.

    Args:
        arguments: behind the verb.

    Returns:
        0.

    Raises:
        ExpkitError: there is no store, or nothing fits.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit runs",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selection(parser, LIMIT)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--ids", action="store_true", help="for scripts: ids only, one a line; all that fit")
    form.add_argument("--json", action="store_true", help="for scripts: a JSON list of objects; all that fit")
    options = parser.parse_intermixed_args(arguments)
    found = gathered(options, everywhere=True)
    if options.ids:
        sys.stdout.write("".join(f"{run.id}\n" for run in found.runs[: options.limit]))
    elif options.json:
        sys.stdout.write(listing.as_json(found, options.limit))
    else:
        listing.show(make_console(), found, options.limit or LIMIT)
    return 0
