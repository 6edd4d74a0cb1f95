from __future__ import annotations

import os

import pytest

from expkit.errors import RunNotFoundError
from expkit.runs import all_runs, find_run, read_record, write_record


@pytest.fixture
def runs(tmp_path):
    """Three runs of two experiments and one job of a sweep, oldest first; one has an export."""
    folder = tmp_path / "runs"
    made = {
        "mnist/20260101-120000-aaa111": {"mlflow_run_id": "deadbeef00112233"},
        "mnist/20260102-120000-bbb222": {"mlflow_run_id": "deadbeef99887766"},
        "housing/20260103-120000-ccc333": {"mlflow_run_id": None},
        "mnist/sweep-20260104-120000-ddd444/0": {"id": "sweep-20260104-120000-ddd444.0"},
    }
    for number, (name, record) in enumerate(made.items()):
        run = folder / name
        run.mkdir(parents=True)
        write_record(run, {"id": run.name, **record})
        os.utime(run / "run.json", (1_000_000 + number, 1_000_000 + number))
    (folder / "mnist" / "20260102-120000-bbb222" / "export").mkdir()
    return folder


def test_runs_are_listed_oldest_first(runs):
    assert [run.name for run in all_runs(runs)] == [
        "20260101-120000-aaa111",
        "20260102-120000-bbb222",
        "20260103-120000-ccc333",
        "0",
    ]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("20260101-120000-aaa111", "20260101-120000-aaa111"),
        ("aaa111", "20260101-120000-aaa111"),
        ("120000-ccc333", "20260103-120000-ccc333"),
        ("deadbeef99887766", "20260102-120000-bbb222"),
        ("deadbeef9", "20260102-120000-bbb222"),
        ("last", "0"),
        ("sweep-20260104-120000-ddd444.0", "0"),
        ("ddd444.0", "0"),
    ],
)
def test_a_run_is_found_by_id_last_part_mlflow_id_and_last(runs, reference, name):
    assert find_run(reference, runs).name == name


def test_a_run_is_found_by_its_folder_wherever_it_lies(runs, tmp_path, monkeypatch):
    run = runs / "mnist" / "20260101-120000-aaa111"
    assert find_run(str(run), tmp_path / "elsewhere") == run
    assert find_run(f"{run}/", tmp_path / "elsewhere") == run
    monkeypatch.chdir(tmp_path)
    assert find_run("runs/mnist/20260101-120000-aaa111", tmp_path / "elsewhere").resolve() == run.resolve()


def test_last_can_be_asked_to_have_an_export(runs):
    assert find_run("last", runs, having="export").name == "20260102-120000-bbb222"
    with pytest.raises(RunNotFoundError, match=r"none of the 4 runs in .* has plots/"):
        find_run("last", runs, having="plots")


def test_a_reference_that_fits_two_runs_is_refused_and_both_named(runs):
    with pytest.raises(RunNotFoundError, match=r"'deadbeef' fits 2 runs: .*aaa111, .*bbb222. Give one of these"):
        find_run("deadbeef", runs)


@pytest.mark.parametrize("reference", ["dead", "11", "20260101", "", "deadbeefff"])
def test_what_is_no_runs_name_finds_none(runs, reference):
    with pytest.raises(RunNotFoundError, match=f"no run '{reference}' in"):
        find_run(reference, runs)


def test_a_near_miss_gets_a_hint_and_the_newest_runs(runs):
    with pytest.raises(RunNotFoundError, match=r"Did you mean '20260101-120000-aaa111'.*The newest are .*ddd444.0"):
        find_run("20260101-120000-aaa112", runs)


def test_without_any_run_the_error_says_how_to_start_one(tmp_path):
    with pytest.raises(RunNotFoundError, match=r"there are no runs in .* Start one: python -m expkit \+exp"):
        find_run("last", tmp_path / "runs")


@pytest.mark.parametrize("text", ["", "{", "[1]", "7"])
def test_a_damaged_record_is_named_but_keeps_no_other_run_from_being_found(runs, text):
    damaged = runs / "mnist" / "20260101-120000-aaa111"
    (damaged / "run.json").write_text(text)
    with pytest.raises(RunNotFoundError, match=r"aaa111 is not a run folder: run\.json cannot be read"):
        read_record(damaged)
    assert find_run("bbb222", runs).name == "20260102-120000-bbb222"
    assert find_run("20260101-120000-aaa111", runs) == damaged
    with pytest.raises(RunNotFoundError, match="no run 'nothing'"):
        find_run("nothing", runs)


def test_a_record_comes_back_and_leaves_no_other_file(tmp_path):
    for status in ("RUNNING", "FINISHED"):
        write_record(tmp_path, {"id": "x", "status": status, "metrics": {"test/accuracy": 0.5}})
    assert read_record(tmp_path) == {"id": "x", "status": "FINISHED", "metrics": {"test/accuracy": 0.5}}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_file_within_a_run_is_no_run_and_the_run_is_named(runs):
    run = runs / "mnist" / "20260102-120000-bbb222"
    with pytest.raises(RunNotFoundError, match=r"export lies in a run; give the run's folder: .*bbb222$"):
        find_run(str(run / "export"), runs)
