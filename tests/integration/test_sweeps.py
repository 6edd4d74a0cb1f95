"""Sweeps by the command line: what is refused, what is kept, and how one that was interrupted goes on."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.conftest import CommandLine, wait_for

SMALL = (
    *("+experiment=housing_numpy_gd", "dataset.download=false", "tracking=none", "export=none", "plots=none"),
    *("trainer.epochs=3", "sweep.devices=[cpu,cpu]"),
)
OWN = """\
import os, time
from pathlib import Path
from expkit.api import Callback

class Gate(Callback):
    '''Waits before the run begins or behind its first epoch, or fails there, as long as a file says so.'''

    role = "essential"

    def __init__(self, job: int = 0):
        self.job = job
        while Path(f"early{self.job}").exists():
            Path(f"at{self.job}").touch()
            time.sleep(0.05)

    def on_epoch_end(self, event):
        while event.epoch == 2 and Path(f"hold{self.job}").exists():
            time.sleep(0.05)
        if Path(f"fail{self.job}").exists():
            raise RuntimeError(f"job {self.job} cannot")
        print("FOO is", os.environ.get("FOO"))
"""
HYDRA_CALLBACK = """\
from hydra.experimental.callback import Callback

class Hears(Callback):
    def on_job_start(self, config, **rest):
        print("hears of job", config.hydra.job.num, "with seed", config.seed)

    def on_job_end(self, config, job_return, **rest):
        print("hears that it ended", job_return.status.name, round(job_return.return_value, 3))
