"""The wheel, in a clean environment, in an empty folder far from the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from expkit.serving.page import NAMES as PAGE
from tests.packaging.conftest import CHECKOUT, Installation

pytestmark = pytest.mark.slow


def build(*arguments: str, out: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        *arguments,
        "--outdir",
        str(out),
        str(CHECKOUT),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out.parent)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel") / "dist"
    build("--wheel", out=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def clean(wheel: Path, acme_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A fresh virtual environment with nothing but the wheel, acme, and what they depend on."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    (folder / "empty").mkdir()
    installation = Installation(python, folder / "empty")
    installation.run("-m", "pip", "install", "--quiet", "--no-compile", str(wheel), str(acme_project), seconds=900)
    return installation


@pytest.fixture
def user(clean: Installation, tmp_path: Path) -> Installation:
    """The clean environment, used in an empty folder."""
    return replace(clean, folder=tmp_path)


@pytest.fixture(scope="session")
def waves(clean: Installation) -> Installation:
    """An empty folder in which acme's experiment was run."""
    clean.expkit("+experiment=acme_waves")
    return clean


def test_the_wheel_holds_the_packages_and_the_configs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    info = next(top for top in tops if top.endswith(".dist-info"))
    plugins = {path.name for path in (CHECKOUT / "plugins").iterdir() if path.name.startswith("expkit_")}
    assert tops == {"expkit", info, *plugins}
    assert f"{info}/licenses/LICENSE" in names
    configs = {f"expkit/conf/{p.relative_to(CHECKOUT / 'conf')}" for p in (CHECKOUT / "conf").rglob("*.yaml")}
    assert configs
    assert configs <= set(names)
    assert {f"expkit/serving/page/{name}" for name in PAGE} <= set(names)
    own = [name for name in names if not name.startswith("expkit/templates/")]  # a new plugin's project has tests
    assert not [name for name in own if "test_" in name]
    assert not [name for name in names if "__pycache__" in name]


def test_the_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    build(out=tmp_path / "dist")  # the sdist first, and the wheel from it
    (again,) = (tmp_path / "dist").glob("*.whl")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames()}
    assert tops.isdisjoint({"benchmarks", "runs", "docs", "tests", ".ci"})


def test_what_is_installed_fits_together(clean: Installation) -> None:
    assert "No broken requirements found" in clean.run("-m", "pip", "check").stdout


def test_nothing_comes_from_the_checkout(user: Installation) -> None:
    where = user.run("-c", "import expkit, expkit_models; print(expkit.__file__, expkit_models.__file__)").stdout
    assert str(CHECKOUT) not in where


def test_acmes_experiment_trains_with_its_own_parts(waves: Installation) -> None:
    record = json.loads((waves.last_run() / "run.json").read_text())
    assert record["status"] == "FINISHED"
    assert record["metrics"]["test/within"] > 0.95
    choices = {
        "dataset": "waves",
        "model": "tiny",
        "loss": "log_cosh",
        "optimizer": "lion",
        "regularizer": "l1_heads",
        "metrics": "within",
    }
    code = (
        "import json, mlflow; mlflow.set_tracking_uri('sqlite:///runs/mlflow.db');"
        "run, = mlflow.search_runs(search_all_experiments=True, output_format='list');"
        "print(json.dumps([run.info.status, run.data.params, run.data.metrics]))"
    )
    status, params, metrics = json.loads(waves.run("-c", code).stdout)
    assert status == "FINISHED"
    assert {kind: params[kind] for kind in choices} == choices
    assert params["regularizer.pattern"] == "head.*"
    assert metrics["test/within"] == pytest.approx(record["metrics"]["test/within"], abs=1e-6)


def test_the_exported_model_answers_in_millimetres(waves: Installation) -> None:
    (waves.folder / "rows.csv").write_text("a,b,c\n0,0,0\n1.5708,0,0\n")
    shown = waves.expkit("predict", "last", "rows.csv").stdout
    assert "mm" in shown
    answer = json.loads(waves.expkit("predict", "last", "rows.csv", "--json").stdout)
    heights = [row["values"]["height"] for row in answer["answers"]]
    # 100 + 20 sin(a) + 10 sin(b) + 5 sin(c)
    assert heights == pytest.approx([100, 120], abs=5)


def test_the_main_job_runs_on_the_stand_in(user: Installation) -> None:
    done = user.expkit("+experiment=mnist_cnn", "+debug=smoke", "dataset.download=false")
    assert "digits (stand-in for mnist)" in done.stdout
    assert done.stderr == ""
    assert (user.last_run() / "export/paddle/model.pdiparams").is_file()
