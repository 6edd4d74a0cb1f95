from __future__ import annotations

import io
import math
import re
from pathlib import Path

import pytest
from fake_clock import Clock
from rich.console import Console

from expkit import progress
from expkit.api import Callback, EpochEnd, EpochStart, FitEnd, FitStart, StepEnd
from expkit.progress import (
    BarProgress,
    LineProgress,
    epoch_line,
    progress_callback,
    show_seconds,
    show_values,
)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "perf_counter", clock)
    return clock


def terminal(width):
    environment = {"TERM": "xterm"}
    return Console(force_terminal=True, file=io.StringIO(), width=width, color_system=None, _environ=environment)


def plain(width=120):
    return Console(file=io.StringIO(), width=width)


def written(console):
    """Lines on the screen, without what moves the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", console.file.getvalue())


def start(spec, epochs=3, steps=100, step=0):
    return FitStart(spec, epochs, steps, step, Path())


def step_end(number, epoch=1, **metrics):
    return StepEnd(epoch, number, number, 64, 0.25, 0.1, metrics or {"accuracy": 0.975})


def epoch_end(epoch=1, is_best=False, **metrics):
    values = {"loss": 0.5, **(metrics or {"accuracy": 0.75})}
    named = {f"{split}/{name}": value for split in ("train", "valid") for name, value in values.items()}
    return EpochEnd(epoch, 100, named, is_best, 12.3, print)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0 s"), (8.25, "8.2 s"), (12.3, "12 s"), (59.6, "1:00"), (187, "3:07"), (3765, "1:02:45")],
)
def test_durations(seconds, shown):
    assert show_seconds(seconds) == shown


def test_metrics():
    assert show_values({"loss": 0.08321, "accuracy": 0.975}) == "loss 0.0832  accuracy 0.9750"
    assert show_values({"loss": 7.3e14, "mse": -2.1e-6}) == "loss 7.300e+14  mse -2.100e-06"
    assert show_values({"loss": math.inf, "mse": math.nan, "r2": 0.0}) == "loss inf  mse nan  r2 0.0000"


@pytest.mark.parametrize(
    ("style", "console", "kind"),
    [
        ("auto", terminal(80), BarProgress),
        ("auto", plain(), LineProgress),
        ("bar", plain(), BarProgress),
        ("plain", terminal(80), LineProgress),
        ("off", terminal(80), Callback),
    ],
)
def test_the_style_that_fits_the_output(style, console, kind):
    assert type(progress_callback(style, console)) is kind


@pytest.mark.parametrize("make", [BarProgress, LineProgress])
@pytest.mark.parametrize("console", [terminal(80), plain()])
def test_an_end_without_a_beginning_does_no_harm(make, console):
    callback = make(console)
    callback.on_epoch_start(EpochStart(1))
    callback.on_fit_end(FitEnd("failed", "before it began", 0, 0))
    assert written(console).strip() == ""


def test_lines_tell_each_epoch_and_now_and_then_a_step(tiny_spec, clock):
    console = plain(width=40)
    lines = LineProgress(console)
    lines.on_fit_start(start(tiny_spec))
    lines.on_epoch_start(EpochStart(1))
    for number in range(1, 33):
        clock.now += 1  # 64 samples a second
        lines.on_step_end(step_end(number))
    lines.on_epoch_end(epoch_end(is_best=True))
    lines.on_fit_end(FitEnd("finished", "", 1, 32))
    assert written(console).splitlines() == [
        "epoch 1/3  step 15/100  loss 0.2500  accuracy 0.9750  64 samples/s  4:45 left",
        "epoch 1/3  step 30/100  loss 0.2500  accuracy 0.9750  64 samples/s  4:30 left",
        "epoch 1/3  train loss 0.5000  accuracy 0.7500  |  valid loss 0.5000  accuracy 0.7500  |  12 s  * best",
    ]


def test_validation_is_no_part_of_the_rate_but_of_the_time_left(tiny_spec, clock):
    console = plain()
    lines = LineProgress(console)
    lines.on_fit_start(start(tiny_spec, epochs=2, steps=10))
    lines.on_epoch_start(EpochStart(1))
    for number in range(1, 11):
        clock.now += 1
        lines.on_step_end(step_end(number))
    clock.now += 10  # validation takes as long as training
    lines.on_epoch_end(epoch_end())
    lines.on_epoch_start(EpochStart(2))
    clock.now += 30
    lines.on_step_end(step_end(11, epoch=2))
    # 11 steps in 40 s of training and 50 s in all.
    assert "  18 samples/s  41 s left" in written(console).splitlines()[-1]


def test_a_resumed_training_counts_only_its_own_steps(tiny_spec, clock):
    console = plain()
    lines = LineProgress(console)
    lines.on_fit_start(start(tiny_spec, epochs=2, steps=100, step=150))
    clock.now += 20
    lines.on_step_end(step_end(160))  # 10 steps in 20 s, 40 to go
    assert "1:20 left" in written(console)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("metrics", [{}, {"accuracy": 0.975, "mean_absolute_error": 12345.6}])
def test_the_bar_is_one_line_that_fits_the_terminal(tiny_spec, clock, width, metrics):
    console = terminal(width)
    bar = BarProgress(console)
    bar.on_fit_start(start(tiny_spec, epochs=500, steps=78_200))
    bar.on_epoch_start(EpochStart(1))
    for number in (1, 40_000, 78_200):
        clock.now = 1000 + number / 100
        before = len(console.file.getvalue())
        bar.on_step_end(step_end(number, **metrics))
        drawn = console.file.getvalue()[before:]
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", drawn)
        assert "\n" not in shown
        assert len(shown) <= width
        assert shown.startswith("epoch 1/500 ")
        assert f"{number}/78200" in shown
        assert "loss 0.2500" in shown
        assert " left" in shown or width < 80
        assert "…" not in shown
        assert ("samples/s" in shown) is (width >= (200 if metrics else 120))
    bar.on_fit_end(FitEnd("finished", "", 1, 3))


def test_the_bar_goes_and_leaves_the_lines_of_epochs(tiny_spec, clock):
    console = terminal(120)
    bar = BarProgress(console)
    bar.on_fit_start(start(tiny_spec))
    for epoch in (1, 2):
        bar.on_epoch_start(EpochStart(epoch))
        clock.now += 1
        bar.on_step_end(step_end(1, epoch))
        bar.on_epoch_end(epoch_end(epoch, is_best=epoch == 2))
    bar.on_fit_end(FitEnd("finished", "", 2, 2))
    text = written(console)
    assert len(re.findall(r"epoch \d/3  train loss", text)) == 2
    assert text.count("* best") == 1
    assert console.file.getvalue().rstrip().endswith("\x1b[2K")  # the bar's line is wiped


def test_redrawing_is_rare(tiny_spec, clock):
    console = terminal(120)
    bar = BarProgress(console)
    bar.on_fit_start(start(tiny_spec))
    bar.on_step_end(step_end(1))
    before = console.file.getvalue()
    for number in range(2, 50):
        clock.now += 0.001
        bar.on_step_end(step_end(number))
    assert console.file.getvalue() == before
    bar.on_fit_end(FitEnd("finished", "", 1, 50))


def test_an_epochs_line_is_broken_between_the_splits_when_the_terminal_is_narrow():
    event = epoch_end(2, is_best=True)
    whole = "epoch 2/5  train loss 0.5000  accuracy 0.7500  |  valid loss 0.5000  accuracy 0.7500  |  12 s  * best"
    assert epoch_line(event, 5) == epoch_line(event, 5, width=len(whole)) == whole
    assert epoch_line(event, 5, width=80).splitlines() == [
        "epoch 2/5  train loss 0.5000  accuracy 0.7500",
        "           valid loss 0.5000  accuracy 0.7500  |  12 s  * best",
    ]


def test_lines_are_never_broken_where_the_output_is_no_terminal():
    console = plain(width=20)
    lines = LineProgress(console)
    lines.on_epoch_end(epoch_end())
    assert len(written(console).splitlines()) == 1
