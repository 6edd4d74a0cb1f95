from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from expkit.api import EpochEnd, FitEnd, LearnerState, StepEnd
from expkit.callbacks import CheckpointCallback, History, read_epochs, read_steps
from expkit.checkpoint import CheckpointFolder, Snapshot
from expkit.errors import CheckpointError, RunNotFoundError
from expkit.trainer import Monitor


def epoch_end(epoch, is_best=False):
    return EpochEnd(epoch, 3 * epoch, {"train/loss": 0.5, "valid/loss": 1.0 / epoch}, is_best, 2.5, print)


def test_history_remembers_and_writes_after_every_epoch(tmp_path):
    history = History(tmp_path)
    for step in (1, 2, 3):
        history.on_step_end(StepEnd(1, step, step, 8, 1.0 / step, 0.1, {}))
    history.on_epoch_end(epoch_end(1))
    wanted = [{"epoch": 1, "seconds": 2.5, "train/loss": 0.5, "valid/loss": 1.0}]
    assert json.loads((tmp_path / "history.json").read_text()) == wanted
    history.on_epoch_end(epoch_end(2))
    assert [e["epoch"] for e in json.loads((tmp_path / "history.json").read_text())] == [1, 2]
    assert history.steps == [1.0, 0.5, 1 / 3]


VALID_LOSS = Monitor("valid/loss", higher_is_better=False)


@pytest.fixture
def saving(tmp_path):
    progress = {"epoch": 0, "step": 0}
    folder = CheckpointFolder(tmp_path / "checkpoints")

    def snapshot():
        return Snapshot(LearnerState({"w": np.zeros(2)}, {}), dict(progress))

    return folder, progress, CheckpointCallback(folder, snapshot, VALID_LOSS)


def test_an_epochs_end_is_saved_and_the_best_one_kept(saving):
    folder, progress, callback = saving
    for epoch, best in ((1, True), (2, False)):
        progress.update(epoch=epoch, step=3 * epoch)
        callback.on_epoch_end(epoch_end(epoch, best))
    assert folder.load("best").progress["epoch"] == 1
    assert folder.load("last").progress["epoch"] == 2


@pytest.mark.parametrize(
    ("status", "step", "saved"),
    [("interrupted", 5, True), ("interrupted", 0, False), ("finished", 5, False), ("failed", 5, False)],
)
def test_only_an_interrupt_saves_the_middle_of_an_epoch(saving, status, step, saved):
    folder, progress, callback = saving
    progress.update(epoch=2, step=step)
    callback.on_fit_end(FitEnd(status, "", 2, step))
    assert folder.folder.exists() is saved
    if saved:
        assert folder.load("last").progress["step"] == 5


def test_a_step_that_is_saved_already_is_not_saved_again(saving):
    folder, progress, callback = saving
    progress.update(epoch=1, step=3)
    callback.on_epoch_end(epoch_end(1, True))
    callback.on_fit_end(FitEnd("interrupted", "", 1, 3))
    assert folder.history() == ["epoch-0001-step-00000003"]
    assert callback.saved == (1, 3)


def saved_steps(saving, steps, **options):
    """Tell a callback of steps and return those after which there was a new checkpoint."""
    folder, progress, callback = saving
    callback = CheckpointCallback(folder, callback._snapshot, VALID_LOSS, **options)
    callback.on_fit_start(None)
    found = []
    for step in steps:
        progress.update(epoch=1, step=step)
        callback.on_step_end(step_end(step))
        if folder.folder.exists() and folder.load("last").progress["step"] == step:
            found.append(step)
    return found


def test_an_epoch_is_saved_within_every_so_many_steps_wherever_it_was_gone_on_with(saving):
    assert saved_steps(saving, range(1, 10), every_steps=3) == [3, 6, 9]
    assert saved_steps(saving, range(11, 20), every_steps=4) == [12, 16]


def test_an_epoch_is_saved_after_the_step_that_ends_so_many_seconds_after_the_last_save(saving):
    # One for the start, one a step, and one after each save.
    times = iter([0.0, 0.0, 4.0, 9.9, 10.0, 11.0, 20.0, 21.0, 23.0])
    assert saved_steps(saving, range(1, 6), every_seconds=10.0, clock=lambda: next(times)) == [3, 5]


