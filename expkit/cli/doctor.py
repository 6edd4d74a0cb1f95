"""`python -m expkit doctor`: whether this machine and this installation are fit for runs, and what to do where not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from expkit.cli.choosing import add_place
from expkit.doctor import Examination, examine
from expkit.doctor.examination import Scene
from expkit.doctor.writing import as_json, as_markdown, column_of, counts
from expkit.findings import Section

_DESCRIPTION = """\
Look at versions, machine, folders, data, plugins, tracking store and
environment: what is fit, what is doubtful, what cannot work, and for the last
two what to do. Nothing is changed, and nothing is asked of the network but a
tracking server that is named (2 seconds at most). The exit code is 1 when
something cannot work.
"""
_EPILOG = """\
examples:
  python -m expkit doctor
  python -m expkit doctor --markdown             to be pasted into an issue
  python -m expkit doctor --uri http://host:5000
  python -m expkit doctor --measure              what the CPU settings are worth here
"""


def main(arguments: list[str]) -> int:
    """Look at all of it.

    Args:
        arguments: behind the verb.

    Returns:
        0; 1 when something cannot work.
    """
    options = _parser().parse_args(arguments)
    scene = Scene(runs_dir=Path(options.runs_dir), uri=options.uri, measure=options.measure)
    examination = _examine(scene, quiet=options.json or options.markdown)
    if options.json:
        sys.stdout.write(as_json(examination))
    elif options.markdown:
        sys.stdout.write(as_markdown(examination))
    else:
        _show(examination)
    return 1 if examination.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m expkit doctor",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_place(parser)
    parser.add_argument(
        "--measure", action="store_true", help="measure what the CPU settings (device.tune) are worth; some 15 seconds"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs: one JSON object")
    form.add_argument("--markdown", action="store_true", help="for an issue; without secrets, your home as ~")
    return parser


def _examine(scene: Scene, *, quiet: bool) -> Examination:
    """Look, and on a terminal say meanwhile that it is being looked."""
    try:
        from rich.console import Console
    except ImportError:  # which the examination will say
        return examine(scene)
    what = "training for some 15 seconds, with the CPU settings and without" if scene.measure else "looking"
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        return examine(scene)
    with console.status(f"{what} ..."):
        return examine(scene)


def _show(examination: Examination) -> None:
    column = column_of(examination)
    try:
        from expkit.cli.finding_view import show
        from expkit.report import make_console
    except ImportError:  # something that everything needs is not installed; this has to be told all the same
        sys.stdout.write(
            "".join(_plain(section, column) for section in examination.sections) + f"\n{counts(examination)}\n"
        )
        return
    console = make_console()
    for section in examination.sections:
        show(console, section, column)
    more = "" if not (examination.failed or examination.count("warning")) else "  for an issue: doctor --markdown"
    console.print(f"\n{counts(examination)}  ({examination.seconds:.1f} s){more}", markup=False, soft_wrap=True)


def _plain(section: Section, column: int) -> str:
    lines = [f"\n{section.title}"]
    for one in section.findings:
        lines.append(f"  {one.level:<8}{one.what:<{column}}{one.text}")
        lines += [f"{'':{10 + column}}-> {one.advice}"] if one.advice else []
    return "\n".join(lines) + "\n"
