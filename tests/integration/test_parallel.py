"""One run on several devices: two CPU processes do what one does, and end together however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from expkit import experiment
from expkit.api import Batch, Callback, StepEnd
from expkit.callbacks import read_epochs, read_steps
from expkit.checkpoint import CheckpointFolder
from expkit.config import compose
from expkit.errors import ConfigError, DeviceError, DeviceLostError
from expkit.runs import read_record
from tests.forked import is_helper
from tests.integration.conftest import CommandLine, wait_for
from tests.integration.resuming import console, same
from tests.integration.sweeps import is_running

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="several devices are there on Linux only"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores"),
]

Train = Callable[..., Path]
TWO = "trainer.devices=2"
PLAIN = ("model.dropout=0", "metrics=[accuracy]", "callbacks=[]", "tracking=none")  # draws nothing, so it is comparable
LONG = (
    *("+experiment=mnist_cnn", "dataset.download=false", "model=mlp", "model.hidden=[16]", "trainer.epochs=5000"),
    *("export=none", "plots=none", "tracking=none", "trainer.progress=off", TWO),
)


def close(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    """Hold losses, metrics and weights of two runs to be the same but for rounding."""
    (steps, losses, rates), (others, wanted, other_rates) = (zip(*read_steps(run), strict=True) for run in (one, other))
    assert steps == others
    assert rates == other_rates
    np.testing.assert_allclose(losses, wanted, rtol=tolerance)
    for epoch, known in zip(read_epochs(one), read_epochs(other), strict=True):
        assert epoch.keys() == known.keys()
        for name in epoch.keys() - {"seconds"}:
            np.testing.assert_allclose(epoch[name], known[name], rtol=tolerance, err_msg=name)
    weights, known_weights = (CheckpointFolder(run / "checkpoints").load("last").learner.model for run in (one, other))
    for name, array in weights.items():
        np.testing.assert_allclose(array, known_weights[name], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    "overrides",
    [
        # 200 images: the last batch has 8, and of batches of 9, in shares of 5 and 4, it has 2
        pytest.param(["dataset.batch_size=32", "transforms=[shift,cutmix]"], marks=pytest.mark.slow, id="mixed images"),
        pytest.param(
            ["dataset.batch_size=9", "loss.class_weights=[1,2,3,4,5,6,7,8,9,10]", "learner.ema=0.9"], id="odd shares"
        ),
        # Of 199 samples the last one is alone: one device has nothing of its own.
        pytest.param(
            ["dataset.limit=199", "dataset.batch_size=6", "regularizer=l2"], marks=pytest.mark.slow, id="one sample"
        ),
    ],
)
def test_two_devices_learn_what_one_learns(train: Train, overrides: list[str]) -> None:
    one, two = train("one", *PLAIN, *overrides), train("two", *PLAIN, *overrides, TWO)
    close(two, one)
    assert not children(os.getpid())


class Stops(Callback):
    """Ends training in the middle of the second epoch, as Ctrl-C would."""

    at = 7

    def on_step_end(self, event: StepEnd) -> None:
        if event.step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_a_run_is_repeated_bit_by_bit_also_when_it_was_interrupted(train: Train) -> None:
    with_dropout = ["model.dropout=0.3", "tracking=none", TWO]
    first = train("first", *with_dropout)
    with pytest.raises(KeyboardInterrupt):
        train("torn", *with_dropout, further=[Stops()])
    torn = first.parent / "torn"
    assert read_record(torn)["status"] == "KILLED"
    assert len(read_steps(torn)) == Stops.at
    experiment.resume(torn, console=console())
    same(first, torn)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices(train: Train) -> None:
    whole = train("whole", *PLAIN)
    parted = train("parted", *PLAIN, TWO, "trainer.stop_after=1")
    assert read_record(parted)["status"] == "PAUSED"
    experiment.resume(parted, ["trainer.devices=1", "trainer.stop_after=2"], console())
    experiment.resume(parted, ["trainer.devices=2", "trainer.stop_after=null"], console())
    close(parted, whole)
    changes = [change["config"]["trainer.devices"] for change in read_record(parted)["resumed_otherwise"]]
    assert changes == [[2, 1], [1, 2]]


class Poisoned:
    """Makes a number infinite in the last sample of some batches, which is not the first device's."""

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        inputs = batch.inputs.copy()
        inputs[-1, 0] = np.inf if generator.random() < 0.1 else inputs[-1, 0]
        return replace(batch, inputs=inputs)


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        (["transforms=[poisoned]", "trainer.on_nonfinite=skip", "trainer.nonfinite_limit=50"], "skipped"),
        pytest.param(
            ["optimizer.learning_rate=3", "trainer.on_nonfinite=rollback"], "rollbacks", marks=pytest.mark.slow
        ),
    ],
)
def test_what_is_not_finite_in_one_device_is_so_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], count: str
) -> None:
    monkeypatch.chdir(tmp_path)
    choose(tmp_path, "transforms", "Poisoned")
    runs = []
    for devices in (1, 2):
        basis = ["+experiment=housing_linear", "dataset.download=false", "export=none", "plots=none", "tracking=none"]
        made = compose([*basis, "trainer.epochs=2", *overrides, f"trainer.devices={devices}"])
        runs.append(tmp_path / "runs" / str(devices))
        experiment.run(made, runs[-1], console())
    one, two = (CheckpointFolder(run / "checkpoints").load("last").progress for run in runs)
    assert one[count] == two[count] > 0
    close(runs[1], runs[0])


