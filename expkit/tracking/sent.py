"""How far the journal of a run was sent, to each store that it was sent to."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from expkit.tracking.journal import JOURNAL

SENT = "tracking.sent.json"


@dataclass
class Sent:
    """How far a journal was sent; `tracking.sent.json` beside it keeps it.

    Attributes:
        store: URI of the store without passwords; None for the one in the runs folder, wherever that is moved.
        experiment_id: of the MLflow experiment.
        run_id: of the MLflow run; empty until there is one.
        offset: bytes of the journal that were sent.
        owed: lines before that, by their first byte, that could not be sent then and may be later.
        refused: what the store will never take, in words.
        others: the same of other stores.
    """

    store: str | None
    experiment_id: str = ""
    run_id: str = ""
    offset: int = 0
    owed: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path, store: str | None) -> Sent:
        """Read how far a journal was sent to a store."""
        try:
            last = cls(**json.loads((folder / SENT).read_text(encoding="utf-8")))
            each = [replace(last, others=[]), *(cls(**one) for one in last.others)]
        except (OSError, ValueError, TypeError):
            return cls(store)
        found = next((one for one in each if one.store == store), cls(store))
        found.others = [asdict(one) for one in each if one.store != store]
        journal = folder / JOURNAL
        if not journal.is_file() or journal.stat().st_size < found.offset:  # it is another one, or was cut
            found.offset, found.owed = 0, []
        return found

    def forget(self) -> Sent:
        """Return what is known when the store has lost the run: nothing was sent to it."""
        return Sent(self.store, others=self.others)

    def write(self, folder: Path) -> None:
        """Keep it. What cannot be kept, as on a full disk, is sent again, which does no harm."""
        unfinished = folder / f".{SENT}.tmp"
        with contextlib.suppress(OSError):
            unfinished.write_text(json.dumps(asdict(self)), encoding="utf-8")
            unfinished.replace(folder / SENT)
