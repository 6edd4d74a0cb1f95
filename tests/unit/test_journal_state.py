"""Whether a journal's run is open is read from its end, where most journals say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from expkit.tracking.journal import BEGIN, END, JOURNAL, REOPEN, Journal, is_open, read_journal


def written(folder: Path, *operations: str, points: int = 0) -> Path:
    journal = Journal(folder)
    for what in operations:
        journal.append(what, {"status": "FINISHED"})
        for step in range(points):
            journal.append_metrics({"step/loss": 0.5, "end": 1.0, "reopen": 2.0}, step, 1)
    journal.close()
    return folder


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ((), False),
        (("tags",), False),
        ((BEGIN,), True),
        ((BEGIN, "tags", END), False),
        ((BEGIN, END, "file"), False),
        ((BEGIN, END, REOPEN, "tags"), True),
        ((BEGIN, END, REOPEN, END), False),
    ],
)
def test_the_last_word_on_begin_and_end_counts(tmp_path: Path, operations: tuple[str, ...], expected: bool) -> None:
    assert is_open(written(tmp_path, *operations)) is expected


@pytest.mark.parametrize(("last", "expected"), [(END, False), (REOPEN, True)])
def test_it_is_found_before_many_points_that_are_called_alike(tmp_path: Path, last: str, expected: bool) -> None:
    written(tmp_path, BEGIN, last, points=6000)
    assert (tmp_path / JOURNAL).stat().st_size > 3 * (1 << 18)  # several blocks of what is read at a time
    assert is_open(tmp_path) is expected
    assert sum(1 for _ in read_journal(tmp_path)) == 12_002


def test_an_end_that_was_cut_short_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, BEGIN, "tags", END) / JOURNAL
    path.write_bytes(path.read_bytes()[:-1])
    assert is_open(tmp_path)


def test_a_journal_of_one_unfinished_line_is_not_open(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(b'{"do":"begin"')
    assert not is_open(tmp_path)
