"""A plugin that cannot be used: it hides nobody else, and is an error only when it is chosen."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import Installation, install, write_project

TINY = '''"""A model."""

from paddle import nn


class Tiny(nn.Layer):
    """A model."""

    def __init__(self, spec, *, units: int = COUNT):
        super().__init__()
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Distributions that each do one thing wrong."""
    folder = tmp_path_factory.mktemp("projects")
    models = '[project.entry-points."expkit.models"]\n'
    projects = [
        # Its default is computed, so that it has to be imported when it is chosen, and that raises.
        write_project(
            folder,
            "raising-models",
            f'{models}raising = "raising_models.net:Tiny"\n',
            {"net": TINY.replace("\n\n\nclass", "\n\nCOUNT = 1 / 0\n\n\nclass")},
        ),
        # Its options can be read without importing it.
        write_project(
            folder,
            "late-models",
            f'{models}late = "late_models.net:Tiny"\n',
            {"net": TINY.replace("COUNT", "3").replace("\n\n\nclass", "\n\nCOUNT = 1 / 0\n\n\nclass")},
        ),
        write_project(
            folder,
            "needy-models",
            f'{models}needy = "needy_models.net:Tiny"\n',
            {"net": TINY.replace("COUNT", "3").replace("from paddle", "import not_there\nfrom paddle")},
        ),
        write_project(folder, "absent-models", f'{models}absent = "absent_models.net:Tiny"\n', {}),
        write_project(
            folder,
            "rival-models",
            f'{models}cnn = "rival_models.net:Tiny"\n',
            {"net": TINY.replace("COUNT", "3")},
        ),
    ]
    return install(projects, tmp_path_factory.mktemp("site"))


@pytest.fixture
def troubled(site: Path, tmp_path: Path) -> Installation:
    return Installation(Path(sys.executable), tmp_path, site)


def refused(installation: Installation, choice: str) -> str:
    error = installation.expkit("--cfg", "job", "+experiment=mnist_cnn", choice, code=2).stderr
    assert "Traceback" not in error
    return error


def test_list_shows_what_is_broken_beside_what_is_not(troubled: Installation) -> None:
    models = troubled.table("models")
    assert models["mlp of expkit"]["broken"] is None
    assert "there is no module 'absent_models.net'" in models["absent of absent-models"]["broken"]
    assert "imports 'not_there', which is not installed" in models["needy of needy-models"]["broken"]
    assert models["cnn of expkit"]["broken"] == "the same name is announced by rival-models 0.3"
    assert models["cnn of rival-models"]["broken"].startswith("the same name is announced by expkit ")


def test_show_says_what_the_source_tells_of_a_module_that_cannot_be_imported(troubled: Installation) -> None:
    assert re.search(r"units +int +\(computed: COUNT\)", troubled.expkit("show", "model/raising").stdout)
    error = troubled.expkit("show", "model/needy", code=2).stderr
    assert "it imports 'not_there', which is not installed" in error


def test_broken_plugins_do_not_disturb_a_choice_that_is_whole(troubled: Installation) -> None:
    assert "expkit_models.mlp.MLP" in troubled.expkit("--cfg", "job", "+experiment=mnist_cnn", "model=mlp").stdout


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("raising", "importing it raises ZeroDivisionError: division by zero"),
        ("absent", "there is no module 'absent_models.net'"),
        ("needy", "it imports 'not_there', which is not installed"),
    ],
)
def test_choosing_a_broken_plugin_names_distribution_cause_and_remedy(
    troubled: Installation, name: str, cause: str
) -> None:
    error = refused(troubled, f"model={name}")
    assert f"model '{name}' of {name}-models 0.3 ({name}_models.net:Tiny) cannot be used: {cause}" in error
    assert re.search(r"Update|Install", error)


def test_a_module_that_raises_only_when_a_run_imports_it_is_named(troubled: Installation) -> None:
    done = troubled.expkit("+experiment=mnist_cnn", "dataset.download=false", "model=late", code=2)
    assert "late_models.net.Tiny cannot be loaded: ZeroDivisionError: division by zero" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (troubled.folder / "runs").exists()


def test_choosing_a_name_that_two_distributions_announce_names_both(troubled: Installation) -> None:
    error = refused(troubled, "model=cnn")
    assert "model 'cnn' is announced by" in error
    assert re.search(r"expkit \S+ \(expkit_models\.cnn:CNN\)", error)
    assert "rival-models 0.3 (rival_models.net:Tiny)" in error
    assert "Have one of the entry points renamed, or uninstall one: python -m pip uninstall " in error
