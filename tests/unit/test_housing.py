"""The dataset `housing`: the textbook's splits and numbers, its stand-in, and what damaged files are answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from expkit.api import Array, ConfigError, Data, DataError, Split
from expkit.testing import check_dataset, check_options
from expkit_datasets import diabetes
from expkit_datasets.housing import COLUMNS, housing

ROW = " 0.00632  18.00   2.310  0  0.5380  6.5750  65.20  4.0900   1  296.0  15.30 396.90   4.98  24.00\n"


@pytest.fixture(autouse=True)
def no_data_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "genuine_data" in request.fixturenames:
        request.getfixturevalue("genuine_data")  # which reads the variable, too
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)


def write(folder: Path, text: str | bytes) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "housing.data").write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(folder)


def small(folder: Path, rows: Array | None = None, **options: object) -> Data:
    """Ten rows of which number i holds i, i + 1, ..., i + 13, unless others are given."""
    rows = np.arange(10)[:, None] + np.arange(14.0) if rows is None else rows
    root = write(folder, "\n".join(" ".join(map(repr, row)) for row in rows.tolist()))
    return housing(root=root, **{"check": False, "valid": 2, **options})  # type: ignore[arg-type]


def inputs(split: Split) -> Array:
    return split.gather(np.arange(len(split)))[0]


def targets(split: Split) -> Array:
    return split.gather(np.arange(len(split)))[1]


def test_its_options_are_documented_and_typed() -> None:
    check_options("dataset", housing)


@pytest.mark.parametrize("normalise", ["min_max", "mean", "standard", "none"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_it_keeps_what_a_dataset_promises(tmp_path: Path, normalise: str, precision: str) -> None:
    data = small(tmp_path, normalise=normalise, precision=precision)
    check_dataset(data)
    assert data.spec.input_dtype == targets(data.train).dtype == precision


# --- splits and normalisation ---------------------------------------------------------------------


def test_splits_are_cut_in_file_order_and_validation_is_the_end_of_training(tmp_path: Path) -> None:
    data = small(tmp_path, normalise="none")
    assert [inputs(split)[:, 0].tolist() for split in (data.train, data.valid, data.test)] == [
        [0, 1, 2, 3, 4, 5],
        [6, 7],
        [8, 9],
    ]
    assert targets(data.test).tolist() == [[21.0], [22.0]]
    assert data.spec.input_shape == (13,)
    assert data.spec.target.describe()["names"] == ["MEDV"]
    assert data.spec.target.describe()["unit"] == "1000 dollars"


def test_without_validation_rows_the_training_rows_serve(tmp_path: Path) -> None:
    data = small(tmp_path, valid=0)
    assert [len(data.train), len(data.valid), len(data.test)] == [8, 8, 2]
    np.testing.assert_array_equal(inputs(data.valid), inputs(data.train))
    np.testing.assert_array_equal(targets(data.valid), targets(data.train))


@pytest.mark.parametrize(
    ("normalise", "expected"),
    [
        ("min_max", [0.0, 0.2, 1.4]),  # 0 to 5 in training; of valid, the first is 7 with valid=2
        ("mean", [-0.5, -0.3, 0.9]),
        ("standard", [-2.5 / np.sqrt(35 / 12), -1.5 / np.sqrt(35 / 12), 4.5 / np.sqrt(35 / 12)]),
        ("none", [0.0, 1.0, 7.0]),
    ],
)
def test_inputs_and_price_are_normalised_by_the_training_rows(
    tmp_path: Path, normalise: str, expected: list[float]
) -> None:
    data = small(tmp_path, normalise=normalise, precision="float64")
    normal = np.concatenate([data.spec.input.normalise(inputs(data.train))[:2, 0], [0.0]])
    normal[2] = data.spec.input.normalise(inputs(data.valid))[1, 0]
    assert normal == pytest.approx(expected)
    price = targets(data.train)[:2, 0] if normalise != "none" else targets(data.train)[:2, 0] - 13
    assert price == pytest.approx(expected[:2])
    assert data.spec.target.decode(targets(data.test))[0]["values"]["MEDV"] == pytest.approx(21.0)


def test_a_column_without_spread_divides_by_one(tmp_path: Path) -> None:
    rows = np.full((10, 14), 3.0)
    for normalise in ("min_max", "mean", "standard"):
        data = small(tmp_path, rows, normalise=normalise)
        assert data.spec.input.normalise(inputs(data.train)).tolist() == [[0.0] * 13] * 6
        assert targets(data.test).tolist() == [[0.0], [0.0]]


def test_limit_keeps_the_first_rows_and_a_fifth_of_the_others(tmp_path: Path) -> None:
    data = small(tmp_path, limit=5)
    assert [len(data.train), len(data.valid), len(data.test)] == [5, 1, 1]
    assert data.spec.input.describe()["scale"] == [4.0] * 13


def test_the_fingerprint_is_that_of_the_rows_and_not_of_how_they_are_normalised(tmp_path: Path) -> None:
    first = small(tmp_path).spec.fingerprint
    assert small(tmp_path, normalise="mean", precision="float64").spec.fingerprint == first
    assert small(tmp_path, valid=3).spec.fingerprint != first


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_missing": "stop"}, r"on_missing is 'stop'; expected 'stand-in' or 'error'"),
        ({"normalise": "zscore"}, r"normalise is 'zscore'; expected 'min_max', 'mean', 'standard' or 'none'"),
        ({"precision": "half"}, r"precision is 'half'; expected 'float32' or 'float64'\. Set dataset\.precision"),
        ({"limit": 0}, "limit is 0; expected 1 or more"),
        (
            {"train_share": 1.0},
            r"train_share is 1; expected a share between 0 and 1 .* of 10\. Set dataset\.train_share",
        ),
        ({"train_share": float("nan")}, "train_share is nan"),
        ({"valid": 8}, r"valid is 8; expected 0 to 7, as there are 8 training rows\. Set dataset\.valid"),
        ({"valid": -1}, "valid is -1; expected 0 to 7"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(tmp_path, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROW * 2 + ROW[:41], r"housing\.data, line 3 has 6 numbers; expected 14\. Delete it and run again, or set"),
        (ROW + ROW.strip() + " 7\n", "line 2 has 15 numbers; expected 14"),
        (ROW + "\n" + ROW.replace("6.5750", "large"), "line 3: 'large' is not a finite number"),
        (ROW.replace("24.00", "nan"), "line 1: 'nan' is not a finite number"),
        (ROW.replace("24.00", "1e999"), "line 1: '1e999' is not a finite number"),
        ("<html>no such page</html>", "line 1: '<html>no' is not a finite number"),
        (" \n", r"housing\.data is empty\. Delete it"),
        (b"\x1f\x8b\x08\x00\xff", "is not a text of numbers"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        housing(root=write(tmp_path, text))


def test_other_numbers_need_check_false_and_do_not_pass_for_housing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not the official file: it has 10 of 506 rows\. .*dataset\.check=false"):
        small(tmp_path, check=True)
    with pytest.raises(DataError, match=r"is not the official file: its numbers have md5 \w{32}, expected \w{32}"):
        small(tmp_path, np.ones((506, 14)), check=True)
    assert small(tmp_path).spec.name == "housing (unofficial file)"


def test_a_folder_without_the_file_is_an_error_and_never_a_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data/uci_housing", ROW)
    with pytest.raises(
        DataError, match=r"holds no housing\.data; it holds uci_housing\. Did you mean dataset\.root=.*"
    ):
        housing(root=str(tmp_path / "data"))
    with pytest.raises(DataError, match="nowhere does not exist"):
        housing(root=str(tmp_path / "nowhere"))
    monkeypatch.setenv("EXPKIT_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(DataError, match=r"data/uci_housing/housing\.data is not the official file: it has 1 of 506"):
        housing()


# --- no file --------------------------------------------------------------------------------------


def test_without_a_file_the_diabetes_table_stands_in_and_says_so() -> None:
    data = housing(download=False)
    check_dataset(data)
    assert data.spec.name == "diabetes (stand-in for housing)"
    assert (data.spec.source.kind, data.spec.source.stand_in_for) == ("stand-in", "housing")
    assert "download is switched off" in data.spec.source.note
    assert data.spec.input.describe()["columns"] == list(diabetes.COLUMNS)
    assert data.spec.target.describe()["names"] == ["progression"]
    assert [len(data.train), len(data.valid), len(data.test)] == [273, 80, 89]  # int(442 * 0.8) = 353
    assert inputs(data.train)[0].tolist() == [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]


def test_the_stand_in_is_that_of_load_diabetes_wherever_its_file_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    before = diabetes.rows()
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    np.testing.assert_array_equal(diabetes.rows(), before)


def test_on_missing_error_forbids_the_stand_in() -> None:
    with pytest.raises(DataError, match=r"no file: .*download is switched off\. Set dataset\.root or EXPKIT_DATA_DIR"):
        housing(download=False, on_missing="error")


def test_a_mirror_with_a_foreign_file_is_not_trusted(tmp_path: Path) -> None:
    write(tmp_path / "served", ROW)
    data = housing(mirrors=[(tmp_path / "served").as_uri()])
    assert data.spec.source.kind == "stand-in"
    assert "not the official file" in data.spec.source.note


# --- the genuine file -----------------------------------------------------------------------------


def test_the_genuine_file_is_found_in_the_data_folder(genuine_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPKIT_DATA_DIR", str(genuine_data))
    data = housing()
    check_dataset(data)
    assert (data.spec.name, data.spec.source.kind) == ("housing", "env")
    assert [len(data.train), len(data.valid), len(data.test)] == [324, 80, 102]
    assert data.spec.input.describe()["columns"] == list(COLUMNS)
    assert inputs(data.train)[0, :3].tolist() == [0.00632, 18.0, 2.31]
    assert data.spec.target.decode(targets(data.test))[-1]["values"]["MEDV"] == pytest.approx(11.9, abs=1e-5)


def test_the_genuine_file_is_downloaded_once_and_then_cached(
    genuine_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPKIT_CACHE_DIR", str(tmp_path))
    mirror = (genuine_data / "uci_housing").as_uri()
    assert housing(mirrors=[mirror]).spec.source.kind == "download"
    assert housing(mirrors=[]).spec.source.kind == "cache"


@pytest.mark.parametrize("normalise", ["min_max", "mean"])
def test_the_genuine_numbers_are_those_of_the_textbook_to_the_last_bit(genuine_data: Path, normalise: str) -> None:
    root = genuine_data / "uci_housing"
    raw = np.fromfile(root / "housing.data", sep=" ").reshape(-1, 14)
    first = raw[:404]
    high, low, mean = first.max(axis=0), first.min(axis=0), first.sum(axis=0) / 404
    expected = (raw - (low if normalise == "min_max" else mean)) / (high - low)
    data = housing(root=str(root), valid=0, normalise=normalise, precision="float64")
    for split, rows in ((data.train, expected[:404]), (data.valid, expected[:404]), (data.test, expected[404:])):
        np.testing.assert_array_equal(data.spec.input.normalise(inputs(split)), rows[:, :13])
        np.testing.assert_array_equal(targets(split), rows[:, 13:])


def test_gradient_descent_on_the_genuine_rows_has_the_textbooks_losses(genuine_data: Path) -> None:
    root = str(genuine_data / "uci_housing")
    data = housing(root=root, valid=0, normalise="min_max", precision="float64")
    x, y = data.spec.input.normalise(inputs(data.train)), targets(data.train)
    w, b = np.random.RandomState(0).randn(13, 1), 0.0
    losses = []
    for _ in range(1000):
        error = x @ w + b - y
        losses.append(float(np.mean(error**2)))
        w = w - 0.01 * np.mean(error * x, axis=0)[:, None]
        b = b - 0.01 * float(np.mean(error))
    assert losses[0] == pytest.approx(8.74595446663459, abs=1e-9)
    assert losses[9] == pytest.approx(5.143394325795511, abs=1e-9)
    assert losses[999] == pytest.approx(0.17513006784373505, abs=1e-9)
