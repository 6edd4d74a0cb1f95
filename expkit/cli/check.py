"""`python -m expkit check +experiment=X`: says in seconds whether data, model and loss fit together."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from expkit.cli.composed import with_experiment
from expkit.cli.finding_view import counted, show
from expkit.report import make_console

if TYPE_CHECKING:
    from expkit.config import ExperimentConfig


def main(arguments: list[str]) -> int:
    """Check an experiment, which is composed as a run would be.

    Args:
        arguments: behind the verb.

    Returns:
        0; 1 when something failed.

    Raises:
        ExpkitError: the experiment cannot be composed or built.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit check",
        usage="python -m expkit check [--plots FOLDER] OVERRIDE ...",
        description="Look at data, model and loss of an experiment on a few samples, and let the model learn one batch "
        "by heart. Nothing is written and nothing tracked. The exit code is 1 when something cannot work.",
        epilog="Overrides and Hydra's flags are those of a run. Example: python -m expkit check +experiment=mnist_cnn "
        "model.channels=[8,16]",
        allow_abbrev=False,
    )
    parser.add_argument("--plots", metavar="FOLDER", help="write pictures and tables of the untrained model there")
    options, overrides = parser.parse_known_args(arguments)
    if not overrides:
        parser.error("name an experiment, as for a run: check +experiment=mnist_cnn")
    pictures = None if options.plots is None else Path(options.plots)
    return with_experiment("check", overrides, lambda config: _check(config, pictures))


def _check(config: ExperimentConfig, pictures: Path | None) -> int:
    from expkit.checkup import checkup

    console = make_console()
    console.print(Text(f"check  {config.name}, seed {config.seed}", style="bold"))
    started, levels = time.perf_counter(), []
    for section in checkup(config, pictures):
        show(console, section)
        levels += [finding.level for finding in section.findings]
    warnings, failures = levels.count("warning"), levels.count("FAIL")
    counts = f"{levels.count('ok')} ok, {counted(warnings, 'warning')}, {counted(failures, 'failure')}"
    console.print(f"\n{counts}  ({time.perf_counter() - started:.0f} s)")
    return 1 if "FAIL" in levels else 0
