"""A search as a source of jobs: what it proposes, what it learns, and how it goes on. No training here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from expkit.errors import ConfigError, TrainingStoppedError
from expkit.sweeping.jobs import FINISHED, KILLED, PRUNED, Job, Outcome, Report
from expkit.sweeping.search.ending import Ending
from expkit.sweeping.search.objectives import Objective
from expkit.sweeping.search.options import SearchOptions
from expkit.sweeping.search.pictures import draw
from expkit.sweeping.search.plots import dots, varied
from expkit.sweeping.search.results import Best, lines
from expkit.sweeping.search.space import Choices, Condition, Parameter, numbers
from tests.unit.searching import (
    ACCURACY,
    EPOCHS,
    LOSS,
    OPTIMIZER,
    RATE,
    FakeRuns,
    accuracy,
    make_search,
    parameters,
)

MOMENTUM = Parameter(
    "momentum", numbers("momentum", 0.5, 0.99, step=None, log=False, whole=False), (Condition("optimizer", ("sgd",)),)
)
DEPTH = Parameter("depth", numbers("depth", 1, 3, step=1, log=False, whole=True))
SECONDS = Objective("seconds", higher_is_better=False)


def states(search) -> list[str]:
    return [trial.state.name for trial in search.study.get_trials(deepcopy=False)]


def interrupted(folder: Path, number: int, *, checkpoint: bool = True, **record: object) -> None:
    """Leave the folder of a job as a killed sweep does."""
    run = folder / str(number)
    (run / "checkpoints" / ("epoch-0001-step-00000010" if checkpoint else "")).mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"status": "RUNNING", "started": "2026-01-01T00:00:00", **record}))


def test_tpe_comes_nearer_to_the_optimum_than_chance(tmp_path):
    search = make_search(tmp_path, trials=30)
    FakeRuns().run(search)
    assert search.study.best_value > 0.89
    late = [trial.value for trial in search.study.trials[15:]]
    early = [trial.value for trial in search.study.trials[:10]]
    assert sum(late) / len(late) > sum(early) / len(early)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_each_sampler_runs_the_number_of_trials_with_all_slots_busy(tmp_path, sampler):
    other = Parameter("dropout", numbers("dropout", 0, 0.5, step=None, log=False, whole=False))
    search, runs = make_search(tmp_path, (RATE, other), sampler=sampler, trials=12), FakeRuns(slots=3)
    runs.run(search)
    assert states(search) == ["COMPLETE"] * 12
    assert [job.number for job in runs.jobs] == list(range(12))
    assert runs.most == 3
    assert len({job.varies for job in runs.jobs}) == 12


def test_a_trial_is_asked_for_as_soon_as_a_slot_is_free(tmp_path):
    search = make_search(tmp_path, trials=4)
    first, second = search.next(), search.next()
    search.ended(second, Outcome(FINISHED, value=0.5))
    third = search.next()  # although the first still runs
    assert (first.number, second.number, third.number) == (0, 1, 2)


def test_a_grid_tries_each_combination_once_and_ends_by_itself(tmp_path):
    search, runs = make_search(tmp_path, (OPTIMIZER, DEPTH), sampler="grid", trials=None), FakeRuns(lambda v: 0.5)
    runs.run(search)
    assert [job.varies for job in runs.jobs] == [
        (f"optimizer={optimizer}", f"depth={depth}") for optimizer in ("sgd", "adam") for depth in (1, 2, 3)
    ]


def test_a_grid_goes_on_where_it_was(tmp_path):
    FakeRuns(lambda v: 0.5).run(make_search(tmp_path, (OPTIMIZER, DEPTH), sampler="grid", trials=4))
    runs = FakeRuns(lambda v: 0.5)
    runs.run(make_search(tmp_path, (OPTIMIZER, DEPTH), sampler="grid", trials=None))
    assert [(job.number, job.varies) for job in runs.jobs] == [
        (4, ("optimizer=adam", "depth=2")),
        (5, ("optimizer=adam", "depth=3")),
    ]


def test_a_grid_does_not_try_a_failed_combination_twice_in_one_start(tmp_path):
    def fails_with_sgd(values):
        if values["optimizer"] == "sgd":
            raise RuntimeError("no")
        return 0.5

    search, runs = make_search(tmp_path, (OPTIMIZER, DEPTH), sampler="grid", trials=None), FakeRuns(fails_with_sgd)
    runs.run(search)
    assert states(search) == ["FAIL"] * 3 + ["COMPLETE"] * 3


def test_a_grid_steps_in_tenths_without_rounding_errors(tmp_path):
    tenths = Parameter("p", numbers("p", 0.1, 0.4, step=0.1, log=False, whole=False))
    search, runs = make_search(tmp_path, (tenths,), sampler="grid", trials=None), FakeRuns(lambda v: float(v["p"]))
    runs.run(search)
    assert [job.varies for job in runs.jobs] == [("p=0.1",), ("p=0.2",), ("p=0.3",), ("p=0.4",)]


def test_an_endless_grid_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"rate: between 0.0001 and 1 there is no end of numbers"):
        make_search(tmp_path, sampler="grid")


def test_an_option_that_exists_for_one_choice_only_is_given_with_that_choice_only(tmp_path):
    search, runs = make_search(tmp_path, (MOMENTUM, RATE, OPTIMIZER), trials=25), FakeRuns()
    runs.run(search)
    given = [parameters(job) for job in runs.jobs]
    assert {one["optimizer"] for one in given} == {"sgd", "adam"}
    assert all(("momentum" in one) == (one["optimizer"] == "sgd") for one in given)
    assert states(search) == ["COMPLETE"] * 25


def test_a_second_start_adds_what_is_missing_to_the_total_and_repeats_nothing(tmp_path):
    first = FakeRuns()
    first.run(make_search(tmp_path, trials=4))
    second = FakeRuns()
    search = make_search(tmp_path, trials=7)
    second.run(search)
    assert [job.number for job in second.jobs] == [4, 5, 6]
    assert search.done == 7
    assert len({job.varies for job in (*first.jobs, *second.jobs)}) == 7  # the seed does not begin anew


def test_a_search_that_has_reached_its_total_proposes_nothing(tmp_path):
    FakeRuns().run(make_search(tmp_path, trials=3))
    assert make_search(tmp_path, trials=3).next() is None


def test_a_trial_with_a_checkpoint_goes_on_as_the_same_trial(tmp_path):
    FakeRuns(stop_after=2).run(make_search(tmp_path, trials=4))
    interrupted(tmp_path, 2)
    search, runs = make_search(tmp_path, trials=4), FakeRuns()
    before = search.study.trials[2].user_attrs["overrides"]
    runs.run(search)
    assert [(job.number, job.resume) for job in runs.jobs] == [(2, True), (3, False)]
    assert list(runs.jobs[0].varies) == before
    assert states(search) == ["COMPLETE"] * 4
    assert search.study.trials[2].value == accuracy(parameters(runs.jobs[0]))


def test_epochs_that_a_resumed_trial_reports_again_are_known_already(tmp_path):
    search = make_search(tmp_path, trials=1)
    job = search.next()
    report = Report(1, EPOCHS, 1, EPOCHS, {"valid/accuracy": 0.1}, 0.1, "valid/accuracy")
    search.reported(job, report)
    interrupted(tmp_path, 0)
    search, runs = make_search(tmp_path, trials=1), FakeRuns()
    runs.run(search)  # warnings are errors
    assert search.study.trials[0].intermediate_values[1] == 0.1


def test_a_trial_without_a_checkpoint_is_made_up_for(tmp_path):
    FakeRuns(stop_after=2).run(make_search(tmp_path, trials=4))
    interrupted(tmp_path, 2, checkpoint=False)
    search, runs = make_search(tmp_path, trials=4), FakeRuns()
    runs.run(search)
    assert states(search) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert [job.number for job in runs.jobs] == [3, 4]


def test_a_job_that_ended_while_nobody_listened_is_told(tmp_path):
    FakeRuns(stop_after=1).run(make_search(tmp_path, trials=2))
    monitor = {"name": "valid/accuracy", "higher_is_better": True}
    ended = {"ended": "2026-01-01T00:01:00", "metrics": {"valid/accuracy": 0.77}, "monitor": monitor}
    interrupted(tmp_path, 1, **{**ended, "status": "FINISHED"})
    search = make_search(tmp_path, trials=2)
    assert search.next() is None
    assert search.study.trials[1].value == 0.77


def test_a_job_that_was_stopped_stays_open_for_the_next_start(tmp_path):
    search = make_search(tmp_path, trials=2)
    search.ended(search.next(), Outcome(KILLED, reason="stopped"))
    assert states(search) == ["RUNNING"]


def test_trials_of_another_sweep_in_the_same_study_are_left_alone(tmp_path):
    storage = f"journal:///{tmp_path / 'shared.log'}"
    other = make_search(tmp_path / "other", trials=5, storage=storage)
    other.next()
    search, runs = make_search(tmp_path / "own", trials=5, storage=storage), FakeRuns()
    runs.run(search)
    assert states(search)[0] == "RUNNING"
    assert [job.number for job in runs.jobs] == list(range(5))


@pytest.mark.parametrize("pruner", ["median", "asha", "hyperband"])
def test_hopeless_trials_end_early_and_count(tmp_path, pruner):
    search, runs = make_search(tmp_path, sampler="random", pruner=pruner, trials=30), FakeRuns()
    runs.run(search)
    ended = states(search)
    assert all(job.prunes for job in runs.jobs)
    assert ended.count("PRUNED") >= 5
    assert ended.count("COMPLETE") + ended.count("PRUNED") == len(runs.jobs) == 30
    worst = min(search.study.trials, key=lambda trial: accuracy({k: str(v) for k, v in trial.params.items()}))
    assert worst.state.name == "PRUNED" or worst.number < 5


@pytest.mark.parametrize(
    ("pruner", "options"),
    [
        ("median", {"n_startup_trials": 1, "n_warmup_steps": EPOCHS}),
        ("asha", {"min_resource": EPOCHS, "reduction_factor": 2}),
    ],
)
def test_a_trial_that_has_trained_wholly_is_not_pruned(tmp_path, pruner, options):
    worse = iter([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    search = make_search(tmp_path, sampler="random", pruner=pruner, pruner_options=options, trials=6)
    FakeRuns(lambda values: next(worse)).run(search)
    assert states(search) == ["COMPLETE"] * 6
    last = search.study.get_trials(deepcopy=False)[-1]
    assert EPOCHS in last.intermediate_values


def test_without_a_pruner_no_job_waits_for_an_answer(tmp_path):
    assert not make_search(tmp_path).next().prunes


def test_several_objectives_give_a_pareto_front(tmp_path):
    search = make_search(tmp_path, (DEPTH, OPTIMIZER), (ACCURACY, SECONDS), sampler="grid", trials=None)
    runs = FakeRuns(lambda values: float(values["depth"]) / 10, slots=2)
    runs.seconds = lambda values: float(values["depth"]) + (values["optimizer"] == "adam")
    runs.run(search)
    front = {tuple(trial.values) for trial in search.study.best_trials}
    assert front == {(0.1, 1.0), (0.2, 2.0), (0.3, 3.0)}


def test_an_objective_may_be_any_metric_of_the_run(tmp_path):
    search = make_search(tmp_path, objectives=(LOSS,), trials=5)
    FakeRuns().run(search)
    assert search.study.best_value == pytest.approx(1 - max(accuracy(t.params) for t in search.study.trials))


def test_failed_trials_are_told_and_made_up_for(tmp_path):
    failed = []

    def fails_twice(values):
        if len(failed) < 2:
            failed.append(values)
            raise RuntimeError("out of memory")
        return accuracy(values)

    search = make_search(tmp_path, trials=3)
    FakeRuns(fails_twice).run(search)
    search.check()
    assert states(search) == ["FAIL", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert search.study.trials[0].user_attrs["reason"] == "RuntimeError: out of memory"


def test_too_many_failures_in_a_row_end_the_search(tmp_path):
    def fails(values):
        raise RuntimeError("the disk is full")

    search, runs = make_search(tmp_path, trials=20, max_failures=3), FakeRuns(fails)
    runs.run(search)
    assert len(runs.jobs) == 3
    with pytest.raises(TrainingStoppedError, match=r"3 trials failed in a row .*RuntimeError: the disk is full"):
        search.check()


def test_a_run_that_diverges_teaches_the_search_to_stay_away(tmp_path):
    def explodes(values):
        if float(values["rate"]) > 0.1:
            raise ArithmeticError("the loss is nan")
        return accuracy(values)

    search = make_search(tmp_path, trials=40, max_failures=3)
    FakeRuns(explodes).run(search)
    search.check()
    early, late = search.study.trials[:20], search.study.trials[20:]
    assert any(trial.params["rate"] > 0.1 for trial in early)
    assert sum(t.params["rate"] > 0.1 for t in late) < sum(t.params["rate"] > 0.1 for t in early)


def test_a_value_that_is_no_number_is_a_failure(tmp_path):
    search = make_search(tmp_path, trials=5, max_failures=2)
    FakeRuns(lambda values: float("nan")).run(search)
    with pytest.raises(TrainingStoppedError, match="valid/accuracy is not a number"):
        search.check()


def test_a_combination_that_cannot_be_composed_is_skipped(tmp_path):
    notes: list[str] = []

    def compose(number, values):
        if "optimizer=sgd" in values:
            raise ConfigError("sgd is closed today")
        return Job(number, tmp_path / str(number), tuple(values), tuple(values), "", {}, "")

    search = make_search(tmp_path, make_job=compose, notes=notes, trials=3, max_failures=10)
    FakeRuns().run(search)
    assert search.done == 3
    assert any("cannot be run: sgd is closed today" in note for note in notes)


def test_a_direction_that_a_run_contradicts_ends_the_search(tmp_path):
    search = make_search(tmp_path, trials=5)
    job = search.next()
    search.reported(job, Report(1, 5, 1, 5, {"valid/loss": 1.0}, 1.0, "valid/loss", higher_is_better=False))
    search.ended(job, Outcome(FINISHED, value=1.0))
    assert search.next() is None
    with pytest.raises(ConfigError, match="a run goes by valid/loss, of which lower is better"):
        search.check()


def test_no_trial_begins_after_the_time_is_over(tmp_path):
    search = make_search(tmp_path, trials=5, timeout=1e-9)
    assert search.next() is None


def test_more_trials_than_combinations_are_remarked_on(tmp_path):
    notes: list[str] = []
    make_search(tmp_path, (OPTIMIZER, DEPTH), trials=20, notes=notes)
    assert notes == [
        "There are 6 combinations, and 20 trials will try some again. hydra.sweeper.sampler=grid tries each once."
    ]


def test_a_study_of_another_search_is_refused(tmp_path):
    FakeRuns().run(make_search(tmp_path, trials=1))
    more = Parameter("optimizer", Choices(("sgd", "adam", "lamb")))
    with pytest.raises(ConfigError, match=r"optimizer was one of sgd, adam, and is now one of sgd, adam, lamb"):
        make_search(tmp_path, (RATE, more))
    with pytest.raises(ConfigError, match=r"is to maximize valid/accuracy, and this one to minimize valid/loss"):
        make_search(tmp_path, objectives=(LOSS,))


def test_a_storage_that_does_not_answer_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"hydra.sweeper.storage=nonsense://: the study cannot be opened"):
        make_search(tmp_path, storage="nonsense://")


def test_a_storage_may_be_a_database(tmp_path):
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    FakeRuns().run(make_search(tmp_path, trials=2, storage=url))
    assert make_search(tmp_path, trials=3, storage=url).done == 2


def test_a_journal_whose_last_line_was_cut_off_is_read(tmp_path):
    FakeRuns().run(make_search(tmp_path, trials=2))
    with (tmp_path / "optuna.log").open("ab") as journal:
        journal.write(b'{"op_code": 4, "wor')
    search = make_search(tmp_path, trials=3)
    FakeRuns().run(search)
    assert states(search) == ["COMPLETE"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "tpee"}, r"sampler=tpee: must be one of tpe, random, grid, cmaes. Did you mean 'tpe'"),
        ({"pruner": "hyperbrand"}, r"Did you mean 'hyperband'"),
        ({"trials": 0}, r"trials=0: must be at least 1"),
        ({"trials": None}, r"only sampler=grid comes to an end"),
        ({"timeout": 0.0}, r"timeout=0.0: must be greater than 0"),
        ({"seed": -1}, r"seed=-1: must be from 0"),
        ({"direction": "up"}, r"direction=up: must be one of minimize, maximize"),
        ({"objectives": {"a": None, "b": None}, "pruner": "median"}, r"pruner=median: with several objectives"),
        ({"objectives": {"a": None, "b": None}, "sampler": "cmaes"}, r"CMA-ES knows one objective only"),
        ({"objectives": {"a": None, "b": None}, "direction": "minimize"}, r"there are 2 objectives"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SearchOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler_options": {"n_startup_trails": 3}}, r"sampler_options.n_startup_trails: .*'n_startup_trials'"),
        ({"pruner": "median", "pruner_options": {"n_warmup_steps": -1}}, r"MedianPruner refuses them"),
        ({"pruner": "asha", "pruner_options": {"x": 1}}, r"SuccessiveHalvingPruner has no such option"),
        ({"sampler": "cmaes"}, r"CMA-ES needs at least two ranges of numbers that exist in every trial; here there is"),
    ],
)
def test_options_of_optuna_are_checked_before_anything_runs(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        make_search(tmp_path, **options)


def test_optunas_own_options_arrive(tmp_path):
    search = make_search(tmp_path, sampler_options={"n_startup_trials": 3}, pruner="median")
    assert search.study.sampler._n_startup_trials == 3


def test_without_optuna_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from expkit.sweeping.search.study import import_optuna\n"
        "try: import_optuna()\n"
        "except Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigError a search needs Optuna, which is not installed")
    assert "pip install 'expkit[optuna]'" in done.stdout


def test_a_pruned_outcome_without_our_say_is_told_as_it_is(tmp_path):
    search = make_search(tmp_path, trials=1)
    search.ended(search.next(), Outcome(PRUNED, reason="pruned"))
    assert states(search) == ["PRUNED"]


@pytest.mark.parametrize(
    ("trials", "value", "names"),
    [
        (1, accuracy, ["history", "learning"]),
        (2, accuracy, ["history", "slices", "learning"]),
        (10, accuracy, ["history", "slices", "importances", "learning"]),
        (4, lambda values: 0.5, ["history", "learning"]),  # nothing matters where all values are the same
    ],
)
def test_pictures_are_drawn_of_what_there_is_enough_for(tmp_path, trials, value, names):
    search = make_search(tmp_path, (RATE,), trials=trials)
    FakeRuns(value).run(search)
    drawn = draw(search.study, search.objectives, tmp_path / "search", "a search")
    assert [file.stem for file in drawn] == names


def test_pruned_trials_are_in_the_pictures_with_what_they_had_reached(tmp_path):
    search = make_search(tmp_path, trials=12, pruner="median", sampler="random")
    FakeRuns().run(search)
    trials = search.study.trials
    found = dots(trials, 0)
    assert [dot.pruned for dot in found] == [trial.state.name == "PRUNED" for trial in trials]
    assert any(dot.pruned for dot in found)
    assert [dot.value for dot in found] == [trial.value for trial in trials]
    assert varied(found) == ["rate", "optimizer"]
    names = [file.stem for file in draw(search.study, search.objectives, tmp_path / "search", "a search")]
    assert names[:2] == ["history", "slices"]


def test_few_finished_trials_have_no_importances_and_it_is_said(tmp_path, capsys):
    search = make_search(tmp_path, trials=3)
    FakeRuns().run(search)
    Ending(search, [], tmp_path, "a search")(Console(width=200))
    assert "none of importances: of 3 finished trials these would be chance; from 10 on" in capsys.readouterr().out


def test_the_end_names_the_best_and_writes_what_hydra_writes(tmp_path, capsys):
    search = make_search(tmp_path, trials=3)
    FakeRuns().run(search)
    files = Ending(search, ["+experiment=x"], tmp_path, "a search")(Console(width=200))
    told = capsys.readouterr().out
    best = search.study.best_trial
    assert f"best        job {best.number}: valid/accuracy {best.value:.4f}" in told
    assert f"python -m expkit +experiment=x rate={best.params['rate']} optimizer={best.params['optimizer']}" in told
    results = yaml.safe_load(files[0].read_text())
    assert results == {"name": "optuna", "best_params": best.params, "best_value": best.value}


def test_the_best_trial_of_a_shared_study_is_named_with_the_sweep_that_ran_it(tmp_path: Path) -> None:
    own, other = tmp_path / "sweep-a", tmp_path / "sweep-b"
    found = [Best(0, other / "2", {"valid/loss": 0.5}, ("x=1",))]
    assert f"job 2 of another sweep, {other}: valid/loss" in "\n".join(lines(found, [], {}, own))
    assert "best        job 2: valid/loss" in "\n".join(lines(found, [], {}, other))
