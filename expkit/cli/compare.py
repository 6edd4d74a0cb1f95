"""`python -m expkit compare [FILTER...]`: runs side by side, by what varies and what they came to."""

from __future__ import annotations

import argparse
from pathlib import Path

from expkit.cli.choosing import add_selection, gathered
from expkit.comparison import compare as comparing
from expkit.comparison.curves import lines_of, title
from expkit.comparison.filters import HELP
from expkit.comparison.writing import STDOUT, rows, write_csv, write_json, write_parquet
from expkit.errors import ConfigError
from expkit.report import make_console, quote_path

LIMIT = 40
_DESCRIPTION = """\
Compare runs in a table: one line a run, or one for all runs that differ only in their seed, with the parameters that
vary and the metrics of the best weights, the best first. Without a filter: the experiment that was worked on last.
"""
_EPILOG = f"""\
{HELP}
examples:
  python -m expkit compare
  python -m expkit compare mnist_cnn optimizer=sgd,adam --sort test/loss
  python -m expkit compare sweep=ab12cd --no-group --all-metrics
  python -m expkit compare '*' since=1w --csv runs.csv --plot curves.png
  python -m expkit compare --where "metrics.`test/accuracy` > 0.9" --uri http://mlflow.lab:5000
"""


def main(arguments: list[str]) -> int:
    """Print the table, and write the files that are wanted.

    Args:
        arguments: behind the verb.

    Returns:
        0.

    Raises:
        ExpkitError: there is no store, or nothing fits.
        ConfigError: two files are to be written to stdout.
    """
    options = _parser().parse_intermixed_args(arguments)
    if options.csv == options.json == STDOUT:
        raise ConfigError(
            "--csv - and --json - both write to stdout. Name a file for one of them: --csv runs.csv --json -"
        )
    if options.parquet == STDOUT:
        raise ConfigError("--parquet - : Parquet is no text for stdout. Name a file: --parquet runs.parquet")
    found = gathered(options)
    compared = comparing.compare(
        found,
        together=not options.no_group,
        sort=options.sort,
        descending=options.descending,
        metrics=options.metric,
        all_metrics=options.all_metrics,
    )
    written = _write(options, compared)
    if STDOUT not in (options.csv, options.json):
        console = make_console()
        comparing.show(console, compared, options.limit or LIMIT)
        for line in written:
            console.print(line, soft_wrap=True, markup=False)
    return 0


def _write(options: argparse.Namespace, compared: comparing.Comparison) -> list[str]:
    """Write the files that are wanted; returns what is said of them."""
    said = []
    for kind, write in (("csv", write_csv), ("json", write_json), ("parquet", write_parquet)):
        target = getattr(options, kind)
        if target:
            table = rows(compared)
            write(target, table)
            said.append(f"{kind:<11} {quote_path(Path(target))}  ({len(table)} runs, {len(table[0])} columns)")
    if options.plot:
        said.append(_draw(Path(options.plot), compared))
    return said


def _draw(file: Path, compared: comparing.Comparison) -> str:
    metrics, lines = lines_of(compared)
    if not lines:
        raise ConfigError("--plot: none of these runs has finished an epoch, so there is no curve to draw.")
    from expkit.comparison.picture import draw  # Matplotlib costs 0.3 s

    try:
        draw(file, title(compared, lines), metrics, lines)
    except (OSError, ValueError) as error:  # ValueError: a format that Matplotlib does not know
        raise ConfigError(f"--plot {file} cannot be written: {error}. Name a PNG file.") from error
    return f"{'curves':<11} {quote_path(file)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m expkit compare",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selection(parser, LIMIT)
    parser.add_argument(
        "--metric", action="append", default=[], metavar="NAME", help="show this one; may be given more than once"
    )
    parser.add_argument("--all-metrics", action="store_true", help="show all of them")
    parser.add_argument("--no-group", action="store_true", help="a line for each run, also where only the seed differs")
    parser.add_argument(
        "--sort", metavar="KEY", help="a metric, an option, started, seconds or name (default: what was monitored)"
    )
    parser.add_argument("--plot", metavar="FILE.png", help="draw losses and the monitored metric over epochs")
    parser.add_argument("--csv", metavar="FILE", help="write all: every run, what varies, every metric; - is stdout")
    parser.add_argument("--json", metavar="FILE", help="the same as JSON; - is stdout")
    parser.add_argument("--parquet", metavar="FILE", help="the same as Parquet")
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument("--ascending", action="store_const", const=False, dest="descending", help="smallest first")
    direction.add_argument("--descending", action="store_const", const=True, dest="descending", help="greatest first")
    return parser