"""


@pytest.fixture
def gated(expkit: CommandLine) -> CommandLine:
    """A command line whose jobs stop at a gate of their own, by `callbacks=[gate]`."""
    (expkit.folder / "my_gate.py").write_text(OWN)
    folder = expkit.folder / "conf" / "callbacks"
    folder.mkdir(parents=True)
    (folder / "gate.yaml").write_text("# @package callbacks.gate\n_target_: my_gate.Gate\njob: ${seed}\n")
    return expkit


def sweep(line: CommandLine) -> Path:
    (ledger,) = line.folder.glob("runs/*/*/sweep.jsonl")
    return ledger.parent


def record(line: CommandLine, number: int) -> dict[str, Any]:
    path = sweep(line) / str(number) / "run.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def statuses(line: CommandLine) -> list[str]:
    folders = sorted((path for path in sweep(line).iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    return [record(line, int(folder.name)).get("status", "") for folder in folders]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_sweep_whose_process_is_killed_goes_on_and_grows(gated: CommandLine) -> None:
    for number in (1, 2):
        (gated.folder / f"hold{number}").touch()
    arguments = (*SMALL, "callbacks=[gate]", "-m", "seed=0,1,2,3")
    process = gated.start(*arguments, start_new_session=True)
    try:
        wait_for(
            lambda: (
                list(gated.folder.glob("runs/*/*/sweep.jsonl"))
                and record(gated, 0).get("status") == "FINISHED"
                and all((sweep(gated) / str(number) / "checkpoints" / "index.json").exists() for number in (1, 2))
            ),
            120,
            process,
        )
        refused = gated(*arguments, "sweep.resume=last", code=2)
        assert f"is a sweep that is being run by process {process.pid}" in refused.stderr
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    finally:
        process.kill()
    for number in (1, 2):
        (gated.folder / f"hold{number}").unlink()
    done = (sweep(gated) / "0" / "run.json").stat().st_mtime_ns
    went_on = gated("resume-sweep", "last", "plots.mistakes=9", "+tracking.tags.by=me")
    assert ": 1 done, 2 to go on with, 1 to begin" in went_on.stdout
    configs = [yaml.safe_load((sweep(gated) / str(number) / "config.yaml").read_text()) for number in range(4)]
    assert [config["plots"]["mistakes"] for config in configs] == [25, 9, 9, 9]
    assert [config["tracking"]["tags"].get("by") for config in configs] == [None, "me", "me", "me"]
    assert statuses(gated) == ["FINISHED"] * 4
    assert (sweep(gated) / "0" / "run.json").stat().st_mtime_ns == done
    assert [len(record(gated, number).get("resumed", [])) for number in range(4)] == [0, 1, 1, 0]
    grown = gated("resume-sweep", sweep(gated).name, "seed=3,4")
    assert ": 1 done, 1 to begin, 3 that this command leaves out" in grown.stdout
    assert statuses(gated) == ["FINISHED"] * 5
    assert record(gated, 4)["seed"] == 4
    assert "sweep.resume" not in (sweep(gated) / "4" / "overrides.yaml").read_text()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_sweep_that_is_stopped_goes_on_by_the_same_command(gated: CommandLine) -> None:
    gates = [gated.folder / "hold0", gated.folder / "early1"]
    for gate in gates:
        gate.touch()
    arguments = (*SMALL, "callbacks=[gate]", "trainer.auto_resume=true", "-m", "seed=0,1,2")
    process = gated.start(*arguments)
    try:
        wait_for(
            lambda: list(gated.folder.glob("runs/*/*/0/checkpoints/index.json")) and (gated.folder / "at1").exists(),
            120,
            process,
        )
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        while "Still running: 2" not in process.stdout.readline():  # both are asked to stop
            assert process.poll() is None
        for gate in gates:  # the first is no place where a run can stop
            gate.unlink()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 75, err  # nothing is lost of a job that had nothing to save
    assert "Stopped by SIGTERM. 1 stopped, 1 stopped before a first checkpoint, 1 not begun. To go on: python" in out
    assert statuses(gated) == ["KILLED", ""]
    done = gated(*arguments)
    assert ": 1 to go on with, 2 to begin" in done.stdout
    assert "job 0  resumed on" in done.stdout
    assert "job 1  started on" in done.stdout
    assert statuses(gated) == ["FINISHED"] * 3
    assert "auto_resume  " not in (sweep(gated) / "2" / "output.log").read_text()
    again = gated(*arguments)
    assert ": 3 done" in again.stdout
    assert done.stdout.count("job 2") > 0
    assert "job 2  " not in again.stdout


def test_an_option_of_what_each_job_chooses_is_set_in_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from expkit.cli import main

    monkeypatch.chdir(tmp_path)
    both = ("-m", "+experiment=housing_numpy_gd,housing_numpy_sgd")
    assert main([*both, "dataset.download=false"]) == 2
    assert "in a sweep whose jobs choose theirs, set it in each: ++dataset.download=VALUE" in capsys.readouterr().err
    assert main([*both, "++dataset.download=false", "trainer.epochs=0"]) == 2  # it is the next that is refused
    assert "all of them:\n    trainer.epochs=0" in capsys.readouterr().err


@pytest.mark.slow
def test_what_failed_is_tried_again_only_when_asked(gated: CommandLine) -> None:
    (gated.folder / "fail1").touch()
    first = gated(*SMALL, "callbacks=[gate]", "-m", "seed=0,1,1", code=1)
    assert "1 combination is another one again (the same config): each config runs once" in first.stdout
    assert "RuntimeError: job 1 cannot" in first.stdout
    assert "1 failed. To try them again: python -m expkit resume-sweep runs/" in first.stdout
    left = gated("resume-sweep", "last", code=1)
    assert ": 1 done, 1 failed (sweep.retry_failed=true tries them again)" in left.stdout
    assert "started on" not in left.stdout
    (gated.folder / "fail1").unlink()
    again = gated("resume-sweep", "last", "sweep.retry_failed=true", "seed=0,1,2")
    assert ": 1 done, 1 to begin, 1 to try again" in again.stdout
    assert again.stdout.index("job 2  started") < again.stdout.index("job 1  ")
    assert statuses(gated) == ["FINISHED"] * 3
    assert len(record(gated, 1)["resumed"]) == 1


CHOOSING = """\
# @package _global_
defaults:
{}
  - override /hydra/launcher: {}
hydra:
  launcher: {}
