from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import pytest
from fake_plugins import entry, install
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigLoadError
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from expkit import config_source, paths, registry
from expkit.config_source import ExpkitSource
from expkit.errors import PluginError

MODULE = '''
class Cube:
    """A cube."""

    def __init__(self, spec, *, sides: int = 6, rate: float = 0.5, sizes: tuple[int, ...] = (1, 2)):
        self.spec, self.sides, self.rate, self.sizes = spec, sides, rate, sizes

def needy(spec, *, width: int):
    return width

def rules(spec, *, own: dict[str, float] = {}, all: dict[str, float]):
    return own, all

def score(k: int = 1):
    return k

def other(j: int = 1):
    return j
'''
ROOT = """
defaults:
  - model: cube
  - metrics: [score]
  - _self_
seed: 0
"""


@pytest.fixture
def composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DictConfig]:
    """Compose a small config tree with a third party's components."""
    install(
        tmp_path / "site",
        monkeypatch,
        files={"cube_parts.py": MODULE},
        entry_points={
            "models": {
                "cube": "cube_parts:Cube",
                "needy": "cube_parts:needy",
                "rules": "cube_parts:rules",
                "broken": "no_such_module:X",
            },
            "metrics": {"score": "cube_parts:score", "other": "cube_parts:other"},
        },
    )
    conf = tmp_path / "main"
    (conf / "model").mkdir(parents=True)
    (conf / "experiment").mkdir()
    (conf / "config.yaml").write_text(ROOT)
    (conf / "model" / "wide.yaml").write_text("defaults: [cube]\nsides: 60\n")
    (conf / "experiment" / "two.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: wide\n  - override /metrics: [score, other]\n"
        "metrics:\n  other:\n    j: 5\n"
    )
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    config_source.register()

    def do(*overrides: str) -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(conf), version_base="1.3"):
            return compose("config", overrides=list(overrides))

    return do


def test_chosen_component_becomes_a_typed_config_without_an_import(composed) -> None:
    config = composed("model.sides=3", "model.rate=2")
    assert config.model == {"_target_": "cube_parts.Cube", "sides": 3, "rate": 2.0, "sizes": [1, 2]}
    assert "cube_parts" not in sys.modules
    with pytest.raises(ConfigCompositionException, match=r"model\.sides=x"):
        composed("model.sides=x")
    with pytest.raises(ConfigCompositionException, match=r"model\.side"):
        composed("model.side=3")


def test_config_can_be_instantiated(composed) -> None:
    cube = instantiate(composed("model.sizes=[7]").model, spec="a spec", _convert_="all")
    assert (cube.spec, cube.sides, cube.sizes) == ("a spec", 6, [7])
    assert type(cube.sizes) is list


def test_required_option_is_missing_until_given(composed) -> None:
    assert OmegaConf.missing_keys(composed("model=needy")) == {"model.width"}
    assert composed("model=needy", "model.width=4").model.width == 4


def test_option_that_is_a_dict_takes_any_key_and_checks_its_values(composed) -> None:
    config = composed("model=rules", "model.own={*.weight:1}", "model.all={head.bias:0.5}")
    assert config.model.own == {"*.weight": 1.0}
    assert config.model.all == {"head.bias": 0.5}
    with pytest.raises(ConfigCompositionException, match="Error merging override"):
        composed("model=rules", "model.own={head.bias:much}")
    with pytest.raises(ConfigCompositionException, match=r"Could not override 'model\.others'"):
        composed("model=rules", "model.others={head.bias:0.5}")


def test_completion_learns_names_of_options_without_an_import(composed, tmp_path, monkeypatch) -> None:
    install(
        tmp_path / "site",
        monkeypatch,
        files={"costly.py": "BASE = 3\ndef model(a: int = 2 * BASE, b: int = 1): ...\n"},
        entry_points={"models": {"costly": "costly:model"}},
        name="costly",
    )
    with monkeypatch.context() as completing:
        completing.setattr(sys, "argv", ["expkit", "-sc", "query=bash"])
        found = composed("model=costly").model
    assert list(found) == ["_target_", "a", "b"]
    assert "costly" not in sys.modules
    assert composed("model=costly").model.a == 6


def test_several_metrics_stand_beside_each_other(composed) -> None:
    config = composed("metrics=[score,other]", "metrics.other.j=3")
    assert config.metrics == {
        "score": {"_target_": "cube_parts.score", "k": 1},
        "other": {"_target_": "cube_parts.other", "j": 3},
    }


