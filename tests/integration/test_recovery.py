"""Whatever happened to the last checkpoint, or to the process: the run goes on; nothing is missing or there twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from expkit import experiment
from expkit.api import Callback, StepEnd
from expkit.callbacks import read_epochs, read_steps
from expkit.checkpoint import CheckpointFolder
from expkit.config import compose
from expkit.errors import CallbackError, CheckpointError, ConfigError, RunLockedError
from expkit.evaluation import evaluate
from expkit.interrupts import Stopped
from expkit.lock import RunLock
from expkit.tracking.store import import_mlflow
from tests.integration.conftest import CommandLine
from tests.integration.resuming import QUICK, choose, console, same

MODULE = "tests.integration.test_recovery"
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


class Fails(Callback):
    """Fails at step 17, in the middle of epoch 3, once in this process."""

    role = "essential"
    failed, step = False, 17

    def on_step_end(self, event: StepEnd) -> None:
        if event.step == Fails.step and not Fails.failed:
            Fails.failed = True
            raise RuntimeError(f"at step {event.step}")


@pytest.fixture
def broken(train: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Train until step 17 of 21, with checkpoints at steps 5, 7, 10, 14, 15; the last two and the best are kept."""

    def broken(*overrides: str) -> Path:
        choose(tmp_path, "fails", "Fails", MODULE)
        Fails.failed = False
        options = ("callbacks=[early_stopping,fails]", "checkpoint.every_steps=5", *overrides)
        with pytest.raises(CallbackError, match="RuntimeError: at step "):
            train("broken", *options)
        return tmp_path / "runs" / "mnist_cnn" / "broken"

    return broken


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing has happened to."""
    folder = tmp_path_factory.mktemp("whole") / "runs" / "mnist_cnn" / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EXPKIT_DATA_DIR", raising=False)
        experiment.run(compose([*QUICK, "tracking=none"]), folder, console())
    return folder


def flip(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def points(run: Path, key: str) -> list[tuple[int, float]]:
    """Return (step, value) of a metric of the run's MLflow run, as they were stored."""
    client = import_mlflow().MlflowClient(f"sqlite:///{Path('runs/mlflow.db').absolute()}")
    run_id = json.loads((run / "run.json").read_text())["mlflow_run_id"]
    return sorted((point.step, point.value) for point in client.get_metric_history(run_id, key))


DAMAGE = [
    ("model.safetensors", flip, r"model\.safetensors is damaged: it has"),
    ("state.json", cut, r"state\.json is damaged: it has"),
    ("optimizer.safetensors", Path.unlink, r"optimizer\.safetensors cannot be read: No such file"),
]


def test_a_damaged_last_checkpoint_is_named_and_the_one_before_goes_on_bit_identically(
    whole: Path, broken: Callable[..., Path]
) -> None:
    run = broken("tracking=none")
    last, before = run / "checkpoints" / "epoch-0003-step-00000015", "epoch-0002-step-00000014"
    command = rf"python -m expkit resume runs/mnist_cnn/broken --checkpoint {before} trainer.progress=off"
    for file, damage, said in DAMAGE:
        content = (last / file).read_bytes()
        damage(last / file)
        with pytest.raises(
            CheckpointError, match=rf"step-00000015/{said}.*sound checkpoint is {before} .*: {command}$"
        ):
            experiment.resume(run, ["trainer.progress=off"], console())
        (last / file).write_bytes(content)
    flip(last / "model.safetensors")
    experiment.resume(run, ["trainer.progress=off"], console(), checkpoint=before)
    same(whole, run)


def test_going_on_from_an_earlier_checkpoint_stores_no_point_twice_and_misses_none(
    broken: Callable[..., Path],
) -> None:
    run = broken()
    assert [step for step, _ in points(run, "step/loss")] == list(range(1, 17))
    name = CheckpointFolder(run / "checkpoints").history()[-1]
    assert int(name[-8:]) < 14
    experiment.resume(run, console=console(), checkpoint=name)
    assert points(run, "step/loss") == [(step, loss) for step, loss, _ in read_steps(run)]
    assert [step for step, _ in points(run, "step/loss")] == list(range(1, 22))
    assert points(run, "train/auc") == [(epoch["epoch"], epoch["train/auc"]) for epoch in read_epochs(run)]


def test_a_checkpoint_of_another_run_is_refused(broken: Callable[..., Path], tmp_path: Path) -> None:
    run = broken("tracking=none")
    other = tmp_path / "runs" / "mnist_cnn" / "other"
    shutil.copytree(run, other)
    record = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**record, "id": "other"}))
    with pytest.raises(CheckpointError, match=r"is whole, but belongs to another run: broken, not other\. No "):
        experiment.resume(other, console=console())


