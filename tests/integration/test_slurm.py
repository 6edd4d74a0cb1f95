"""Sweeps by Hydra's submitit launcher: for Slurm composed, on this machine run."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason="submitit is not installed: pip install 'expkit[slurm]'"
)
COMMAND = [sys.executable, "-m", "expkit", "+experiment=housing_numpy_gd", "dataset.download=false"]


def test_the_slurm_launcher_composes_with_our_config(tmp_path: Path) -> None:
    options = ["--cfg", "hydra", "hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"]
    done = subprocess.run([*COMMAND, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "hydra_submitit_launcher.submitit_launcher.SlurmLauncher" in done.stdout
    assert "partition: gpu" in done.stdout


@pytest.mark.slow
def test_a_job_that_its_scheduler_stops_saves_is_queued_again_and_goes_on(tmp_path: Path) -> None:
    options = ["hydra/launcher=submitit_local", "trainer.auto_resume=true"]
    short = ["trainer.epochs=60", "learner.learning_rate=0.01,0.02", "export=none", "plots=none", "tracking=none"]
    sweep = subprocess.Popen(
        [*COMMAND, "-m", *options, *short],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    stopped = ""
    until = time.monotonic() + 120
    while not stopped and sweep.poll() is None and time.monotonic() < until:
        for run in tmp_path.glob("runs/*/sweep-*/0"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                if len((run / "steps.csv").read_text().splitlines()) > 200:
                    os.kill(json.loads((run / ".lock").read_text())["pid"], signal.SIGUSR2)
                    stopped = str(run)
        time.sleep(0.05)
    said = sweep.communicate(timeout=120)[0]
    assert stopped, said
    assert sweep.returncode == 0, said
    runs = sorted(tmp_path.glob("runs/*/sweep-*/[01]"))
    assert len(runs) == 2
    for run in runs:
        assert json.loads((run / "run.json").read_text())["status"] == "FINISHED"
        steps = [line.split(",")[0] for line in (run / "steps.csv").read_text().splitlines()[1:]]
        assert len(steps) == len(set(steps)) == 6000
    assert "Stopped by SIGUSR2. All is saved" in (runs[0] / "run.log").read_text()
