"""What becomes of a sweep whose ledger, or whose folders, are not as it left them."""

from __future__ import annotations

from pathlib import Path

import pytest

from expkit.config import compose, to_yaml
from expkit.errors import ConfigError
from expkit.identity import config_hash
from expkit.runs import write_record
from expkit.sweeping.grid import Combination, plan, whole_hash
from expkit.sweeping.jobs import FINISHED
from expkit.sweeping.ledger import LEDGER, Head, Ledger, Row
from expkit.sweeping.salvage import lost_rows, refuse_strange_runs, say_what_was_lost


def combination(*overrides: str) -> Combination:
    config = compose(["+experiment=housing_numpy_gd", *overrides])
    return Combination(overrides, config, None, {}, config_hash(config.resolved), whole_hash(config.resolved))


def write_run(folder: Path, one: Combination, status: str) -> None:
    folder.mkdir()
    write_record(folder, {"status": status, "config_hash": one.identity})
    (folder / "config.yaml").write_text(to_yaml(one.config.resolved))
    (folder / "overrides.yaml").write_text(to_yaml(list(one.overrides)))


@pytest.fixture(scope="module")
def three() -> list[Combination]:
    return [combination(f"seed={number}") for number in range(3)]


def test_runs_that_the_ledger_has_lost_are_known_again_by_their_folders(
    tmp_path: Path, three: list[Combination]
) -> None:
    for number, status in enumerate(["FINISHED", "FINISHED", "RUNNING"]):
        write_run(tmp_path / str(number), three[number], status)
    write_run(tmp_path / "by hand", combination("seed=9"), "FINISHED")
    rows = [Row(0, "0", three[0].identity, three[0].whole, three[0].overrides, FINISHED)]
    lost = lost_rows(tmp_path, rows)
    assert [(row.number, row.folder, list(row.overrides)) for row in lost] == [
        (1, "1", ["seed=1"]),
        (2, "2", ["seed=2"]),
        (3, "by hand", ["seed=9"]),
    ]
    tasks = plan([*three, combination("seed=4")], [*rows, *lost], tmp_path)
    assert [(task.number, task.outcome is not None, task.resume) for task in tasks] == [
        (0, True, False),
        (1, True, False),
        (2, False, True),
        (4, False, False),
    ]
    assert [whole.whole for whole in three[1:]] == [row.config for row in lost[:2]]


@pytest.mark.parametrize("torn", ["", '{"job": 0, "sta', "\0\0\0\n"])
def test_a_ledger_that_is_damaged_is_told_of(tmp_path: Path, torn: str, three: list[Combination]) -> None:
    row = Row(0, "0", three[0].identity, three[0].whole, three[0].overrides, FINISHED)
    Ledger(tmp_path, Head("exp", str(tmp_path), "/", ["-m"]), [row]).close()
    with (tmp_path / LEDGER).open("a") as file:
        file.write(torn)
    assert bool(say_what_was_lost(tmp_path, [])) == bool(torn)
    assert "2 jobs of its run folders (0, 0) are taken in from there" in say_what_was_lost(tmp_path, [row, row])
    assert lost_rows(tmp_path, [row]) == []


def test_the_run_of_another_config_in_a_job_s_folder_is_refused_before_anything_starts(
    tmp_path: Path, three: list[Combination]
) -> None:
    rows = [Row(n, str(n), one.identity, one.whole, one.overrides, FINISHED) for n, one in enumerate(three)]
    write_run(tmp_path / "0", combination("seed=7"), "FINISHED")
    write_run(tmp_path / "1", combination("seed=1", "trainer.epochs=9"), "FINISHED")  # gone on with by itself
    write_run(tmp_path / "2", three[2], "FINISHED")
    tasks = plan(three, rows, tmp_path)
    with pytest.raises(
        ConfigError, match=r"1 job of .*\n  job 0: .*/0 holds the run of another config: seed was 7, is 0"
    ):
        refuse_strange_runs(tasks, tmp_path)
    refuse_strange_runs(tasks[1:], tmp_path)
    (tmp_path / "2" / "run.json").write_text("")
    with pytest.raises(ConfigError, match=r"job 2: .* holds a run whose run.json is damaged"):
        refuse_strange_runs(plan(three, rows, tmp_path)[1:], tmp_path)
