"""`python -m expkit sync`: bring into the tracking store what it has not got of runs."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from expkit.errors import ConfigError, ExpkitError, RunLockedError, RunNotFoundError, TrackingError
from expkit.paddle_import import hush_import
from expkit.report import quote_path
from expkit.runs import find_run
from expkit.tracking.copies import original_of
from expkit.tracking.delivery import DeletedRunError, Delivery
from expkit.tracking.journal import JOURNAL, is_open
from expkit.tracking.left_behind import is_abandoned, send, settings_of
from expkit.tracking.store import StoreSettings


def main(arguments: list[str]) -> int:
    """Send what is missing.

    Args:
        arguments: behind the verb.

    Returns:
        0 when all is in the store; 1 when something could not be sent.

    Raises:
        ExpkitError: there is no such run, or it has nothing to be sent from.
    """
    chosen = _parser().parse_args(arguments)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # whoever asks for this has time
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    hush_import()  # MLflow imports Paddle for a run's model
    runs_dir, console = Path(chosen.runs_dir), Console(highlight=False, soft_wrap=True)
    folders = sorted(dict.fromkeys(one for what in chosen.runs for one in _journals(what, runs_dir)), key=_jobs_first)
    down: set[tuple[str | None, str]] = set()
    ends: Counter[str] = Counter()
    for sweep in dict.fromkeys(folder.parent for folder in folders):
        _begin_sweep(sweep, chosen.uri)
    for folder in folders:
        try:
            end, told = _sync(folder, chosen.uri, down)
        except RunLockedError:
            end, told = "busy", "a process is working on it: the run itself, which sends by itself, or another sync"
        except ExpkitError as error:
            end, told = "not sent", str(error)
        ends[end] += 1
        if told:
            console.print(f"{quote_path(_short(folder))}: {told}", markup=False)
    console.print(
        f"{len(folders):,} run{'s' * (len(folders) != 1)}: {', '.join(f'{ends[one]:,} {one}' for one in ends)}"
    )
    return 1 if ends["not sent"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m expkit sync",
        description="Bring into the tracking store what it has not got of runs: the server was down, their process was "
        "killed, or they were trained with tracking=none. Nothing is stored twice.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="id, folder, MLflow run id or `last`; a folder of runs; or `all`"
    )
    parser.add_argument("--runs-dir", default="runs", help="folder of the runs (default: %(default)s)")
    parser.add_argument(
        "--uri", help="of the store, instead of that of the run; with its password, which records do not hold"
    )
    return parser


def _journals(what: str, runs_dir: Path) -> list[Path]:
    """Return the folders that a user means which have a journal.

    Raises:
        RunNotFoundError: none has.
    """
    folder = runs_dir if what == "all" else Path(what)
    if not folder.is_dir() or (folder / "run.json").is_file():
        folder = find_run(what, runs_dir)
        if not (folder / JOURNAL).is_file():
            raise RunNotFoundError(f"{folder} has no {JOURNAL}, from which it could be sent.")
        return [folder.resolve()]
    found = [path.parent.resolve() for depth in range(4) for path in folder.glob("*/" * depth + JOURNAL)]
    if not found:
        raise RunNotFoundError(f"{folder} has no runs: no {JOURNAL} in it or below.")
    return found


def _jobs_first(folder: Path) -> tuple[Path, bool, str]:
    """A sweep's own run after those of its jobs: it names the best of them."""
    sweep = folder if folder.name.startswith("sweep-") else folder.parent
    return sweep, folder == sweep, str(folder)


def _begin_sweep(sweep: Path, uri: str | None) -> None:
    """Have the run of a sweep in the store before those of its jobs, which are nested in it."""
    settings = _settings(sweep, uri) if (sweep / JOURNAL).is_file() else None
    if settings is None:
        return
    with contextlib.suppress(ExpkitError):  # it is said when the sweep's own turn comes
        delivery = Delivery(sweep, settings)
        delivery.find_run()
        begun = iter((not delivery.sent.run_id,))
        send(sweep, settings, lambda: next(begun, False))


def _settings(folder: Path, uri: str | None) -> StoreSettings | None:
    """Return the store that a run goes to; None where its journal does not say so."""
    settings = settings_of(folder, uri or os.environ.get("MLFLOW_TRACKING_URI"))
    return settings if settings is None or uri is None else replace(settings, uri=uri)


def _sync(folder: Path, uri: str | None, down: set[tuple[str | None, str]]) -> tuple[str, str]:
    """Send one run; returns what came of it, and what there is to say.

    Raises:
        ExpkitError: it cannot be sent; a store that does not answer is added to `down`, and not asked again.
    """
    original = original_of(folder)
    if original is not None:
        return (
            "a copy",
            f"a copy of {quote_path(_short(original))}: nothing of its own is to be sent until it is resumed",
        )
    settings = _settings(folder, uri)
    if settings is None:
        raise ConfigError(f"its {JOURNAL} is damaged: it does not say where the run began.")
    place = settings.uri, settings.experiment
    if place in down:
        return "not sent", f"not sent: {Delivery(folder, settings).left() or 'whether all is there is not known'}"
    delivery = Delivery(folder, settings)
    try:
        delivery.find_run()
    except DeletedRunError:
        raise
    except TrackingError:
        down.add(place)
        raise
    before = delivery.left()
    died = is_open(folder) and is_abandoned(folder)
    if not before and not died:
        return "had all in the store", ""
    try:
        left = send(folder, settings)
    except TrackingError:
        down.add(place)
        raise
    told = [*([before] if before else []), *(["that its process died"] if died else [])]
    return ("not sent", f"not sent: {left}") if left else ("sent", f"sent: {', '.join(told)}")


def _short(folder: Path) -> Path:
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
