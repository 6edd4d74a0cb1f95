"""One run on a page: how it was made, how it ended, what it came to, where it lies, and what can be done with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from expkit import report
from expkit.checkpoint import CheckpointFolder
from expkit.comparison.details import Details
from expkit.comparison.listing import ago
from expkit.comparison.run import DIED
from expkit.errors import CheckpointError
from expkit.export import certificates_of
from expkit.identity import is_left_out
from expkit.progress import show_seconds, show_value
from expkit.registry import KINDS
from expkit.report import quote_path
from expkit.sweeping.names import status_word
from expkit.tracking.journal import JOURNAL

_WIDTH = 12
_STYLES = {"FINISHED": "green", "RUNNING": "cyan", "FAILED": "bold red", DIED: "bold red"}
_FILES = ("run.log", "output.log", "config.yaml", "history.json", "steps.csv", "git.diff", "reproduction.json")
_FOLDERS = ("plots", "inspect", "capsules", "visualdl", "untracked")
_GROUPS = (*(kind.config_group for kind in KINDS), "trainer", "device", "checkpoint")
GOES_ON = ("KILLED", "PAUSED", "FAILED", DIED)


def show(console: Console, details: Details) -> None:
    """Print the page.

    Args:
        console: where to.
        details: of the run.
    """
    run = details.run
    style = _STYLES.get(run.status, "yellow")
    name = f"  [dim]{escape(run.name)}[/dim]" if run.name and run.name != run.id else ""
    console.print(f"[bold]{escape(run.id)}[/bold]  {escape(run.experiment)}{name}", soft_wrap=True)
    state = Text(f"{'status':<{_WIDTH}}").append(status_word(run.status), style=style)
    console.print(state.append(f": {_first_line(run.reason)}" if run.reason else ""), soft_wrap=True)
    for what, text in _facts(details):
        console.print(f"{what:<{_WIDTH}}{text}", soft_wrap=True, markup=False)
    stand_in = run.tags.get("data.stand_in_for")
    if stand_in:
        told = f"STAND-IN DATA: this is NOT {stand_in}. Results say nothing about {stand_in}."
        console.print(told, style="bold yellow", markup=False)
    console.print()
    for what, text in _options(run.params):
        console.print(f"{what:<{_WIDTH}}{text}", soft_wrap=True, markup=False)
    result = details.result
    places = [*_places(details)]
    if result:
        report.conclude(
            console, metrics=result, headline=_headline(details), places=places, next_commands=next_commands(details)
        )
        return
    console.print("\nNo epoch of it was finished." if run.status != "RUNNING" else "\nNo epoch of it is finished yet.")
    for what, where in places:
        console.print(f"{what:<11} {where}", soft_wrap=True, markup=False)
    console.print("\nNext:" if next_commands(details) else "")
    for purpose, command in next_commands(details):
        console.print(Text(f"  {command}").append(f"  # {purpose}", style="dim"), soft_wrap=True)


def as_json(details: Details) -> str:
    """Return the page as a JSON object."""
    run, environment = details.run, details.environment
    return (
        json.dumps(
            {
                "run": run.id,
                "experiment": run.experiment,
                "name": run.name or None,
                "status": run.status,
                "reason": run.reason or None,
                "started": None if run.started is None else run.started.isoformat(timespec="seconds"),
                "seconds": run.seconds,
                "command": run.tags.get("command"),
                "parameters": dict(run.params),
                "data": details.record.get("data") or {"name": run.tags.get("data.name")},
                "metrics": details.result,
                "best_epoch": details.best_epoch,
                "monitor": None if run.monitor is None else str(run.monitor),
                "export": details.record.get("export"),
                "checkpoints": dict(_checkpoints(details)),
                "environment": dict(environment),
                "folder": None if run.folder is None else str(run.folder),
                "folder_is_here": details.here,
                "mlflow_run_id": run.mlflow_run_id or None,
                "mlflow_uri": details.uri or None,
                "mlflow_page": details.page or None,
                "next": dict(next_commands(details)),
            },
            indent=1,
            ensure_ascii=False,
            default=str,
        )
        + "\n"
    )


def next_commands(details: Details) -> list[tuple[str, str]]:
    """Return (purpose, command) that a user would want now."""
    run = details.run
    if run.status == "RUNNING":
        return []
    if not details.here:
        return [("do it again from what MLflow holds", f"python -m expkit reproduce {run.mlflow_run_id}")] * bool(
            details.recorded
        )
    folder = report.quote_path(run.folder) if run.folder is not None else ""
    commands = []
    if run.status in GOES_ON:
        commands.append(("go on with it", f"python -m expkit resume {folder}"))
    if "export" in details.record:
        commands.append(("ask the model about files", f"python -m expkit predict {folder} FILE..."))
    if run.status == "FINISHED":
        commands.append(("measure its weights again", f"python -m expkit evaluate {folder}"))
        commands.append(("does it come out the same?", f"python -m expkit reproduce {folder}"))
    return commands


def _facts(details: Details) -> Iterator[tuple[str, str]]:
    run, record, environment = details.run, details.record, details.environment
    yield "started", _times(details)
    if run.tags.get("command"):
        yield "command", run.tags["command"]
    if run.tags.get("reproduces"):
        yield "reproduces", run.tags["reproduces"]
    data = record.get("data", {})
    source = data.get("source", {})
    where = f"{source['kind']}: {source['location']}" if "kind" in source else run.tags.get("data.source", "")
    fingerprint = str(data.get("fingerprint") or run.tags.get("data.fingerprint", ""))
    if where or fingerprint:
        yield "data", f"{data.get('name') or run.tags.get('data.name')}  ({where}; fingerprint {fingerprint[:12]})"
    yield "code", _code(details)
    versions = {
        "Python": environment.get("python"),
        **environment.get("versions", {}),
        **environment.get("plugins", {}),
    }
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version) or "not recorded"
    machine = [environment.get(key) for key in ("device", "gpu", "processor", "platform")]
    cores = f"{environment['cores']} cores" if environment.get("cores") else ""
    yield "machine", ", ".join(str(one) for one in [*machine, cores] if one) or "not recorded"


def _times(details: Details) -> str:
    run, now = details.run, datetime.now(timezone.utc)
    if run.started is None:
        return "not known"
    took = (
        "" if run.seconds is None else f", {'for' if run.status == 'RUNNING' else 'took'} {show_seconds(run.seconds)}"
    )
    resumed = details.record.get("resumed", ())
    again = f", resumed {len(resumed)} time{'s' * (len(resumed) != 1)}" if resumed else ""
    return f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}  ({ago(run.started, now)}{took}{again})"


def _code(details: Details) -> str:
    git = details.environment.get("git") or {}
    if not git.get("commit"):
        return "not recorded: it was started in no git checkout"
    branch = f" ({git['branch']})" if git.get("branch") else ""
    changes = ""
    if git.get("dirty"):
        recorded = details.recorded
        files = (
            0 if recorded is None else recorded.diff.count("\ndiff --git ") + recorded.diff.startswith("diff --git ")
        )
        others = 0 if recorded is None else len(recorded.untracked)
        changes = " with uncommitted changes" + (f" in {files} files, {others} untracked" if recorded else "")
    return f"commit {git['commit'][:8]}{branch}{changes}"


def _options(params: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield a line for each config group: what was chosen, and its options."""
    if not any(group in params for group in _GROUPS):  # a run that others made
        yield "parameters", "  ".join(f"{key}={value}" for key, value in params.items())
        return
    if "seed" in params:
        yield "seed", params["seed"]
    for group in _GROUPS:
        chosen = params.get(group, "")
        options = [
            f"{key[len(group) + 1 :]}={value}"
            for key, value in params.items()
            if key.startswith(f"{group}.") and value != "null" and not is_left_out(key)
        ]
        if chosen not in ("", "null", "none") or (options and chosen != "null"):
            yield group, "  ".join([chosen if group not in ("trainer", "checkpoint") else "", *options]).strip()


