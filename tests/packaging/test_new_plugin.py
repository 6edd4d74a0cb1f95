"""A new plugin, as written: it installs, is listed, trains, passes its own tests and type checks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import Installation, install

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project of a plugin of all kinds."""
    here = tmp_path_factory.mktemp("new")
    command = [sys.executable, "-m", "expkit", "new", "plugin", "star-gazing", "--kinds", "all"]
    subprocess.run(command, cwd=here, check=True, capture_output=True)
    return here / "star-gazing"


@pytest.fixture(scope="module")
def star(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    site = install([folder], tmp_path_factory.mktemp("site"))
    return Installation(Path(sys.executable), tmp_path_factory.mktemp("work"), site)


def test_its_own_tests_pass(star: Installation, folder: Path) -> None:
    done = star.run("-m", "pytest", "-p", "no:cacheprovider", str(folder))
    assert re.search(r"31 passed", done.stdout)


def test_its_experiment_learns_with_its_own_parts_and_a_preset(star: Installation) -> None:
    star.expkit(
        "+experiment=star_gazing", "loss=star_gazing_poly1_strong", "tracking=none", "plots=none", "export=none"
    )
    record = json.loads((star.last_run() / "run.json").read_text())
    assert record["metrics"]["test/accuracy"] > 0.9
    assert "test/star_gazing_calibration" in record["metrics"]


def test_its_types_are_right(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
