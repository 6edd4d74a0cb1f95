"""Run folders that somebody copied: two of them must not write into one run of a store."""

from __future__ import annotations

import contextlib
import json
import secrets
from pathlib import Path

from expkit.files import write_whole
from expkit.tracking.journal import BEGIN, JOURNAL, beginning
from expkit.tracking.left_behind import settings_of
from expkit.tracking.sent import SENT
from expkit.tracking.store import resolve_uri
from expkit.tracking.tags import FOLDER, RUN_FOLDER


def original_of(folder: Path) -> Path | None:
    """Return the folder of which this one is a copy, where that is still there and goes to the same store.

    None for a run that was only moved, or brought into another runs folder with a store of its own.
    """
    facts = beginning(folder)
    tags = {} if facts is None else facts["tags"]
    place = tags.get(RUN_FOLDER) or tags.get(FOLDER)
    if facts is None or not place or Path(place).resolve() == folder.resolve():
        return None
    other = beginning(Path(place))
    if other is None or other["id"] != facts["id"] or _store(folder) != _store(Path(place)):
        return None
    return Path(place)


def part_from_original(folder: Path) -> None:
    """Let a copy be a run of its own, with all that the original had told until it was copied.

    Raises:
        OSError: its journal cannot be written.
    """
    lines = (folder / JOURNAL).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    own = f"{folder.name}-{secrets.token_hex(3)}"
    for number, line in enumerate(lines):
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
            facts = json.loads(line)
            if facts["do"] == BEGIN:
                key = RUN_FOLDER if RUN_FOLDER in facts["tags"] else FOLDER
                facts.update(id=own, tags={**facts["tags"], key: str(folder.absolute())})
                lines[number] = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    write_whole(folder / JOURNAL, "".join(f"{line}\n" for line in lines))
    (folder / SENT).unlink(missing_ok=True)


def _store(folder: Path) -> str:
    settings = settings_of(folder)
    return "" if settings is None else resolve_uri(settings)