# What goes wrong, and how the run ends.


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and not yet buried, but for who helps the tests."""
    try:
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [child for child in found if not is_helper(Path(f"/proc/{child}/cmdline").read_bytes())]
    except FileNotFoundError:
        return []


@pytest.fixture
def training(expkit: CommandLine) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A run that trains on two devices and has saved something: its process, and that of the other device."""
    process = expkit.start(*LONG, "trainer.devices_timeout=2", "checkpoint.every_steps=20")
    try:
        wait_for(lambda: list(expkit.folder.rglob("checkpoints/index.json")), 120, process)
        (other,) = children(process.pid)
        yield process, other
    finally:
        process.kill()
        process.communicate()


def gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


@pytest.mark.slow
def test_a_device_that_is_killed_ends_the_run_which_can_be_gone_on_with(
    expkit: CommandLine, training: tuple[subprocess.Popen[str], int]
) -> None:
    process, other = training
    os.kill(other, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"error: device 1 of 2 (process {other}) was killed by SIGKILL." in err
    assert "To go on: python -m expkit resume runs/" in err
    assert "Traceback" not in err
    assert expkit.record()["status"] == "FAILED"
    assert gone(other)
    done = expkit("resume", "last", "trainer.epochs=1")
    assert "best epoch" in done.stdout


@pytest.mark.slow
def test_a_device_that_hangs_ends_the_run(training: tuple[subprocess.Popen[str], int]) -> None:
    process, other = training
    os.kill(other, signal.SIGSTOP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "device 1 of 2" in err
    assert "has not answered for 2 seconds (trainer.devices_timeout), and was ended." in err
    assert gone(other)


def test_ctrl_c_ends_all_devices_after_the_same_step(
    expkit: CommandLine, training: tuple[subprocess.Popen[str], int]
) -> None:
    process, other = training
    os.kill(other, signal.SIGINT)  # a terminal sends it to both
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "Stopped by SIGINT. All is saved, to epoch" in err
    assert gone(other)
    assert expkit.record()["status"] == "KILLED"


@pytest.mark.slow
def test_no_device_is_left_behind_when_the_first_is_killed(training: tuple[subprocess.Popen[str], int]) -> None:
    process, other = training
    process.kill()
    process.communicate()
    assert gone(other)


class Sum:
    """The sum of squares, which is no mean."""

    def __call__(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        return outputs.square().sum()


class Broken(paddle.nn.CrossEntropyLoss):
    """Fails in the other device."""

    def forward(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        if os.environ.get("PADDLE_TRAINER_ID") == "1" and not outputs.stop_gradient:
            raise OSError("the network drive is gone")
        return super().forward(outputs, targets)


def choose(folder: Path, group: str, kind: str) -> str:
    """Make a component of this file known in a folder, and return the override that chooses it."""
    name = kind.lower()
    (folder / "conf" / group).mkdir(parents=True)
    package = f"# @package transforms.{name}\n" if group == "transforms" else ""
    (folder / "conf" / group / f"{name}.yaml").write_text(
        f"{package}_target_: tests.integration.test_parallel.{kind}\n"
    )
    return f"{group}={name}"


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["dataset.batch_size=1"], ConfigError, r"dataset.batch_size=1 is the size of the whole batch.* 1 would have"),
        (["trainer.devices=100", "dataset.batch_size=128"], DeviceError, r"100 devices need 100 CPU cores"),
        (["device.threads=100"], DeviceError, r"2 devices of device.threads=100 need 200 CPU cores"),
        (["device=gpu"], DeviceError, r"is the CPU build"),
    ],
)
def test_what_cannot_be_is_refused(train: Train, overrides: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train("refused", TWO, *overrides)
    assert not children(os.getpid())


def test_a_learner_for_one_device_is_refused(expkit: CommandLine) -> None:
    done = expkit("+experiment=housing_numpy_gd", "dataset.download=false", TWO, "dataset.batch_size=50", code=2)
    assert "trainer.devices=2: learner=numpy_linear trains on one device only. Use trainer.devices=1" in done.stderr
    assert not expkit.runs()


def test_a_loss_that_is_no_mean_is_refused(train: Train, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the loss of 32 samples is .*put together from 2 shares of them it is"):
        train("sum", choose(tmp_path, "loss", "Sum"), TWO)


def test_an_error_in_another_device_is_told(train: Train, tmp_path: Path) -> None:
    with pytest.raises(DeviceLostError, match="device 1 of 2 failed: OSError: the network drive is gone"):
        train("broken", choose(tmp_path, "loss", "Broken"), TWO, "tracking=none")
    assert "raise OSError" in (tmp_path / "runs" / "mnist_cnn" / "broken" / "run.log").read_text()
    assert not children(os.getpid())
