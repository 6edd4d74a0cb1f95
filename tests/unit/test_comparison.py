"""Which runs a filter means, which belong together, what tells them apart, and which is best."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from rich.console import Console

from expkit.comparison import curves, table
from expkit.comparison.compare import compare, show
from expkit.comparison.curves import Line
from expkit.comparison.filters import parse, select
from expkit.comparison.gathering import Gathered
from expkit.comparison.grouping import Group, grouped, mixes_code, what_varies
from expkit.comparison.listing import ago
from expkit.comparison.ordering import choose_order, ordered
from expkit.comparison.run import STATUSES, Run, of_folder, of_store
from expkit.errors import ConfigError
from expkit.lock import RunLock
from expkit.sweeping.names import status_word
from expkit.tracking.tracked_run import TrackedRun
from expkit.trainer import Monitor

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)
ACCURACY = Monitor("valid/accuracy", True)


def run(number: int = 0, accuracy: float | None = 0.9, **changes: object) -> Run:
    """Make a run; parameters are written `optimizer__learning_rate="0.1"`."""
    params = {"name": "digits", "model": "mlp", "optimizer": "adam", "optimizer.learning_rate": "0.01", "seed": "0"}
    tags = {"data.fingerprint": "d1", "command": "python -m expkit optimizer=adam optimizer.learning_rate=0.01 seed=0"}
    known = {"status": "FINISHED", "experiment": "digits", "started": NOW - timedelta(hours=number), "seconds": 60.0}
    tags |= changes.pop("tags", {})  # type: ignore[arg-type]
    known |= {key: changes.pop(key) for key in list(changes) if key in known}
    params |= {key.replace("__", "."): str(value) for key, value in changes.items()}
    return Run(
        id=f"20261126-120000-{number:06d}",
        name=f"run {number}",
        reason="",
        params=params,
        metrics={} if accuracy is None else {"valid/best_accuracy": accuracy, "test/accuracy": accuracy - 0.01},
        tags=tags,
        folder=None,
        mlflow_run_id=f"{number:032x}",
        mlflow_experiment_id="1",
        monitor=ACCURACY,
        **known,  # type: ignore[arg-type]
    )


def found(*runs: Run) -> Gathered:
    return Gathered(list(runs), list(dict.fromkeys(one.experiment for one in runs)), "runs/mlflow.db", None, [])


def kept(runs: list[Run], *filters: str) -> list[int]:
    chosen = select(runs, parse(filters, NOW).filters, NOW)
    return [runs.index(one) for one in chosen]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("optimizer=sgd", [1]),
        ("optimizer=SGD", [1]),
        ("optimizer=sgd,adam", [0, 1, 2]),
        ("optimizer!=sgd", [0, 2]),
        ("optimizer=a*", [0, 2]),
        ("optimizer.learning_rate<0.05", [0]),
        ("learning_rate>=1e-1", [1, 2]),
        ("optimizer.learning_rate=1e-1", [1]),
        ("model.hidden=[64,64]", [2]),
        ("model.hidden!=[64,64]", [0, 1]),
        ("test/accuracy>0.85", [0, 2]),
        ("accuracy<0.85", [1]),
        ("status=failed", [1]),
        ("sweep=ab12cd", [2]),
        ("tag:data.fingerprint=d2", [1]),
        ("name=run 1*", [1]),
        ("seconds>100", [2]),
        ("since=90m", [0, 1]),
        ("until=2026-11-26T10:30:00+00:00", [2]),
    ],
)
def test_a_condition_keeps_what_fits(condition: str, expected: list[int]) -> None:
    runs = [
        run(0, 0.9),
        run(1, 0.8, optimizer="sgd", optimizer__learning_rate="0.1", status="FAILED", tags={"data.fingerprint": "d2"}),
        run(2, 0.95, optimizer__learning_rate=0.2, model__hidden="[64, 64]", tags={"sweep": "ab12cd"}, seconds=200.0),
    ]
    assert kept(runs, condition) == expected


def test_every_status_that_is_shown_can_be_asked_for() -> None:
    runs = [run(number, status=status) for number, status in enumerate(STATUSES)]
    for number, status in enumerate(STATUSES):
        for word in (status, status.lower(), status_word(status), status_word(status).upper()):
            assert kept(runs, f"status={word}") == [number]
    assert kept(runs, "status!=stopped,finished") == [1, 2, 4, 5, 6]
    assert kept(runs, "status=stop*") == [3]


def test_all_conditions_must_fit() -> None:
    runs = [run(0), run(1, optimizer="sgd"), run(2, seed=1)]
    assert kept(runs, "optimizer=adam", "seed=1") == [2]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("optimzer=adam", "no run has 'optimzer'. Did you mean 'optimizer'"),
        ("epoch=3", "no run has 'epoch'.*metrics are test/accuracy, valid/best_accuracy; besides there are experiment"),
        ("status=fnished", "no run can be 'fnished'. Did you mean 'finished'.*stopped, paused, died"),
        ("since=2x", "'2x' is no time. Write how long ago .30m, 12h, 2d, 1w."),
        ("optimizer<adam", "< compares numbers, and 'adam' is none"),
        ("seed<", "compares with nothing. Write seed<VALUE"),
        ("tag:swep=1", "no run has such a tag. Did you mean 'sweep'"),
        ("size=3", "'size' may be model.size or optimizer.size. Write which"),
    ],
)
def test_a_condition_that_cannot_be_met_is_explained(condition: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kept([run(0, model__size=3, optimizer__size=4, tags={"sweep": "ab12cd"})], condition)


def test_words_are_experiments_or_runs_and_a_list_stays_one_value() -> None:
    selection = parse(["mnist_*", "ab12cd", "experiment=a,b", "model.hidden=[1,2],[3]"], NOW)
    assert selection.words == ("mnist_*", "ab12cd", "a", "b")
    assert [one.value for one in selection.filters] == ["[1,2],[3]"]


def test_runs_that_differ_only_in_seed_are_one_group_with_mean_and_sample_deviation() -> None:
    runs = [run(0, 0.90), run(1, 0.94, seed=1), run(2, 0.92, seed=2), run(3, 0.5, optimizer="sgd")]
    first, second = grouped(runs)
    measured = first.measured("valid/best_accuracy")
    assert measured is not None
    assert (measured.mean, measured.deviation, measured.count) == (pytest.approx(0.92), pytest.approx(0.02), 3)
    assert table.show_measured(measured) == "0.9200 ± 0.0200"
    assert [one.deviation for one in [second.measured("valid/best_accuracy")] if one] == [None]


def test_other_data_or_another_experiment_is_another_group() -> None:
    stand_in = run(1, seed=1, tags={"data.fingerprint": "d2"})
    assert len(grouped([run(0), stand_in, run(2, seed=2, experiment="other")])) == 3


def test_what_changes_nothing_of_what_is_learned_separates_no_runs() -> None:
    assert len(grouped([run(0), run(1, seed=1, checkpoint__keep=3, dataset__workers=8, export="none")])) == 1


def test_one_seed_with_several_numbers_of_workers_is_several_lines_that_say_so() -> None:
    runs = [run(n, seed=seed, dataset__workers=2 + n // 2) for n, seed in enumerate((0, 1, 0, 1))]
    groups = grouped(runs)
    assert [len(group.runs) for group in groups] == [2, 2]
    assert what_varies(groups, seed=False) == (["dataset.workers"], [])


def test_what_a_run_was_resumed_with_counts_and_not_what_it_began_with() -> None:
    tags = {"changed.trainer.epochs": "60 -> 14", "changed.model.flag": "False -> True", "changed.x": "by hand"}
    params = {"trainer.epochs": "60", "model.flag": "false", "seed": "0", "x": "1"}
    tracked = TrackedRun("f" * 32, "1", "digits", "a", "FINISHED", 1000, 2000, params, {}, tags)
    resumed = of_store(tracked, NOW)
    assert resumed.params == {"trainer.epochs": "14", "model.flag": "true", "seed": "0", "x": "1"}
    assert resumed.typed == ["trainer.epochs", "model.flag"]
    assert kept([resumed], "trainer.epochs=14") == [0]
    assert kept([resumed], "trainer.epochs>14") == []


@pytest.mark.parametrize("status", ["KILLED", "FAILED", "RUNNING", "PAUSED", "DIED"])
def test_a_run_that_is_not_finished_is_no_sample_of_those_that_are(status: str) -> None:
    groups = grouped([run(0), run(1, 0.1, seed=1, status=status), run(2, seed=2), run(3, 0.1, seed=3, status=status)])
    assert [[one.params["seed"] for one in group.runs] for group in groups] == [["0", "2"], ["1"], ["3"]]


def test_an_option_that_follows_the_seed_separates_no_runs() -> None:
    assert len(grouped([run(0, dataset__seed=0), run(1, seed=1, dataset__seed=1)])) == 1
    assert len(grouped([run(0, dataset__seed=5), run(1, seed=1, dataset__seed=6)])) == 2


def test_a_run_without_a_finite_value_is_counted_and_not_averaged() -> None:
    (group,) = grouped([run(0, 0.9), run(1, math.nan, seed=1), run(2, None, seed=2)])
    measured = group.measured("valid/best_accuracy")
    assert measured is not None
    assert table.show_measured(measured) == "0.9000 (1/3)"


def test_one_seed_twice_is_told() -> None:
    (group,) = grouped([run(0), run(1), run(2, seed=1)])
    assert table.counts([group], 0).cells == ["3 (2 seeds)"]


def test_groups_of_different_code_are_counted() -> None:
    codes = [{"git.commit": "a" * 40}, {"git.commit": "b" * 40}]
    assert mixes_code(grouped([run(n, seed=n, tags=tags) for n, tags in enumerate(codes)])) == 1


def test_what_varies_is_what_was_typed_and_what_differs_with_it() -> None:
    runs = [
        run(0, optimizer__beta1=0.9, schedule="cosine", export="paddle"),
        run(1, optimizer="sgd", schedule="constant", optimizer__learning_rate=0.1, export="none"),
        run(2, optimizer="sgd", schedule="cosine", optimizer__learning_rate=0.1, seed=1),
    ]
    assert what_varies(grouped(runs), seed=False) == (["optimizer", "optimizer.learning_rate"], ["schedule"])
    assert "seed" in what_varies([Group((one,)) for one in runs], seed=True)[0]


def test_the_best_is_first_by_the_direction_of_the_metric_and_those_without_come_last() -> None:
    runs = [run(0, 0.8), run(1, None, seed=1), run(2, 0.9, seed=2)]
    groups = [Group((one,)) for one in runs]
    best = choose_order(runs, None, None)
    assert best.words == "the best valid/best_accuracy first (higher is better)"
    assert [group.first.id[-1] for group in ordered(groups, best)] == ["2", "0", "1"]
    worst = choose_order(runs, "accuracy", False)
    assert [group.first.id[-1] for group in ordered(groups, worst)] == ["0", "2", "1"]
    lower = run(3)
    loss = choose_order([Run(**{**vars(lower), "metrics": {"test/loss": 1.0}})], "test/loss", None)
    assert (loss.descending, loss.words) == (False, "the best test/loss first (lower is better)")


def test_options_sort_as_numbers_and_runs_with_other_monitors_by_time() -> None:
    runs = [run(0, optimizer__learning_rate="0.1"), run(1, optimizer__learning_rate="1e-3")]
    order = choose_order(runs, "learning_rate", None)
    assert [g.first.id[-1] for g in ordered([Group((one,)) for one in runs], order)] == ["1", "0"]
    other = Run(**{**vars(run(2)), "monitor": Monitor("valid/mse", False)})
    assert choose_order([*runs, other], None, None).words == "the newest first"


def test_an_unknown_key_to_sort_by_or_to_show_is_refused() -> None:
    with pytest.raises(ConfigError, match="'--sort accurcy': no run has 'accurcy'"):
        compare(found(run(0), run(1)), sort="accurcy")
    with pytest.raises(ConfigError, match="--metric optimizer"):
        compare(found(run(0), run(1)), metrics=["optimizer"])


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_table_fits_and_says_what_has_no_room(width: int) -> None:
    runs = [run(n, 0.9, optimizer__learning_rate=n + 1, model__hidden=f"[{n}]" * 4) for n in range(6)]
    console = Console(record=True, width=width, highlight=False, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    with console.file:
        show(console, compare(found(*runs)), limit=4)
    lines = console.export_text().splitlines()
    assert lines[0] == ("digits: 6 runs of runs/mlflow.db, the best valid/best_accuracy first (higher is better)")
    assert max(len(line) for line in lines[1:8]) <= width
    assert "... and 2 more lines; --limit N shows more" in lines


def test_the_best_value_of_each_column_is_bold() -> None:
    groups = [Group((run(n, value),)) for n, value in enumerate((0.8, 0.9, math.nan))]
    assert table.metric(groups, "valid/best_accuracy", 0, higher_is_better=True).bold == {1}
    assert table.metric(groups, "valid/best_accuracy", 0, higher_is_better=False).bold == {0}
    assert table.metric(groups, "valid/best_accuracy", 0, higher_is_better=None).bold == set()


def named(number: int, seed: int, **changes: object) -> Run:
    return replace(run(number, seed=seed, **changes), name=f"adam seed={seed}")


def test_a_group_is_called_by_what_its_runs_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "_read", lambda runs, *_: {id(one): {"valid/accuracy": {1: 0.9}} for one in runs})
    data = {"data.fingerprint": "d2", "data.name": "other"}
    first = [named(number, number, tags={"data.name": "digits"}) for number in range(7)]
    second = [named(10 + number, number, tags=data) for number in range(2)]
    compared = compare(found(*first, *second, named(20, 3, tags=data, status="KILLED")), sort="seed")
    assert [group.name for group in compared.groups] == ["adam", "adam", "adam seed=3"]
    assert table.parameter(compared.groups, "seed", 0).cells == ["0 … 6", "0, 1", "3"]
    assert [line.label for line in curves.lines_of(compared)[1]] == ["adam · digits", "adam · other", "adam seed=3"]
    alike = compare(found(named(0, 0), named(1, 1), replace(named(2, 2, status="KILLED"), name="adam")))
    assert {line.label for line in curves.lines_of(alike)[1]} == {"adam", "adam · 000002 stopped"}


def test_more_lines_than_colours_are_grey_and_counted(tmp_path, monkeypatch) -> None:
    from expkit.comparison import picture

    figures = []
    monkeypatch.setattr(picture, "save", lambda figure, path: figures.append(figure))
    curve = [(1, 2.0, 0.1), (2, 1.0, 0.1)]
    lines = [Line(f"lr={n}", 3, {"train/loss": curve, "valid/accuracy": curve}) for n in range(30)]
    picture.draw(tmp_path / "x.png", "many", ["train/loss", "valid/accuracy"], lines)
    (legend,) = figures[0].legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == [*(f"lr={n} (n=3)" for n in range(10)), "20 others"]


def test_times_are_told_as_people_do() -> None:
    ages = [timedelta(seconds=5), timedelta(minutes=5), timedelta(hours=30), timedelta(days=40)]
    assert [ago(NOW - age, NOW) for age in ages] == ["just now", "5 min ago", "1 d ago", "2026-10-17"]


def folder_of(tmp_path: Path, **record: object) -> Path:
    folder = tmp_path / "digits" / "20261126-120000-abcdef"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "seed: 3\nmodel: {_target_: x.y, size: 4}\ncheckpoint: {monitor: auto, mode: auto}\n"
    )
    (folder / "overrides.yaml").write_text("- model.size=4\n")
    (folder / "history.json").write_text(
        '[{"epoch": 1, "seconds": 1, "valid/accuracy": 0.9, "valid/loss": 1.0},'
        ' {"epoch": 2, "seconds": 1, "valid/accuracy": 0.8, "valid/loss": 0.5}]'
    )
    known = {"id": folder.name, "name": "digits", "choices": {"metrics": "accuracy"}, "started": NOW.isoformat()}
    (folder / "run.json").write_text(json.dumps({**known, **record}))
    return folder


def test_a_run_whose_process_died_is_not_running_and_counts_with_its_best_epoch(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, status="RUNNING")
    with RunLock(folder):
        alive = of_folder(folder, NOW + timedelta(seconds=90))
    assert (alive.status, alive.seconds) == ("RUNNING", 90)
    (folder / ".lock").write_text("")  # as a killed process leaves it
    dead = of_folder(folder, NOW)
    assert (dead.status, dead.seconds) == ("DIED", None)
    assert "python -m expkit resume" in dead.reason
    assert dead.metrics == {"valid/best_accuracy": 0.9, "valid/best_loss": 1.0, "valid/best_epoch": 1.0}
    assert (dead.main_metric, dead.short_id) == ("valid/best_accuracy", "abcdef")
    assert (dead.params["model.size"], dead.params["metrics"], dead.typed) == ("4", "accuracy", ["model.size"])


@pytest.mark.parametrize(
    ("stored", "reason", "record", "expected"),
    [
        ("RUNNING", "", "RUNNING", "DIED"),
        ("RUNNING", "", "FINISHED", "FINISHED"),  # its end was not sent yet
        ("KILLED", "paused", "PAUSED", "PAUSED"),
        ("KILLED", "SIGTERM", "KILLED", "KILLED"),
        ("FAILED", "its process died: killed", "RUNNING", "DIED"),
        ("FAILED", "the loss is nan", "FAILED", "FAILED"),
    ],
)
def test_the_status_is_the_true_one(tmp_path: Path, stored: str, reason: str, record: str, expected: str) -> None:
    folder = folder_of(tmp_path, status=record)
    tags = {"run.folder": str(folder), "status.reason": reason, "monitor": "valid/accuracy (max)"}
    tracked = TrackedRun("f" * 32, "1", "digits", "a", stored, 1000, None, {}, {}, tags)
    found = of_store(tracked, NOW)
    assert (found.status, found.id, found.monitor) == (expected, folder.name, ACCURACY)
