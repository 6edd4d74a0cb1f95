"""What a user reads before and after training."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from expkit.api import Callback, DataSpec, EpochEnd, FitEnd
from expkit.config import ExperimentConfig
from expkit.masking import masked, recordable_override
from expkit.progress import epoch_line, show_value
from expkit.runlog import log

_ONCE = ("seed", "trainer.stop_after")
"""What a sweep over seeds does not take over from a run."""


def make_console() -> Console:
    """Return the console of a run; where the output is no terminal, lines are never broken.

    A character that the output has no code for, as in a terminal that is not UTF-8, becomes a question mark.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, 120))


def announce(
    console: Console,
    *,
    title: str,
    spec: DataSpec,
    sizes: Mapping[str, int],
    parts: str,
    folder: Path,
    overrides: Sequence[str] = (),
    resumed: int = 0,
) -> None:
    """Say what is about to be trained, on which data, and where it goes; a stand-in is said loudly.

    Args:
        console: where to.
        title: name of the experiment.
        spec: the data's spec.
        sizes: samples in each split.
        parts: model, optimizer and device in words.
        folder: the run folder.
        overrides: what makes this job of a sweep; empty for a single run.
        resumed: the step after which an interrupted run goes on.
    """
    place = masked(spec.source.location)
    if spec.source.stand_in_for:
        console.print(
            Panel(
                Text(
                    f"This is NOT {spec.source.stand_in_for}. The run uses {spec.name}: {place}.\n"
                    f"Why: {spec.source.note or 'no files were found'}.\nResults say nothing about "
                    f"{spec.source.stand_in_for}. Give its folder with dataset.root=FOLDER or EXPKIT_DATA_DIR, or "
                    "forbid stand-ins with dataset.on_missing=error."
                ),
                title="STAND-IN DATA",
                border_style="yellow",
                expand=False,
            )
        )
    counts = ", ".join(f"{count:,} {name}" for name, count in sizes.items())
    lines = [
        f"experiment  {title}",
        f"data        {spec.name}: {counts}  ({spec.source.kind}: {place})",
        f"training    {parts}",
        f"folder      {quote_path(folder)}",
    ]
    if resumed:
        lines.append(f"resumed     after step {resumed:,}")
    if overrides:
        lines.insert(0, f"\njob {folder.name}       {masked(' '.join(map(recordable_override, overrides)))}")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
        log.info(line)


class EpochLog(Callback):
    """Writes each epoch to the log of the run."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Log the epoch's line."""
        log.info(epoch_line(event, self._epochs))

    def on_fit_end(self, event: FitEnd) -> None:
        """Log how training ended."""
        log.info("training %s after epoch %d, step %d. %s", event.status, event.epoch, event.step, event.reason)


def conclude(
    console: Console,
    *,
    metrics: Mapping[str, float],
    headline: str,
    places: Sequence[tuple[str, str]],
    next_commands: Sequence[tuple[str, str]],
) -> None:
    """Show the result: a table of metrics by split, where everything is, and what to do next.

    Args:
        console: where to.
        metrics: such as {"train/loss": 0.1}.
        headline: above the table.
        places: (what, where).
        next_commands: (what for, command).
    """
    names = list(dict.fromkeys(name.partition("/")[2] for name in metrics))
    splits = list(dict.fromkeys(name.partition("/")[0] for name in metrics))
    table = Table()
    table.add_column("split")
    for name in names:
        table.add_column(name, justify="right")
    for split in splits:
        cells = [show_value(metrics[f"{split}/{name}"]) if f"{split}/{name}" in metrics else "-" for name in names]
        table.add_row(split, *cells)
        log.info("%s: %s", split, "  ".join(f"{n} {c}" for n, c in zip(names, cells, strict=True)))
    console.print(f"\n[bold]{escape(headline)}[/bold]")
    console.print(table)
    for what, where in places:
        console.print(f"{what:<11} {where}", soft_wrap=True, markup=False)
        log.info("%s %s", what, where)
    if next_commands:
        console.print("\nNext:")
    for purpose, command in next_commands:
        line = Text(f"  {command}")
        console.print(line.append(f"  # {purpose}", style="dim"), soft_wrap=True)


def next_commands(config: ExperimentConfig, folder: str, *, tracked: bool, exported: bool) -> list[tuple[str, str]]:
    """Return up to four (purpose, command) that a user would want after a run."""
    commands = []
    if exported:
        commands.append(("ask the model about files", f"python -m expkit predict {folder} FILE..."))
    if tracked and config.tracking.uri is None:
        runs = [] if str(config.runs_dir) == "runs" else ["--runs-dir", str(config.runs_dir)]
        commands.append(("compare runs here", shlex.join(["python", "-m", "expkit", "compare", *runs])))
        commands.append(("and in the browser", shlex.join(["python", "-m", "expkit", "ui", *runs])))
    if config.overrides and not any(one.startswith("+search=") for one in config.overrides):  # that would search
        others = [recordable_override(o) for o in _last_of_each(config.overrides, without=_ONCE)]
        again = shlex.join(["-m", *others, "seed=0,1,2"])
        commands.append(("see how much is chance", f"python -m expkit {again}"))
    return commands


def _last_of_each(overrides: Sequence[str], without: Sequence[str]) -> list[str]:
    """Return the overrides that count: of several of one key the last."""
    last = {one.partition("=")[0].lstrip("+"): one for one in overrides}
    return [one for one in last.values() if one.partition("=")[0].lstrip("+") not in without]


def quote_path(path: Path) -> str:
    """Write a path as short as it can be typed in the current folder, quoted where a shell needs it."""
    try:
        return shlex.quote(str(path.resolve().relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(path))
