"""The documentation site: it builds without a warning, and shows everything that can be chosen."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from expkit import api, registry
from expkit.cli import VERBS
from expkit.cli.experiments import experiment_names

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("furo") is None or importlib.util.find_spec("myst_parser") is None,
    reason="the extra `docs` is not installed",
)


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a module of the site's extension, which lies beside the pages."""
    monkeypatch.syspath_prepend(str(DOCS))
    yield lambda name: importlib.import_module(f"generate.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "generate"]:
        del sys.modules[name]


def test_links_lead_to_where_it_is_said_on_the_site(generator: Callable[[str], ModuleType]) -> None:
    led = generator("outside").led
    assert led("[a](docs/tracking.md#stores)", ROOT) == "[a](/tracking.md#stores)"
    assert led("[a](../expkit/api.py)", DOCS) == "[a](/reference/api.rst)"
    assert led("[a](../CHANGELOG.md)", DOCS) == "[a](/project/changelog.md)"
    assert led("[a](../../expkit/identity.py)", DOCS / "design") == "[a](/../expkit/identity.py)"


@pytest.mark.parametrize(
    "text", ["[a](nowhere.md)", "[a](https://x.org/docs)", "[a](#here)", "`[a](docs/tracking.md)`"]
)
def test_other_links_and_code_stay_as_they_are(text: str, generator: Callable[[str], ModuleType]) -> None:
    assert generator("outside").led(text, ROOT) == text


def test_docstrings_are_shown_as_they_are_written(generator: Callable[[str], ModuleType]) -> None:
    plain = generator("writing").plain
    assert plain("e ** 2 / 2, |x|, in `a*b` and ``c*d``") == r"e \*\* 2 / 2, \|x\|, in ``a*b`` and ``c*d``"


def test_every_key_of_a_config_has_its_comment_and_its_type(generator: Callable[[str], ModuleType]) -> None:
    pages: dict[str, str] = {}

    class Pages:
        def write(self, name: str, text: str) -> None:
            pages[name] = text

    generator("configs").write(Pages())
    text = pages["configs.rst"]
    assert "   * - ``trainer.epochs``\n     - ``int``\n     - ``5``\n     - passes over the training split\n" in text
    assert "   * - :doc:`loss <components/losses/index>`\n     - \n     - ``cross_entropy``\n" in text


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_is_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-j", "2", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = tmp_path / "reference"
    for kind in registry.KINDS:
        folder = reference / "components" / kind.plural
        own = [name for name, found in registry.entries(kind).items() if found[0].distribution == "expkit"]
        assert {path.stem for path in folder.glob("*.html")} == {"index", *own}
    described = (reference / "api.html").read_text(encoding="utf-8")
    assert [n for n in api.__all__ if f'id="expkit.api.{n}"' not in described and n != "inspection"] == []
    commands = (reference / "commands.html").read_text(encoding="utf-8")
    assert [verb for verb in VERBS if f'id="verb-{verb}"' not in commands] == []
    experiments = (reference / "experiments.html").read_text(encoding="utf-8")
    assert [n for n in experiment_names() if f'id="experiment-{n.replace("_", "-")}"' not in experiments] == []
