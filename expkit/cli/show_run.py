"""`python -m expkit show run RUN`: one page of one run."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from expkit.comparison import page
from expkit.comparison.details import find
from expkit.report import make_console


def show_run(reference: str, *, runs_dir: Path, uri: str | None, json: bool) -> int:
    """Print all that is known of a run.

    Args:
        reference: a folder, a run's id (or its last part), an MLflow run id, or "last".
        runs_dir: where runs are.
        uri: of a store to ask in place of the folders.
        json: a JSON object in place of the page.

    Returns:
        0.

    Raises:
        ExpkitError: there is no such run.
    """
    with tempfile.TemporaryDirectory(prefix="expkit-show-") as scratch:
        details = find(reference, runs_dir=runs_dir, uri=uri, scratch=Path(scratch))
        if json:
            sys.stdout.write(page.as_json(details))
        else:
            page.show(make_console(), details)
    return 0
