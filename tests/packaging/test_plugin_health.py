"""`plugins`: every way in which a plugin can go wrong is told, with its place, and no other suffers."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.conftest import Installation

pytestmark = pytest.mark.slow

NET = '''"""A net."""

from paddle import nn

TOP


class Net(nn.Layer):
    """A net."""

    def __init__(self, spec):
        super().__init__()
'''
TOPS = {
    "fine": "",
    "raising": "1 / 0",
    "leaving": "import sys; sys.exit('goodbye')",
    "dying": "import os; os._exit(3)",
    "crashing": "import ctypes; ctypes.string_at(0)",
    "endless": "while True: pass",
    "ancient": "",
    "futuristic": "",
    "rival-one": "",
    "rival-two": "",
}
APIS = {"ancient": "0.9", "futuristic": "99.0", "fine": "1.0"}


def announce(site: Path, name: str, entry_points: str, *, requires: str = "") -> Path:
    info = site / f"{name.replace('-', '_')}-0.3.dist-info"
    info.mkdir(parents=True)
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n{needs}")
    (info / "entry_points.txt").write_text(entry_points)
    return info


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Distributions that each do one thing wrong, and one that is fine."""
    site = tmp_path_factory.mktemp("site")
    for name, top in TOPS.items():
        module = name.replace("-", "_")
        (site / f"{module}_net.py").write_text(NET.replace("TOP", top))
        api = f"[expkit.api]\n{APIS[name]} = {module}_net\n" if name in APIS else ""
        chosen = "rival" if name.startswith("rival") else name
        announce(site, name, f"[expkit.models]\n{chosen} = {module}_net:Net\n{api}")
    (site / "torn_net.py").write_text("def x(:\n")
    announce(site, "torn", "[expkit.models]\ntorn = torn_net:Net\n")
    announce(site, "lacking", "[expkit.models]\nlacking = fine_net:Nett\n")
    announce(site, "garbled", "[expkit.models]\nthis is no entry point\n")
    (site / "leaving_package").mkdir()
    (site / "leaving_package/__init__.py").write_text("import sys\nsys.exit('from a package')\n")
    announce(site, "hollow", "[expkit.models]\nhollow = leaving_package.gone:Net\n")
    for name, needs in (("older", "expkit<0.0.1"), ("newer", "expkit>=99")):
        announce(site, name, "[expkit.api]\n1.0 = fine_net\n", requires=needs)
    (announce(site, "nameless", "[expkit.api]\n1.0 = fine_net\n") / "METADATA").write_text("Version: 0.3\n")
    return Installation(Path(sys.executable), tmp_path_factory.mktemp("work"), site)


@pytest.fixture(scope="module")
def found(zoo: Installation) -> dict[str, dict[str, Any]]:
    done = zoo.expkit("plugins", "--json", "--timeout", "5", code=1)
    return {one["name"]: one for one in json.loads(done.stdout)["distributions"]}


@pytest.mark.parametrize(
    ("name", "status", "error", "where"),
    [
        ("raising", "broken", "importing it fails: ZeroDivisionError: division by zero", "raising_net.py:5"),
        ("leaving", "broken", "importing it fails: SystemExit: goodbye", "leaving_net.py:5"),
        ("dying", "broken", "importing it fails: the process ended with exit code 3", ""),
        ("crashing", "broken", "importing it fails: the process was killed by SIGSEGV", "crashing_net.py:5"),
        ("endless", "broken", "importing it fails: took longer than 5 s", "endless_net.py:5"),
        ("torn", "broken", r"syntax error in .*torn_net\.py:1: ", ""),
        ("lacking", "broken", r"fine_net\.py defines no 'Nett'", ""),
        ("hollow", "broken", r"there is no module 'leaving_package\.gone'", ""),
        ("rival-one", "clashing", r"the same name is announced by rival-two 0\.3", ""),
        ("ancient", "outdated", r"it was made for plugin API 0\.9, and this expkit has ", ""),
        ("futuristic", "too new", r"it was made for plugin API 99\.0, and this expkit has ", ""),
        ("fine", "ok", "", ""),
        ("expkit", "ok", "", ""),
    ],
)
def test_each_is_told_with_its_cause_and_place(found, name, status, error, where) -> None:
    one = found[name]
    assert one["status"] == status
    part = one["components"][0]
    assert re.search(error, part["error"])
    assert bool(part["error"]) == (status != "ok") == bool(part["advice"])
    assert part["where"].endswith(where)


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("garbled", "broken", "is damaged in line 2: 'this is no entry point' is not NAME = MODULE:ATTRIBUTE"),
        ("nameless", "broken", "its METADATA has no name"),
        ("older", "outdated", r"it asks for expkit<0\.0\.1, and expkit \S+ is installed"),
        ("newer", "too new", r"it asks for expkit>=99, and expkit \S+ is installed"),
    ],
)
def test_what_is_wrong_with_a_distribution_itself_is_told(found, name, status, error) -> None:
    assert found[name]["status"] == status
    assert re.search(error, found[name]["error"])
    assert found[name]["advice"]


