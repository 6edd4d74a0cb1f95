"""The verb `doctor`, as it is typed, beside a plugin that takes its process down."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from expkit.doctor import effect
from expkit.doctor.examination import Scene
from tests.integration.conftest import CommandLine

TITLES = ["Versions", "Machine", "CPU settings", "Folders", "Data", "Plugins", "Tracking", "Environment"]


def plant(folder: Path) -> None:
    """Put a distribution there whose only model ends whatever imports it."""
    info = folder / "deadly_plugin-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly-plugin\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[expkit.models]\ndeadly = deadly_model:Deadly\n")
    (folder / "deadly_model.py").write_text("import os\nos.abort()\nclass Deadly: 'It ends all.'\n")


@pytest.mark.slow
def test_what_is_broken_is_told_and_nothing_is_left_behind(expkit: CommandLine, tmp_path_factory) -> None:
    site = tmp_path_factory.mktemp("site")
    plant(site)
    before = expkit.environment.get("PYTHONPATH")
    expkit.environment["PYTHONPATH"] = os.pathsep.join([str(site), *([before] if before else [])])
    done = expkit("doctor", "--json", code=1)
    found = json.loads(done.stdout)
    assert done.stderr == ""
    assert [section["title"] for section in found["sections"]] == TITLES
    lines = {one["what"]: one for section in found["sections"] for one in section["findings"]}
    failed = {what: one["text"] for what, one in lines.items() if one["level"] == "FAIL"}
    assert list(failed) == ["model/deadly"] and "killed by SIGABRT" in failed["model/deadly"]
    assert lines["paddle"]["level"] == "ok" and "imported in" in lines["paddle"]["text"]
    assert "trains on digits (stand-in for mnist)" in lines["mnist"]["text"]
    assert "fonts" in lines
    assert all(bool(one["advice"]) == (one["level"] != "ok") for one in lines.values())
    assert list(expkit.folder.iterdir()) == []


@pytest.mark.slow
def test_the_settings_are_measured_in_processes_of_their_own(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(effect, "ROUNDS", 2)
    monkeypatch.setattr(effect, "STEPS", 1)
    (line,) = effect.effect(Scene())
    assert line.what == "effect" and "a rough figure (2 rounds in turn" in line.text
    assert list(tmp_path.iterdir()) == []
