"""What a sweep keeps of its jobs, and what it makes of that when it goes on."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from expkit.config import compose
from expkit.errors import ConfigError, RunNotFoundError
from expkit.identity import config_hash
from expkit.runs import write_record
from expkit.sweeping.grid import Combination, Grid, plan, refuse_strangers, varying, whole_hash, without_twins
from expkit.sweeping.jobs import CRASHED, FAILED, FINISHED, KILLED, PRUNED, TIMEOUT, Job, Outcome
from expkit.sweeping.ledger import LEDGER, Head, Ledger, Row, find_sweep, outcome_of, read_ledger

HEAD = Head("exp", "/there", "/here", ["-m", "seed=0,1"])


def job(folder: Path, number: int) -> Job:
    return Job(number, folder / str(number), (f"seed={number}",), (), "seed: 0", {}, f"hash{number}")


def with_events(folder: Path, jobs: int = 3) -> Ledger:
    """Three jobs or more: finished, failed, and running."""
    ledger = Ledger(folder, HEAD)
    all_jobs = [job(folder, number) for number in range(jobs)]
    ledger.add((one, f"whole{one.number}") for one in all_jobs)
    for one in all_jobs:
        ledger.started(one, "cpu 0", 1)
    ledger.ended(all_jobs[0], Outcome(FINISHED, "", 0.5, {"valid/loss": 0.5}, 2.0))
    ledger.ended(all_jobs[1], Outcome(FAILED, "boom", attempts=2))
    return ledger


def test_what_was_entered_is_read_again(tmp_path: Path) -> None:
    with_events(tmp_path).close()
    head, rows = read_ledger(tmp_path)
    assert (head.name, head.arguments) == ("exp", ["-m", "seed=0,1"])
    assert [(row.number, row.status, row.reason, row.attempts) for row in rows] == [
        (0, FINISHED, "", 1),
        (1, FAILED, "boom", 2),
        (2, "", "", 1),
    ]
    assert rows[0].metrics == {"valid/loss": 0.5}


def test_a_ledger_that_ends_anywhere_tells_what_it_has(tmp_path: Path) -> None:
    with_events(tmp_path).close()
    whole = (tmp_path / LEDGER).read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        (tmp_path / LEDGER).write_bytes(whole[:end])
        _, rows = read_ledger(tmp_path)
        lines = [json.loads(line) for line in whole[:end].decode().split("\n")[1:-1]]
        assert {row.number for row in rows} >= {line["job"] for line in lines}
        ended = {line["job"] for line in lines if "ended" in line}
        assert {row.number for row in rows if row.status} >= ended
    (tmp_path / LEDGER).write_bytes(whole[:-20])
    with closing(Ledger(tmp_path, HEAD)) as ledger:  # goes on behind the torn line
        ledger.ended(job(tmp_path, 2), Outcome(KILLED))
    assert [row.status for row in read_ledger(tmp_path)[1]] == [FINISHED, "", KILLED]


def test_a_sweep_that_goes_on_begins_with_one_line_for_each_job(tmp_path: Path) -> None:
    with_events(tmp_path).close()
    again = Ledger(tmp_path, replace(HEAD, arguments=["-m", "seed=0,1,2,3"]))
    again.close()
    assert len((tmp_path / LEDGER).read_text().splitlines()) == 4
    head, rows = read_ledger(tmp_path)
    assert head.arguments == ["-m", "seed=0,1,2,3"]
    assert list(again.rows.values()) == [replace(row, overrides=list(row.overrides)) for row in rows]


def test_an_entry_costs_the_same_however_many_jobs_there_are(tmp_path: Path) -> None:
    ledger = with_events(tmp_path, 1000)
    before = (tmp_path / LEDGER).stat().st_size
    ledger.ended(job(tmp_path, 999), Outcome(FINISHED))
    ledger.close()
    assert (tmp_path / LEDGER).stat().st_size - before < 300


def test_a_disk_that_is_full_costs_no_job(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full")
    ledger = with_events(tmp_path)
    with ledger._file as good, full.open("w") as bad:
        os.dup2(bad.fileno(), good.fileno())
        for _ in range(2):
            ledger.ended(job(tmp_path, 2), Outcome(FINISHED))
        ledger.close()
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / LEDGER} cannot be written: No space left on device. The sweep goes on."
    ]


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="is no sweep"):
        read_ledger(tmp_path)
    (tmp_path / LEDGER).write_text('{"version": 99}\n')
    with pytest.raises(ConfigError, match="another version"):
        read_ledger(tmp_path)


@pytest.mark.parametrize(
    ("status", "record", "wanted"),
    [
        ("", None, None),
        ("", "RUNNING", None),
        ("", "FINISHED", FINISHED),  # the process of the sweep died before it heard of it
        ("", "FAILED", FAILED),
        (FINISHED, "FINISHED", FINISHED),
        (FINISHED, None, None),  # somebody removed the folder
        (FINISHED, "PAUSED", None),
        (KILLED, "KILLED", None),
        (CRASHED, "RUNNING", None),
        (TIMEOUT, "KILLED", TIMEOUT),
        (FAILED, None, FAILED),
        (PRUNED, "KILLED", PRUNED),
    ],
)
def test_the_record_of_a_run_is_believed_rather_than_the_ledger(
    tmp_path: Path, status: str, record: str | None, wanted: str | None
) -> None:
    if record is not None:
        (tmp_path / "0").mkdir()
        facts = {"status": record, "metrics": {"valid/loss": 0.25}, "monitor": {"name": "valid/loss"}}
        write_record(tmp_path / "0", facts)
    outcome = outcome_of(Row(0, "0", "hash", "whole", (), status), tmp_path)
    assert (outcome and outcome.status) == wanted
    if wanted == FINISHED:
        assert outcome is not None
        assert outcome.value == 0.25


def test_the_last_sweep_is_the_one_that_began_last(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="there are no sweeps in"):
        find_sweep("last", tmp_path)
    for name, started in (
        ("exp/sweep-b-bbb", "2026-01-02"),
        ("exp/sweep-c-ccc", "2026-01-01"),
        ("o/s-d", "2026-01-03"),
    ):
        (tmp_path / name).mkdir(parents=True)
        Ledger(tmp_path / name, replace(HEAD, started=started)).close()
    assert find_sweep("last", tmp_path, "exp").name == "sweep-b-bbb"
    assert find_sweep("last", tmp_path).name == "s-d"
    assert find_sweep("ccc", tmp_path).name == "sweep-c-ccc"
    assert find_sweep(str(tmp_path / "o/s-d"), tmp_path, "exp").name == "s-d"
    with pytest.raises(RunNotFoundError, match=r"The newest are .*sweep-b-bbb"):
        find_sweep("zzz", tmp_path)


def combination(*overrides: str) -> Combination:
    config = compose(["+experiment=housing_numpy_gd", *overrides])
    return Combination(overrides, config, None, {}, config_hash(config.resolved), whole_hash(config.resolved))


def row(number: int, one: Combination, status: str = "") -> Row:
    return Row(number, str(number), one.identity, one.whole, one.overrides, status)


def test_a_grid_that_grows_runs_what_is_new_under_new_numbers(tmp_path: Path) -> None:
    old, other, new = combination("seed=1"), combination("seed=2"), combination("seed=3")
    rows = [row(0, old, FAILED), row(4, other, KILLED)]
    (tmp_path / "4").mkdir()
    write_record(tmp_path / "4", {"status": "KILLED"})
    tasks = plan([new, other, old], rows, tmp_path)
    assert [(task.number, task.resume, task.outcome is None) for task in tasks] == [
        (5, False, True),
        (4, True, True),
        (0, False, False),
    ]
    again = plan([old], rows, tmp_path, retry_failed=True)
    assert (again[0].outcome, again[0].again) == (None, True)
    assert not tasks[1].again


def test_what_changes_nothing_of_what_is_learned_tells_jobs_of_one_start_apart_only(tmp_path: Path) -> None:
    ways = [combination("dataset.loading=sync"), combination("dataset.loading=prefetch")]
    assert len(without_twins([*ways, combination("dataset.loading=sync"), combination("tracking=none")])) == 3
    assert [task.number for task in plan(ways, [row(0, ways[1])], tmp_path)] == [1, 0]
    (task,) = plan([combination("plots=none")], [row(0, combination("seed=0"))], tmp_path)
    assert task.number == 0


def test_two_jobs_in_one_folder_are_refused(tmp_path: Path) -> None:
    both = [replace(combination(f"seed={number}"), subfolder="same") for number in (1, 2)]
    with pytest.raises(ConfigError, match=r"jobs 0 and 1 would both be written to .*same"):
        plan(both, [], tmp_path)


def test_another_sweep_is_not_gone_on_with(tmp_path: Path) -> None:
    old, new = combination("seed=1"), combination("seed=2")
    refuse_strangers([old, new], [row(0, old)], tmp_path, None)
    with pytest.raises(ConfigError, match=r"none of the 1 job of .*: seed was 1, is 2. Leave out sweep.resume"):
        refuse_strangers([new], [row(0, old)], tmp_path, old.config.resolved)


def test_what_varies_is_what_not_all_jobs_share() -> None:
    assert varying([["a=1", "b=1"], ["a=1", "b=2"]]) == [("b=1",), ("b=2",)]
    assert varying([["a=1"]]) == [()]


def test_a_grid_hands_out_its_jobs_once(tmp_path: Path) -> None:
    grid = Grid([job(tmp_path, 0), job(tmp_path, 1)])
    assert [one and one.number for one in (grid.next(), grid.next(), grid.next())] == [0, 1, None]
