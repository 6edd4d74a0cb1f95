"""What a user sees when a sweep is over: all results in one table, and all loss curves in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from expkit.comparison import Contender, contenders, curves
from expkit.progress import show_value
from expkit.report import make_console, quote_path
from expkit.runs import RECORD


def conclude(folder: Path) -> None:
    """Compare the jobs of a sweep that have run.

    Args:
        folder: of the sweep, with a run folder for each job.
    """
    jobs = sorted((path.parent for path in folder.glob(f"*/{RECORD}")), key=lambda job: job.name.zfill(9))
    if len(jobs) < 2:
        return
    console = make_console()
    found = contenders(jobs)
    console.print(f"\n[bold]{len(found)} runs[/bold], {_order(found)}")
    console.print(_table(found))
    drawn = curves(found)
    if drawn:
        from expkit.plotting import draw_losses  # Matplotlib costs 0.3 s

        draw_losses(folder / "losses.png", f"{found[0].name}  |  {folder.name}", drawn)
        console.print(f"loss curves {quote_path(folder / 'losses.png')}", soft_wrap=True, markup=False)


def _order(found: Sequence[Contender]) -> str:
    monitor = found[0].monitor.get("name")
    ranked = monitor and len({(one.name, one.monitor.get("name")) for one in found if one.monitor}) == 1
    return f"the best {monitor} first" if ranked else "by their number"


def _table(found: Sequence[Contender]) -> Table:
    keys = list(dict.fromkeys(one.partition("=")[0] for contender in found for one in contender.varies))
    metrics = [
        name
        for name in dict.fromkeys(name for contender in found for name in contender.metrics)
        if not name.startswith("train/")
    ]
    table = Table()
    for column in ("job", *keys):
        table.add_column(column, overflow="fold")
    for column in metrics:
        table.add_column(column, justify="right")
    for one in found:
        values = dict(override.partition("=")[::2] for override in one.varies)
        cells = [show_value(one.metrics[name]) if name in one.metrics else "-" for name in metrics]
        if not one.metrics:
            cells[:1] = [one.status.lower()]
        table.add_row(one.folder.name, *(values.get(key, "-") for key in keys), *cells)
    return table
