"""Distributions as users have them: installed, and far from the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.forked import Command

CHECKOUT = Path(__file__).parents[2]
ACME = CHECKOUT / "tests/fixtures/acme"


@dataclass(frozen=True)
class Installation:
    """A Python with expkit, and a folder outside the checkout to use it in.

    Attributes:
        python: the interpreter.
        folder: where commands run.
        site: a folder of further distributions, or None.
        forked: from a process that has imported everything, which saves seconds; else, and with another Python than
            that of the tests, what a user types, to the letter.
    """

    python: Path
    folder: Path
    site: Path | None = None
    forked: bool = True

    def run(self, *arguments: str, code: int = 0, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments, with neither the user's data nor settings."""
        hidden = ("EXPKIT_", "MLFLOW_", "PYTHON")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
        environment |= {"EXPKIT_CACHE_DIR": str(self.folder / "cache"), "COLUMNS": "160"}
        if self.site is not None:
            environment["PYTHONPATH"] = str(self.site)
        process = (Command if self.forked else subprocess.Popen)(
            [str(self.python), *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        try:
            out, err = process.communicate(timeout=seconds)
        finally:
            process.kill()
        assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, code, out, err)

    def expkit(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "expkit", *arguments, code=code)

    def table(self, word: str) -> dict[str, dict[str, Any]]:
        """Return the lines of `expkit list WORD` by name and distribution: "cnn of expkit"."""
        rows = json.loads(self.expkit("list", word, "--json").stdout)
        return {f"{row['name']} of {row['origin'].partition(' ')[0]}": row for row in rows}

    def last_run(self) -> Path:
        return max((p.parent for p in self.folder.glob("runs/*/*/run.json")), key=lambda p: p.stat().st_mtime)


def install(projects: Sequence[Path], site: Path) -> Path:
    """Install projects into a folder, without a network."""
    pip = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", *pip, "--target", str(site), *map(str, projects)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return site


def write_project(folder: Path, name: str, entry_points: str, modules: dict[str, str]) -> Path:
    """Write a distribution of one package.

    Args:
        folder: of all projects.
        name: of the distribution; its package is called like it, with underscores.
        entry_points: tables of the pyproject.toml.
        modules: source text by module name.
    """
    project, package = folder / name, name.replace("-", "_")
    source = project / "src" / package
    source.mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "{name}"\nversion = "0.3"\n{entry_points}'
    )
    (source / "__init__.py").write_text("")
    for module, text in modules.items():
        (source / f"{module}.py").write_text(text)
    return project


@pytest.fixture(scope="session")
def acme_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of acme's project: nothing is built inside the checkout."""
    target = tmp_path_factory.mktemp("projects") / "acme"
    return Path(shutil.copytree(ACME, target, ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture(scope="session")
def acme_site(acme_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install([acme_project], tmp_path_factory.mktemp("acme-site"))


@pytest.fixture
def acme(acme_site: Path, tmp_path: Path) -> Installation:
    """The Python of the tests, with acme beside it."""
    return Installation(Path(sys.executable), tmp_path, acme_site)
