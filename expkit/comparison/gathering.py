"""Gathers the runs that a user means, from the tracking store and from run folders that are in none."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path

from expkit.comparison.filters import Selection, is_called, select
from expkit.comparison.run import Run, of_folder, of_store
from expkit.errors import ConfigError, RunNotFoundError, TrackingError, did_you_mean
from expkit.runs import all_runs, read_record, run_id
from expkit.tracking import masked
from expkit.tracking.query import RunQuery, open_query
from expkit.tracking.schema_lock import database_file

log = logging.getLogger("expkit")


@dataclass(frozen=True)
class Gathered:
    """The runs that were found.

    Attributes:
        runs: the newest first.
        experiments: names of those that were looked through, by MLflow's id, the newest first.
        place: where they come from, for people.
        query: the store; None where there are folders only.
        untracked: those of the runs that are not in the store, in their order.
    """

    runs: list[Run]
    experiments: list[str]
    place: str
    query: RunQuery | None
    untracked: list[Run]


def gather(
    selection: Selection,
    *,
    runs_dir: Path,
    uri: str | None = None,
    where: str = "",
    everywhere: bool = False,
) -> Gathered:
    """Return the runs that fit a selection.

    Args:
        selection: what the user asks for. Without an experiment, a run or a sweep, it is about the experiment that has
            the newest run that fits.
        runs_dir: folder of all runs.
        uri: of the store; None means that of `runs_dir`, and the run folders there that are not in it.
        where: a condition in MLflow's own search syntax.
        everywhere: whether a selection without an experiment is about all of them.

    Raises:
        TrackingError: there is no store and no run, or the store does not answer.
        RunNotFoundError: there is no such experiment or run, or nothing fits.
        ConfigError: a condition cannot be understood.
    """
    now = datetime.now(timezone.utc)
    query = open_query(uri, runs_dir)
    known = {} if query is None else query.experiments()
    folders = _untracked(runs_dir, now, query) if uri is None and not where else []
    if query is None and not folders:
        raise TrackingError(
            f"there are no runs in {runs_dir}: neither mlflow.db nor a run's folder. Start one (python -m expkit "
            "+experiment=mnist_cnn), or say where yours are: --runs-dir FOLDER, or --uri URI of a tracking store."
        )
    everywhere = everywhere or any(one.key == "sweep" for one in selection.filters)
    store = _Store(query, known, folders, _place(query, runs_dir), where, now)
    if selection.words or everywhere:
        chosen = _chosen(selection, store.names)
        named = _named(store.runs_of(chosen), selection, chosen, store.place)
        runs = select(named, selection.filters, now)
        if not runs:
            raise _nothing(selection, where, named, store.place)
    else:
        runs = _newest_that_fits(store, selection)
    shown = list(dict.fromkeys(run.experiment for run in runs))
    return Gathered(runs, shown, store.place, query, [run for run in runs if not run.mlflow_experiment_id])


@dataclass(frozen=True)
class _Store:
    """All that may be read: a tracking store, and the runs that are in none."""

    query: RunQuery | None
    known: Mapping[str, str]
    folders: list[Run]
    place: str
    where: str
    now: datetime

    @property
    def names(self) -> list[str]:
        """Names of the experiments; the one with the newest run first, as far as the store knows."""
        return list(dict.fromkeys([*self.known.values(), *(run.experiment for run in reversed(self.folders))]))

    def runs_of(self, names: Container[str]) -> list[Run]:
        """Return all runs of some experiments, the newest first."""
        wanted = {number: name for number, name in self.known.items() if name in names}
        tracked = [] if self.query is None else self.query.runs(wanted, self.where)
        found = [of_store(one, self.now) for one in tracked]
        found += [run for run in self.folders if run.experiment in names]
        return sorted(found, key=lambda run: run.started or self.now, reverse=True)


def _newest_that_fits(store: _Store, selection: Selection) -> list[Run]:
    """Return the runs that fit of the experiment that was worked on last and has any."""
    refused: ConfigError | None = None
    seen: list[Run] = []
    for name in store.names:
        runs = store.runs_of([name])
        seen += runs
        try:
            fitting = select(runs, selection.filters, store.now)
        except ConfigError as error:  # another experiment may have such an option
            refused = refused or error
            continue
        if fitting:
            return fitting
    raise refused or _nothing(selection, store.where, seen, store.place)


def _untracked(runs_dir: Path, now: datetime, query: RunQuery | None) -> list[Run]:
    """Read the run folders that the store does not know; what was deleted in it stays so."""
    known: set[str] | None = None
    found = []
    for folder in all_runs(runs_dir):
        try:
            if query is not None:
                known = query.ids() if known is None else known
                if known & {str(read_record(folder).get("mlflow_run_id") or ""), run_id(folder)}:
                    continue
            found.append(of_folder(folder, now))
        except (RunNotFoundError, LookupError, TypeError, ValueError, AttributeError) as error:
            log.debug("%s is left out: %s", folder, error)
    return found


def _chosen(selection: Selection, names: Sequence[str]) -> list[str]:
    """Return the names of the experiments that are looked through; all of them where a word may be a run."""
    fitting = [{name for name in names if fnmatchcase(name, word)} for word in selection.words]
    return (
        [name for name in names if not all(fitting) or any(name in some for some in fitting)] if fitting else [*names]
    )


def _named(candidates: list[Run], selection: Selection, chosen: Sequence[str], place: str) -> list[Run]:
    """Return the runs of the experiments that are named, and those that are named themselves."""
    if not selection.words:
        return candidates
    kept: dict[int, Run] = {}
    for word in selection.words:
        fitting = [run for run in candidates if fnmatchcase(run.experiment, word)]
        fitting = fitting or ([candidates[0]] if word == "last" and candidates else [])
        fitting = fitting or [run for run in candidates if is_called(run, Path(word).name) or _lies_in(run, word)]
        if not fitting and not any(fnmatchcase(name, word) for name in chosen):
            raise _unknown(word, candidates, chosen, place) if chosen else _nothing(selection, "", [], place)
        kept.update((id(run), run) for run in fitting)
    return [run for run in candidates if id(run) in kept]


def _lies_in(run: Run, word: str) -> bool:
    """Whether a word is the folder of a run, or of its sweep."""
    if run.folder is None or "/" not in word:
        return False
    folder = Path(word).absolute()
    return folder in (run.folder, run.folder.parent) and folder.name.startswith(("sweep-", run.folder.name))


def _unknown(word: str, candidates: list[Run], chosen: Sequence[str], place: str) -> RunNotFoundError:
    near = did_you_mean(word, [*chosen, *(run.short_id for run in candidates)])
    names = ", ".join(sorted(chosen)) or "none"
    return RunNotFoundError(
        f"no experiment and no run in {place} is called {word!r}.{near} Experiments: {names}. A condition is written "
        "KEY=VALUE, as optimizer=adam. `python -m expkit runs` lists the runs."
    )


def _nothing(selection: Selection, where: str, seen: Sequence[Run], place: str) -> RunNotFoundError:
    asked = " ".join(part for part in (selection.text, f"--where {where!r}" if where else "") if part)
    names = ", ".join(dict.fromkeys(run.experiment for run in seen))
    if not seen:
        of = f" of {', '.join(selection.words)}" if selection.words else ""
        if where:
            return RunNotFoundError(f"no run{of} in {place} fits --where {where!r}. Loosen it, or leave it away.")
        return RunNotFoundError(
            f"there are no runs{of} in {place} yet. Start one (python -m expkit +experiment=mnist_cnn), or say where "
            "yours are: --runs-dir FOLDER, or --uri URI of a tracking store."
        )
    runs = "the only run" if len(seen) == 1 else f"none of the {len(seen)} runs"
    return RunNotFoundError(
        f"{runs} of {names} in {place} fits{' not' * (len(seen) == 1)}: {asked}. Loosen a condition, or leave it away."
    )


def _place(query: RunQuery | None, runs_dir: Path) -> str:
    if query is None:
        return str(runs_dir)
    file = database_file(query.uri)
    if file is None:
        return masked(query.uri)
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)
