"""One run on its way to a tracking store."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expkit.spec import DataSpec
from expkit.tracking.carrier import Carrier
from expkit.tracking.journal import END, Journal, Recorded, now_ms
from expkit.tracking.left_behind import Marker
from expkit.tracking.model import EXAMPLE, why_not_servable
from expkit.tracking.operations import RUN_ID, tidy
from expkit.tracking.registry import RegisterRequest, facts_of
from expkit.tracking.tags import DESCRIPTION
from expkit.tracking.text import masked
from expkit.tracking.waiting import Wait, log_told

logger = logging.getLogger("expkit.tracking")

RESULTS = ("test/", "valid/best_epoch")
"""Metrics that are measured at a run's end, at step 0: one that goes on measures them anew, maybe of other weights."""
DIGEST = 8
"""Characters, as in MLflow's own digests (36 at most); the whole fingerprint is a tag."""


class Tracker:
    """Records one run; `open_tracker` makes it.

    Everything is written to the journal in the run's folder, and sent to the store in the background. No method waits
    for the store or raises because of it; `finish` says what was not sent.

    Args:
        journal: of the run.
        carrier: brings it into a store; None where the run is tracked in its folder only.
        seen: what the journal has of each metric: what a run goes through again is not recorded twice.
    """

    def __init__(self, journal: Journal, carrier: Carrier | None, seen: Recorded | None = None) -> None:
        self._journal, self._carrier = journal, carrier
        self._folder = journal.path.parent
        self._seen = seen
        self._finished = False
        self._marker = None if carrier is None else Marker(carrier.settings.runs_dir, self._folder)
        if carrier is not None:
            carrier.start()

    @property
    def run_id(self) -> str:
        """Id of the MLflow run; empty while there is none."""
        return "" if self._carrier is None else self._carrier.sent.run_id

    @property
    def experiment_id(self) -> str:
        """Id of its MLflow experiment; empty while there is none."""
        return "" if self._carrier is None else self._carrier.sent.experiment_id

    @property
    def uri(self) -> str:
        """URI of the store, absolute; empty where there is none."""
        return "" if self._carrier is None else self._carrier.uri

    @property
    def told(self) -> list[str]:
        """What came of what was sent, for people: "registered as version 3 of digits"."""
        return [] if self._carrier is None else self._carrier.told

    def is_behind(self) -> bool:
        """Whether something that was recorded has not reached the store yet, as far as the run's folder tells."""
        return self._carrier is not None and self._carrier.is_behind()

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record values at `step`; they reach the store within about a second.

        What a run had recorded before it was interrupted is not recorded twice when it goes that way again.
        """
        new = {key: float(value) for key, value in values.items()}
        if self._seen is not None:
            new = {key: value for key, value in new.items() if _is_news(self._seen, key, value, step)}
        if new:
            self._journal.append_metrics(new, step, now_ms())

    def log_data(self, spec: DataSpec, sizes: Mapping[str, int]) -> None:
        """Record the data as inputs of the run, one for each split.

        Args:
            spec: of the data.
            sizes: number of samples by split, such as {"train": 50_000, "valid": 10_000, "test": 10_000}.
        """
        location = masked(spec.source.location)
        remote = location.startswith(("http://", "https://"))
        data = []
        for split, size in sizes.items():
            tags = {
                "mlflow.data.context": split,
                "samples": str(size),
                "source": spec.source.kind,
                "stand_in_for": spec.source.stand_in_for or "",
            }
            data.append(
                {
                    "split": split,
                    # MLflow keeps one input for each pair of name and digest: the split must be part of the name.
                    "name": f"{spec.name}, {split}",
                    "digest": spec.fingerprint[:DIGEST],
                    "source_type": "http" if remote else "local",
                    "source": {"url" if remote else "uri": location},
                    "profile": {"num_rows": size, "input_shape": list(spec.input_shape)},
                    "tags": {key: value for key, value in tags.items() if value},
                }
            )
        self._journal.append("inputs", {"data": data})

    def log_artifacts(self, folder: Path, artifact_path: str | None = None) -> None:
        """Store everything in `folder`, as it is when it is sent, below `artifact_path`.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        if not folder.is_dir():
            raise FileNotFoundError(folder)
        self._journal.append("folder", {"path": self._place(folder), "into": artifact_path or ""})

    def log_artifact(self, file: Path, artifact_path: str | None = None) -> None:
        """Store one file, as it is when it is sent, in `artifact_path`.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if not file.is_file():
            raise FileNotFoundError(file)
        self._journal.append("file", {"path": self._place(file), "into": artifact_path or ""})

    def log_text(self, text: str, artifact_file: str) -> None:
        """Store a text as the file `artifact_file`, such as "happened/run.json"."""
        self._journal.append("text", {"text": text, "into": artifact_file})

    def log_model(
        self,
        export_folder: Path,
        input_example: npt.NDArray[Any],
        *,
        name: str = "model",
        step: int = 0,
    ) -> str | None:
        """Record an export as an MLflow model that predicts from raw inputs, without expkit.

        The run's latest metrics of the test split ("test/...") are shown with the model.

        Args:
            export_folder: of Paddle's or an ONNX export, in the run's folder.
            input_example: raw inputs [N, ...], of which the first are stored as text.
            name: of the model in the UI.
            step: x of the run's final metrics, which the model shares: the epoch of the weights.

        Returns:
            URI for `mlflow.pyfunc.load_model`, for a description; None, after a warning, when MLflow cannot serve such
            an export: inputs that only a plugin can read, or no network that it knows.
        """
        reason = why_not_servable(export_folder)
        if reason:
            logger.warning("The exported model is not recorded in MLflow: %s.", reason)
            return None
        np.save(export_folder / EXAMPLE, input_example)
        self._journal.append("model", {"path": self._place(export_folder), "name": name, "step": step})
        return f"runs:/{RUN_ID}/{name}"

    def register(self, export_folder: Path, request: RegisterRequest, *, name: str = "model", step: int = 0) -> None:
        """Make a model that `log_model` recorded a version of a registered model.

        What came of it, and of the alias, is logged, and becomes the tag "registered.NAME" of the run.

        Args:
            export_folder: as for `log_model`.
            request: what is registered.
            name: as for `log_model`.
            step: as for `log_model`.
        """
        model = {"path": self._place(export_folder), "name": name, "step": step}
        self._journal.append("register", facts_of(request, model))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags."""
        self._journal.append("tags", {"tags": tidy(tags)})

    def set_description(self, markdown: str) -> None:
        """Make `markdown` the text of the run's page."""
        self.set_tags({DESCRIPTION: markdown})

    def show_sweep(self, view: str, state: str) -> None:
        """Make or change a shared view of the experiment's table; see `tracking.view.sweep_state`."""
        self._journal.append("view", {"name": view, "state": state})

    def mark_best(self, child: str) -> None:
        """Tag one of the runs nested in this one as the best, and only that one.

        Args:
            child: its own id, as in `run.json`.
        """
        self._journal.append("best", {"child": child})

    def finish(self, status: str = "FINISHED", reason: str = "", hurried: Callable[[], bool] = lambda: False) -> None:
        """Close the run, send what waits and say what could not be sent; later calls do nothing.

        A call that was torn by a signal before it closed the run does not count: the next one closes it.

        Args:
            status: "FINISHED", "FAILED" or "KILLED".
            reason: why it did not finish; becomes the tag ``status.reason``.
            hurried: asked often while the store is waited for; True leaves what is left to `sync`.
        """
        if self._finished:
            return
        self._journal.append(END, {"status": status, "reason": masked(reason), "time": now_ms()})
        self.close(hurried)

    def close(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Send what waits and say what could not be sent; the run's status stays as it is.

        Args:
            hurried: as of `finish`.
        """
        self._journal.secure()
        whole = self._carrier is None or self._carrier.close(Wait(self._folder, self._carrier.settings, hurried))
        self._journal.close()
        self._finished = True
        if self._carrier is None or self._marker is None:
            return
        for told in self.told:
            log_told.info("%s", told)
        if whole:
            self._marker.remove()
        else:
            logger.warning(
                "Not stored in %s: %s. The last error: %s. It is all in the run's folder; to send it: "
                "python -m expkit sync %s",
                masked(self.uri),
                self._carrier.left() or "the run's end",
                self._carrier.last_error.removesuffix("."),
                shlex.quote(str(self._folder)),
            )
        if self._carrier.sent.refused:
            logger.warning("The store %s refused: %s.", masked(self.uri), "; ".join(self._carrier.sent.refused))

    def _place(self, path: Path) -> str:
        """Return a path as it lies in the run's folder, so that the folder can be moved."""
        whole, folder = path.absolute(), self._folder.absolute()
        return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else str(whole)


def _is_news(seen: Recorded, name: str, value: float, step: int) -> bool:
    """Whether a run that goes on has a point to tell: a later one, or another result than last time."""
    if step > seen.steps.get(name, -1):
        return True
    return step == 0 and name.startswith(RESULTS) and not seen.ends_with(name, step, value)