def test_all_about_one_has_the_whole_cause(zoo: Installation) -> None:
    shown = zoo.expkit("plugins", "raising", code=1).stdout
    assert re.search(r"model/raising +broken", shown)
    assert "    1 / 0" in shown
    assert "ZeroDivisionError: division by zero" in shown


def test_the_others_can_be_listed_and_chosen_all_the_same(zoo: Installation) -> None:
    rows = zoo.table("models")
    assert rows["fine of fine"]["broken"] is None
    assert rows["mlp of expkit"]["broken"] is None
    assert "made for plugin API 0.9" in rows["ancient of ancient"]["broken"]
    config = zoo.expkit("--cfg", "job", "+experiment=mnist_cnn", "model=fine").stdout
    assert "_target_: fine_net.Net" in config
    refused = zoo.expkit("--cfg", "job", "+experiment=mnist_cnn", "model=futuristic", code=2).stderr
    assert "model 'futuristic' of futuristic 0.3 cannot be used: it was made for plugin API 99.0" in refused
    assert "Update expkit, or install an older futuristic." in refused


def test_the_table_is_for_people(zoo: Installation) -> None:
    shown = zoo.expkit("plugins", "--no-load", code=1).stdout
    assert re.search(r"fine 0\.3 +not loaded +- +1\.0 +model fine", shown)
    assert re.search(r"FAIL +too new +model/futuristic: it was made for plugin API 99\.0", shown)


def test_a_distribution_that_is_not_there_is_explained(zoo: Installation) -> None:
    assert "Did you mean 'raising'" in zoo.expkit("plugins", "raisin", code=2).stderr


def test_check_names_the_promise_that_broke_and_goes_on_after_a_crash(zoo: Installation) -> None:
    done = zoo.expkit("plugins", "check", "fine", "--json", code=1)
    (one,) = json.loads(done.stdout)
    assert not one["passed"]
    broken = [outcome for outcome in one["outcomes"] if outcome["status"] == "broken"]
    assert broken and all(outcome["problems"][0]["got"] for outcome in broken)
    assert one["where"].endswith("fine_net.py:8")
    crashed = zoo.expkit("plugins", "check", "model/crashing", code=1).stdout
    assert "the process was killed by SIGSEGV" in crashed
    assert "crashing_net.py:5" in crashed


def test_check_takes_options_and_passes_what_keeps_its_promises(zoo: Installation) -> None:
    shown = zoo.expkit("plugins", "check", "schedule/cosine", "end=0.1").stdout
    assert re.search(r"schedule/cosine +passed", shown)
    assert "1 passed, 0 failed" in shown
    typo = zoo.expkit("plugins", "check", "schedule/cosine", "ennd=0.1", code=2).stderr
    assert "schedule 'cosine' has no option 'ennd'. Did you mean 'end'?" in typo
    assert "options are of one component" in zoo.expkit("plugins", "check", "expkit", "a=1", code=2).stderr
