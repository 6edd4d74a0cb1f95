"""`new plugin`: what it writes, and what it refuses to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from expkit.api import VERSION
from expkit.cli import main, new
from expkit.registry import KINDS
from expkit.scaffold import render, sketches

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_is_a_template_of_every_kind() -> None:
    assert set(sketches()) == {kind.name for kind in KINDS}


def entry_points(files: dict[str, str]) -> dict[str, dict[str, str]]:
    points = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"]
    return {group.removeprefix("expkit."): names for group, names in points.items()}


@pytest.mark.parametrize("kind", sketches())
def test_each_kind_brings_its_files_and_nothing_of_the_others(kind: str) -> None:
    files = render("acme", [kind])
    points = entry_points(files)
    assert points.pop("api") == {VERSION: "acme"}
    assert points.pop("conf") == {"acme": "acme.conf"}
    ((group, names),) = points.items()
    ((name, target),) = names.items()
    module = target.partition(":")[0].rpartition(".")[2]
    assert name.startswith("acme_")
    assert {f"src/acme/{module}.py", f"tests/test_{module}.py", ".gitignore", "README.md"} <= set(files)
    shared = ("__init__.py", "py.typed", "conf/experiment/acme.yaml", "tests/test_experiment.py")
    rest = [place for place in files if "/" in place and not place.endswith(shared) and module not in place]
    assert rest == []
    assert not [place for place, text in files.items() if "plugin_name" in place + text or "#?" in text]
    chosen = yaml.safe_load(files["src/acme/conf/experiment/acme.yaml"])["defaults"]
    own = [value for line in chosen for value in line.values() if "acme" in str(value)]
    assert len(own) == 1
    assert len({key for line in chosen for key in line}) == len(chosen)
    assert files["README.md"].count("\n| `") == 1
    assert group in ("metrics", "transforms", "callbacks") or sum("/conf/" in place for place in files) == 2


@pytest.mark.parametrize("name", ["x", "a-" * 14 + "bc"])
def test_what_is_written_satisfies_linters_under_short_and_long_names(here: Path, name: str) -> None:
    assert main(["new", "plugin", name, "--kinds", "all"]) == 0
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, name], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_folder_is_new_or_empty_and_its_permissions_are_ordinary(here: Path, capsys) -> None:
    (here / "made").mkdir()
    assert main(["new", "plugin", "acme", "--kinds", "loss", "--kinds", "metrics,loss", "--into", "made"]) == 0
    printed = capsys.readouterr().out
    assert "loss        acme_poly1" in printed
    assert "metric      acme_calibration" in printed
    assert "python -m pytest made" in printed
    assert [path.name for path in here.iterdir()] == ["made"]
    (here / "ordinary").mkdir()
    assert (here / "made").stat().st_mode == (here / "ordinary").stat().st_mode


def test_programs_are_told_folder_files_and_commands(here: Path, capsys) -> None:
    assert main(["new", "plugin", "acme", "--kinds", "schedule", "--json", "--into", "a folder"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == "a folder"
    assert all((here / "a folder" / place).is_file() for place in told["files"])
    assert told["next"][0] == "python -m pip install -e './a folder[test]'"
    assert told["next"][1:3] == ["python -m expkit list schedules", "python -m expkit +experiment=acme"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Acme"], "cannot be called 'Acme': .* Did you mean 'acme'"),
        (["2fast"], "cannot be called '2fast': .* Did you mean 'fast'"),
        (["class"], "no word of Python's own"),
        (["my.plugin"], "Did you mean 'my_plugin'"),
        (["../acme"], "cannot be called '../acme'"),
        (["a" * 31], "has 31 letters: a plugin's name has at most 30"),
        (["random"], "Python's own library has a module of that name"),
        (["expkit"], r"expkit \S+ is installed"),
        (["Expkit-Models"], "Did you mean 'expkit_models'"),
        (["expkit_models"], "`import expkit_models` finds .*expkit_models"),
        (["mnist_cnn"], "what is there already: experiment mnist_cnn"),
        (["acme", "--kinds", "model,metrik"], "--kinds metrik: there is no such kind. Did you mean 'metric'"),
        (["acme", "--kinds", ","], "--kinds names no kind"),
    ],
)
def test_a_mistake_is_explained_and_nothing_is_written(here: Path, capsys, arguments, message) -> None:
    assert main(["new", "plugin", *arguments]) == 2
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(capsys.readouterr().err)
    assert list(here.iterdir()) == []


def test_new_makes_plugins_only(here: Path, capsys) -> None:
    assert main(["new", "plugn", "acme"]) == 2
    assert "only a plugin can be made. Did you mean 'plugin'?" in capsys.readouterr().err


def test_nothing_is_overwritten(here: Path, capsys) -> None:
    (here / "acme").mkdir()
    (here / "acme" / "notes.txt").write_text("mine")
    (here / "file").write_text("mine")
    assert main(["new", "plugin", "acme"]) == 2
    assert (
        "acme: this folder is not empty, and nothing is overwritten. Name another one: --into"
        in capsys.readouterr().err
    )
    assert main(["new", "plugin", "acme", "--into", "file"]) == 2
    assert "file: there is a file of that name" in capsys.readouterr().err
    assert sorted(path.name for path in here.rglob("*")) == ["acme", "file", "notes.txt"]


def test_a_folder_that_cannot_be_written_is_named_and_nothing_half_written_stays(
    here: Path, capsys, monkeypatch
) -> None:
    (here / "file").write_text("")
    assert main(["new", "plugin", "acme", "--into", "file/inside"]) == 2
    assert "file/inside cannot be written: " in capsys.readouterr().err
    real, written = Path.write_text, []

    def full(path: Path, text: str, **options: str) -> int:
        if len(written) == 5:
            raise OSError(28, "No space left on device")
        written.append(path)
        return real(path, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    assert main(["new", "plugin", "acme"]) == 2
    assert "acme cannot be written: No space left on device" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["file"]


def test_a_component_that_is_there_already_is_not_brought_again(here: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(new.registry, "entries", lambda kind: {"acme_resmlp": ()} if kind.name == "model" else {})
    assert main(["new", "plugin", "acme", "--kinds", "model"]) == 2
    assert "would bring what is there already: model acme_resmlp" in capsys.readouterr().err
