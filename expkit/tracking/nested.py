"""A sweep in a tracking store: its own run, the parent, and those of its jobs, which are nested in it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from expkit.tracking.store import Store
from expkit.tracking.text import shortened
from expkit.tracking.view import sweep_state, sweep_view, view_tag

PARENT = "mlflow.parentRunId"
"""Tag of a child; MLflow's table nests by it."""
BEST, BEST_CHILD = "sweep.best", "sweep.best_run_id"
FOLDER, HOST = "sweep.folder", "sweep.host"
RUN_FOLDER = "run.folder"
REASON = "status.reason"
"""Tag that says why a run did not finish."""
_MOST = 1000


class Children:
    """The runs of a sweep's jobs; no method raises because of the store.

    Args:
        store: where they are.
        parent: id of the sweep's own run.
    """

    def __init__(self, store: Store, parent: str) -> None:
        self._store, self._parent = store, parent

    def mark_best(self, child: str) -> None:
        """Tag one child as the best, and only that one."""
        self._store.attempt("which job is the best", partial(self._mark, child))

    def show(self, sweep: str, varies: Sequence[str], metrics: Sequence[str], *, higher_is_better: bool = True) -> None:
        """Make the page that compares the children; the arguments are those of `sweep_state`."""
        state = sweep_state(self._parent, varies, metrics, higher_is_better=higher_is_better)
        tag, client = view_tag(sweep_view(sweep)), self._store.client
        save = partial(client.set_experiment_tag, self._store.experiment_id, tag, state)
        self._store.attempt("the page of the sweep", save)

    def settle_others(self, is_alive: Callable[[Path], bool]) -> None:
        """Mark other sweeps as FAILED whose process died; see `settle_dead`."""
        client = self._store.client
        self._store.attempt("the state of other sweeps", partial(settle_dead, client, is_alive, but=self._parent))

    def _mark(self, child: str) -> None:
        client = self._store.client
        marked = f"tags.`{PARENT}` = '{self._parent}' and tags.`{BEST}` = 'true'"
        for run in client.search_runs([self._store.experiment_id], marked, max_results=_MOST):
            if run.info.run_id != child:
                client.delete_tag(run.info.run_id, BEST)
        client.set_tag(child, BEST, "true")
        client.set_tag(self._parent, BEST_CHILD, child)


def settle_dead(client: Any, is_alive: Callable[[Path], bool], *, but: str = "") -> int:
    """Mark the sweeps as FAILED whose process died before it could, with those of their jobs that died with it.

    Args:
        client: of the store.
        is_alive: whether a process works in the folder of a sweep or run.
        but: id of the sweep's run that is left alone.

    Returns:
        How many sweeps these were.
    """
    experiments = [one.experiment_id for one in client.search_experiments(max_results=_MOST)]
    running = "attributes.status = 'RUNNING' and "
    here = f"{running}tags.`{HOST}` = '{socket.gethostname()}'"
    settled = 0
    for parent in client.search_runs(experiments, here, max_results=_MOST):
        folder = Path(parent.data.tags.get(FOLDER, ""))
        if parent.info.run_id == but or is_alive(folder):
            continue
        nested = f"{running}tags.`{PARENT}` = '{parent.info.run_id}'"
        for child in client.search_runs(experiments, nested, max_results=_MOST):
            if not is_alive(Path(child.data.tags.get(RUN_FOLDER, ""))):
                _fail(client, child.info.run_id, "its process died")
        _fail(
            client,
            parent.info.run_id,
            f"the sweep's process died; go on with it: python -m expkit resume-sweep {folder}",
        )
        settled += 1
    return settled


def _fail(client: Any, run_id: str, reason: str) -> None:
    if client.get_run(run_id).info.status == "RUNNING":
        client.set_tag(run_id, REASON, shortened(reason, 5000))
        client.set_terminated(run_id, "FAILED")
