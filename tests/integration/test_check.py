"""The verb `check`, as it is typed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from expkit.checkup import Finding, Section
from expkit.cli import main
from expkit.cli.finding_view import show
from tests.integration.conftest import CommandLine

MLP = ("+experiment=mnist_mlp", "model.hidden=[32]", "dataset.download=false")


def test_a_sound_experiment_is_checked_and_nothing_is_written(expkit: CommandLine) -> None:
    (expkit.folder / "conf" / "experiment").mkdir(parents=True)
    own = "# @package _global_\ndefaults:\n  - mnist_mlp\n  - _self_\nname: mine\nmodel:\n  hidden: [32]\n"
    (expkit.folder / "conf" / "experiment" / "mine.yaml").write_text(own)
    done = expkit("check", "+experiment=mine", "dataset.download=false")
    assert done.stdout.startswith("check  mine, seed 0\n")
    assert "stand-in, not mnist" in done.stdout
    assert "hidden1  Linear" in done.stdout
    assert ", 0 failures  (" in done.stdout
    assert done.stderr == ""
    assert [path.name for path in expkit.folder.iterdir()] == ["conf"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    monkeypatch.delenv("EXPKIT_DEBUG", raising=False)
    return tmp_path


def test_one_that_cannot_learn_fails_and_says_what_to_do(here, capsys) -> None:
    assert main(["check", *MLP, "optimizer=sgd", "optimizer.learning_rate=30"]) == 1
    out = capsys.readouterr().out
    assert "FAIL    by heart    cannot even learn these" in out
    assert "-> optimizer.learning_rate=0.03 does better" in out


def test_pictures_are_written_where_they_are_asked_for(here, capsys) -> None:
    assert main(["check", "--plots", "look", *MLP]) == 0
    names = ["epoch_000.txt", "histograms.png", "layers.txt"]
    assert sorted(path.name for path in (here / "look").iterdir()) == names
    assert "look/histograms.png" in capsys.readouterr().out
    assert [path.name for path in here.iterdir()] == ["look"]


@pytest.mark.parametrize(
    "wrong",
    [["+experiment=mnist_mpl"], ["+experiment=mnist_mlp", "model.hiden=[32]"], ["+experiment=mnist_mlp", "seed=-1"]],
    ids=lambda words: words[-1],
)
def test_mistakes_are_explained_as_those_of_a_run(here, capsys, wrong) -> None:
    assert main(["check", *wrong]) == 2
    checked = capsys.readouterr()
    assert main(wrong) == 2
    assert checked.err == capsys.readouterr().err != ""
    assert checked.out == ""
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnist_mlp"], "'mnist_mlp' is an experiment. Write: python -m expkit check +experiment=mnist_mlp"),
        (["mnist_mpl"], "'mnist_mpl': an override is written key=value, an experiment +experiment=NAME. Did you mean"),
        ([*MLP, "-m", "seed=0,1"], "check looks at one experiment at a time; leave out -m"),
        (["experiment=mnist_mlp"], "an experiment is added with a plus"),
        ([*MLP, "--plot", "x"], "there is no flag '--plot'"),
    ],
)
def test_what_is_no_experiment_is_refused(here, capsys, arguments, message) -> None:
    assert main(["check", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_help_and_nothing_at_all(capsys) -> None:
    for arguments, code in ((["-h"], 0), ([], 2)):
        with pytest.raises(SystemExit) as left:
            main(["check", *arguments])
        assert left.value.code == code
    assert "check +experiment=mnist_cnn" in "".join(capsys.readouterr())


def test_long_findings_are_broken_for_a_terminal_and_nowhere_else() -> None:
    section = Section("data", "a table", [Finding("warning", "range", "word " * 30, "do this " * 20)])
    texts = []
    for terminal in (True, False):
        console = Console(force_terminal=terminal, width=80, file=io.StringIO(), color_system=None)
        show(console, section)
        texts.append(console.file.getvalue())
    lines = texts[0].splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line.startswith(" " * 22 + "-> do this")]
    assert len(texts[1].splitlines()) == 6
