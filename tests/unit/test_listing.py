from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_plugins import install

from expkit import paths, registry
from expkit.cli import listing, show
from expkit.cli.experiments import choices, experiments
from expkit.errors import ConfigError, PluginError

PARTS = '''
raise RuntimeError("this module was imported")

class Cube:
    """A cube [of] layers.

    Args:
        sides: how many.
        sizes: of each.
        mode: how.
    """

    def __init__(self, spec, *, sides: int = 6, sizes: tuple[int, ...] = (1, 2), mode: str | None = None): ...

def needy(spec, *, width: int, height: int = 2): ...

def score(k: int = 3): "A score."
'''
EXPERIMENT = """
# @package _global_
#   python -m expkit +experiment=cubes
# Learns cubes.
#
# Expect little.
defaults:
  - override /model: cube
  - override /metrics: [score]

trainer:
  epochs: 5
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    conf = tmp_path / "main" / "experiment"
    conf.mkdir(parents=True)
    (conf / "cubes.yaml").write_text(EXPERIMENT.lstrip())
    (conf / "bare.yaml").write_text("seed: 1\n")
    monkeypatch.setattr(paths, "conf_dir", lambda: tmp_path / "main")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("COLUMNS", "80")
    install(
        tmp_path / "site",
        monkeypatch,
        files={"cube_parts.py": PARTS, "damaged_parts.py": "def x(:\n"},
        entry_points={
            "models": {
                "cube": "cube_parts:Cube",
                "needy": "cube_parts:needy",
                "gone": "no_such_module:X",
                "damaged": "damaged_parts:x",
            },
            "metrics": {"score": "cube_parts:score"},
        },
    )
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], verb, *arguments: str) -> str:
    assert verb.main(list(arguments)) == 0
    return capsys.readouterr().out


def test_list_names_kind_name_purpose_and_distribution(plugins, capsys) -> None:
    lines = run(capsys, listing).splitlines()
    line = next(line for line in lines if " cube " in line)
    assert line.split() == ["model", "cube", "A", "cube", "[of]", "layers.", "fake-plugins", "1.2"]
    assert any(line.split()[:4] == ["experiment", "cubes", "Learns", "cubes."] for line in lines)


def test_list_fits_80_columns_and_has_no_colours_when_piped(plugins, capsys) -> None:
    out = run(capsys, listing) + run(capsys, show, "model/cube") + run(capsys, show, "dataset/mnist")
    assert "\x1b" not in out
    facts = ("source", "use", "run")  # paths and commands are never broken, so that they can be copied
    assert max(len(line.rstrip()) for line in out.splitlines() if not line.startswith(facts)) <= 80


def test_broken_plugins_are_shown_without_hiding_others(plugins, capsys) -> None:
    out = run(capsys, listing, "models")
    assert "broken: there is no" in " ".join(out.split())  # the rest may be on the next line of its column
    rows = {row.name: row for row in listing.rows_of("model")}
    assert rows["gone"].broken.startswith("there is no module 'no_such_module'")
    assert rows["damaged"].broken.startswith("syntax error in ")
    assert rows["cube"].broken is None and rows["cube"].summary == "A cube [of] layers."


def test_clash_is_shown_on_both_lines(plugins, monkeypatch) -> None:
    install(plugins / "site", monkeypatch, entry_points={"models": {"cube": "cube_parts:needy"}}, name="rival")
    rows = [row for row in listing.rows_of("models") if row.name == "cube"]
    assert sorted(row.broken for row in rows) == [
        "the same name is announced by fake-plugins 1.2",
        "the same name is announced by rival 1.2",
    ]


def test_list_for_scripts_is_json(plugins, capsys) -> None:
    rows = json.loads(run(capsys, listing, "metrics", "--json"))
    assert {
        "kind": "metric",
        "group": "metrics",
        "name": "score",
        "summary": "A score.",
        "origin": "fake-plugins 1.2",
        "target": "cube_parts:score",
        "broken": None,
    } in rows


def test_unknown_kind_gets_a_suggestion(plugins) -> None:
    with pytest.raises(PluginError, match=r"'modls'\. Did you mean 'model'"):
        listing.rows_of("modls")
    with pytest.raises(PluginError, match=r"Did you mean 'experiments'"):
        listing.rows_of("experimnts")


def test_kind_without_components_says_so(plugins, capsys, monkeypatch) -> None:
    monkeypatch.setattr(registry, "entries", lambda kind: {})
    assert run(capsys, listing, "losses") == "Nothing is installed: losses.\n"


def test_show_gives_options_source_and_an_example(plugins, capsys) -> None:
    out = run(capsys, show, "model/cube")
    words = [line.split() for line in out.splitlines()]
    assert ["sides", "int", "6", "how", "many."] in words
    assert ["mode", "str", "|", "None", "null", "how."] in words
    assert f"source  {plugins}/site/cube_parts.py:3" in out
    assert "python -m expkit +experiment=bare model=cube model.sides=6" in out
    assert out.startswith("model cube  A cube [of] layers.")


def test_show_marks_required_options_and_puts_them_into_the_example(plugins, capsys) -> None:
    out = run(capsys, show, "model", "needy")
    assert ["width", "int", "(required)"] in [line.split() for line in out.splitlines()]
    assert "model=needy model.width=VALUE\n" in out


def test_show_of_a_metric_quotes_its_list_for_the_shell(plugins, capsys) -> None:
    assert "'metrics=[score]' metrics.score.k=3" in run(capsys, show, "metrics/score")


def test_show_for_scripts_is_json(plugins, capsys) -> None:
    found = json.loads(run(capsys, show, "needy", "--json"))
    assert found["options"] == [
        {"name": "width", "type": "int", "required": True, "default": None, "computed": None, "doc": ""},
        {"name": "height", "type": "int", "required": False, "default": 2, "computed": None, "doc": ""},
    ]
    assert found["target"] == "cube_parts:needy" and found["kind"] == "model"


def test_show_experiment_gives_its_comment_choices_and_command(plugins, capsys) -> None:
    out = run(capsys, show, "experiment/cubes")
    words = [line.split() for line in out.splitlines()]
    assert "Expect little." in out
    assert ["model", "cube"] in words and ["metrics", "[score]"] in words and ["trainer.epochs", "5"] in words
    assert "run     python -m expkit +experiment=cubes" in out
    found = json.loads(run(capsys, show, "cubes", "--json"))
    assert found["sets"] == {"model": "cube", "metrics": ["score"], "trainer.epochs": 5}


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("model/cub", PluginError, "no model is called 'cub'. Did you mean 'cube'"),
        ("modle/cube", PluginError, "no kind .* 'modle'. Did you mean 'model'"),
        ("experiment/cube", ConfigError, "no experiment .* Did you mean 'cubes'"),
        ("cubess", PluginError, "nothing is called 'cubess'. Did you mean 'cubes'"),
        ("model/gone", PluginError, "there is no module 'no_such_module'"),
    ],
)
def test_show_of_nothing_gets_a_suggestion(plugins, path, error, message) -> None:
    with pytest.raises(error, match=message):
        show.main([path])


def test_name_of_two_kinds_has_to_be_told_apart(plugins) -> None:
    (plugins / "main" / "experiment" / "cube.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match="more than one meaning: model/cube, experiment/cube"):
        show.find("cube")


def test_experiments_of_the_user_and_of_plugins_are_found(plugins, monkeypatch) -> None:
    own = plugins / "work" / "conf" / "experiment" / "deep"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# Mine.\na: 1\n")
    (own.parent / "cubes.yaml").write_text("# My cubes.\n")
    (own / "damaged.yaml").write_bytes(b"# \xff\na: [\n")
    install(
        plugins / "site",
        monkeypatch,
        files={"brought/__init__.py": "1 / 0\n", "brought/conf/experiment/theirs.yaml": "# Theirs.\n"},
        entry_points={"conf": {"brought": "brought.conf"}},
        name="brings-conf",
    )
    found = {e.name: (e.owner, e.summary) for e in experiments()}
    assert found["deep/mine"] == ("./conf", "Mine.")
    assert found["cubes"] == ("./conf", "My cubes.")
    assert found["theirs"] == ("brings-conf 1.2", "Theirs.")
    assert found["bare"] == ("expkit", "")
    assert choices(next(e for e in experiments() if e.name == "deep/damaged")) == {}


@pytest.fixture
def with_presets(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two presets of a distribution, one of them hidden by the user's own."""
    install(
        plugins / "site",
        monkeypatch,
        files={
            "brought/__init__.py": "1 / 0\n",
            "brought/conf/model/big_cube.yaml": "# A big cube.\n#\n# Slow.\ndefaults: [cube, _self_]\nsides: 60\n",
            "brought/conf/model/flat.yaml": "defaults: [cube]\n",
            "brought/conf/metrics/score_nine.yaml": "defaults: [score]\nk: 9\n",
        },
        entry_points={"conf": {"brought": "brought.conf"}},
        name="brings-conf",
    )
    own = plugins / "work" / "conf" / "model"
    own.mkdir(parents=True)
    (own / "flat.yaml").write_text("defaults: [needy]\nwidth: 1\n")
    return plugins


