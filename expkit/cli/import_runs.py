"""`python -m expkit import-runs FILE.zip`: runs of another machine, in the runs folder and in MLflow."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from expkit.bundles import read_bundle, unpack
from expkit.cli import sync
from expkit.errors import ConfigError
from expkit.report import quote_path
from expkit.tracking.journal import JOURNAL
from expkit.tracking.left_behind import settings_of


def main(arguments: list[str]) -> int:
    """Unpack a bundle, and make its runs in MLflow.

    Args:
        arguments: behind the verb.

    Returns:
        0 when all is there; 1 when a run is damaged, or could not be made in MLflow.

    Raises:
        ConfigError: the file is no bundle, or holds what no bundle of ours does; nothing was unpacked.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit import-runs",
        description="Unpack runs that `export-runs` wrote, and make them in the tracking store here. A run that is "
        "here already is left alone. A config names classes, which `resume` runs: take bundles from those you trust.",
    )
    parser.add_argument("file", metavar="FILE.zip")
    parser.add_argument("--runs-dir", default="runs", help="where they go (default: runs)")
    chosen = parser.parse_args(arguments)
    runs_dir, code = Path(chosen.runs_dir), 0
    bundle = read_bundle(Path(chosen.file))
    journals: list[str] = []
    for place in bundle.places:
        try:
            folder = unpack(bundle, place, runs_dir)
        except ConfigError as error:
            sys.stderr.write(f"error: {error}\n")
            code = 1
            continue
        if folder is None:
            sys.stdout.write(f"{place} is here already, and left as it is\n")
            continue
        sys.stdout.write(f"{quote_path(folder)}\n")
        journals += [
            str(path.parent) for path in (folder / JOURNAL, *folder.glob(f"*/{JOURNAL}")) if _is_for_here(path)
        ]
    return max(code, sync.main([*journals, "--runs-dir", str(runs_dir)])) if journals else code


def _is_for_here(journal: Path) -> bool:
    """Whether a run goes to the store of the runs folder; one that was in another store may still be there."""
    if not journal.is_file():
        return False
    settings = settings_of(journal.parent)
    if settings is not None and settings.uri is not None:
        where = quote_path(journal.parent)
        sys.stdout.write(
            f"{where} was tracked in {settings.uri}. To send it: python -m expkit sync {where} --uri URI\n"
        )
        return False
    return True
