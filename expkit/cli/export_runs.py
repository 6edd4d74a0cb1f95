"""`python -m expkit export-runs RUN...`: runs as one file, for another machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from expkit.bundles import write_bundle
from expkit.errors import RunNotFoundError
from expkit.runs import all_runs, find_run
from expkit.sweeping.ledger import LEDGER, find_sweeps
from expkit.tracking.journal import JOURNAL


def main(arguments: list[str]) -> int:
    """Write a bundle.

    Args:
        arguments: behind the verb.

    Returns:
        0.

    Raises:
        ExpkitError: there is no such run, one is being trained, or the file cannot be written.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit export-runs",
        description="Put runs into a zip: config, records, log, pictures, checkpoints, export, and the journal from "
        "which they are made in MLflow again. `import-runs` unpacks it on another machine.",
        epilog="example: python -m expkit export-runs last -o mine.zip",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="id, folder, `last`, folder of a sweep, or `all`")
    parser.add_argument("-o", "--output", metavar="FILE.zip", help="default: runs-DATE.zip here")
    parser.add_argument("--no-checkpoints", action="store_true", help="smaller; such a run cannot be resumed")
    parser.add_argument("--runs-dir", default="runs", help="where runs are (default: runs)")
    chosen = parser.parse_args(arguments)
    runs_dir = Path(chosen.runs_dir)
    folders = list(dict.fromkeys(folder.resolve() for what in chosen.runs for folder in _folders(what, runs_dir)))
    folders = [one for one in folders if one.parent not in folders]  # a job goes with its sweep
    file = Path(chosen.output or f"runs-{datetime.now():%Y%m%d-%H%M%S}.zip")
    bundle = write_bundle(file, folders, runs_dir, checkpoints=not chosen.no_checkpoints)
    size = sum(size for size, _ in bundle.files.values())
    sys.stdout.write(
        f"{file}: {len(folders):,} runs and sweeps, {len(bundle.files):,} files, {size:,} bytes unpacked\n"
    )
    for folder in folders:
        if not (folder / JOURNAL).is_file():
            sys.stdout.write(
                f"{folder} has no {JOURNAL} (an earlier expkit made it): it cannot be made in MLflow anew\n"
            )
    return 0


def _folders(what: str, runs_dir: Path) -> Iterator[Path]:
    if (Path(what) / LEDGER).is_file():
        yield Path(what)
    elif what != "all":
        yield find_run(what, runs_dir)
    else:
        found = [*find_sweeps(runs_dir), *all_runs(runs_dir)]
        if not found:
            raise RunNotFoundError(f"there are no runs in {runs_dir}.")
        yield from found
