"""The options by which verbs choose runs, and say where these are. Importing it is cheap."""

from __future__ import annotations

import argparse
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expkit.comparison.gathering import Gathered


def gathered(options: argparse.Namespace, *, everywhere: bool = False) -> Gathered:
    """Return the runs that the options of a verb ask for; see `add_selection`."""
    from expkit.comparison.filters import parse
    from expkit.comparison.gathering import gather

    selection = parse(options.filters, datetime.now(timezone.utc))
    return gather(
        selection, runs_dir=Path(options.runs_dir), uri=options.uri, where=options.where, everywhere=everywhere
    )


def add_selection(parser: argparse.ArgumentParser, limit: int) -> None:
    """Add the options by which runs are chosen.

    Args:
        parser: of a verb.
        limit: most lines where the user says nothing; `options.limit` is None then.
    """
    parser.add_argument("filters", nargs="*", default=[], metavar="FILTER", help="which runs; see below")
    parser.add_argument(
        "--where", default="", metavar="CONDITION", help="further ones, in the syntax of MLflow's search"
    )
    add_place(parser)
    parser.add_argument("--limit", type=_count, metavar="N", help=f"most lines (default: {limit})")


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where runs are."""
    parser.add_argument("--runs-dir", default="runs", metavar="FOLDER", help="where runs are (default: runs)")
    parser.add_argument(
        "--uri",
        "--tracking-uri",
        metavar="URI",
        help="of another tracking store than FOLDER/mlflow.db, such as http://host:5000",
    )


def _count(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines; it must be at least 1")
    return number