def test_damaged_weights_of_the_best_epoch_are_noticed_at_once_and_the_next_best_takes_their_place(
    broken: Callable[..., Path],
) -> None:
    run = broken("tracking=none")
    checkpoints = CheckpointFolder(run / "checkpoints")
    best = checkpoints.path("best")
    epoch = int(best.name[6:10])
    cut(best / "model.safetensors")
    last = checkpoints.path("last").name
    with pytest.raises(CheckpointError, match=rf"the best weights so far\. .* --checkpoint {last}$"):
        experiment.resume(run, console=console())
    result = experiment.resume(run, console=console(), checkpoint=last)
    assert result.best_epoch != epoch
    assert f"The weights of epoch {epoch}, the best so far, are lost" in (run / "run.log").read_text()
    assert result.metrics["valid/auc"] == read_epochs(run)[result.best_epoch - 1]["valid/auc"]


def test_a_lost_index_is_made_anew(whole: Path, broken: Callable[..., Path]) -> None:
    run = broken("tracking=none")
    (run / "checkpoints" / "index.json").unlink()
    experiment.resume(run, console=console())
    same(whole, run)
    assert "did not name epoch-0003-step-00000015 yet, which is whole: it is taken up" in (run / "run.log").read_text()


def test_checkpoints_that_were_not_on_the_disk_when_the_machine_stopped_are_left_out(
    whole: Path, broken: Callable[..., Path]
) -> None:
    run = broken("tracking=none", "checkpoint.keep=9")
    lost = [run / "checkpoints" / f"epoch-000{epoch}-step-000000{step}" for epoch, step in ((2, 14), (3, 15))]
    first = "epoch-0001-step-00000007"
    CheckpointFolder(run / "checkpoints").go_back(first, first)
    for folder in lost:
        folder.mkdir(exist_ok=True)
        (folder / "not-synced").write_text("a start of the system before this one")
    experiment.resume(run, console=console())
    same(whole, run)
    for folder in lost:
        assert f"{folder.name} may not have been on the disk yet" in (run / "run.log").read_text()
        assert not folder.exists() or not (folder / "not-synced").exists()


def test_a_run_that_had_saved_nothing_begins_again_in_its_place(
    whole: Path, broken: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fails, "step", 3)
    run = broken()
    experiment.resume(run, console=console())
    same(whole, run)
    assert [step for step, _ in points(run, "step/loss")] == list(range(1, 22))
    assert "has saved nothing yet: it begins with its first step again" in (run / "run.log").read_text()


def test_checkpoints_that_are_gone_are_no_reason_to_begin_again(broken: Callable[..., Path]) -> None:
    run = broken("tracking=none")
    shutil.rmtree(run / "checkpoints")
    before = (run / "steps.csv").read_bytes()
    with pytest.raises(CheckpointError, match=r"the checkpoints of the run are gone: \S+checkpoints has none"):
        experiment.resume(run, console=console())
    assert (run / "steps.csv").read_bytes() == before


