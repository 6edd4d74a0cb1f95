"""Bringing a run's journal into a store: in order, in batches, each operation once, as far as the store answers."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expkit.errors import ExportError, TrackingError
from expkit.tracking.journal import BEGIN, JOURNAL, METRICS, Operation, read_journal
from expkit.tracking.operations import HANDLERS, WAITS, Destination, begin, in_words, points_of, with_identity
from expkit.tracking.sent import SENT, Sent
from expkit.tracking.store import Store, StoreSettings, import_mlflow, logger, open_store, own_call, resolve_uri
from expkit.tracking.text import explain, masked

BATCH = 1000
"""MLflow takes at most so many metric points in one call."""
_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS", "NOT_IMPLEMENTED"}
"""What MLflow calls errors that will not pass; a missing permission may, with another token."""

MOST = 10
"""Things that a message names."""


class DeletedRunError(TrackingError):
    """Somebody deleted the run in the store."""


class UnknownOperationError(ValueError):
    """A line of a journal says what this version cannot do: a newer one wrote it, or somebody's hand."""


class Delivery:
    """Sends the journal of one run to a store. For one thread at a time, and one process: hold the run's lock.

    Args:
        folder: of the run.
        settings: of the store.

    Attributes:
        sent: how far it came.
        trouble: why something waits that does not hold up the rest; empty where nothing does.
        told: what came of what was sent, for people.
    """

    def __init__(self, folder: Path, settings: StoreSettings) -> None:
        self.folder, self.settings, self.trouble = folder, settings, ""
        self.told: list[str] = []
        self.uri = resolve_uri(settings)
        own = self.uri == resolve_uri(replace(settings, uri=None))
        self.sent = Sent.read(folder, None if own else masked(self.uri))
        self._store: Store | None = None
        self._checked = False

    def connect(self) -> Store:
        """Return the store, opened when it is first asked for.

        Raises:
            TrackingError: it does not answer.
        """
        if self._store is None:
            self._store = open_store(self.settings)
            self.sent.experiment_id = self._store.experiment_id
        return self._store

    @property
    def is_connected(self) -> bool:
        """Whether the store was opened."""
        return self._store is not None

    def give_up(self, identity: str, status: str) -> None:
        """Leave nothing in the folder of a run that could not be begun, and no run in the store that seems to run."""
        (self.folder / JOURNAL).unlink(missing_ok=True)
        (self.folder / SENT).unlink(missing_ok=True)
        with contextlib.suppress(Exception):  # the error that is on its way says why
            store = self.connect()
            for run in with_identity(store, identity):
                store.client.set_terminated(run.info.run_id, status)

    def deliver(self, more: Callable[[], bool] = lambda: True) -> int:
        """Send what was not sent yet.

        Args:
            more: asked before each call of the store; False ends it early.

        Returns:
            How many operations were sent.

        Raises:
            TrackingError: the store does not answer, or does not take something that it may take later. What was sent
                until then counts.
        """
        if self._checked and not self.is_behind():
            return 0
        done = 0
        try:
            store = self.connect()
            self.find_run()
            for batch in self._batches():
                if not more():
                    break
                self._send(store, batch)
                done += len(batch)
        except TrackingError:
            raise
        except Exception as error:
            raise TrackingError(f"tracking store {masked(self.uri)}: {explain(error)}.") from error
        finally:
            if self.sent.run_id:
                self.sent.write(self.folder)
        return done

    def is_behind(self) -> bool:
        """Whether there is anything to send."""
        try:
            return bool(self.sent.owed) or (self.folder / JOURNAL).stat().st_size > self.sent.offset
        except OSError:
            return False

    def left(self, most: int = MOST) -> str:
        """Say in words what was not sent; empty where nothing is left.

        Args:
            most: kinds of things that are named.
        """
        if not self.is_behind():
            return ""
        points = 0
        others: dict[str, None] = {}
        for operation in self._unsent():
            if operation.what == METRICS:
                points += len(operation.facts["values"])
            else:
                others[in_words(operation)] = None
        told = [f"{points:,} metric point{'s' * (points != 1)}"] if points else []
        told += [*others][:most]
        return ", ".join(told) + (f" and {len(others) - most} more" if len(others) > most else "")

    def find_run(self, *, anew: bool = False) -> None:
        """See whether the run that was sent to is there; if not, all is sent anew.

        Args:
            anew: so is one that was deleted.

        Raises:
            TrackingError: it was deleted there, or the store does not answer.
        """
        if self._checked:
            return
        store = self.connect()
        if self.sent.run_id:
            with own_call():
                try:
                    refuse_deleted(store.client.get_run(self.sent.run_id), self.uri)
                except TrackingError:
                    if not anew:
                        raise
                    self._forget(store)
                except Exception as error:
                    if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
                        raise TrackingError(f"tracking store {masked(self.uri)}: {explain(error)}.") from error
                    self._forget(store)
        self._checked = True

    def _forget(self, store: Store) -> None:
        logger.warning("The run %s is not in %s any more: it is made there anew.", self.sent.run_id, masked(self.uri))
        self.sent = self.sent.forget()
        self.sent.experiment_id = store.experiment_id

    def _unsent(self) -> Iterator[Operation]:
        for start in list(self.sent.owed):
            owed = next(read_journal(self.folder, start), None)
            if owed is not None:
                yield owed
        yield from read_journal(self.folder, self.sent.offset)

    def _batches(self) -> Iterator[list[Operation]]:
        """Yield operations, each alone but for metrics, of which many go in one call."""
        waiting: list[Operation] = []
        count = 0
        for operation in self._unsent():
            size = len(operation.facts["values"]) if operation.what == METRICS else 0
            if waiting and (not size or count + size > BATCH):
                yield waiting
                waiting, count = [], 0
            if size:
                waiting.append(operation)
                count += size
            elif operation.what != METRICS:
                yield [operation]
        if waiting:
            yield waiting

    def _send(self, store: Store, batch: Sequence[Operation]) -> None:
        try:
            with own_call():
                self._call(store, batch)
        except Exception as error:
            if batch[0].what == BEGIN:
                raise
            self._make_of(store, batch, error)
        else:
            self.sent.owed = [start for start in self.sent.owed if start != batch[0].start]
        self.sent.offset = max(self.sent.offset, batch[-1].end)

    def _call(self, store: Store, batch: Sequence[Operation]) -> None:
        first = batch[0]
        if first.what == METRICS:
            metric = import_mlflow().entities.Metric
            metrics = [metric(*point) for one in batch for point in points_of(one.facts)]
            for start in range(0, len(metrics), BATCH):
                store.client.log_batch(self.sent.run_id, metrics=metrics[start : start + BATCH])
        elif first.what == BEGIN:
            self.sent.run_id = begin(store, first.facts)
        elif first.what not in HANDLERS:
            raise UnknownOperationError(f"this version of expkit does not know it, in {self.folder / JOURNAL}")
        else:
            HANDLERS[first.what](Destination(store, self.sent.run_id, self.folder, self.told.append), first.facts)

    def _make_of(self, store: Store, batch: Sequence[Operation], error: Exception) -> None:
        """Let what will never be taken, or can wait, not hold up the rest; raise where the store has to come back."""
        with own_call():
            refuse_deleted(store.client.get_run(self.sent.run_id), self.uri)  # raises where nothing answers
        first = batch[0]
        if not _is_refusal(error):
            if first.what not in WAITS:
                raise error
            self.trouble = explain(error)
            self.sent.owed = [*(start for start in self.sent.owed if start != first.start), first.start]
        elif len(batch) > 1:
            for one in batch:
                self._send(store, [one])
        else:
            self.sent.refused.append(f"{in_words(first)} ({explain(error)})")


def refuse_deleted(run: Any, uri: str) -> None:
    """Refuse to write to a run that somebody deleted.

    Raises:
        DeletedRunError: it was deleted; says how to bring it back.
    """
    if run.info.lifecycle_stage == "deleted":
        raise DeletedRunError(
            f"tracking store {masked(uri)}: the run {run.info.run_id} was deleted there. Bring it back: "
            f"MLFLOW_TRACKING_URI={shlex.quote(masked(uri))} mlflow runs restore --run-id {run.info.run_id}"
        )


def _is_refusal(error: Exception) -> bool:
    """Whether a store that answers will not take something however often it is asked."""
    own = (ExportError, FileNotFoundError, UnknownOperationError)
    return getattr(error, "error_code", "") in _REFUSALS or isinstance(error, own)
