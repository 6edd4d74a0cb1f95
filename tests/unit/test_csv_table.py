"""The dataset `csv`: what becomes of a table, and the words for one that is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from expkit.api import Array, ConfigError, Data, DataError, Split
from expkit.testing import check_dataset, check_options
from expkit_datasets.csv_table import csv_table

# Thirty flowers in the manner of iris: the sort follows from the length, and the width says nothing.
IRIS = "length,width,species\n" + "".join(
    f"{sort + i / 100},{(i * 7) % 5},{name}\n"
    for i in range(10)
    for sort, name in enumerate(("setosa", "versic", "virgin"))
)
PRICES = "rooms,age,price,rent\n" + "".join(f"{i},{i % 3},{10 * i + 0.5},{i}\n" for i in range(1, 11))


def table(folder: Path, text: str | bytes = IRIS, name: str = "table.csv", **options: object) -> Data:
    options = {"target": ["species"] if text == IRIS else ["price"], **options}
    return csv_table(path=write(folder, text, name), **options)  # type: ignore[arg-type]


def write(folder: Path, text: str | bytes, name: str = "table.csv") -> str:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(folder / name)


def inputs(split: Split) -> Array:
    return split.gather(np.arange(len(split)))[0]


def targets(split: Split) -> Array:
    return split.gather(np.arange(len(split)))[1]


def test_its_options_are_documented_and_typed() -> None:
    check_options("dataset", csv_table)


# --- what becomes of a table ----------------------------------------------------------------------


def test_words_to_predict_are_classes(tmp_path: Path) -> None:
    data = table(tmp_path, name="iris.csv")
    check_dataset(data)
    assert data.spec.name == "iris.csv"
    assert data.spec.labels == ("setosa", "versic", "virgin")
    assert data.spec.input.describe()["columns"] == ["length", "width"]
    assert (data.spec.source.kind, data.spec.source.location) == ("file", str(tmp_path / "iris.csv"))
    for split, each in ((data.train, 6), (data.valid, 2), (data.test, 2)):
        assert np.bincount(targets(split)).tolist() == [each] * 3
        assert inputs(split)[:, 0].astype(int).tolist() == targets(split).tolist()  # rows stay together


def test_numbers_to_predict_are_values(tmp_path: Path) -> None:
    data = table(tmp_path, PRICES, columns=["rooms"], normalise="none")
    check_dataset(data)
    assert data.spec.target.describe()["names"] == ["price"]
    np.testing.assert_array_equal(targets(data.train), inputs(data.train) * 10 + 0.5)
    assert [len(data.train), len(data.valid), len(data.test)] == [6, 2, 2]


def test_several_values_can_be_predicted_at_once(tmp_path: Path) -> None:
    data = table(tmp_path, PRICES, target=["price", "rent"], normalise="none")
    assert data.spec.input.describe()["columns"] == ["rooms", "age"]
    assert targets(data.test).shape == (2, 2)
    np.testing.assert_array_equal(targets(data.test)[:, 1], inputs(data.test)[:, 0])


def test_numbers_are_classes_when_the_user_says_so_and_are_ordered_as_numbers(tmp_path: Path) -> None:
    text = "x,price\n" + "".join(f"{i},{(9, 10, 101)[i % 3]}\n" for i in range(12))
    assert table(tmp_path, text, task="classes").spec.labels == ("9", "10", "101")
    assert table(tmp_path, text).spec.labels == ()


def test_all_that_is_learned_is_learned_on_the_training_rows(tmp_path: Path) -> None:
    data = table(tmp_path, PRICES, normalise="standard", precision="float64")
    train = inputs(data.train)
    assert data.spec.input.describe()["mean"] == pytest.approx(train.mean(axis=0))
    assert data.spec.input.describe()["scale"] == pytest.approx(train.std(axis=0))
    assert targets(data.train).mean() == pytest.approx(0.0)
    price = [answer["values"]["price"] for answer in data.spec.target.decode(targets(data.test))]
    assert price == pytest.approx((inputs(data.test)[:, 0] * 10 + 0.5).tolist())


def test_the_split_is_that_of_its_seed_and_the_fingerprint_tells_splits_and_names_apart(tmp_path: Path) -> None:
    prints = [table(tmp_path, PRICES, split_seed=seed).spec.fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
    renamed = table(tmp_path, PRICES.replace("age", "old"))
    assert renamed.spec.fingerprint != prints[0]


def test_splits_may_be_files_of_their_own(tmp_path: Path) -> None:
    valid = write(tmp_path, "species,width,length\nvirgin,1,9\n", "valid.csv")
    test = write(tmp_path, IRIS, "test.csv")
    data = table(tmp_path, valid_path=valid, test_path=test)
    check_dataset(data)
    assert [len(data.train), len(data.valid), len(data.test)] == [30, 1, 30]
    assert inputs(data.valid).tolist() == [[9.0, 1.0]]  # columns are found by name
    assert targets(data.valid).tolist() == [2]
    assert data.spec.source.location.endswith("test.csv")
    alone = table(tmp_path, test_path=test, valid=3)
    assert [len(alone.train), len(alone.valid), len(alone.test)] == [27, 3, 30]


def test_limit_keeps_the_first_rows_and_a_fifth_of_the_others(tmp_path: Path) -> None:
    data = table(tmp_path, limit=6)
    assert [len(data.train), len(data.valid), len(data.test)] == [6, 1, 1]
    assert np.bincount(targets(data.train)).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("\ufeff" + PRICES, {}),
        (PRICES.replace("\n", "\r\n"), {}),
        (PRICES.replace(",", " , "), {}),
        (PRICES.replace(",", ";"), {"separator": ";"}),
        (PRICES.replace(",", "\t"), {"separator": "\\t"}),
        (PRICES.replace("\n", "\n\n"), {}),
        ('"rooms"' + PRICES[5:].replace("1,1,10.5", '"1","1","10.5"'), {}),
        (
            ",".join(["", *PRICES.partition("\n")[0].split(",")])
            + PRICES[PRICES.index("\n") :].replace("\n", "\n7,")[:-2],
            {},
        ),
    ],
    ids=["bom", "crlf", "spaces", "semicolon", "tab", "blank lines", "quotes", "pandas index"],
)
def test_the_same_table_in_other_clothes(tmp_path: Path, text: str, options: dict[str, object]) -> None:
    plain = table(tmp_path, PRICES)
    assert table(tmp_path, text, **options).spec.fingerprint == plain.spec.fingerprint


# --- missing cells --------------------------------------------------------------------------------

HOLES = PRICES.replace("\n2,2,", "\n2,,").replace("\n5,2,", "\n5,NA,")


def test_a_missing_cell_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"row 2 below the header, column age holds nothing \(and 1 more\).*dataset\.missing=drop"
    ):
        table(tmp_path, HOLES)


def test_rows_with_missing_cells_can_be_dropped(tmp_path: Path) -> None:
    data = table(tmp_path, HOLES, missing="drop", normalise="none", valid=1, test=1)
    rooms = [room for split in (data.train, data.valid, data.test) for room in inputs(split)[:, 0].tolist()]
    assert sorted(rooms) == [1, 3, 4, 6, 7, 8, 9, 10]


def test_missing_inputs_can_be_the_mean_of_the_training_rows(tmp_path: Path) -> None:
    data = table(tmp_path, "x,price\n0,1\n4,1\n,1\n", test_path=write(tmp_path, "x,price\n,1\n", "b.csv"),
                 valid_path=write(tmp_path, "x,price\n100,1\n", "c.csv"), missing="mean")  # fmt: skip
    assert sorted(inputs(data.train).tolist()) == [[0.0], [2.0], [4.0]]
    assert inputs(data.test).tolist() == [[2.0]]


def test_a_missing_target_is_never_made_up(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1 below the header, column price holds nothing"):
        table(tmp_path, PRICES.replace("10.5", ""), missing="mean")
    with pytest.raises(DataError, match="row 2 below the header, column species holds nothing"):
        table(tmp_path, IRIS.replace("versic", "", 1), target=["species"])
    assert len(table(tmp_path, PRICES.replace("10.5", ""), missing="drop", valid=1, test=1).train) == 7


def test_a_column_without_any_value_has_no_mean(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column x holds nothing in all training rows"):
        table(tmp_path, "x,price\n,1\n,2\n,3\n", missing="mean", valid=1, test=1)
    with pytest.raises(DataError, match="has no row without a missing cell"):
        table(tmp_path, "x,price\n,1\n,2\n,3\n", missing="drop", valid=1, test=1)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("rooms,price\n", "has no row below its header"),
        ("1,2\n3,4\n", "has no header: its first line is 1, 2"),
        ("a,price,a\n1,2,3\n", "has more than one column 'a'"),
        (
            "a,price\n1,2\n3,4,5\n",
            r"is not a table \(Expected 2 fields in line 3, saw 3\)\. Mend it, or set dataset\.sep",
        ),
        ("a,price\n1,2,9\n3,4,5\n", "has rows with more cells than its header"),
        ("a,price\n1,2\nbig,4\n", "row 2 below the header, column a is 'big', which is not a finite number"),
        ("a,price\n1,2\ninf,4\n", "column a is 'inf', which is not a finite number"),
        ("a,price\nTrue,2\nFalse,4\n", "column a is 'True', which is not a finite number"),
        ("a,price\n1,2\n3,-inf\n", "column price is '-inf'"),
        ("a,price\n1,2\n3,dear\n4,3\n", r"column price holds 2 numbers and 1 words\. Mend it, or set dataset\.task=cl"),
        ("a,price\n1,low\n3,dear\n4,mid\n", "column price holds 3 different words in 3 rows; classes are at least 2"),
        ("a,price\n1,low\n3,low\n4,low\n", "column price holds 1 different words"),
        ("a,price\n1,é\n".encode("latin-1"), r"is not text in UTF-8 .*Save it as CSV in UTF-8"),
    ],
)
def test_a_file_that_is_no_table_is_named_with_the_place(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"table.csv.*{message}"):
        table(tmp_path, text)


def test_a_row_that_is_too_short_misses_cells(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2 below the header, column price holds nothing"):
        table(tmp_path, "a,price\n1,2\n3\n4,5\n")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(DataError, match=r"cannot be read \(.*\)\. Set dataset\.path"):
            csv_table(path=str(path), target=["y"])
        with pytest.raises(DataError, match=r"cannot be read \(.*\)\. Set dataset\.test_path"):
            table(tmp_path, test_path=str(path))


def test_a_word_that_the_training_file_does_not_know_is_refused(tmp_path: Path) -> None:
    other = write(tmp_path, "length,width,species\n1,2,rose\n", "test.csv")
    with pytest.raises(
        DataError, match=r"test\.csv, row 1 below .* is 'rose', which is no class of .*: setosa, versic"
    ):
        table(tmp_path, test_path=other)


def test_all_files_need_the_same_columns(tmp_path: Path) -> None:
    other = write(tmp_path, "length,species\n1,rose\n", "test.csv")
    with pytest.raises(ConfigError, match=r"test\.csv has no column 'width'; it has length, species\. All files need"):
        table(tmp_path, test_path=other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": ["kind"]}, r"has no column 'kind'; it has length, width, species\. Set dataset\.target"),
        ({"target": []}, r"target is \[\]; expected names of columns\. Set dataset\.target=\[NAME\]"),
        ({"columns": ["height"]}, r"has no column 'height'; .*Set dataset\.columns"),
        ({"columns": ["width", "species"]}, "'species' is a target, too"),
        ({"columns": ["width", "width"]}, "expected different names of columns"),
        ({"columns": []}, r"columns is \[\]"),
        ({"task": "class"}, "task is 'class'; expected 'auto', 'classes' or 'values'"),
        ({"task": "classes", "target": ["species", "width"]}, "task=classes takes one target, not 2"),
        ({"missing": "zero"}, "missing is 'zero'; expected 'error', 'drop' or 'mean'"),
        ({"separator": ", "}, "separator is ', '; expected one character"),
        ({"normalise": "minmax"}, "normalise is 'minmax'"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"limit": 0}, "limit is 0"),
        ({"valid": 0}, "valid is 0; expected a share"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"dataset 'csv': .*{message}"):
        table(tmp_path, **options)


def test_words_are_no_values(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column species is 'setosa', which is not a finite number.*dataset\.target"):
        table(tmp_path, task="values")
