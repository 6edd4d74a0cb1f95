"""The verb `predict`, on two tiny models of tables: rows a, b -> "high" where a > 0, and -> 2a + b millimetres."""

from __future__ import annotations

import csv
import io
import json
import sys

import numpy as np
import paddle
import pytest
import yaml
from PIL import Image

from expkit.cli import main
from expkit.preprocess import Classes, TableInput, Values

TABLE = TableInput(("a", "b"), (0.0, 0.0), (1.0, 1.0))


def write_export(folder, target, weights):
    """Write an export as older runs have it: a linear layer of these weights, [inputs, outputs]."""
    folder.mkdir()
    layer = paddle.nn.Linear(*np.shape(weights))
    layer.weight.set_value(np.array(weights, np.float32))
    layer.bias.set_value(np.zeros(np.shape(weights)[1], np.float32))
    layer.eval()
    paddle.jit.save(layer, str(folder / "model"), input_spec=[paddle.static.InputSpec([None, 2], "float32")])
    about = {"name": "tiny", "input": TABLE.describe(), "target": target.describe()}
    about |= {"input_shape": [None, 2], "input_dtype": "float32"}
    (folder / "model.yaml").write_text(yaml.safe_dump(about))
    return str(folder)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return write_export(tmp_path_factory.mktemp("c") / "export", Classes(("low", "high")), [[-1, 1], [0, 0]])


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    target = Values(("y",), (0.0,), (1.0,), "mm")
    return write_export(tmp_path_factory.mktemp("v") / "export", target, [[2], [1]])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def predict(capsys):
    """Run the verb, and return its output and its errors; `code` is what it has to exit with."""

    def run(*arguments, code=0):
        assert main(["predict", *arguments]) == code
        return capsys.readouterr()

    return run


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_keeps_the_columns_of_the_input_and_holds_the_answer_against_the_target(predict, values, here):
    (here / "rows.csv").write_text("id,y,b,a\nfirst,5,1,2\nsecond,10,0,4\n")
    done = predict(values, "rows.csv", "--csv")
    assert table(done.out) == [
        {"file": "rows.csv", "row": "1", "id": "first", "b": "1", "a": "2", "actual": "5", "y": "5.0"},
        {"file": "rows.csv", "row": "2", "id": "second", "b": "0", "a": "4", "actual": "10", "y": "8.0"},
    ]
    assert "y (mm): MAE 1, RMSE 1.414 (2 rows)" in done.err


def test_classes_are_held_against_the_column_that_has_only_their_labels(predict, classes, here):
    (here / "rows.csv").write_text("a,b,label,what\n1,0,odd,high\n-1,0,even,low\n2,0,odd,low\n3,0,odd,\n")
    done = predict(classes, "rows.csv", "--csv")
    rows = table(done.out)
    assert [(row["actual"], row["label"]) for row in rows] == [
        ("high",) * 2,
        ("low",) * 2,
        ("low", "high"),
        ("", "high"),
    ]
    assert [row["input.label"] for row in rows] == ["odd", "even", "odd", "odd"]
    assert float(rows[0]["p(high)"]) == pytest.approx(1 / (1 + np.exp(-2)))
    assert "accuracy 0.6667 (2 of 3 rows with what)" in done.err
    refused = predict(classes, "rows.csv", "--actual", "whta", code=2)
    assert "--actual whta: no such column; Did you mean 'what'? the further columns are label, what" in refused.err


def test_several_tables_share_one_header(predict, classes, here):
    (here / "one.csv").write_text("a,b,x\n1,0,11\n")
    (here / "two.csv").write_text("1,0\n")
    (here / "three.csv").write_text("z,b,a\n33,0,-1\n")
    rows = table(predict(classes, "one.csv", "two.csv", "three.csv", "--csv").out)
    assert [(row["file"], row["x"], row["z"], row["label"]) for row in rows] == [
        ("one.csv", "11", "", "high"),
        ("two.csv", "", "", "high"),
        ("three.csv", "", "33", "low"),
    ]


