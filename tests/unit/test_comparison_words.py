"""What the lists of runs say of what they do not show, and of where runs are."""

from __future__ import annotations

import io
import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from rich.console import Console

from expkit.comparison import gathering, listing
from expkit.comparison.compare import compare, headline, show
from expkit.comparison.filters import parse
from expkit.comparison.gathering import Gathered, gather
from expkit.errors import RunNotFoundError
from expkit.tracking.query import RunQuery
from tests.unit.test_comparison import found, run

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


def made(runs_dir: Path, name: str, sent: dict[str, object] | None) -> None:
    folder = runs_dir / "digits" / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"id": name, "name": "digits", "status": "FINISHED"}))
    if sent is not None:
        (folder / "tracking.sent.json").write_text(json.dumps(sent))


def narrow(runs: Gathered, *, of: str) -> list[str]:
    """Return what a terminal of 80 columns shows."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, no_color=True, record=True, highlight=False)
    if of == "runs":
        listing.show(console, runs, 20)
    else:
        show(console, compare(runs), 20)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_a_run_that_is_in_another_store_is_said_to_be_there(tmp_path: Path) -> None:
    sent = {"store": "http://mlflow.lab:5000", "run_id": "f" * 32}
    made(tmp_path, "20261126-120000-aaaaaa", sent)
    made(tmp_path, "20261126-120000-bbbbbb", {**sent, "run_id": ""})  # the server was down, nothing has come there
    made(tmp_path, "20261126-120000-cccccc", None)
    runs = gather(parse(["digits"], NOW), runs_dir=tmp_path)
    assert listing.untracked(runs) == [
        "2 of the runs are in no tracking store (`sync` brings them there): their folders tell of them",
        "one of the runs is in another tracking store, http://mlflow.lab:5000 (`--uri URI` asks it): its folder tells "
        "of it",
    ]
    assert {one.mlflow_run_id for one in runs.runs} == {"f" * 32, ""}


def test_what_has_no_room_is_said_and_lines_are_broken_between_words() -> None:
    runs = [run(number, optimizer__learning_rate=number + 1) for number in range(3)]
    listed = narrow(found(*runs), of="runs")
    assert "no room for id; --json has all, or a wider terminal" in listed
    compared = narrow(found(*runs, run(4, seed=1, optimizer__learning_rate=1)), of="compare")
    assert compared[:2] == [
        "digits: 4 runs in 3 groups of runs/mlflow.db, the best valid/best_accuracy first",
        "(higher is better)",
    ]
    assert max(map(len, [*listed, *compared])) <= 80


def test_one_group_is_one() -> None:
    assert headline(compare(found(run(0), run(1, seed=1)))).startswith("digits: 2 runs in 1 group of runs/mlflow.db,")


@pytest.mark.parametrize("experiments", [{}, {"0": "Default"}])
@pytest.mark.parametrize(("words", "of"), [([], ""), (["Default"], " of Default"), (["seed=1"], "")])
def test_a_store_without_runs_is_said_to_have_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, experiments: dict[str, str], words: list[str], of: str
) -> None:
    query = RunQuery(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(query, "experiments", lambda: experiments)
    monkeypatch.setattr(query, "runs", lambda experiments, where: [])
    monkeypatch.setattr(gathering, "open_query", lambda uri, runs_dir: query)
    with pytest.raises(RunNotFoundError) as caught:
        gather(parse(words, NOW), runs_dir=tmp_path)
    told = f"there are no runs{of} in {tmp_path}/mlflow.db yet. Start one (python -m expkit "
    assert str(caught.value).startswith(told)
