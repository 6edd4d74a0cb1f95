from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from expkit.errors import RunNotFoundError
from expkit.plotting import Curve, draw_losses
from expkit.sweeping.jobs import Job, Outcome
from expkit.sweeping.ranking import conclude, curves, order
from expkit.sweeping.results import of_folders, of_jobs

HIGH = {"name": "valid/accuracy", "higher_is_better": True}
LOW = {"name": "valid/loss", "higher_is_better": False}


@pytest.fixture
def run(tmp_path):
    """Write the files of a run that a comparison reads."""

    def run(number, overrides, metrics=None, monitor=None, *, config=None, **record):
        folder = tmp_path / str(number)
        folder.mkdir()
        record = {"name": "exp", "status": "FINISHED", "choices": {}, **record}
        if metrics:
            record.update(metrics=metrics, monitor=monitor)
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "overrides.yaml").write_text(json.dumps(overrides))
        if config is not None:
            (folder / "config.yaml").write_text(json.dumps(config))
        return folder

    return run


def job(folder, number, overrides, config, choices=None):
    typed = tuple(overrides)
    return Job(number, folder / str(number), typed, typed, json.dumps(config), choices or {}, f"id{number}")


def screen(folder, entries, *, width=120, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    conclude(folder, Console(file=file, width=width, highlight=False), entries)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def rows(folder):
    return list(csv.DictReader((folder / "results.csv").read_text().splitlines()))


@pytest.mark.parametrize(("monitor", "best_first"), [(HIGH, ["1", "2", "0"]), (LOW, ["0", "2", "1"])])
def test_runs_are_ranked_by_what_they_monitored_and_told_apart_by_what_varies(run, monitor, best_first):
    folders = [
        run(n, ["+experiment=exp", f"optimizer={o}", "seed=1"], {monitor["name"]: value}, monitor)
        for n, (o, value) in enumerate([("sgd", 0.1), ("adam", 0.9), ("lamb", 0.5)])
    ]
    found = of_folders(folders)
    assert [one.number for one in found] == best_first
    assert [one.parameters for one in sorted(found, key=lambda one: one.number)] == [
        {"optimizer": "sgd"},
        {"optimizer": "adam"},
        {"optimizer": "lamb"},
    ]
    assert found[0].label in {"1 · optimizer=adam", "0 · optimizer=sgd"}


@pytest.mark.parametrize("monitor", [HIGH, LOW])
def test_a_result_that_is_no_number_is_the_worst_and_a_run_without_one_comes_last(run, monitor):
    name = monitor["name"]
    folders = [
        run(0, ["optimizer=sgd"], status="FAILED"),
        run(1, ["optimizer=adam"], {name: math.nan}, monitor),
        run(2, ["optimizer=lamb"], {name: 0.1}, monitor),
    ]
    assert [one.number for one in of_folders(folders)] == ["2", "1", "0"]


def test_runs_of_different_kinds_stay_in_their_order(run):
    folders = [
        run(0, ["+experiment=a"], {"valid/loss": 0.9}, LOW, name="a"),
        run(1, ["+experiment=b"], {"valid/accuracy": 0.9}, HIGH, name="b"),
    ]
    found = of_folders(folders)
    assert [one.number for one in found] == ["0", "1"]
    assert order(found) == "by their number"


def test_experiments_on_the_same_data_are_ranked_together(run):
    folders = [
        run(n, [f"+experiment={n}"], {"valid/loss": value}, LOW, name=f"exp{n}", data={"name": "mnist"})
        for n, value in enumerate([0.5, 0.1])
    ]
    assert [one.number for one in of_folders(folders)] == ["1", "0"]


def test_what_differs_with_what_was_typed_is_told_too(run):
    sgd = {
        "optimizer": {"_target_": "SGD", "learning_rate": 0.1},
        "schedule": {"rate": 0.1},
        "seed": 1,
        "runs_dir": "a",
    }
    adam = {
        "optimizer": {"_target_": "Adam", "learning_rate": 0.001, "beta1": 0.9},
        "schedule": {"rate": 0.001},
        "seed": 1,
        "runs_dir": "b",
    }
    folders = [
        run(n, [f"optimizer={o}"], config=config, choices={"optimizer": o})
        for n, (o, config) in enumerate([("sgd", sgd), ("adam", adam)])
    ]
    first, second = of_folders(folders)
    assert first.parameters == {"optimizer": "sgd", "optimizer.learning_rate": "0.1"}
    assert second.parameters == {"optimizer": "adam", "optimizer.learning_rate": "0.001"}
    assert second.label == "1 · optimizer=adam"


def test_one_value_typed_in_two_ways_does_not_vary(tmp_path):
    jobs = [
        job(tmp_path, n, [f"model.hidden={h}", rate], {"model": {"hidden": h}, "rate": 0.01})
        for n, (h, rate) in enumerate([([64], "rate=1e-2"), ([64, 32], "rate=0.01")])
    ]
    assert [one.parameters for one in of_jobs(jobs, {})] == [{"model.hidden": "[64]"}, {"model.hidden": "[64, 32]"}]


def test_of_an_option_that_a_trial_did_not_try_no_default_is_told(tmp_path):
    tried = [["optimizer=adamw", "optimizer.weight_decay=0.1"], ["optimizer=adam"], ["optimizer=sgd"]]
    options = [{"weight_decay": 0.1}, {"weight_decay": 0.0}, {}]
    jobs = [
        replace(job(tmp_path, n, ["seed=1", *typed], {"optimizer": one, "seed": 1}), varies=tuple(typed))
        for n, (typed, one) in enumerate(zip(tried, options, strict=True))
    ]
    assert [one.parameters.get("optimizer.weight_decay") for one in of_jobs(jobs, {})] == ["0.1", None, None]


def test_a_folder_that_does_not_say_how_it_was_made_is_named(run):
    folder = run(0, [])
    (folder / "overrides.yaml").unlink()
    with pytest.raises(RunNotFoundError, match="does not say how its run was made"):
        of_folders([folder])


def test_the_table_has_the_best_first_and_failed_jobs_last_with_their_state(run, tmp_path):
    values = {0: ("sgd", 0.91), 1: ("adam", 0.97)}
    for n, (name, value) in values.items():
        record = {"started": "2026-01-01T12:00:00+00:00", "ended": f"2026-01-01T12:00:0{n + 4}+00:00"}
        run(
            n,
            [f"optimizer={name}"],
            {"train/loss": 0.1, "valid/accuracy": value},
            HIGH,
            **record,
            mlflow_run_id=f"r{n}",
        )
    jobs = [job(tmp_path, n, [f"optimizer={o}"], {"optimizer": o}) for n, o in enumerate(["sgd", "adam", "x", "y"])]
    outcomes = {
        0: Outcome("FINISHED", value=0.91, seconds=4.4),
        1: Outcome("FINISHED", value=0.97, seconds=5.5),
        2: Outcome("CRASHED", "killed by SIGKILL", seconds=1.0, attempts=2),
    }
    text = screen(tmp_path, of_jobs(jobs, outcomes))
    assert "4 jobs, 1 crashed, 1 not begun, the best valid/accuracy first" in text
    lines = [line for line in text.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line.strip("│").split("│")] for line in lines] == [
        ["1", "adam", "finished", "0.9700", "5.5 s"],
        ["0", "sgd", "finished", "0.9100", "4.4 s"],
        ["2", "x", "crashed", "-", "1.0 s"],
    ]
    table = rows(tmp_path)
    assert [row["job"] for row in table] == ["1", "0", "2", "3"]
    assert [row["status"] for row in table] == ["FINISHED", "FINISHED", "CRASHED", "PENDING"]
    assert table[0]["optimizer"] == "adam"
    assert table[0]["train/loss"] == "0.1"
    assert table[0]["mlflow_run_id"] == "r1"
    assert (table[2]["reason"], table[2]["attempts"], table[2]["seconds"]) == ("killed by SIGKILL", "2", "1.0")


