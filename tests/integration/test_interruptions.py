"""Signals, crashes and sweeps: the record says what really happened."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.conftest import QUICK, CommandLine, wait_for

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

IN_ONE_PROCESS = ("tracking=none", "-m", "hydra/launcher=basic")

SLOW_CALLBACK = """\
import os, signal, time
from expkit.api import Callback

class Signals(Callback):
    '''Sends this process a signal when training is over.'''

    def __init__(self, number: int = 2):
        self.number = number

    def on_fit_end(self, event):
        os.kill(os.getpid(), self.number)
        time.sleep(0.1)


class Fails(Callback):
    '''Cannot say goodbye.'''

    def on_fit_end(self, event):
        raise RuntimeError("no goodbye")
"""


def own(expkit: CommandLine, name: str, **options: object) -> list[str]:
    """Put a callback of the user's own beside the run and return the overrides that choose it."""
    (expkit.folder / "my_callbacks.py").write_text(SLOW_CALLBACK)
    conf = expkit.folder / "conf" / "callbacks"
    conf.mkdir(parents=True, exist_ok=True)
    lines = [f"# @package callbacks.{name}", f"_target_: my_callbacks.{name}"]
    lines += [f"{key}: {value}" for key, value in options.items()]
    (conf / f"{name}.yaml").write_text("\n".join(lines) + "\n")
    return [f"callbacks=[{name}]"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_after_training_is_honoured_too(expkit: CommandLine, number: int) -> None:
    done = expkit(*QUICK, *own(expkit, "Signals", number=int(number)), code=75)
    name = signal.Signals(number).name
    assert (
        f"Stopped by {name}. All is saved, to epoch 1, step 8. To go on: python -m expkit resume runs/" in done.stderr
    )
    record = expkit.record()
    assert record["status"] == "KILLED"
    assert signal.Signals(number).name in record["reason"]
    (tracked,) = expkit.mlflow_runs()
    assert tracked.info.status == "KILLED"


def test_a_signal_ends_a_sweep_and_not_only_its_job(expkit: CommandLine) -> None:
    expkit(*QUICK, *own(expkit, "Signals"), *IN_ONE_PROCESS, "seed=1,2", code=75)
    assert [Path(run).name for run in expkit.runs()] == ["0"]


@pytest.mark.slow
def test_a_callback_that_fails_at_the_end_does_not_outrank_ctrl_c(expkit: CommandLine) -> None:
    own(expkit, "Signals")
    own(expkit, "Fails")
    process = expkit.start("+experiment=mnist_cnn", "trainer.epochs=500", "dataset.download=false", "callbacks=[Fails]")
    wait_for(lambda: list(expkit.folder.rglob("history.json")), 120, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert expkit.record()["status"] == "KILLED"


@pytest.mark.slow
def test_every_failing_job_of_a_sweep_is_named_and_the_others_run(expkit: CommandLine) -> None:
    done = expkit(*QUICK, *IN_ONE_PROCESS, "export=none", "plots=none", "optimizer.learning_rate=-1,0.001,-2", code=1)
    assert "error: job 0 (" in done.stderr
    assert "error: job 2 (" in done.stderr
    assert "optimizer.learning_rate=-2" in done.stderr
    assert "2 of the sweep's jobs failed" in done.stderr
    assert "Error executing job" not in done.stderr
    assert [run.name for run in expkit.runs()] == ["1"]


@pytest.mark.slow
def test_a_sweep_in_one_process_cannot_change_the_cpu_settings_from_job_to_job(expkit: CommandLine) -> None:
    done = expkit(*QUICK, *IN_ONE_PROCESS, "export=none", "plots=none", "device.tune=true,false", code=1)
    assert "device.tune=false: an earlier job of this process ran with the opposite" in done.stderr


@pytest.mark.slow
def test_a_job_of_a_sweep_has_the_very_bits_of_a_single_run(expkit: CommandLine) -> None:
    options = (*QUICK, "tracking=none", "export=none", "plots=none")
    expkit(*options, "-m", "optimizer=sgd,adam")
    expkit(*options, "optimizer=adam", "runs_dir=single")
    single = next((expkit.folder / "single").rglob("model.safetensors"))
    (job,) = (run for run in expkit.runs() if run.name == "1")
    assert next(job.rglob("model.safetensors")).read_bytes() == single.read_bytes()


@pytest.mark.slow
def test_a_run_folder_is_never_used_twice(expkit: CommandLine) -> None:
    options = (*QUICK, "tracking=none", "export=none", "plots=none", "hydra.run.dir=runs/mine/again")
    expkit(*options)
    done = expkit(*options, code=2)
    assert "holds a run already" in done.stderr
    assert expkit.record()["status"] == "FINISHED"


@pytest.mark.slow
def test_a_class_of_the_users_own_is_recorded_as_what_it_is(expkit: CommandLine) -> None:
    (expkit.folder / "my_models.py").write_text(
        "from paddle import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, spec):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, spec.outputs))\n"
    )
    expkit(*QUICK, "model=linear", "model._target_=my_models.Net")
    assert expkit.record()["choices"]["model"] == "Net"
    (tracked,) = expkit.mlflow_runs()
    assert tracked.data.params["model"] == "Net"
    assert tracked.data.params["model.target"] == "my_models.Net"


def test_a_model_that_cannot_take_the_inputs_is_named(expkit: CommandLine) -> None:
    (expkit.folder / "my_models.py").write_text(
        "from paddle import nn\n"
        "class Wrong(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(100, 10))\n"
    )
    done = expkit(*QUICK, "model=linear", "model._target_=my_models.Wrong", code=2)
    assert "model Wrong fails on a batch of 2 inputs [2, 1, 28, 28] float32" in done.stderr
    assert not (expkit.folder / "runs").exists()


def test_data_that_breaks_its_word_is_refused_before_the_run_begins(expkit: CommandLine) -> None:
    (expkit.folder / "my_data.py").write_text(
        "import numpy as np\n"
        "from expkit.api import ArraySplit, Classes, Data, DataSource, DataSpec, TableInput\n"
        "def bad():\n"
        "    split = ArraySplit(np.zeros((9, 2)), np.full(9, 3, np.int64))\n"
        "    spec = DataSpec('bad', TableInput(('a', 'b'), (0, 0), (1, 1)), Classes(('x', 'y', 'z')),\n"
        "                    DataSource('generated', 'here'), '0' * 64)\n"
        "    return Data(spec, split, split, split)\n"
    )
    (expkit.folder / "conf" / "dataset").mkdir(parents=True)
    (expkit.folder / "conf" / "dataset" / "bad.yaml").write_text("_target_: my_data.bad\n")
    done = expkit("dataset=bad", "model=mlp", code=2)
    assert "dataset 'bad': its train split has classes from 3 to 3; with 3 labels they are 0 to 2" in done.stderr
    assert not (expkit.folder / "runs").exists()


def test_a_schedule_is_never_ignored_in_silence(expkit: CommandLine) -> None:
    (expkit.folder / "my_optimizers.py").write_text(
        "import paddle\ndef fixed(parameters):\n    return paddle.optimizer.SGD(0.1, parameters=parameters)\n"
    )
    (expkit.folder / "conf" / "optimizer").mkdir(parents=True)
    (expkit.folder / "conf" / "optimizer" / "fixed.yaml").write_text("_target_: my_optimizers.fixed\n")
    done = expkit(*QUICK, "optimizer=fixed", code=2)
    assert "schedule=cosine: optimizer 'fixed' has no option `learning_rate`" in done.stderr


def test_a_name_that_is_no_folder_leaves_nothing_anywhere(expkit: CommandLine) -> None:
    before = set(expkit.folder.parent.iterdir())
    expkit(*QUICK, "name=../stray", code=2)
    assert set(expkit.folder.parent.iterdir()) == before