def test_presets_are_listed_after_the_components_of_their_kind(with_presets) -> None:
    rows = [(row.name, row.summary, row.origin) for row in listing.rows_of("models") if row.target.endswith(".yaml")]
    assert rows == [("big_cube", "A big cube.", "brings-conf 1.2"), ("flat", "preset of needy", "./conf")]
    names = [(row.kind, row.name) for row in listing.rows_of(None)]
    assert names.index(("model", "needy")) < names.index(("model", "big_cube")) < names.index(("metric", "score"))
    assert ("metric", "score_nine") in names


def test_show_preset_gives_its_comment_file_base_and_what_it_sets(with_presets, capsys) -> None:
    out = run(capsys, show, "model/big_cube")
    assert out.startswith("model big_cube\n\nA big cube.\n\nSlow.\n")
    assert ["model.sides", "60"] in [line.split() for line in out.splitlines()]
    assert "preset of  model/cube\nfrom       brings-conf 1.2\n" in out
    assert f"source     {with_presets}/site/brought/conf/model/big_cube.yaml\n" in out
    assert "use        python -m expkit +experiment=bare model=big_cube\n" in out
    found = json.loads(run(capsys, show, "big_cube", "--json"))
    assert (found["kind"], found["preset_of"], found["sets"]) == ("model", ["cube"], {"model.sides": 60})
    assert found["example"] == "python -m expkit +experiment=bare model=big_cube"


