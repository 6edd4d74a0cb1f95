"""What a user sees while training runs: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from expkit.api import Callback, EpochEnd, EpochStart, FitEnd, FitStart, StepEnd

REDRAW_SECONDS = 0.1
LINE_SECONDS = 15.0
NARROW = 100
"""Terminals with fewer columns get a shorter bar."""


def progress_callback(style: str, console: Console) -> Callback:
    """Return the callback for `trainer.progress`: "auto", "bar", "plain" or "off"."""
    if style == "off":
        return Callback()
    bar = style == "bar" or (style == "auto" and console.is_terminal)
    return BarProgress(console) if bar else LineProgress(console)


def show_values(values: Mapping[str, float]) -> str:
    """Write metrics for people: "loss 0.0832  accuracy 0.9750"."""
    return "  ".join(f"{name} {show_value(value)}" for name, value in values.items())


def show_value(value: float) -> str:
    """Write a metric for people: "0.0832", and "7.300e+14" or "2.100e-06" where four decimals would not serve."""
    size = abs(value)
    return f"{value:.3e}" if 1e6 <= size < float("inf") or 0 < size < 5e-5 else f"{value:.4f}"


def show_seconds(seconds: float) -> str:
    """Write a duration for people: "8 s", "3:07", "1:02:45"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class _Rates:
    """Samples a second, over the whole of training but without validation; and the time left, with validation."""

    def __init__(self, start: FitStart) -> None:
        self._total = start.epochs * start.steps_per_epoch
        self._first, self._samples, self._training = start.step, 0, 0.0
        self._began = self._mark = time.perf_counter()

    def begin_epoch(self) -> None:
        """Leave out the time since the last step, which was validation."""
        self._mark = time.perf_counter()

    def step(self, samples: int) -> None:
        now = time.perf_counter()
        self._samples += samples
        self._training += now - self._mark
        self._mark = now

    def per_second(self) -> float:
        return self._samples / max(self._training, 1e-9)

    def seconds_left(self, step: int) -> float:
        done = step - self._first
        return (time.perf_counter() - self._began) / max(done, 1) * max(self._total - step, 0)


class _Timed(Callback):
    """Measures the training, in its epochs."""

    _rates: _Rates | None = None

    def on_epoch_start(self, event: EpochStart) -> None:
        """Go on measuring."""
        if self._rates is not None:
            self._rates.begin_epoch()


class LineProgress(_Timed):
    """Prints one line an epoch, and one now and then within a long epoch."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._epochs = 0
        self._per_epoch = 0
        self._printed = 0.0

    def on_fit_start(self, event: FitStart) -> None:
        """Start the clock."""
        self._epochs, self._per_epoch, self._rates = event.epochs, event.steps_per_epoch, _Rates(event)
        self._printed = time.perf_counter()

    def on_step_end(self, event: StepEnd) -> None:
        """Print a line when the last one is long ago."""
        assert self._rates is not None
        self._rates.step(event.samples)
        if time.perf_counter() - self._printed < LINE_SECONDS:
            return
        self._printed = time.perf_counter()
        self._console.print(
            f"epoch {event.epoch}/{self._epochs}  step {event.batch}/{self._per_epoch}  "
            f"{show_values({'loss': event.loss, **event.metrics})}  {self._rates.per_second():,.0f} samples/s  "
            f"{show_seconds(self._rates.seconds_left(event.step))} left",
            highlight=False,
            soft_wrap=True,
        )

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Print the epoch's metrics."""
        self._printed = time.perf_counter()
        _print_epoch(self._console, event, self._epochs)


class BarProgress(_Timed):
    """Draws a live bar, and leaves one line an epoch above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._epochs = 0
        self._drawn = 0.0
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=20 if console.width >= NARROW else 10),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[values]}"),
            TextColumn("{task.fields[times]}", style="dim"),
            console=console,
            transient=True,
            auto_refresh=False,
        )

    def on_fit_start(self, event: FitStart) -> None:
        """Show the bar."""
        self._epochs, self._rates = event.epochs, _Rates(event)
        self._task = self._bar.add_task(
            "train", total=event.steps_per_epoch, epoch=1, epochs=event.epochs, values="", times=""
        )
        self._bar.start()

    def on_step_end(self, event: StepEnd) -> None:
        """Redraw, at most ten times a second."""
        assert self._rates is not None
        self._rates.step(event.samples)
        now = time.perf_counter()
        if now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        values, times = self._fitting(
            event,
            f"{self._rates.per_second():,.0f} samples/s",
            f"{show_seconds(self._rates.seconds_left(event.step))} left",
        )
        self._bar.update(self._task, completed=event.batch, epoch=event.epoch, values=values, times=times)
        self._bar.refresh()

    def _fitting(self, event: StepEnd, rate: str, left: str) -> tuple[str, str]:
        """Return what one line of the terminal has room for: the loss, the time left, metrics, then the rate."""
        count = self._bar.tasks[self._task].total or 0
        taken = f"epoch {event.epoch}/{self._epochs} {'-' * 20} {event.batch}/{count:.0f} "
        room = self._console.width - len(taken) + (10 if self._console.width < NARROW else 0)
        loss, *metrics = (show_values({n: v}) for n, v in {"loss": event.loss, **event.metrics}.items())
        values, times = [loss], list[str]()
        room -= len(loss)
        for part, where in ((left, times), *((metric, values) for metric in metrics), (rate, times)):
            room -= len(part) + 2
            if room < 0:
                break
            where.append(part)
        return "  ".join(values), "  ".join(reversed(times))

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Leave the epoch's line above the bar."""
        _print_epoch(self._bar.console, event, self._epochs)

    def on_fit_end(self, event: FitEnd) -> None:
        """Take the bar away."""
        self._bar.stop()


def _print_epoch(console: Console, event: EpochEnd, epochs: int) -> None:
    width = console.width if console.is_terminal else None
    console.print(epoch_line(event, epochs, width), highlight=False, soft_wrap=True)


def epoch_line(event: EpochEnd, epochs: int, width: int | None = None) -> str:
    """Write one epoch for people; an asterisk marks the best so far.

    Args:
        event: the epoch.
        epochs: number of epochs in all.
        width: of the terminal; what is too long for it gets a line for each split. None: always one line.
    """
    parts = []
    for split in ("train", "valid"):
        values = {n.partition("/")[2]: v for n, v in event.metrics.items() if n.startswith(f"{split}/")}
        parts.append(f"{split} {show_values(values)}")
    best = "  * best" if event.is_best else ""
    head, tail = f"epoch {event.epoch}/{epochs}  ", f"  |  {show_seconds(event.seconds)}{best}"
    line = f"{head}{'  |  '.join(parts)}{tail}"
    if width is None or len(line) <= width:
        return line
    margin = "\n" + " " * len(head)
    return f"{head}{margin.join(parts)}{tail}"
