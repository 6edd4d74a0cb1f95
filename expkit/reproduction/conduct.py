"""Finds a run, does it again, compares, looks for causes, and notes the verdict where both runs are recorded."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console

from expkit import cpu_tuning, device, provenance, report
from expkit.errors import TrainingStoppedError
from expkit.masking import from_environment, masked_values
from expkit.past import check_change, read_changed
from expkit.record_files import HAPPENED
from expkit.reproduction import show
from expkit.reproduction.apart import run_apart
from expkit.reproduction.causes import Cause, find_causes, likely
from expkit.reproduction.comparing import Comparison, compare
from expkit.reproduction.plan import MAY_CHANGE, Plan, make_plan, perform
from expkit.reproduction.recorded import Recorded, find_recorded, read_recorded
from expkit.reproduction.work_tree import CodeChange, code_change
from expkit.runlog import log
from expkit.runs import RECORD
from expkit.tracking.passwords import with_password
from expkit.tracking.reading import Reader, open_reader

IDENTICAL, DIFFERS = 0, 1
VERDICT = "reproduction.json"


def reproduce(
    reference: str,
    *,
    runs_dir: Path = Path("runs"),
    changes: Sequence[str] = (),
    code: str = "today",
    steps: int | None = None,
    console: Console | None = None,
) -> int:
    """Do a run again and compare every metric.

    Args:
        reference: a folder, a run's id (or its last part), an MLflow run id, or "last".
        runs_dir: where runs are, and where the new one goes.
        changes: "key=value" for what is to be otherwise: where the data lies, the device, the tracking store.
        code: "today" runs the code that is here, "recorded" that of then, in a checkout of its own.
        steps: compare only the first steps.
        console: where to show what happens; the screen by default.

    Returns:
        The exit code: 0 identical, 1 differs, or that of a run that could not be done again.

    Raises:
        ExpkitError: there is no such run, its record is not enough, or its data is not here; nothing was written then.
        Stopped: somebody asked to stop.
    """
    console = console or report.make_console()
    here = Path.cwd()
    for change in changes:
        check_change(change, MAY_CHANGE)
    typed = dict(change.partition("=")[::2] for change in changes)
    with tempfile.TemporaryDirectory(prefix="expkit-record-") as scratch:
        then = find_recorded(reference, runs_dir, typed.get("tracking.uri"), Path(scratch))
        uri = _store(then, typed)
        name = str(then.options.get("name") or "custom")
        folder = runs_dir / name / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        plan = make_plan(then, folder, [*_places(then, runs_dir), *changes], steps)
        differs = None if code == "recorded" else code_change(then, here, runs_dir)
        show.announce(console, then, plan, differs, code)
        exit_code = run_apart(plan, then, here) if code == "recorded" else _run_here(plan, then, console)
        if exit_code:
            return exit_code
        return _conclude(then, plan, differs, uri, runs_dir, console)


def _store(then: Recorded, typed: Mapping[str, str]) -> str | None:
    """Return the URI of the store that the new run goes to."""
    recorded = then.options.get("tracking") or {}
    uri = typed.get("tracking.uri") or from_environment(recorded.get("uri"))
    tracked = uri and typed.get("tracking.kind", recorded.get("kind")) != "none"
    return with_password(uri) if uri and tracked else uri


def _places(then: Recorded, runs_dir: Path) -> list[str]:
    """Return what is recorded otherwise in any case: where the new run goes, and whose reproduction it is."""
    tags = {"reproduces": then.id}
    if then.mlflow_run_id:
        tags["reproduces.mlflow_run_id"] = then.mlflow_run_id
    return [f"runs_dir={json.dumps(str(runs_dir))}", f"tracking.tags={json.dumps(tags)}"]


def _run_here(plan: Plan, then: Recorded, console: Console) -> int:
    """Do the run again in this process, with the code that is here."""
    config = read_changed(plan.recorded, plan.parts[0].changes).config
    tuning = cpu_tuning.tune(config.device.tune)
    used = device.select(config.device.name, config.device.index, config.device.threads)
    show.differences(console, then.environment, {**provenance.environment(used), "tuning": tuning})
    try:
        perform(plan, console)
    except TrainingStoppedError as error:  # so it may have been then
        if not (plan.folder / RECORD).is_file():
            raise
        console.print(f"failed      {error}", soft_wrap=True, markup=False)
    return 0


def _conclude(
    then: Recorded, plan: Plan, change: CodeChange | None, uri: str | None, runs_dir: Path, console: Console
) -> int:
    """Compare, say what came out and why, and note it."""
    now = read_recorded(plan.folder)
    found = compare(then, now, plan.parts[-1].last_step)
    causes = likely(find_causes(then, now, change), found.first)
    show.conclude(console, then, now, found, causes)
    verdict = {"of": then.id, "mlflow_run_id": then.mlflow_run_id or None, "from": then.origin, **found.as_dict()}
    verdict["otherwise"] = [cause.as_dict() for cause in causes]
    file = plan.folder / VERDICT
    file.write_text(json.dumps(masked_values(verdict), indent=2), encoding="utf-8")
    if now.mlflow_run_id:
        _note(then, now, found, causes, open_reader(uri, runs_dir), file)
    return IDENTICAL if found.identical else DIFFERS


def _note(then: Recorded, now: Recorded, found: Comparison, causes: Sequence[Cause], store: Reader, file: Path) -> None:
    """Note the verdict on the new run, and on the run itself where it is in the same store."""
    verdict = "identical" if found.identical else f"differs {show.where(found)}"
    tags = {"reproduces.verdict": verdict}
    if causes:
        tags["reproduces.otherwise"] = "; ".join(f"{one.what}: {one.then} -> {one.now}" for one in causes)
    failed = store.note(now.mlflow_run_id, tags, file, HAPPENED)
    before = store.tags(then.mlflow_run_id) if then.mlflow_run_id else None
    if before is not None:
        earlier = [before["reproduced"]] if "reproduced" in before else []
        line = "; ".join([*earlier, f"{verdict} ({now.id})"])
        failed = store.note(then.mlflow_run_id, {"reproduced": line}) or failed
    if failed:
        log.warning("The verdict is in %s, but could not be noted in MLflow: %s.", file, failed)