def test_what_is_monitored_is_kept_with_the_checkpoint(saving):
    folder, progress, callback = saving
    progress.update(epoch=2, step=6)
    callback.on_epoch_end(epoch_end(2, True))
    wanted = {"name": "valid/loss", "value": 0.5, "higher_is_better": False}
    assert folder.load("best").run["monitored"] == wanted


def step_end(step, epoch=1):
    return StepEnd(epoch, step, step, 8, 1.0 / step, 0.1, {})


def test_steps_are_on_disk_after_every_epoch_and_at_the_end(tmp_path):
    history = History(tmp_path)
    history.on_step_end(step_end(1))
    history.on_epoch_end(epoch_end(1))
    history.on_step_end(step_end(2, 2))
    assert read_steps(tmp_path) == [(1, 1.0, 0.1)]
    history.on_fit_end(FitEnd("interrupted", "", 2, 2))
    assert read_steps(tmp_path) == [(1, 1.0, 0.1), (2, 0.5, 0.1)]
    assert (tmp_path / "steps.csv").read_text() == "step,loss,learning_rate\n1,1.0,0.1\n2,0.5,0.1\n"


def test_a_history_is_taken_back_up_to_the_step_that_was_saved(tmp_path):
    history = History(tmp_path)
    for step in range(1, 10):
        history.on_step_end(step_end(step))
        if step % 3 == 0:
            history.on_epoch_end(epoch_end(step // 3))
    again = History(tmp_path)
    again.take_back(2, 7)
    assert [e["epoch"] for e in again.epochs] == [1, 2]
    assert again.steps == [1.0 / step for step in range(1, 8)]
    again.on_step_end(step_end(8))
    again.on_fit_end(FitEnd("finished", "", 3, 8))
    assert [step for step, _, _ in read_steps(tmp_path)] == list(range(1, 9))


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path):
    (tmp_path / "steps.csv").write_text("step,loss,learning_rate\n1,0.5,0.1\n2,0.")
    assert read_steps(tmp_path) == [(1, 0.5, 0.1)]


def test_an_epoch_is_put_behind_the_others_which_are_not_touched(tmp_path):
    history, path = History(tmp_path), tmp_path / "history.json"
    history.take_back(0, 0)
    before = ""
    for epoch in (1, 2, 3):
        history.on_epoch_end(epoch_end(epoch))
        assert path.read_text().startswith(before.removesuffix("\n]\n"))
        assert json.loads(path.read_text()) == history.epochs == read_epochs(tmp_path)
        before = path.read_text()
    history.take_back(2, 6)
    history.on_epoch_end(epoch_end(3))
    assert path.read_text() == before
    path.unlink()
    history.on_epoch_end(epoch_end(4))
    assert [epoch["epoch"] for epoch in read_epochs(tmp_path)] == [1, 2, 3, 4]


def test_an_epoch_that_a_crash_cut_short_is_left_out_and_written_again(tmp_path):
    history, path = History(tmp_path), tmp_path / "history.json"
    for epoch in (1, 2):
        history.on_epoch_end(epoch_end(epoch))
    before = path.stat().st_size
    history.on_epoch_end(epoch_end(3))
    content = path.read_bytes()
    for size in range(before, len(content), 3):
        for rest in (b"", bytes(len(content) - size)):  # a file system may have the size already, and not the content
            path.write_bytes(content[:size] + rest)
            assert [epoch["epoch"] for epoch in read_epochs(tmp_path)][:2] == [1, 2], (size, rest)
    again = History(tmp_path)
    again.take_back(2, 6)
    again.on_epoch_end(epoch_end(3))
    assert path.read_bytes() == content


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
def test_a_full_disk_leaves_the_epochs_before_as_they_were(tmp_path):
    import resource

    history, path = History(tmp_path), tmp_path / "history.json"
    for epoch in (1, 2):
        history.on_epoch_end(epoch_end(epoch))
    before = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limit[1]))
    try:
        with pytest.raises(CheckpointError, match=r"history\.json cannot be written: (No space left|File too large)"):
            history.on_epoch_end(epoch_end(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before


def test_a_damaged_history_is_named(tmp_path):
    (tmp_path / "history.json").write_text("[1")
    with pytest.raises(RunNotFoundError, match=r"history\.json is damaged"):
        read_epochs(tmp_path)