"""


@pytest.fixture
def choosing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files choose their launcher."""
    monkeypatch.chdir(tmp_path)
    for name, first, launcher, options in (
        ("experiment/on_ray", "  - housing_numpy_gd", "expkit_ray", "{num_cpus: 3}"),
        ("experiment/in_one", "  - housing_numpy_gd", "basic", "{}"),
        ("search/on_ray", "  - override /hydra/sweeper: expkit_optuna", "expkit_ray", "{num_cpus: 3}"),
    ):
        file = tmp_path / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(CHOOSING.format(first, launcher, options))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "launcher", "sweeper"),
    [
        (["+experiment=housing_numpy_gd"], "expkit.LocalLauncher", "expkit.GridSweeper"),
        (["+experiment=on_ray"], "expkit.RayLauncher", "expkit.GridSweeper"),
        (["+experiment=on_ray", "hydra/launcher=expkit_local"], "expkit.LocalLauncher", "expkit.GridSweeper"),
        (["+experiment=housing_numpy_gd", "+search=on_ray"], "expkit.RayLauncher", "expkit.OptunaSweeper"),
        (["+experiment=in_one", "hydra/launcher=expkit_ray"], "expkit.RayLauncher", "expkit.GridSweeper"),
        (["+experiment=in_one", "hydra/sweeper=basic"], "basic_launcher.BasicLauncher", "basic_sweeper.BasicSweeper"),
    ],
)
def test_files_and_the_command_line_choose_launcher_and_sweeper(
    choosing: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], launcher: str, sweeper: str
) -> None:
    from expkit.cli import main

    assert main([*arguments, "--cfg", "hydra"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)["hydra"]
    assert shown["launcher"]["_target_"].endswith(launcher)
    assert shown["sweeper"]["_target_"].endswith(sweeper)
    assert main([*arguments, "--cfg", "job"]) == 0
    assert "hydra" not in yaml.safe_load(capsys.readouterr().out)
    assert main([*arguments, "--info", "defaults"]) == 0
    chosen = [line for line in capsys.readouterr().out.splitlines() if "| hydra/launcher/" in line]
    assert len(chosen) == 1


def test_an_experiment_file_has_its_sweeps_run_as_it_says(choosing: Path) -> None:
    from expkit.cli import main

    assert main(["+experiment=in_one", *SMALL[1:-1], "-m", "seed=0,1"]) == 0
    assert list(choosing.glob("runs/*/*/sweep.jsonl")) == []
    assert len(list(choosing.glob("runs/*/sweep-*/*/run.json"))) == 2
    assert len(list(choosing.glob("runs/*/sweep-*/results.csv"))) == 1


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("joblib") is None, reason="joblib is not installed")
@pytest.mark.parametrize(("rates", "code"), [("0.1,0.2", 0), ("0.1,1e30,0.2", 1)])
def test_a_sweep_of_a_launcher_with_processes_of_its_own_ends_with_the_table(
    expkit: CommandLine, rates: str, code: int
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    options = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "-m", f"learner.learning_rate={rates}")
    done = expkit(*SMALL[:-1], *options, code=code)
    assert f"{rates.count(',') + 1} jobs" in done.stdout
    assert "the best valid/mse first" in done.stdout
    assert len(list(expkit.folder.glob("runs/*/sweep-*/results.csv"))) == 1


