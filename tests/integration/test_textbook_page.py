"""The page beside the textbook is true: its commands compose, its snippets run, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from expkit import registry
from expkit.cli import VERBS, main
from expkit.config import compose
from expkit.paths import conf_dir

PAGE = Path(__file__).parents[2] / "docs/textbook.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
BLOCKS = [(m["kind"], m["text"]) for m in BLOCK.finditer(TEXT)]
SNIPPETS = [text for kind, text in BLOCKS if kind == "python"]
PROMISE = re.compile(r"^\s*print\(.*\)  # (.+)$", re.M)
FIRST = ["python", "-m", "expkit"]
BESIDE = {"check", "--cfg", "job", "-m"}
"""What a command has beside its overrides."""
EXPERIMENTS = {file.stem for file in (conf_dir() / "experiment").glob("*.yaml")}


def commands() -> list[list[str]]:
    """Return the words behind `python -m expkit` of each command, in blocks and in running text."""
    lines = [line for kind, text in BLOCKS if kind == "bash" for line in text.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`(python -m expkit [^`]+)`", BLOCK.sub("", TEXT))
    found = [shlex.split(line, comments=True) for line in [*lines, *inline]]
    assert all(words[:3] == FIRST for words in found), "a block of commands has another command"
    return [words[3:] for words in found]


def swept(overrides: list[str]) -> dict[str, list[str]]:
    """Return the values that each override of a sweep goes through: {"optimizer": ["sgd", "adam"]}."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    return {o.get_key_element(): list(map(str, o.sweep_string_iterator())) for o in parsed if o.is_sweep_override()}


COMMANDS = commands()
LOOKING = [words for words in COMMANDS if words[0] in ("list", "show")]
RUNNING = [words for words in COMMANDS if "=" in words[-1] or words[0] == "check"]


def test_every_experiment_of_the_textbook_has_its_place_on_the_page() -> None:
    named = {name for words in RUNNING for word in words for name in re.findall(r"\w+_\w+", word.partition("=")[2])}
    assert named >= EXPERIMENTS


def test_every_command_runs_an_experiment_or_has_a_verb_that_there_is() -> None:
    assert {words[0] for words in COMMANDS if words not in RUNNING} <= set(VERBS)


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_what_is_listed_or_shown_is_there(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("words", RUNNING, ids=" ".join)
def test_a_command_composes(words: list[str]) -> None:
    overrides = [word for word in words if word not in BESIDE]
    if overrides in [[f"+experiment={name}"] for name in EXPERIMENTS]:
        return  # test_experiments.py composes and runs these
    sweep = swept(overrides)
    assert bool(sweep) == ("-m" in words), "a sweep needs both, -m and values with commas"
    compose(
        [word for word in overrides if word.partition("=")[0] not in sweep] + [f"{k}={v[0]}" for k, v in sweep.items()]
    )
    for key, values in sweep.items():
        if "." not in key:  # of an option, the other values are numbers like the first
            known = EXPERIMENTS if key == "+experiment" else registry.entries(registry.kind_named(key))
            assert set(values) <= set(known)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs_and_prints_what_it_says(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "<docs/textbook.md>", "exec"), {})
    printed = " ".join(capsys.readouterr().out.split())
    for promise in PROMISE.findall(snippet):
        assert " ".join(promise.partition(";")[0].split()) in printed


def slug(heading: str) -> str:
    """Return the name that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_link_leads_somewhere() -> None:
    headings = {slug(heading) for heading in re.findall(r"^#+ (.+)$", BLOCK.sub("", TEXT), re.M)}
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    for link in links:
        target, _, anchor = link.partition("#")
        if target:
            assert (PAGE.parent / target).is_file(), link
        else:
            assert anchor in headings, link
