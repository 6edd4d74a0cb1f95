"""The page of a sweep in the tracking store, as markdown."""

from __future__ import annotations

from collections.abc import Sequence

from expkit.model_card import code
from expkit.progress import show_value
from expkit.sweeping.names import status_word
from expkit.sweeping.ranking import BEST, RESULTS
from expkit.sweeping.results import Entry, metric_names

METRICS = 4


def summary(command: str, order: str, entries: Sequence[Entry], page: str) -> str:
    """Return the page.

    Args:
        command: that started the sweep.
        order: of the entries, in words.
        entries: of its jobs, ranked.
        page: the part of an address that compares them.
    """
    keys = list(dict.fromkeys(key for one in entries for key in list(one.parameters)[: one.typed]))
    metrics = metric_names(entries)[:METRICS]
    rows = [["job", *keys, "state", *metrics]]
    for one in entries[:BEST]:
        values = [show_value(one.metrics[name]) if name in one.metrics else "-" for name in metrics]
        rows.append([one.number, *(one.parameters.get(key, "-") for key in keys), status_word(one.status), *values])
    # MLflow's page leaves no room between cells: spaces that count do.
    lines = [f"| {'&emsp; | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    more = [f"\n... and {len(entries) - BEST} more: {RESULTS} among the artifacts."] if len(entries) > BEST else []
    return "\n".join(
        [
            f"## {len(entries)} jobs, {order}",
            "",
            *lines,
            *more,
            "",
            f"[Compare them in charts]({page})",
            "",
            code(command),
            "",
        ]
    )