def _headline(details: Details) -> str:
    run, best = details.run, details.best_epoch
    epochs = details.record.get("epochs") or run.params.get("trainer.epochs", "?")
    shown = "" if best is None else f"best epoch {best} of {epochs}"
    if run.main_metric in run.metrics and run.monitor is not None:
        shown += f" ({run.monitor.name} {show_value(run.metrics[run.main_metric])})"
    if not shown:
        return "last values"
    return shown + ("" if "epochs" in details.record else " so far")


def _places(details: Details) -> Iterator[tuple[str, str]]:
    run, record = details.run, details.record
    if record.get("stopped"):
        yield "stopped", str(record["stopped"])
    if run.folder is not None:
        yield "run folder", quote_path(run.folder) + ("" if details.here else "  (not here)")
    if details.here and run.folder is not None:
        there = [name for name in _FILES if (run.folder / name).is_file()]
        pictures = [f"{name}/" for name in _FOLDERS if (run.folder / name).is_dir()]
        yield "files", ", ".join([*there, *pictures])
    checkpoints = _checkpoints(details)
    if checkpoints:
        yield "checkpoints", ", ".join(f"{which} {name}" for which, name in checkpoints)
    for name, certificate in certificates_of(record).items():
        yield "export", f"{name}: {certificate}"
    if run.mlflow_run_id:
        yield "MLflow run", _mlflow(details)
    elif details.here and run.folder is not None and (run.folder / JOURNAL).is_file():
        yield "MLflow run", f"none; `python -m expkit sync {quote_path(run.folder)}` makes one of what its folder holds"


def _mlflow(details: Details) -> str:
    run = details.run
    if not details.page:
        return (
            f"{run.mlflow_run_id}  (in {details.uri or 'a store'}, which does not answer or has it no more; see --uri)"
        )
    if details.page.startswith("#"):
        return f"{run.mlflow_run_id}  (python -m expkit ui, then {details.page})"
    return details.page


def _checkpoints(details: Details) -> list[tuple[str, str]]:
    if not details.here or details.run.folder is None:
        return []
    folder = CheckpointFolder(details.run.folder / "checkpoints")
    found = []
    for which in ("last", "best"):
        try:
            found.append((which, folder.path(which).name))
        except CheckpointError:
            continue
    return found


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