def test_others_find_hydra_as_they_know_it(choosing: Path) -> None:
    from hydra import compose, initialize_config_dir

    from expkit.cli import main

    assert main(["+experiment=on_ray", "--cfg", "job"]) == 0
    (choosing / "theirs").mkdir()
    (choosing / "theirs" / "app.yaml").write_text("x: 1")
    with initialize_config_dir(str(choosing / "theirs"), version_base="1.3"):
        composed = compose("app", return_hydra_config=True)
    assert (
        composed.hydra.runtime.choices["hydra/launcher"] == composed.hydra.runtime.choices["hydra/sweeper"] == "basic"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["optimizer=nix,sgd", "seed=-1,1"],
            [
                "3 of 4 jobs cannot be run; none was started.",
                "  optimizer=nix seed=-1; optimizer=nix seed=1:\n    no optimizer",
                "  optimizer=sgd seed=-1:\n    seed=-1: must be at least 0.",
            ],
        ),
        (["trainer.epochs=0", "seed=1,2"], ["  all of them:\n    trainer.epochs=0: must be at least 1."]),
        (["seed=0,1", "sweep.jobs=0"], ["error: sweep.jobs=0: must be at least 1."]),
        (
            ["optimizer=sgd,adam", "optimizer.lr=1"],
            ["2 of 2 jobs cannot be run", "  optimizer=sgd:\n    optimizer.lr: optimizer 'sgd' has no option"],
        ),
        (["seed=0,1", "sweep.timeout=abc"], ["it must be a number of seconds, or null."]),
        (['name="a",\u00fcber,"${seed}"'], ["cannot be read: \u00fcber has letters that need quotes inside quotes"]),
        (["sweep.jobs=1,2"], ["sweep.jobs=1,2: an option of the whole sweep has one value."]),
        (["seed=interval(0,9)"], ["seed=interval(0,9): a grid needs values one can count"]),
        (["seed=0,1", "hydra.sweeper.max_batch_size=2"], ["At most 2 at a time: sweep.jobs=2."]),
        (["seed=0,1", "hydra.job.chdir=true"], ["hydra/launcher=basic, which runs them one after another"]),
        (["seed=0,1", "hydra.sweep.subdir=x"], ["jobs 0 and 1 would both be written to"]),
        (["seed=0,1", "sweep.resume=last"], ["there are no sweeps in runs/housing_numpy_gd."]),
        (["seed=0,1", "sweep.devices=[gpu:99]"], ["sweep.devices"]),
        (["seed=0,1", "sweep.devices=cpu", "trainer.devices=1,9999"], ["trainer.devices=9999: a job needs 9999 cores"]),
    ],
)
def test_a_sweep_is_refused_as_a_whole_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: list[str],
) -> None:
    from expkit.cli import main

    monkeypatch.chdir(tmp_path)
    assert main([*SMALL[:-1], "-m", *arguments]) == 2
    error = capsys.readouterr().err
    assert [words for words in told if words not in error] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two cores")
def test_jobs_of_several_devices_have_cores_for_each(expkit: CommandLine) -> None:
    small = ("model=mlp", "model.hidden=[8]", "dataset.limit=160", "dataset.batch_size=16", *SMALL[1:-1])
    done = expkit(
        "+experiment=mnist_cnn",
        *small,
        *("trainer.epochs=1", "trainer.stop_after=null", "sweep.devices=cpu", "trainer.devices=2", "-m", "seed=0,1"),
    )
    assert statuses(expkit) == ["FINISHED", "FINISHED"]
    assert "cpu x 2" in (sweep(expkit) / "1" / "output.log").read_text()
    slots = [line.split(" on ")[1].split(":")[0] for line in done.stdout.splitlines() if " started on " in line]
    assert all("-" in slot or "," in slot or slot.startswith("cpu (") for slot in slots)  # never one core


@pytest.mark.slow
def test_jobs_of_several_experiments_are_in_the_mlflow_experiment_of_their_sweep(expkit: CommandLine) -> None:
    both = ("-m", "+experiment=housing_numpy_gd,housing_numpy_sgd", "++dataset.download=false")
    expkit(*both, "trainer.epochs=2", "export=none", "plots=none", "name=both", "sweep.devices=[cpu,cpu]")
    assert len({run.info.experiment_id for run in expkit.mlflow_runs()}) == 1
    assert len(expkit.mlflow_runs()) == 3
    assert sweep(expkit).parent.name == "both"


@pytest.mark.slow
def test_options_of_hydra_are_honoured(gated: CommandLine) -> None:
    (gated.folder / "my_hydra.py").write_text(HYDRA_CALLBACK)
    done = gated(
        *SMALL,
        *("callbacks=[gate]", "+hydra.job.env_set.FOO=bar", "+hydra.callbacks.hears._target_=my_hydra.Hears"),
        *("hydra.sweep.dir=elsewhere", "hydra.sweep.subdir=with-seed-${seed}", "-m", "seed=0,1"),
    )
    for number in (0, 1):
        assert "FOO is bar" in (gated.folder / f"elsewhere/with-seed-{number}/output.log").read_text()
        assert f"hears of job {number} with seed {number}" in done.stdout
    assert done.stdout.count("hears that it ended COMPLETED") == 2
    again = gated(*SMALL, "hydra.sweep.dir=elsewhere", "-m", "seed=0,1", code=2)
    assert "holds a sweep already. Go on with it: sweep.resume=elsewhere" in again.stderr