def test_json_is_a_line_for_each_file_with_its_rows_and_errors(predict, classes, here):
    (here / "good.csv").write_text("a,b\n1,0\n-1,0\n")
    (here / "bad.csv").write_text("a,b\n1,0\n1,many\n")
    lines = predict(classes, "good.csv", "bad.csv", "absent.csv", "--json", code=2).out.splitlines()
    good, bad, absent = map(json.loads, lines)
    assert [(one["row"], one["label"]) for one in good["answers"]] == [(1, "high"), (2, "low")]
    assert set(good) == set(bad) == {"file", "answers", "error"}
    assert good["error"] == ""
    assert bad["answers"] == absent["answers"] == []
    assert bad["error"] == "line 3, column b: 'many' is not a finite number"
    assert absent["error"] == "there is no such file"


def test_top_says_how_many_labels(predict, classes, here):
    (here / "rows.csv").write_text("a,b\n1,0\n")
    (line,) = predict(classes, "rows.csv", "--json", "--top", "1").out.splitlines()
    assert list(json.loads(line)["answers"][0]["probabilities"]) == ["high"]
    (row,) = table(predict(classes, "rows.csv", "--csv", "--top", "2").out)
    assert (row["label"], row["label_2"]) == ("high", "low")
    assert "next best" not in predict(classes, "rows.csv", "--top", "1").out
    with pytest.raises(SystemExit):
        predict(classes, "rows.csv", "--top", "0")


def test_standard_input_is_a_file_like_others(predict, classes, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"b,a,what\n0,1,high\n")))
    done = predict(classes, "-", "--csv")
    assert table(done.out)[0]["label"] == table(done.out)[0]["actual"] == "high"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "error: stdin: nothing came from standard input" in predict(classes, "-", code=2).err
    assert "- stands more than once" in predict(classes, "-", "-", code=2).err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"a;b\n1;2\n", "no column a, b; expected a, b. Its values are separated by semicolons; write commas"),
        ("x.csv", "a,b\n1,2\n".encode("utf-16"), "not a readable CSV file: it is text in UTF-16; save it in UTF-8"),
        ("x.csv", "名,b\n1,2\n".encode("gbk"), "it is not text in UTF-8; save it as such (in Excel: CSV UTF-8)"),
        ("x.csv", b"PK\x03\x04rest", "it is a ZIP archive"),
        ("x.csv", b"", "the file is empty"),
        ("x.csv", b"a\n1\n", "no column b; expected a, b"),
        ("x.csv", b"a,b\n1,nan\n", "line 2, column b: 'nan' is not a finite number"),
        ("x.png", b"\x89PNG\r\n", "it is a PNG image; this model takes rows of numbers, a CSV file"),
        ("x.npy", b"a,b", "not a readable .npy file"),
    ],
)
def test_what_is_no_table_is_said_to_be_what_it_is(predict, classes, here, name, content, message):
    (here / name).write_bytes(content)
    (here / "good.csv").write_text("a,b\n1,0\n")
    done = predict(classes, name, "good.csv", code=2)
    assert f"error: {name}: " in done.err
    assert message in done.err
    assert "good.csv, row 1" in done.out


def test_an_array_is_rows_too_and_a_bad_row_leaves_the_others(predict, classes):
    np.save("rows.npy", np.array([[1, 0], [np.nan, 0], [-1, 0]]))
    np.save("wide.npy", np.ones((2, 3)))
    np.save("words.npy", np.array([["a", "b"]]))
    done = predict(classes, "rows.npy", "wide.npy", "words.npy", "--csv", code=2)
    assert [(row["row"], row["label"]) for row in table(done.out)] == [("1", "high"), ("3", "low")]
    assert "error: rows.npy, row 2: column a: nan is not a finite number" in done.err
    assert "error: wide.npy: an array of shape [2, 3]; the model takes [N, 2]" in done.err
    assert "error: words.npy: an array of <U1; the model takes numbers" in done.err


def test_what_the_model_answers_with_infinity_is_an_error(predict, values, here):
    (here / "rows.csv").write_text("a,b\n1e300,0\n1,0\n")
    done = predict(values, "rows.csv", "--json", code=2)
    answer = json.loads(done.out, parse_constant=pytest.fail)
    assert [one["row"] for one in answer["answers"]] == [2]
    assert answer["error"].startswith("row 1: the model answers NaN or infinity")