def test_of_hundreds_the_best_are_shown_and_all_are_in_the_file(run, tmp_path):
    folders = [run(n, [f"seed={n}"], {"valid/accuracy": n / 300}, HIGH) for n in range(300)]
    text = screen(tmp_path, of_folders(folders))
    assert text.count("│ ") < 30 * 4
    assert "│ 299 │ 299" in text
    assert "... and 280 more, all of them in results.csv" in text
    assert len(rows(tmp_path)) == 300


@pytest.mark.parametrize("width", [30, 60, 100])
def test_the_table_fits_the_screen(run, tmp_path, width):
    names = ["valid/accuracy", "valid/loss", "test/accuracy", "test/loss", "test/f1"]
    folders = [run(n, [f"seed={n}"], dict.fromkeys(names, n / 10), HIGH) for n in range(3)]
    table = [line for line in screen(tmp_path, of_folders(folders), width=width).splitlines() if line[:1] in "│┏┃┡└"]
    assert max(map(len, table)) <= width
    assert ("test/f1" in " ".join(table)) == (width == 100)


def test_a_screen_that_knows_ascii_only_gets_ascii(run, tmp_path):
    folders = [run(n, [f"name=ü{n}"], {"valid/accuracy": n / 10}, HIGH) for n in range(2)]
    text = screen(tmp_path, of_folders(folders), encoding="ascii")
    assert "|   1 | ?1   |         0.1000 |" in text


def test_curves_come_from_the_runs_own_files(run):
    one, other = run(0, ["optimizer=sgd"]), run(1, ["optimizer=adam"])
    (one / "steps.csv").write_text("step,loss,learning_rate\n1,0.5,0.1\n2,0.25,0.1\n")
    (one / "history.json").write_text(json.dumps([{"epoch": 1, "valid/loss": 0.75}]))
    assert curves(of_folders([one, other])) == [Curve("0 · optimizer=sgd", [(1, 0.5), (2, 0.25)], [(1, 0.75)])]


def test_all_losses_are_drawn_in_one_picture(tmp_path):
    many = [
        Curve(f"optimizer=o{n}", [(s, 1.0 / (s + n)) for s in range(1, 500)], [(1, 0.5), (2, 0.4)]) for n in range(25)
    ]
    draw_losses(tmp_path / "losses.png", "exp  |  sweep", [*many, Curve("no epoch yet", [(1, 0.5)], [])])