def test_steps_and_epochs_that_were_cut_off_are_said(
    broken: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    run = broken("tracking=none")
    lines = (run / "steps.csv").read_text().splitlines(keepends=True)
    (run / "steps.csv").write_text("".join(lines[:4]))
    (run / "history.json").unlink()
    experiment.resume(run, console=console())
    assert "steps.csv holds 3 of the 15 steps that were trained" in caplog.text
    assert "history.json holds 0 of the 2 epochs that were trained" in caplog.text


def test_what_came_after_a_checkpoint_of_a_finished_run_can_be_done_again(
    train: Callable[..., Path], tmp_path: Path
) -> None:
    run = train("done", "checkpoint.keep=3")
    shutil.copytree(run, tmp_path / "before")
    with pytest.raises(CheckpointError, match=r"there is no checkpoint 'epoch-9'"):
        experiment.resume(run, console=console(), checkpoint="epoch-9")
    experiment.resume(run, console=console(), checkpoint="epoch-0002-step-00000014")
    same(tmp_path / "before", run)
    assert [step for step, _ in points(run, "step/loss")] == list(range(1, 22))


def test_a_run_that_is_trained_is_left_alone_but_may_be_measured(broken: Callable[..., Path]) -> None:
    run = broken("tracking=none")
    before = (run / "run.json").read_text()
    with RunLock(run):
        with pytest.raises(RunLockedError, match=rf"broken is being trained by process {os.getpid()} on this machine"):
            experiment.resume(run, console=console())
        with pytest.raises(RunLockedError):
            experiment.run(compose([*QUICK, "tracking=none"]), run, console())
        assert evaluate(run, ["valid"], "last")[0].samples == 40
    assert (run / "run.json").read_text() == before


class Kills(Callback):
    """Kills this process at step 12, without a chance to do anything about it, the first time."""

    def on_step_end(self, event: StepEnd) -> None:
        if event.step == 12 and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


class FillsTheDisk(Callback):
    """Lets no file grow beyond a checkpoint's size after step 9, in epoch 2, as on a full disk."""

    def on_step_end(self, event: StepEnd) -> None:
        import resource

        if event.step == 9 and not Path("full").exists():
            Path("full").touch()
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


@pytest.fixture
def line(expkit: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line in a folder in which the callbacks of this module are known."""
    known = os.environ.get("PYTHONPATH", "")
    expkit.environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), known])
    for name, kind in (("kills", "Kills"), ("fills", "FillsTheDisk")):
        choose(expkit.folder, name, kind, MODULE)
    monkeypatch.chdir(expkit.folder)
    return expkit


@posix
@pytest.mark.slow
def test_a_killed_run_goes_on_by_the_same_command_with_every_point_stored_once(line: CommandLine) -> None:
    command = (*QUICK, "trainer.auto_resume=true", "checkpoint.every_steps=5", "callbacks=[kills]")
    first = line(*command, code=-signal.SIGKILL)
    assert "runs has no run of this config: a new one begins" in first.stdout
    second = line(*command)
    assert "is of this config: its process has died; it goes on" in second.stdout
    (run,) = line.runs()
    assert points(run, "step/loss") == [(step, loss) for step, loss, _ in read_steps(run)]
    assert [step for step, _ in points(run, "step/loss")] == list(range(1, 22))
    assert [step for step, _ in points(run, "valid/auc")] == [1, 2, 3]
    assert line.mlflow_runs()[0].info.status == "FINISHED"


@pytest.mark.slow
@posix
def test_a_full_disk_is_said_in_one_screen_and_the_run_goes_on_when_there_is_room(line: CommandLine) -> None:
    done = line(*QUICK, "tracking=none", "callbacks=[fills]", code=2)
    (run,) = line.runs()
    screen = done.stderr.splitlines()
    assert len(screen) <= 4, done.stderr
    assert "cannot be written" in screen[-1] and "File too large. The earlier checkpoints are untouched." in screen[-1]
    assert f"To go on: python -m expkit resume {run.relative_to(line.folder)}" in done.stderr
    assert CheckpointFolder(run / "checkpoints").load("last").progress["epoch"] == 1
    line("resume", str(run))
    assert [epoch["epoch"] for epoch in read_epochs(run)] == [1, 2, 3]


@posix
@pytest.mark.slow
def test_a_small_disk_that_is_full_is_no_end_either(
    line: CommandLine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    disk = tmp_path_factory.mktemp("disk")
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
        )
        if shutil.which("mount")
        else None
    )
    if mounted is None or mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip() if mounted else 'no mount'}")
    try:
        done = line(*QUICK, "tracking=none", f"runs_dir={disk}/runs", code=2)
        assert "No space left on device. The earlier checkpoints are untouched." in done.stderr
        (run,) = (path.parent for path in disk.rglob("run.json"))
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        line("resume", str(run))
        assert [epoch["epoch"] for epoch in read_epochs(run)] == [1, 2, 3]
    finally:
        subprocess.run(["umount", str(disk)], check=False)


class Asks(Callback):
    """Sends this process a signal after step 10, the first time."""

    asked = False

    def on_step_end(self, event: StepEnd) -> None:
        if event.step == 10 and not Asks.asked:
            Asks.asked = True
            os.kill(os.getpid(), signal.SIGUSR1)


@posix
def test_the_same_command_goes_on_until_it_is_done_and_then_shows_what_it_came_to(
    train: Callable[..., Path], whole: Path, tmp_path: Path
) -> None:
    choose(tmp_path, "asks", "Asks", MODULE)
    Asks.asked = False
    options = ("tracking=none", "trainer.auto_resume=true", "callbacks=[early_stopping,asks]")
    with pytest.raises(Stopped) as stopped:
        train("first", *options)
    assert stopped.value.exit_code == 75
    first = tmp_path / "runs" / "mnist_cnn" / "first"
    train("second", *options, "trainer.progress=off", "tracking.log_every=9")  # what changes nothing of what is learned
    assert json.loads((first / "run.json").read_text())["status"] == "FINISHED"
    assert not (first.parent / "second").exists()
    same(whole, first)
    result = experiment.run(compose([*QUICK, *options]), first.parent / "third", screen := console())
    assert result.folder.resolve() == first
    assert result.metrics == json.loads((first / "run.json").read_text())["metrics"]
    assert "first is of this config: done: this is what it came to" in screen.file.getvalue()
    assert train("other", *options, "seed=1").name == "other"
    assert (first.parent / "other").is_dir()


def test_a_chosen_folder_is_gone_on_with_and_another_run_in_it_is_refused(train: Callable[..., Path]) -> None:
    options = ("tracking=none", "trainer.auto_resume=true", "trainer.limit_train_batches=1")
    run = train("mine", *options, "trainer.stop_after=1")
    assert json.loads((run / "run.json").read_text())["status"] == "PAUSED"
    train("mine", *options, "trainer.stop_after=1")
    assert json.loads((run / "run.json").read_text())["status"] == "FINISHED"
    with pytest.raises(
        ConfigError, match=r"mine holds another run: seed was 0, is 7; model\.hidden was \[16\], is \[8\]\. Leave"
    ):
        train("mine", *options, "seed=7", "model.hidden=[8]")
