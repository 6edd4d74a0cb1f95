"""Distributions whose metadata are damaged, or that were made for another plugin API: nobody else suffers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_plugins import install

from expkit import registry
from expkit.api import VERSION
from expkit.cli import plugin_check
from expkit.cli.listing import rows_of
from expkit.distributions import misfit, plugin
from expkit.errors import PluginError
from expkit.plugin_health import examine_plugins

FIRST, SECOND = map(int, VERSION.split("."))
CUBE = {"cubes.py": '"""Cubes."""\n\n\nclass Cube:\n    """A cube."""\n'}
MODEL = registry.kind_named("model")


def announced(folder: Path, monkeypatch: pytest.MonkeyPatch, *versions: str) -> None:
    points = {"models": {"cube": "cubes:Cube"}, "api": dict.fromkeys(versions, "cubes")}
    install(folder, monkeypatch, entry_points=points, files=CUBE)


@pytest.mark.parametrize("version", [f"{FIRST}.0", VERSION])
def test_what_was_made_for_an_earlier_api_of_the_same_first_number_is_found(tmp_path, monkeypatch, version) -> None:
    announced(tmp_path, monkeypatch, version)
    assert registry.find(MODEL, "cube").target == "cubes:Cube"


def test_one_of_several_versions_is_enough(tmp_path, monkeypatch) -> None:
    announced(tmp_path, monkeypatch, f"{FIRST}.0", f"{FIRST + 1}.0")
    assert misfit("fake-plugins") is None


@pytest.mark.parametrize(
    ("version", "status", "remedy"),
    [
        (f"{FIRST - 1}.9", "outdated", "Update fake-plugins, or install an older expkit."),
        (f"{FIRST}.{SECOND + 1}", "too new", "Update expkit, or install an older fake-plugins."),
        (f"{FIRST + 1}.0", "too new", "Update expkit, or install an older fake-plugins."),
    ],
)
def test_another_api_is_told_when_such_a_component_is_chosen(tmp_path, monkeypatch, version, status, remedy) -> None:
    announced(tmp_path, monkeypatch, version)
    unfit = misfit("Fake_Plugins")
    assert unfit is not None
    assert unfit.status == status
    said = f"it was made for plugin API {version}, and this expkit has {VERSION}. {remedy}"
    with pytest.raises(PluginError) as caught:
        registry.find(MODEL, "cube")
    assert str(caught.value) == f"model 'cube' of fake-plugins 1.2 cannot be used: {said}"
    broken = {row.name: row.broken for row in rows_of("models")}
    assert broken["cube"] == said
    assert broken["mlp"] is None


def test_a_version_that_is_none_is_told(tmp_path, monkeypatch) -> None:
    announced(tmp_path, monkeypatch, "latest")
    with pytest.raises(PluginError, match=r"plugin API 'latest', which is no version such as \d+\.\d+\. Correct"):
        registry.find(MODEL, "cube")


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("[expkit.models]\ncube\n", "is damaged in line 2: 'cube' is not NAME = MODULE:ATTRIBUTE"),
        (b"[expkit.models]\ncube = \xff\xfe:Cube\n", "cannot be read"),
    ],
)
def test_damaged_entry_points_hide_nobody_else(tmp_path, monkeypatch, text, trouble) -> None:
    announced(tmp_path, monkeypatch)
    path = tmp_path / "fake_plugins-1.2.dist-info/entry_points.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    registry.clear_cache()
    assert trouble in plugin("fake-plugins").trouble
    assert registry.find(MODEL, "mlp").distribution == "expkit"


@pytest.mark.parametrize(
    ("group", "right"),
    [
        ("expkit.model", "expkit.models"),
        ("expkit.metric", "expkit.metrics"),
        ("expkit.loss", "expkit.losses"),
        ("expkit.optimisers", "expkit.optimizers"),
        ("expkit.scheduler", "expkit.schedules"),
        ("expkit.config", "expkit.conf"),
        ("expkit_models", "expkit.models"),
        ("ExpKit.Models", "expkit.models"),
        ("expkit-models", "expkit.models"),
    ],
)
def test_a_group_that_nobody_reads_is_told_with_the_right_one(tmp_path, monkeypatch, group, right) -> None:
    announced(tmp_path, monkeypatch)
    points = tmp_path / "fake_plugins-1.2.dist-info/entry_points.txt"
    points.write_text(points.read_text() + f"[{group}]\nball = cubes:Cube\n")
    registry.clear_cache()
    (one,) = examine_plugins(["fake-plugins"], load=False)
    said = f"it announces 'ball' in the group {group!r}, which nobody reads"
    assert (one.status, one.health.error) == ("broken", said)
    assert f'Write [project.entry-points."{right}"] in its pyproject.toml' in one.health.advice
    with pytest.raises(PluginError, match=f"{re.escape(said)}.*{right}"):
        plugin_check.chosen("fake-plugins")
    with pytest.raises(PluginError, match=f"fake-plugins 1.2 is wrong: {re.escape(said)}"):
        registry.find(MODEL, "ball")
    assert registry.find(MODEL, "cube").distribution == "fake-plugins"


def test_groups_of_others_and_of_a_later_expkit_are_no_mistake(tmp_path, monkeypatch) -> None:
    announced(tmp_path, monkeypatch)
    points = tmp_path / "fake_plugins-1.2.dist-info/entry_points.txt"
    points.write_text(points.read_text() + "[expkit.samplers]\nball = cubes:Cube\n[expkit_tools.models]\na = b:c\n")
    registry.clear_cache()
    (one,) = examine_plugins(["fake-plugins"], load=False)
    assert not one.health.error
    points.write_text("[expkit.samplers]\nball = cubes:Cube\n")
    registry.clear_cache()
    (one,) = examine_plugins(["fake-plugins"], load=False)
    assert "'expkit.samplers', which nobody reads" in one.health.error
    assert "expkit.models, expkit.losses" in one.health.advice


def test_metadata_without_a_name_hide_nobody_else(tmp_path, monkeypatch) -> None:
    announced(tmp_path, monkeypatch)
    (tmp_path / "fake_plugins-1.2.dist-info/METADATA").write_text("Metadata-Version: 2.1\n")
    registry.clear_cache()
    found = plugin("fake_plugins")
    assert (found.version, found.trouble) == ("1.2", "its METADATA has no name and no version")
    assert registry.find(MODEL, "cube").distribution == "fake_plugins"
