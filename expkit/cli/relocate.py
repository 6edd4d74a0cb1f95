"""`python -m expkit relocate`: makes the store of a copied runs folder name the place that it is in."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from expkit.errors import TrackingError
from expkit.tracking.relocation import find_move, relocate

_MORE = """\
A folder that was moved, so that its old place is gone, is set right by itself when it is next used. This verb is for a
copy: MLflow stores absolute paths, so that it would show the files of the original, and write new ones there.
The database as it was is kept beside it, as mlflow.db.before-move-DATE.
"""


def main(arguments: list[str]) -> int:
    """Set a store right.

    Args:
        arguments: behind the verb.

    Returns:
        0.

    Raises:
        TrackingError: there is no store, or another process uses it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit relocate",
        description="Let the tracking store of a runs folder that was copied or moved find its artifacts there.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_MORE,
    )
    parser.add_argument("--runs-dir", default="runs", help="where runs are (default: runs)")
    file = Path(parser.parse_args(arguments).runs_dir).resolve() / "mlflow.db"
    if not file.is_file():
        raise TrackingError(f"there is no tracking store {file}. Say where yours is: --runs-dir FOLDER.")
    done = 0
    while (move := find_move(file)) is not None:  # a folder may have been copied twice
        changed = relocate(move)
        if not changed:
            raise TrackingError(f"{file} names {move.old} in a way that is not known, and is left as it is.")
        done += changed
        sys.stdout.write(f"{move.old} -> {move.new}\n")
    sys.stdout.write(f"{done} places in the store were set right.\n" if done else f"{file} is right as it is.\n")
    return 0
