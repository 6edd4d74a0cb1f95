from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from expkit.comparison import contenders, curves
from expkit.errors import RunNotFoundError
from expkit.plotting import Curve, draw_losses

HIGH = {"name": "valid/accuracy", "higher_is_better": True}
LOW = {"name": "valid/loss", "higher_is_better": False}


@pytest.fixture
def run(tmp_path):
    """Write the files of a run that a comparison reads."""

    def run(number, overrides, metrics=None, monitor=None, name="exp", status="FINISHED"):
        folder = tmp_path / str(number)
        folder.mkdir()
        record = {"name": name, "status": status}
        if metrics:
            record.update(metrics=metrics, monitor=monitor)
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "overrides.yaml").write_text(json.dumps(overrides))
        return folder

    return run


@pytest.mark.parametrize(("monitor", "best_first"), [(HIGH, ["1", "2", "0"]), (LOW, ["0", "2", "1"])])
def test_runs_are_ranked_by_what_they_monitored_and_told_apart_by_what_varies(run, monitor, best_first):
    folders = [
        run(n, ["+experiment=exp", f"optimizer={o}", "seed=1"], {monitor["name"]: value}, monitor)
        for n, (o, value) in enumerate([("sgd", 0.1), ("adam", 0.9), ("lamb", 0.5)])
    ]
    found = contenders(folders)
    assert [one.folder.name for one in found] == best_first
    assert {one.varies for one in found} == {("optimizer=sgd",), ("optimizer=adam",), ("optimizer=lamb",)}
    assert found[0].label in {"optimizer=adam", "optimizer=sgd"}


def test_a_run_without_a_result_comes_last(run):
    folders = [
        run(0, ["optimizer=sgd"], status="FAILED"),
        run(1, ["optimizer=adam"], {"valid/accuracy": 0.1}, HIGH),
    ]
    assert [one.folder.name for one in contenders(folders)] == ["1", "0"]


def test_runs_of_different_kinds_stay_in_their_order(run):
    folders = [
        run(0, ["+experiment=a"], {"valid/loss": 0.9}, LOW, name="a"),
        run(1, ["+experiment=b"], {"valid/accuracy": 0.9}, HIGH, name="b"),
    ]
    assert [one.folder.name for one in contenders(folders)] == ["0", "1"]


def test_a_folder_that_does_not_say_how_it_was_made_is_named(run):
    folder = run(0, [])
    (folder / "overrides.yaml").unlink()
    with pytest.raises(RunNotFoundError, match="does not say how its run was made"):
        contenders([folder])


def test_curves_come_from_the_runs_own_files(run):
    one, other = run(0, ["optimizer=sgd"]), run(1, ["optimizer=adam"])
    (one / "steps.csv").write_text("step,loss,learning_rate\n1,0.5,0.1\n2,0.25,0.1\n")
    (one / "history.json").write_text(json.dumps([{"epoch": 1, "valid/loss": 0.75}]))
    assert curves(contenders([one, other])) == [Curve("optimizer=sgd", [(1, 0.5), (2, 0.25)], [(1, 0.75)])]


def test_all_losses_are_drawn_in_one_picture(tmp_path):
    many = [
        Curve(f"optimizer=o{n}", [(s, 1.0 / (s + n)) for s in range(1, 500)], [(1, 0.5), (2, 0.4)]) for n in range(25)
    ]
    draw_losses(tmp_path / "losses.png", "exp  |  sweep", [*many, Curve("no epoch yet", [(1, 0.5)], [])])
    with Image.open(tmp_path / "losses.png") as picture:
        assert picture.width > picture.height > 400


def test_a_run_that_diverges_does_not_set_the_axes(tmp_path):
    steps = range(1, 500)
    falls = [Curve("0.1", [(s, 1.0 / s) for s in steps], [(1, 0.5), (2, 0.4)])]
    explodes = Curve("1", [(s, 10.0 ** min(s, 308)) for s in steps], [(1, 1e250), (2, float("inf"))])
    draw_losses(tmp_path / "one.png", "", falls)
    draw_losses(tmp_path / "both.png", "", [*falls, explodes])  # an overflow would be an error here
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "both.png") as both:
        axes = [np.asarray(picture.convert("L"))[: one.height // 2, : one.width // 20] for picture in (one, both)]
        assert np.array_equal(*axes)
