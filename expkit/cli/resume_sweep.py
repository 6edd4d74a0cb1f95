"""`python -m expkit resume-sweep SWEEP`: goes on with a sweep as its ledger says it was begun."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from expkit.cli import run
from expkit.cli.arguments import check, is_flag
from expkit.errors import ConfigError
from expkit.masking import is_masked
from expkit.sweeping.ledger import Head, find_sweep, read_ledger
from expkit.tracking.passwords import with_password

_MORE = """\
What is done is not done again. What was interrupted goes on from its last checkpoint; what was not begun begins. What
failed is left as it is, unless sweep.retry_failed=true. Overrides take the place of those of the command that began
the sweep: sweep.jobs=4 spreads it otherwise, seed=0,1,2,3 adds jobs where it had three seeds.

exit codes: 0 all jobs are done; 1 some failed; 75 stopped by a signal, all is saved; 130 (Ctrl-C twice)
or 143: stopped, and jobs were killed before they could save; 2 refused.

examples:
  python -m expkit resume-sweep last
  python -m expkit resume-sweep last sweep.retry_failed=true
  python -m expkit resume-sweep runs/mnist_cnn/sweep-20260101-120000-abc123 seed=range(10)
"""


def main(arguments: list[str]) -> int:
    """Go on with a sweep.

    Args:
        arguments: behind the verb.

    Returns:
        As for a sweep that is begun.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit resume-sweep",
        description="Go on with a sweep of -m that was interrupted, or extend one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_MORE,
    )
    parser.add_argument("sweep", help="folder of the sweep, the last part of its name, or `last`")
    parser.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="what is to be otherwise")
    parser.add_argument("--runs-dir", default="runs", help="where runs are (default: runs)")
    options = parser.parse_args(arguments)
    folder = find_sweep(options.sweep, Path(options.runs_dir))
    head, _ = read_ledger(folder)
    overrides = _merged(head.arguments, options.overrides, folder)
    _go_to(head, folder)
    return run.main(overrides)


def _merged(then: Sequence[str], further: Sequence[str], folder: Path) -> list[str]:
    """Return the command of then with these overrides in the places of theirs."""
    for one in further:
        if is_flag(one) or "=" not in one:
            raise ConfigError(f"{one!r}: an override is written key=value, such as sweep.retry_failed=true.")
        if _key(one) in ("sweep.resume", "runs_dir", "name", "hydra.sweep.dir"):
            raise ConfigError(f"{one!r}: the sweep is the one in {folder}.")
    if further:
        check(list(further))
    keys = {_key(one) for one in further}
    kept = [one for one in then if is_flag(one) or "=" not in one or _key(one) not in keys]
    kept = [_with_password(one) for one in kept]
    quoted = str(folder).replace("'", "\\'")
    return [*kept, *further, f"sweep.resume='{quoted}'"]


def _with_password(override: str) -> str:
    """Return an override of then with its secret, where the environment has it.

    Raises:
        ConfigError: it has not.
    """
    key, _, value = override.partition("=")
    value = value.strip("'\"")
    if not is_masked(value) or _key(override).startswith("tracking.tags"):
        return override
    if _key(override) == "tracking.uri":
        return f"{key}='{with_password(value)}'"
    raise ConfigError(f"{override!r}: secrets are not recorded. Give it again behind the sweep: {key}=...")


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _go_to(head: Head, folder: Path) -> None:
    """Go where the command was typed, for its relative paths and the user's ./conf, unless the project was moved."""
    if Path(head.folder) == folder and Path(head.cwd).is_dir() and Path.cwd() != Path(head.cwd):
        os.chdir(head.cwd)
        sys.path.insert(0, head.cwd)