def test_unknown_name_suggests_presets_too(with_presets) -> None:
    with pytest.raises(PluginError, match=r"'big_cub'.* Presets: big_cube, flat\. Did you mean 'big_cube'"):
        show.main(["model/big_cub"])
    with pytest.raises(PluginError, match=r"nothing is called 'big_cub'\. Did you mean 'big_cube'"):
        show.main(["big_cub"])


def test_show_gives_the_source_of_a_computed_default(plugins, monkeypatch, capsys) -> None:
    install(
        plugins / "site",
        monkeypatch,
        files={
            "costly_parts.py": "import paddle\nBASE = 3\n\ndef costly(spec, *, a: int = 2 * BASE, b: int = 1): ...\n"
        },
        entry_points={"models": {"costly": "costly_parts:costly"}},
        name="costly",
    )
    out = run(capsys, show, "model/costly")
    assert "a       int   (computed: 2 * BASE)" in out
    assert "model=costly model.b=1\n" in out
    assert "costly_parts" not in sys.modules
    option = json.loads(run(capsys, show, "model/costly", "--json"))["options"][0]
    assert (option["default"], option["computed"]) == (None, "2 * BASE")


@pytest.mark.parametrize("arguments", [["list"], ["show", "model/cnn"], ["show", "experiment/mnist_cnn"], ["-h"]])
def test_verbs_import_nothing_heavy(arguments) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "expkit", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "EXPKIT_DEBUG": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "import time" in line}
    assert "expkit.cli" in imported
    assert imported.isdisjoint({"paddle", "mlflow", "hydra", "omegaconf", "numpy", "matplotlib", "expkit.api"})