def test_preset_and_experiment_build_on_components(composed) -> None:
    config = composed("+experiment=two")
    assert config.model.sides == 60 and config.model.rate == 0.5
    assert config.metrics.other.j == 5 and list(config.metrics) == ["score", "other"]


def test_broken_plugin_is_an_error_only_when_chosen(composed) -> None:
    assert composed("model=cube").model.sides == 6
    with pytest.raises(PluginError, match=r"model 'broken' of fake-plugins 1.2 .*no module 'no_such_module'"):
        composed("model=broken")


def test_clash_is_an_error_only_when_chosen_and_names_both(composed, tmp_path, monkeypatch) -> None:
    install(
        tmp_path / "site",
        monkeypatch,
        entry_points={"models": {"cube": "other_parts:Cube"}},
        name="rival",
        version="3.0",
    )
    assert composed("model=needy", "model.width=1").model.width == 1
    with pytest.raises(PluginError, match=r"announced by .*(rival 3\.0|1\.2).* and .*(rival 3\.0|1\.2)"):
        composed("model=cube")


def test_default_that_no_config_can_hold_is_the_plugins_fault(composed, tmp_path, monkeypatch) -> None:
    (tmp_path / "site" / "odd_parts.py").write_text("def odd(a: int = 'x'): pass\ndef odder(a={1, 2}): pass\n")
    with pytest.raises(PluginError, match=r"option that cannot be configured: Value 'x'.*\(a\).*annotation"):
        config_source.schema(entry("model", "odd_parts:odd"))
    with pytest.raises(PluginError, match="cannot be configured"):
        config_source.schema(entry("model", "odd_parts:odder"))


def test_composed_config_can_be_sent_to_another_process(composed) -> None:
    config = composed()
    assert pickle.loads(cloudpickle.dumps(config)) == config  # with which launchers send it
    back = pickle.loads(pickle.dumps(config))
    assert back == config
    with pytest.raises(ValueError, match="could not be converted to Integer"):
        back.model.sides = "x"


def test_source_lists_groups_and_names(composed) -> None:
    source = ExpkitSource("test", "expkit://plugins")
    assert "model" in source.list(config_path="", results_filter=ObjectType.GROUP)
    assert source.list(config_path="", results_filter=ObjectType.CONFIG) == []
    assert {"cube", "needy", "broken"} <= set(source.list(config_path="model", results_filter=None))
    assert source.list(config_path="model", results_filter=ObjectType.GROUP) == []
    assert source.is_group(config_path="metrics") and not source.is_group(config_path="metric")
    assert source.is_config(config_path="model/cube.yaml") and not source.is_config(config_path="model/none")
    with pytest.raises(ConfigLoadError, match="nothing"):
        source.load_config(config_path="model/nothing")


def test_registering_twice_changes_nothing() -> None:
    config_source.register()
    before = len(Plugins.instance().discover())
    config_source.register()
    assert len(Plugins.instance().discover()) == before


def test_conf_folder_of_the_user_comes_first(composed, tmp_path) -> None:
    user = tmp_path / "work" / "conf" / "model"
    user.mkdir(parents=True)
    (user / "wide.yaml").write_text("defaults: [cube]\nsides: 99\n")
    (user / "mine.yaml").write_text("_target_: some.module.Class\nanything: 1\n")
    assert composed("model=wide").model.sides == 99
    assert composed("model=mine").model.anything == 1


def test_own_conf_folder_is_not_taken_for_the_users(composed, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(paths, "conf_dir", lambda: tmp_path / "main")
    (tmp_path / "conf").symlink_to(tmp_path / "main")
    monkeypatch.chdir(tmp_path)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(tmp_path / "main"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        providers = [source.provider for source in loader.get_sources()]
    assert "user" not in providers and "expkit" in providers


def test_conf_folder_of_a_distribution_is_found_without_importing_it(composed, tmp_path, monkeypatch) -> None:
    install(
        tmp_path / "site",
        monkeypatch,
        files={
            "conf_brought/__init__.py": "raise RuntimeError('imported')\n",
            "conf_brought/conf/model/tall.yaml": "defaults: [cube]\nsides: 7\n",
        },
        entry_points={"conf": {"brought": "conf_brought.conf"}},
        name="brings-conf",
    )
    assert composed("model=tall").model.sides == 7
    registry.clear_cache()
