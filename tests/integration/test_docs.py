"""Two pages are true: their files are written, their commands are run, their answers are compared."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.forked import python

DOCS = Path(__file__).parents[2] / "docs"
PLUGIN, SCRIPT = DOCS / "writing-a-plugin.md", DOCS / "from-your-script.md"
BLOCK = re.compile(r"(?:^\*\*`(?P<path>[^`]+)`\*\*\n\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S)

# The page's `pip install -e .` without a network or a change to this environment: the metadata goes into a folder,
# and the code stays where it is.
PIP = """#!/bin/sh
[ "$*" = "install -e ." ] || { echo "pip $*: not foreseen" >&2; exit 64; }
"$PYTHON" -m pip install -q --no-deps --no-build-isolation --upgrade --target "$SITE" . && rm -r "$SITE/flowers"
"""


@dataclass(frozen=True)
class Block:
    """A block of the page: a file if it has a path, else commands ("bash") or what they print ("text")."""

    path: str | None
    kind: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(m["path"], m["kind"], m["text"]) for m in BLOCK.finditer(page.read_text(encoding="utf-8"))]


class Reader:
    """Somebody who does what the page says, in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "plugin"
        self.folder.mkdir()
        tools = folder / "bin"
        tools.mkdir()
        for name, script in (("pip", PIP), ("python", f'#!/bin/sh\nexec {shlex.join(python())} "$@"\n')):
            (tools / name).write_text(script)
            (tools / name).chmod(0o755)
        hidden = ("EXPKIT_", "MLFLOW_", "PYTEST")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
        self.environment.update(
            PATH=f"{tools}{os.pathsep}{os.environ['PATH']}",
            PYTHON=sys.executable,
            SITE=str(folder / "site"),
            PYTHONPATH=os.pathsep.join([str(folder / "site"), str(self.folder / "src")]),
            PYTHONDONTWRITEBYTECODE="1",
            EXPKIT_CACHE_DIR=str(folder / "cache"),
            COLUMNS="120",
        )

    def write(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def run(self, commands: str, code: int) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert done.returncode == code, f"{commands}exit code {done.returncode}\n{done.stdout}"
        return done.stdout


def as_pattern(text: str) -> str:
    """Turn promised output into a pattern: `...` stands for anything, and spaces do not matter."""
    return r"\s+".join(re.escape(word).replace(r"\.\.\.", ".*?") for word in text.split())


def follow(page: Path, folder: Path) -> tuple[Reader, str]:
    """Do what a page says; return who did it, and all that was printed."""
    reader, printed, blocks = Reader(folder), "", blocks_of(page)
    for block, after in zip(blocks, [*blocks[1:], Block(None, "", "")], strict=True):
        if block.path:
            reader.write(block.path, block.text)
        elif block.kind == "bash":
            promised = after.text if after.kind == "text" else ""
            output = reader.run(block.text, code=2 if promised.startswith("error: ") else 0)
            assert re.search(as_pattern(promised), output, re.S), f"{block.text}{output}\npromised:\n{promised}"
            printed += output
    return reader, printed


def measured(folder: Path) -> float:
    """Return the test accuracy of the one run in a folder."""
    (run,) = (folder / "runs").glob("*/*/run.json")  # MLflow has a copy, deeper down
    return float(json.loads(run.read_text())["metrics"]["test/accuracy"])


@pytest.mark.parametrize("page", [PLUGIN, SCRIPT], ids=lambda page: page.stem)
def test_every_block_is_a_file_or_commands_or_their_output(page: Path) -> None:
    blocks = blocks_of(page)
    assert len(blocks) == page.read_text(encoding="utf-8").count("\n```") / 2
    for before, block in zip([None, *blocks], blocks, strict=False):
        if block.kind == "text":
            assert before is not None
            assert before.kind == "bash", block.text
        else:
            assert block.path or block.kind == "bash", block.text


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the page's commands are for a POSIX shell")
def test_following_the_page_on_plugins_gives_what_it_promises(tmp_path: Path) -> None:
    reader, _ = follow(PLUGIN, tmp_path)
    assert measured(reader.folder) >= 0.9


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the page's commands are for a POSIX shell")
def test_a_script_that_becomes_an_experiment_is_as_accurate_as_before(tmp_path: Path) -> None:
    reader, printed = follow(SCRIPT, tmp_path)
    (script,) = re.findall(r"^test accuracy ([\d.]+)$", printed, re.M)
    assert float(script) >= 0.93
    assert measured(reader.folder) == pytest.approx(float(script), abs=0.04)
