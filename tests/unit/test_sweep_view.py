from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_clock import Clock
from rich.cells import cell_len
from rich.console import Console

from expkit import progress
from expkit.sweeping import board as board_module
from expkit.sweeping import view as view_module
from expkit.sweeping.board import Board
from expkit.sweeping.jobs import Job, Outcome, Report
from expkit.sweeping.names import short_name
from expkit.sweeping.pace import seconds_left
from expkit.sweeping.screen import frame
from expkit.sweeping.standing import Aim, Before, Best
from expkit.sweeping.view import LiveView, open_view


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (progress, board_module, view_module):
        monkeypatch.setattr(module.time, "perf_counter", clock)
    return clock


def job(number, folder=Path("/nowhere"), **options):
    varies = ("optimizer=adam", f"optimizer.learning_rate={number / 100}")
    return Job(number, folder / str(number), (*varies, "seed=1"), varies, "", {"optimizer": "adam"}, "", **options)


def report(step, value=None, *, higher=True):
    named = {} if value is None else {"monitored": value, "monitor": "valid/accuracy"}
    return Report(step // 100, 5, step, 500, higher_is_better=higher, **named)


def plain(**options):
    return Console(file=io.StringIO(), width=200, highlight=False, **options)


def terminal(width=100, height=24, **options):
    environment = {"TERM": "xterm", "COLUMNS": str(width), "LINES": str(height)}
    return Console(force_terminal=True, file=io.StringIO(), _environ=environment, **options)


def written(console):
    """What was written, without what moves the cursor or colours."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", console.file.getvalue())


@pytest.mark.parametrize(
    ("varies", "name"),
    [
        (["optimizer=adam", "optimizer.learning_rate=0.01"], "adam lr=0.01"),
        (["regularizer=none", "seed=3"], "regularizer=none seed=3"),
        (["model.hidden=[64,64]", "+a.rate=1", "b.rate=2"], "hidden=[64,64] a.rate=1 b.rate=2"),
        ([], ""),
    ],
)
def test_a_short_name_tells_what_varies(varies, name):
    assert short_name(varies, {"optimizer": "adam", "regularizer": "none", "model": "mlp"}) == name


def test_lines_say_what_starts_and_what_came_of_it(clock):
    console = plain()
    with open_view(console, 3, before=Before(1)) as view:
        view.started(job(1), "cpu 0", 1)
        view.started(job(2), "gpu:1", 2, "killed by SIGKILL")
        view.reported(job(1), report(100, 0.8))
        clock.now += 40
        view.reported(job(1), report(150))
        view.reported(job(1), report(200, 0.9))
        view.reported(job(1), report(300, 0.85))
        clock.now += 20
        view.ended(job(1), Outcome("FINISHED", value=0.9, seconds=60))
        view.ended(job(2), Outcome("KILLED", "stopped by SIGINT", value=0.95, seconds=60))
        view.tick()
    assert written(console).splitlines() == [
        "job 1  started on cpu 0: optimizer=adam optimizer.learning_rate=0.01",
        "job 2  killed by SIGKILL; tried again (2) on gpu:1: optimizer=adam optimizer.learning_rate=0.02",
        "job 1  epoch 2/5  valid/accuracy 0.9000  2:00 left",
        "job 1  finished in 1:00: valid/accuracy 0.9000  |  2 of 3 done, 1 running, 1:00 left",
        "job 2  stopped in 1:00 (stopped by SIGINT): valid/accuracy 0.9500  |  2 of 3 done, 1 stopped",
    ]


@pytest.mark.parametrize(
    "console", [plain(), terminal(200), terminal(200, no_color=True)], ids=["plain", "tty", "mono"]
)
@pytest.mark.parametrize("style", ["auto", "off"])
def test_a_failure_is_told_at_once_with_its_cause_and_where_its_output_is(tmp_path, clock, console, style):
    console.file.seek(0)
    console.file.truncate()
    failing = job(7, tmp_path)
    failing.folder.mkdir()
    (failing.folder / "output.log").touch()
    with open_view(console, 9, style=style) as view:
        view.started(failing, "cpu 0", 1)
        view.ended(failing, Outcome("CRASHED", "killed by SIGKILL\n\n(out of memory?)", seconds=3.2, attempts=2))
        text = written(console)
        assert "job 7  crashed after 3.2 s in 2 tries\n    killed by SIGKILL\n    (out of memory?)\n" in text
        assert "    job: optimizer=adam optimizer.learning_rate=0.07\n" in text
        assert f"    output: {tmp_path}/7/output.log\n" in text


def test_no_line_but_failures_where_progress_is_off(clock):
    console = plain()
    with open_view(console, 1, style="off") as view:
        view.started(job(1), "cpu 0", 1)
        view.reported(job(1), report(100, 0.8))
        view.ended(job(1), Outcome("FINISHED", value=0.8, seconds=60))
    assert written(console) == ""


def test_a_terminal_that_cannot_move_its_cursor_gets_lines():
    console = Console(force_terminal=True, file=io.StringIO(), _environ={"TERM": "dumb"})
    assert not isinstance(open_view(console, 1), LiveView)
    assert not isinstance(open_view(terminal(), 1, style="plain"), LiveView)
    assert isinstance(open_view(terminal(), 1), LiveView)


def busy_board(clock, running=3, finished=2, failed=1, total=20):
    board = Board(total)
    for number in range(running + finished + failed):
        board.started(job(number), f"cpu {number}", 1)
        board.reported(job(number), report(100, 0.5))
    clock.now += 10
    for number in range(running + finished + failed):
        board.reported(job(number), report(200, 0.6 + number / 1000))
    for number in range(finished):
        board.ended(job(number), Outcome("FINISHED", value=0.9 - number / 10, seconds=12))
    for number in range(finished, finished + failed):
        board.ended(job(number), Outcome("FAILED", "why", seconds=2))
    return board


def test_the_table_shows_each_job_and_the_sweep(clock):
    lines = [line.plain.rstrip() for line in frame(busy_board(clock), 120, 24)]
    assert lines == [
        "━━━━━───────────────────  2 of 20 done, 1 failed, 3 running  10 s, 1:17 left  best 0.9000 (job 0)",
        "job  parameters    state     on     epoch  valid/accuracy       time",
        "  0  adam lr=0.0   finished  cpu 0    2/5          0.9000       12 s",
        "  1  adam lr=0.01  finished  cpu 1    2/5          0.8000       12 s",
        "  2  adam lr=0.02  failed    cpu 2    2/5          0.6020      2.0 s",
        "  3  adam lr=0.03  training  cpu 3    2/5          0.6030  30 s left",
        "  4  adam lr=0.04  training  cpu 4    2/5          0.6040  30 s left",
        "  5  adam lr=0.05  training  cpu 5    2/5          0.6050  30 s left",
    ]


@pytest.mark.parametrize("width", [1, 10, 20, 40, 60, 80, 200])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 10, 24])
@pytest.mark.parametrize("jobs", [(0, 0, 0), (1, 0, 0), (4, 200, 30), (64, 0, 0)])
def test_the_table_fits_any_terminal(clock, width, height, jobs):
    lines = frame(busy_board(clock, *jobs, total=300), width, height)
    assert 1 <= len(lines) <= max(height - 1, 1)
    assert max(cell_len(line.plain) for line in lines) <= width


def test_of_many_jobs_the_running_ones_and_the_newest_failures_are_shown_and_the_rest_counted(clock):
    lines = [line.plain for line in frame(busy_board(clock, 4, 200, 30, total=300), 100, 14)]
    states = [line.split()[3] for line in lines[2:-1]]
    assert states.count("training") == 4
    assert states.count("failed") == 2
    assert lines[-1] == "... and 196 finished, 28 failed more"


def test_a_narrow_terminal_keeps_what_matters_most(clock):
    title = frame(busy_board(clock), 45, 24)[1].plain
    assert "state" in title
    assert "valid/accuracy" in title
    assert " on " not in title


def test_names_that_do_not_fit_begin_with_what_tells_them_apart(clock):
    board = Board(4)
    for number in range(4):
        varies = ("optimizer=momentum", f"model.hidden=[{64 + number // 2},64]", f"seed={number}")
        board.started(Job(number, Path(), varies, varies, "", {"optimizer": ""}, "", epochs=9), "cpu 0", 1)
        board.reported(board.rows[number].job, report(100, 0.5))
    for width in (40, 60, 80, 120):
        names = [re.split(r"  +", line.plain.strip())[1] for line in frame(board, width, 24)[2:]]
        assert len(set(names)) == 4, names
    assert names[0] == "momentum hidden=[64,64] seed=0"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "2 of 20 done, 1 failed, 3 running  10 s, 1:17 left  best 0.9000 (job 0)"),
        (66, "2 of 20 done, 1 failed, 3 running  1:17 left  best 0.9000 (job 0)"),
        (50, "2 of 20 done, 1 failed, 3 running  1:17 left"),
        (40, "2 of 20 done, 1 failed, 3 running"),
    ],
)
def test_the_line_of_the_sweep_says_what_there_is_room_for(clock, width, shown):
    assert frame(busy_board(clock), width, 24)[0].plain == shown


def test_ascii_only(clock):
    text = "\n".join(line.plain for line in frame(busy_board(clock), 100, 10, ascii_only=True))
    assert text.isascii()
    assert text.startswith("#####----")


def test_a_lower_loss_is_better_and_what_is_no_number_is_worst(clock):
    board = Board(4)
    for number, value in enumerate([float("nan"), 0.5, 0.7, float("nan")]):
        board.started(job(number), "cpu 0", 1)
        board.reported(job(number), report(100, value, higher=False))
        board.ended(job(number), Outcome("FINISHED", value=value))
    assert board.best == Best(1, 0.5)


def test_a_sweep_that_goes_on_knows_what_was_best_before_and_what_it_is_called(clock):
    console = plain()
    before = Before(done=3, failed=1, best=Best(20, 0.95))
    with open_view(console, 6, before=before, aim=Aim("valid/accuracy")) as view:
        for number, value in [(44, 0.9), (45, 0.97)]:
            view.started(job(number), "cpu 0", 1)
            view.ended(job(number), Outcome("FINISHED", value=value, seconds=60))
    assert [line for line in written(console).splitlines() if "finished" in line] == [
        "job 44  finished in 1:00: valid/accuracy 0.9000  |  3 of 6 done, 1 failed",
        "job 45  finished in 1:00: valid/accuracy 0.9700 * best so far  |  4 of 6 done, 1 failed",
    ]
    board = Board(6, before)
    assert "best 0.9500 (job 20)" in frame(board, 120, 24)[0].plain


def test_the_live_table_follows_the_size_of_the_terminal_and_goes_away(clock):
    console = terminal(100, 12)
    with open_view(console, 2) as view:
        view.started(job(1), "cpu 0", 1)
        view.tick()
        assert "starting" in written(console)
        console.size, before = (50, 12), len(console.file.getvalue())
        clock.now += 1
        view.tick()
        lines = re.split(r"\n", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", console.file.getvalue()[before:]))
        assert max(map(len, lines)) <= 50
        assert console.file.getvalue()[before:].count("\x1b[1A") > 3  # the folded lines are taken back, too
    assert console.file.getvalue().endswith("\x1b[1A\x1b[2K")


def test_why_a_job_is_tried_again_stays_on_the_screen(clock):
    console = terminal(100, 12)
    with open_view(console, 2) as view:
        view.started(job(1), "cpu 0", 1)
        view.started(job(1), "b2", 2, "the node b1 died")
    assert "job 1  the node b1 died; tried again (2) on b2: optimizer=adam" in written(console)


@pytest.mark.parametrize("closed", ["pipe", "terminal"])
def test_a_sweep_outlives_whoever_reads_it(closed):
    code = """
import os, sys, time
from expkit.sweeping.console import lasting_console
console = lasting_console()
console.print("begun")
time.sleep(0.5)
for _ in range(3):
    console.print("more")
sys.stdout.flush()
sys.stderr.write("recorded")
"""
    if closed == "pipe":
        reads, writes = os.pipe()
    else:
        reads, writes = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert os.read(reads, 100).startswith(b"begun")
    os.close(reads)
    assert process.communicate(timeout=60)[1] == "recorded"
    assert process.returncode == 0


def test_what_a_pipe_does_not_take_goes_to_the_terminal():
    code = "from expkit.sweeping.console import lasting_console; lasting_console().print('how to go on')"
    reads, writes = os.pipe()
    os.close(reads)
    screen, terminal = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=writes, stderr=terminal)
    os.close(writes)
    assert process.wait(timeout=60) == 0
    assert os.read(screen, 100).strip() == b"how to go on"


def test_imports_of_a_first_job_and_what_nobody_can_know_are_in_no_estimate(clock):
    board = Board(9)
    board.started(job(0), "cpu 0", 1)
    clock.now += 20  # it imports
    board.reported(job(0), report(0))
    clock.now += 1
    board.reported(job(0), report(100))
    assert seconds_left(board) is None
    clock.now += 4
    board.ended(job(0), Outcome("FINISHED", value=0.5))
    board.started(job(1), "cpu 0", 1)
    assert seconds_left(board) == pytest.approx(8 * 5)
    clock.now += 7
    board.ended(job(1), Outcome("FINISHED", value=0.5))
    board.started(job(2), "cpu 0", 1)
    assert seconds_left(board) == pytest.approx(7 * 6)


def test_a_job_that_finishes_has_no_time_left_to_tell(clock):
    board = Board(1)
    board.started(job(0), "cpu 0", 1)
    board.reported(job(0), report(0))
    clock.now += 1
    board.reported(job(0), report(500))
    assert "s left" not in "".join(line.plain for line in frame(board, 100, 24)[1:])
