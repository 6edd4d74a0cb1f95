"""`python -m expkit predict MODEL FILE...`: answers for images and tables."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from expkit.cli.answer_writers import TOP, CsvWriter, JsonWriter, TableWriter, Writer
from expkit.cli.answering import EPILOG, add_model, predictor_of
from expkit.errors import ConfigError
from expkit.inputs import STDIN, Inputs
from expkit.predict import BATCH_SIZE, Answered, Predictor
from expkit.report import make_console, quote_path
from expkit.scoring import Truth, truth_in

MANY = 20
"""Files from which on a terminal shows how far it is."""
PICTURES = (".png", ".pdf", ".svg")
FLUSH_SECONDS = 0.2
_EPILOG = f"""\
{EPILOG}
examples:
  python -m expkit predict last digit.png
  python -m expkit predict last photos/ --csv --output answers.csv --plot answers.png
  python -m expkit predict models:/digits@champion *.png --json
  python -m expkit predict last houses.csv --csv
  cat digit.png | python -m expkit predict last -
"""


def main(arguments: list[str]) -> int:
    """Print an answer for each file.

    Args:
        arguments: behind the verb.

    Returns:
        0; 2 when a file could not be read (the others are answered).

    Raises:
        ExpkitError: there is no such model, or an option does not fit.
    """
    options = _parser().parse_intermixed_args(arguments)
    _check(options)
    predictor = predictor_of(options)
    predictor.batch_size = options.batch_size
    inputs = Inputs(options.files, predictor.reader)
    truth = truth_in(inputs, predictor.reader, predictor.target, options.actual)
    picture = _picture(options, predictor, truth)
    _announce(options, predictor, inputs)
    bad = False
    console = make_console() if sys.stdout.isatty() else Console(highlight=False)
    with _output(options.output) as out:
        writer = _writer(options, predictor, inputs, truth, out, console)
        for answered in _watched(predictor.stream(inputs.samples()), len(inputs.files), options, console):
            writer.write(answered)
            truth.add(answered)
            if picture is not None:
                picture.add(answered)
            bad = bad or bool(answered.sample.error)
        writer.close()
    _conclude(options, predictor, truth, picture)
    return 2 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m expkit predict",
        description="Answers of a trained model for files: images for an image model, CSV for a table.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model(parser)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="images or CSV files, folders of these, raw inputs as .npy, or - for standard input",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON object a file, each on a line")
    form.add_argument("--csv", action="store_true", help="a line an answer, behind the columns of a CSV file")
    parser.add_argument("--output", metavar="FILE", help="write JSON or CSV there instead of to stdout")
    parser.add_argument("--plot", metavar="FILE.png", help="draw images beside what the network saw, or the rows")
    parser.add_argument(
        "--top", type=_count, metavar="K", help=f"labels with their probability (default: {TOP}; JSON and CSV: all)"
    )
    parser.add_argument(
        "--actual", metavar="COLUMN", help="of a CSV file, what is true (default: the target's column, where one is)"
    )
    parser.add_argument(
        "--batch-size",
        type=_count,
        default=BATCH_SIZE,
        metavar="N",
        help="inputs that the network sees at once (default: %(default)s)",
    )
    return parser


def _count(text: str) -> int:
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; it must be at least 1")
    return number


def _check(options: argparse.Namespace) -> None:
    """Refuse, before anything is loaded, what could only fail at the end.

    Raises:
        ConfigError: it does not fit.
    """
    options.output = None if options.output == STDIN else options.output
    if options.output:
        output = Path(options.output)
        special = output.absolute().parts[1:2] in (("dev",), ("proc",))  # /dev/stdout may well lead to a file
        if special or (output.exists() and not (output.is_file() or output.is_dir())):
            raise ConfigError(f"--output {output} is no regular file. Without --output, answers go to stdout.")
        if not (options.json or options.csv):
            suffix = output.suffix.lower()
            options.csv, options.json = suffix == ".csv", suffix in (".json", ".jsonl")
            if not (options.csv or options.json):
                raise ConfigError(f"--output {output}: say what to write there: --csv or --json.")
        if output.is_dir() or not output.parent.is_dir():
            what = "is a folder" if output.is_dir() else f"lies in {output.parent}, which is not there"
            raise ConfigError(f"--output {output}: it {what}. Name a file in a folder that exists.")
    if options.plot and Path(options.plot).suffix.lower() not in PICTURES:
        raise ConfigError(f"--plot {options.plot}: its name has to end in {', '.join(PICTURES)}.")
    for option in ("output", "plot"):
        written = getattr(options, option)
        if written and any(
            name != STDIN and Path(name).absolute() == Path(written).absolute() for name in options.files
        ):
            raise ConfigError(f"--{option} {written} is one of the files to answer for; it would be overwritten.")
    if options.files.count(STDIN) > 1:
        raise ConfigError("- stands more than once, but standard input can be read once only.")


def _picture(options: argparse.Namespace, predictor: Predictor, truth: Truth) -> Any:
    if not options.plot:
        return None
    from expkit.answer_picture import Picture

    return Picture(predictor.reader, predictor.target, truth, options.top or TOP)


def _announce(options: argparse.Namespace, predictor: Predictor, inputs: Inputs) -> None:
    """Say what files are left out and that a model was trained on a stand-in; where people read the table, above it."""
    for note in inputs.notes:
        sys.stderr.write(f"{note}\n")
    data = predictor.description.get("data", {})
    if data.get("source", {}).get("stand_in_for"):
        warning = Text(f"This model was trained on {data['name']}.", style="yellow")
        Console(stderr=options.json or options.csv, highlight=False).print(warning, soft_wrap=True)


def _writer(
    options: argparse.Namespace, predictor: Predictor, inputs: Inputs, truth: Truth, out: IO[str], console: Console
) -> Writer:
    if options.json:
        return JsonWriter(out, truth, options.top)
    if options.csv:
        return CsvWriter(out, predictor.target, truth, options.top, inputs.columns)
    return TableWriter(console, predictor.target, truth, options.top)


@contextmanager
def _output(file: str | None) -> Iterator[IO[str]]:
    """Give where to write to; a file is whole when it is there.

    Raises:
        ConfigError: it cannot be written.
    """
    if file is None:
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="replace")  # what the terminal cannot write
        yield sys.stdout
        return
    target = Path(file).resolve()  # a link stays one
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out:
            yield out
        unfinished.replace(target)
    except OSError as error:
        raise ConfigError(f"--output {file} cannot be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _watched(
    found: Iterator[Answered], count: int, options: argparse.Namespace, console: Console
) -> Iterator[Answered]:
    """Show on a terminal how many of many files are done, and let what is written be seen at once."""
    to_stdout = not options.output
    shown_on = console if to_stdout and console.is_terminal else Console(stderr=True, highlight=False)
    is_own_progress = to_stdout and console.is_terminal and (options.json or options.csv)
    if count < MANY or not shown_on.is_terminal or is_own_progress:
        yield from _flushed(found)
        return
    columns = (TextColumn("predict"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown_on, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("predict", total=count)
        for answered in _flushed(found):
            progress.update(task, completed=answered.sample.place)
            yield answered


def _flushed(found: Iterator[Answered]) -> Iterator[Answered]:
    last = time.monotonic()
    for answered in found:
        yield answered
        if time.monotonic() - last > FLUSH_SECONDS:
            sys.stdout.flush()
            last = time.monotonic()


def _conclude(options: argparse.Namespace, predictor: Predictor, truth: Truth, picture: Any) -> None:
    """Say how far the answers are from what is true, and draw the picture."""
    if said := truth.said():
        sys.stderr.write(f"{said}\n")
    if options.output:
        sys.stderr.write(f"answers  {quote_path(Path(options.output))}\n")
    if picture is None:
        return
    file = Path(options.plot)
    name = str(predictor.description.get("name") or "answers")
    try:
        drawn = picture.draw(file, f"{name}, {said}" if said else name)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--plot {file} cannot be written: {getattr(error, 'strerror', None) or error}.") from error
    sys.stderr.write(f"picture  {quote_path(file)}  ({drawn})\n" if drawn else "There is no answer to draw.\n")
