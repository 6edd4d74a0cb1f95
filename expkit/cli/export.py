"""`python -m expkit export RUN`: a run's weights as models for elsewhere."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from expkit.errors import ConfigError
from expkit.export import FORMATS, Certificate
from expkit.export.certificate import ACCURACY
from expkit.exporting import RunExport, export_run
from expkit.report import make_console, quote_path
from expkit.runs import find_run
from expkit.settings import EXPORT_FORMATS, ExportSettings, check_export

_DEFAULTS = ExportSettings()


def main(arguments: list[str]) -> int:
    """Export a run and print what each export was found to answer.

    Args:
        arguments: behind the verb.

    Returns:
        0; 2 when a format was refused (the others are exported), as of a training that ends so.
    """
    options = _parser().parse_args(arguments)
    settings = ExportSettings(
        formats=list(dict.fromkeys(options.format or ["paddle"])),
        tolerance=options.tolerance,
        max_accuracy_loss=options.max_accuracy_loss,
        samples=options.samples,
        register=options.register,
        alias=options.alias or None,
    )
    check_export(settings)
    folder = find_run(options.run, Path(options.runs_dir), having="checkpoints")
    into = None if options.output is None else Path(options.output)
    if into is not None and into.exists() and not into.is_dir():
        raise ConfigError(f"--output {into}: this is a file. Name a folder, there or not there yet.")
    place = folder / "export" if into is None else into
    before = _made(place, settings)
    try:
        done = export_run(folder, settings, options.checkpoint, into)
    except KeyboardInterrupt:
        print(_left(folder, place, before, _made(place, settings)), file=sys.stderr)  # noqa: T201 - as below
        raise
    if options.json:
        _print_json(done)
    else:
        _show(make_console(), folder, options.checkpoint, done, alone=into is not None)
    for error in done.exported.refused.values():
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the program's error output
    return 2 if done.exported.refused else 0


def _made(place: Path, settings: ExportSettings) -> dict[str, int | None]:
    """Return which folder, by its number in the file system, each format has; one that is made anew has another."""
    return {name: (place / name).stat().st_ino if (place / name).is_dir() else None for name in settings.formats}


def _left(run: Path, place: Path, before: Mapping[str, int | None], now: Mapping[str, int | None]) -> str:
    """Say what an export that was stopped leaves behind: whole formats only."""
    done = [name for name in now if now[name] is not None and now[name] != before[name]]
    rest = [name for name in now if name not in done]
    if not done:
        return f"Stopped: nothing was exported, and {quote_path(place)} is as it was."
    if rest:
        return (
            f"Stopped: {quote_path(place)} has {', '.join(done)} anew, not recorded with the run, and "
            f"{', '.join(rest)} as before. The same command again does all of it."
        )
    return (
        f"Stopped: all was exported to {quote_path(place)}. To record it, the same command again; if only MLflow lacks "
        f"it: python -m expkit sync {quote_path(run)}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m expkit export",
        description="Write a run's weights as models that answer without expkit. Each is loaded in a process of its "
        "own and compared with the trained model on validation samples; one that answers differently is refused.",
        epilog="formats: "
        + "; ".join(f"{name}: {form.about}" for name, form in FORMATS.items())
        + ". example: python -m expkit export last --format onnx onnx-int8",
    )
    parser.add_argument("run", help="run folder, run id, MLflow run id, or `last`")
    parser.add_argument(
        "--format",
        nargs="+",
        action="extend",
        choices=EXPORT_FORMATS,
        metavar="FORMAT",
        help=f"any of {', '.join(EXPORT_FORMATS)} (default: paddle)",
    )
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights (default: best)")
    parser.add_argument("--output", metavar="DIR", help="write DIR/FORMAT (default: export/FORMAT in the run's folder)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=_DEFAULTS.tolerance,
        help="by how much an output may differ, absolutely or relative to the largest (default: %(default)g)",
    )
    parser.add_argument(
        "--max-accuracy-loss",
        type=float,
        default=_DEFAULTS.max_accuracy_loss,
        help="of int8: accuracy that may be lost; of values, growth of the mean error (default: %(default)g, 1%%)",
    )
    parser.add_argument(
        "--samples", type=int, default=_DEFAULTS.samples, help="validation samples to compare on (default: %(default)d)"
    )
    _add_registration(parser)
    parser.add_argument("--runs-dir", default="runs", help="where runs are (default: runs)")
    parser.add_argument("--json", action="store_true", help="one JSON object a format, for programs")
    return parser


def _add_registration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--register", metavar="NAME", help="make it the next version of this registered model in MLflow"
    )
    parser.add_argument(
        "--alias",
        default=_DEFAULTS.alias,
        help="of that model's best version, which it gets if it is better (default: %(default)s; '' for none)",
    )


def _print_json(done: RunExport) -> None:
    for name, certificate in done.exported.certificates.items():
        told = {"folder": str(done.folder / name), "model_uri": done.models.get(name), **asdict(certificate)}
        sys.stdout.write(json.dumps(told) + "\n")


def _show(console: Console, run: Path, which: str, done: RunExport, *, alone: bool) -> None:
    if not done.exported.certificates:
        return
    console.print(f"{quote_path(run)}: the {which} checkpoint, epoch {done.epoch}", soft_wrap=True, markup=False)
    first = next(iter(done.exported.certificates.values()))
    table = Table()
    table.add_column("format", no_wrap=True)
    for title in (
        "size",
        "samples",
        "largest difference",
        first.measure,
        "the model's",
        "runtime",
        "ms for 1",
        "for 32",
    ):
        table.add_column(title, justify="left" if title == "runtime" else "right")
    for name, certificate in done.exported.certificates.items():
        table.add_row(name, *_cells(done.folder / name, certificate))
    console.print(table)
    console.print("compared on validation samples; see certificate.json beside each model", soft_wrap=True)
    for name, certificate in done.exported.certificates.items():
        for runtime, check in certificate.runtimes.items():
            if check.error:
                console.print(f"not used: {runtime}, which {check.error}", soft_wrap=True, markup=False)
        console.print(f"{name:<11} {quote_path(done.folder / name)}", soft_wrap=True, markup=False, highlight=False)
    for name, uri in done.models.items():
        console.print(f"{'in MLflow':<11} {uri}  ({name})", soft_wrap=True, markup=False, highlight=False)
    if done.registered:
        console.print(done.registered, soft_wrap=True, markup=False, highlight=False)
    name = next(iter(done.exported.certificates))
    asked = quote_path(done.folder / name) if alone else f"{quote_path(run)} --format {name}"
    console.print(f"\nNext:\n  python -m expkit predict {asked} FILE...", soft_wrap=True, markup=False)


def _cells(folder: Path, certificate: Certificate) -> list[str]:
    """Return the cells of a table's row: what every usable runtime makes of an export, the fastest first."""
    checks = [certificate.runtimes[name] for name in certificate.passed]
    size = sum(path.stat().st_size for path in folder.glob("model.*") if path.suffix != ".yaml")
    score = "{:.2%}".format if certificate.measure == ACCURACY else "{:.4g}".format
    return [
        f"{size / 1000:,.0f} kB",
        f"{certificate.samples:,}",
        "\n".join(f"{check.largest_difference:.1e}".replace("0.0e+00", "0") for check in checks),
        "\n".join(score(check.score) for check in checks),
        score(certificate.model_score),
        "\n".join(certificate.passed),
        *("\n".join(f"{check.milliseconds[size]:.2f}" for check in checks) for size in ("1", "32")),
    ]