def test_output_is_written_whole_and_never_over_an_input(predict, classes, here):
    (here / "rows.csv").write_text("a,b\n1,0\n")
    assert "answers  out.csv" in predict(classes, "rows.csv", "--output", "out.csv").err
    assert table((here / "out.csv").read_text())[0]["label"] == "high"
    predict(classes, "rows.csv", "--json", "--output", "out.txt")
    assert json.loads((here / "out.txt").read_text())["file"] == "rows.csv"
    assert "would be overwritten" in predict(classes, "rows.csv", "--output", "rows.csv", code=2).err
    assert "say what to write there: --csv or --json" in predict(classes, "rows.csv", "--output", "x", code=2).err
    assert "which is not there" in predict(classes, "rows.csv", "--output", "no/x.csv", code=2).err
    assert "is no regular file" in predict(classes, "rows.csv", "--json", "--output", "/dev/stdout", code=2).err
    (here / "link.csv").symlink_to("out.csv")
    predict(classes, "rows.csv", "rows.csv", "--output", "link.csv")
    assert len(table((here / "out.csv").read_text())) == 2
    assert "has to end in .png" in predict(classes, "rows.csv", "--plot", "x.jpg", code=2).err
    assert sorted(path.name for path in here.iterdir()) == ["link.csv", "out.csv", "out.txt", "rows.csv"]


def test_a_folder_stands_for_its_tables_and_a_pattern_for_nothing(predict, classes, here):
    (here / "tables" / "deep").mkdir(parents=True)
    for name in ("b.csv", "a.csv", "deep/c.CSV"):
        (here / "tables" / name).write_text("a,b\n1,0\n")
    (here / "tables" / "notes.txt").write_text("no")
    (here / "empty").mkdir()
    done = predict(classes, "tables", "empty", "*.csv", "tables/a.cvs", "--csv", code=2)
    assert [row["file"] for row in table(done.out)] == ["tables/a.csv", "tables/b.csv", "tables/deep/c.CSV"]
    assert "tables: 3 CSV files; left out for their names: 1 .txt" in done.err
    assert "error: empty: there are no CSV files in this folder\n" in done.err
    assert "error: *.csv: there is no such file, and `predict` expands no patterns" in done.err
    assert "error: tables/a.cvs: there is no such file. Did you mean 'a.csv' or 'b.csv'?" in done.err


def test_the_table_for_people_keeps_within_80_columns(predict, classes, here):
    name = "这是一个很长的文件名" * 5 + ".csv"
    (here / name).write_text("a,b,what\n1,0,high\n", encoding="utf-8")
    done = predict(classes, name)
    from rich.cells import cell_len

    assert max(map(cell_len, done.out.splitlines())) <= 80
    assert "high" in done.out


def test_what_cannot_answer_is_refused_with_what_can(predict, classes, here):
    (here / "rows.csv").write_text("a,b\n1,0\n")
    assert "the model comes first" in predict("rows.csv", "rows.csv", code=2).err
    (here / "folder").mkdir()
    assert "the folder folder is no model: it holds no run (run.json)" in predict("folder", "rows.csv", code=2).err
    assert "--checkpoint: " in predict(classes, "rows.csv", "--checkpoint", "best", code=2).err
    assert (
        "has no export of the format 'onnx'; it has paddle"
        in predict(classes, "rows.csv", "--format", "onnx", code=2).err
    )
    assert (
        "no model.onnx, which runtime onnxruntime loads"
        in predict(classes, "rows.csv", "--runtime", "onnxruntime", code=2).err
    )
    assert "there is no tracking store" in predict("digits@champion", "rows.csv", code=2).err
    assert predict(classes, "rows.csv", "--runtime", "inference").out == predict(classes, "rows.csv").out


@pytest.mark.slow
def test_pictures_of_tables_are_drawn(predict, classes, values, here):
    (here / "true.csv").write_text("a,b,what,y\n1,0,high,2\n-1,0,low,3\n2,0,low,4\n")
    (here / "bare.csv").write_text("a,b\n1,0\n-1,0\n")
    for model in (classes, values):
        for name in ("true.csv", "bare.csv"):
            done = predict(model, name, "--plot", "picture.png")
            assert f"picture  picture.png  ({3 if name == 'true.csv' else 2} rows)" in done.err
            with Image.open("picture.png") as picture:
                assert picture.size[0] > 300
    (here / "no.csv").write_text("")
    assert "There is no answer to draw." in predict(values, "no.csv", "--plot", "none.png", code=2).err
