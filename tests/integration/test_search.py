"""Searches from the command line, in real processes."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.integration.conftest import CommandLine, wait_for

SEARCH = (
    *("-m", "+experiment=housing_numpy_sgd", "hydra/sweeper=expkit_optuna", "export=none", "dataset.download=false"),
    *("learner.learning_rate=tag(log,interval(1e-3,0.5))", "dataset.batch_size=choice(50,100)"),
)


def sweep_of(expkit: CommandLine) -> Path:
    (sweep,) = (expkit.folder / "runs/housing_numpy_sgd").glob("sweep-*")
    return sweep


def trials_of(sweep: Path) -> list[str]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    backend = optuna.storages.journal.JournalFileBackend(str(sweep / "optuna.log"))
    study = optuna.load_study(study_name="housing_numpy_sgd", storage=optuna.storages.JournalStorage(backend))
    return [trial.state.name for trial in study.trials]


@pytest.mark.slow
def test_the_best_trial_of_a_search_file_is_repeated_by_a_command_without_it(expkit):
    search = (
        "-m",
        "+experiment=housing_linear",
        "+search=housing_linear",
        "dataset.download=false",
        "trainer.epochs=1",
    )
    done = expkit(*search, "tracking=none", "plots=none", "export=none", "hydra.sweeper.trials=1")
    command = done.stdout.partition("Repeat it:")[2].split()
    assert command[:3] == ["python", "-m", "expkit"]
    assert "valid/mse" in expkit(*command[3:]).stdout


@pytest.mark.slow
def test_a_search_names_its_best_run_keeps_pictures_and_can_be_extended(expkit):
    done = expkit(*SEARCH, "trainer.epochs=3", "hydra.sweeper.trials=2", "hydra.sweeper.pruner=median")
    assert "minimize valid/mse by tpe in 2 trials" in done.stdout
    assert re.search(r"trials +2 finished", done.stdout)
    sweep = sweep_of(expkit)
    results = yaml.safe_load((sweep / "optimization_results.yaml").read_text())
    records = [json.loads((sweep / str(job) / "run.json").read_text()) for job in range(2)]
    assert results["best_value"] == min(record["metrics"]["valid/mse"] for record in records)
    assert f"learner.learning_rate={results['best_params']['learner.learning_rate']}" in done.stdout.splitlines()[-2]
    for name in ("history", "slices", "learning"):
        with Image.open(sweep / f"search/{name}.png") as picture:
            picture.verify()

    more = expkit("resume-sweep", "last", "hydra.sweeper.trials=3")
    assert "2 done before" in more.stdout
    assert trials_of(sweep) == ["COMPLETE"] * 3
    assert sorted(run.name for run in expkit.runs()) == ["0", "1", "2"]
    parents = [run for run in expkit.mlflow_runs() if "sweep.jobs" in run.data.tags]
    assert [run.info.status for run in parents] == ["FINISHED"]
    place = Path(parents[0].info.artifact_uri.removeprefix("file://"))
    artifacts = {path.relative_to(place).as_posix() for path in place.rglob("*")}
    assert {"optimization_results.yaml", "search/history.png", "search/slices.png"} <= artifacts


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_with_its_trials(expkit):
    quick = ("tracking=none", "trainer.epochs=120", "hydra.sweeper.trials=3", "sweep.jobs=1")
    process = expkit.start(*SEARCH, *quick)
    try:
        runs = expkit.folder / "runs/housing_numpy_sgd"
        wait_for(lambda: list(runs.glob("sweep-*/0/checkpoints/index.json")), 120, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    sweep = sweep_of(expkit)
    assert trials_of(sweep) == ["RUNNING"]
    expkit("resume-sweep", "last", "sweep.jobs=2", seconds=300)
    assert trials_of(sweep) == ["COMPLETE"] * 3
    assert json.loads((sweep / "0/run.json").read_text())["status"] == "FINISHED"
    assert "resumed" in (sweep / "0/run.log").read_text()


def test_what_cannot_be_run_is_said_before_anything_is_written(expkit):
    done = expkit("-m", "+experiment=mnist_cnn", "+search=mnist_cnn", "model=linear", code=2)
    assert "model.channels: model 'linear' has no option 'channels'" in done.stderr
    assert not (expkit.folder / "runs").exists()
    done = expkit("+experiment=mnist_cnn", "+search=mnist_cnn", code=2)
    assert "a search makes many runs. Write -m, too" in done.stderr
