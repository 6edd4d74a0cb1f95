"""Every mistake is made for real, so that a Hydra that words it otherwise is noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_plugins import install
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from expkit import config_source, paths
from expkit.cli.explain import component_failure, explain, user_error_in
from expkit.errors import DataError, PluginError

PARTS = """
from expkit.errors import DataError

class Cube:
    def __init__(
        self, spec, *, sides: int = 6, sizes: list[int] = (1, 2), names: dict[str, float] = {"a": 1.0}
    ): pass

def needy(spec, *, width: int): ...

def zoo(spec, *, name: str):
    'Networks: tortoise, hare.'

def score(top: int = 1): ...

def other(j: int = 1): ...

def fails(reason: str):
    raise DataError("cube data is gone") if reason == "data" else RuntimeError(reason)
"""
ROOT = """
defaults:
  - tree_schema
  - model: cube
  - metrics: [score]
  - trainer: default
  - schedule: null
  - _self_
"""


@dataclass
class Trainer:
    epochs: int = 5
    patience: int | None = None
    mode: str = "auto"


@dataclass
class Tree:
    seed: int = 0
    model: Any = None
    metrics: Any = field(default_factory=dict)
    trainer: Trainer = field(default_factory=Trainer)
    link: str = "${trainer.mode}"


@pytest.fixture
def composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DictConfig]:
    install(
        tmp_path / "site",
        monkeypatch,
        files={"cube_parts.py": PARTS},
        entry_points={
            "models": {
                "cube": "cube_parts:Cube",
                "needy": "cube_parts:needy",
                "zoo": "cube_parts:zoo",
                "gone": "no_such_module:X",
            },
            "loss": {"hinge": "cube_parts:score"},
            "losses": {"fails": "cube_parts:fails"},
            "metrics": {"score": "cube_parts:score", "other": "cube_parts:other"},
        },
    )
    conf = tmp_path / "main"
    files = {
        "config.yaml": ROOT,
        "trainer/default.yaml": "epochs: 7\n",
        "experiment/cubes.yaml": "# @package _global_\nseed: 1\n",
        "experiment/typo.yaml": "# @package _global_\nmodel:\n  side: 1\n",
        "experiment/wrong.yaml": "# @package _global_\ntrainer:\n  epochs: many\n",
        "experiment/group.yaml": "# @package _global_\ndefaults:\n  - override /modle: cube\n",
        "experiment/damaged.yaml": "a: [1\nb: 2",
    }
    for name, text in files.items():
        (conf / name).parent.mkdir(parents=True, exist_ok=True)
        (conf / name).write_text(text)
    monkeypatch.chdir(tmp_path / "site")
    monkeypatch.setattr(paths, "conf_dir", lambda: conf)
    config_source.register()
    monkeypatch.setattr(ConfigStore.instance(), "repo", dict(ConfigStore.instance().repo))
    ConfigStore.instance().store(name="tree_schema", node=Tree)

    def do(*overrides: str, name: str = "config") -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(conf), version_base="1.3"):
            return compose(name, overrides=list(overrides))

    return do


def explained(action: Callable[[], Any]) -> str:
    with pytest.raises(Exception) as caught:
        action()
    message = explain(caught.value)
    assert message is not None, repr(caught.value)
    for internal in (
        "struct",
        "DictConfig",
        "full_key",
        "object_type",
        "pkg://",
        "hydra.cc",
        "append",
        "Cube'",
    ):
        assert internal not in message
    return " ".join(message.split())


MISTAKES = {
    "model=cubes": "no model is called 'cubes'. Did you mean 'cube'? Known: ",
    "model=zzz": "`python -m expkit list models` explains them. A plugin that was just written needs",
    "model=hare": "zoo knows it by name: model=zoo model.name=hare",
    "model=hinge": "fake-plugins 1.2 is wrong: it announces 'hinge' in the group 'expkit.loss', which nobody reads. "
    'Write [project.entry-points."expkit.losses"] in its pyproject.toml, and pip install -e it again.',
    "metrics=[scores]": "no metric is called 'scores'. Did you mean 'score'?",
    "trainer=fast": "no trainer is called 'fast'. Known: default.",
    "trainer.epoch=3": "there is no option 'trainer.epoch'. Did you mean 'trainer.epochs'? Known in trainer: epochs",
    "model.side=3": "model.side: model 'cube' has no option 'side'. Did you mean 'model.sides' or "
    "'model.sizes'? Options: sides, sizes, names. `python -m expkit show model/cube` explains them.",
    "epochs=3": "there is no option 'epochs'. Did you mean 'trainer.epochs'?",
    "sed=1": "there is no option 'sed'. Did you mean 'seed'?",
    "modle=cube": "there is no option 'modle'. Did you mean 'model'?",
    "optimiser=adam": "there is no option 'optimiser'. Did you mean 'optimizer'?",
    "model={side:3}": "model.side: model 'cube' has no option 'side'.",
    "trainer.epochs=abc": "trainer.epochs=abc has the wrong type: it must be int.",
    "trainer.patience=abc": "trainer.patience=abc has the wrong type: it must be int | None.",
    "model.sides=2.5": "model.sides=2.5 has the wrong type: it must be int. "
    "`python -m expkit show model/cube` explains it.",
    "model.sides=null": "model.sides=null has the wrong type: it must be int.",
    "model.sides=true": "model.sides=true has the wrong type: it must be int.",
    "model.sizes=5": "model.sizes=5 has the wrong type: it must be list[int].",
    "model.sizes=[a]": "model.sizes[0]=a has the wrong type: it must be int.",
    "model.names.a=x": "model.names.a=x has the wrong type: it must be float.",
    "model.sides.x=1": "model.sides.x: model.sides is a single value (int), with nothing inside.",
    "model.sizes.9=1": "model.sizes.9=1: list index out of range",
    "+model.sides=3": "model.sides exists already. Set it without a plus: model.sides=3",
    "+model=needy": "model is chosen already. Change it without a plus: model=needy.",
    "++model={typo:1}": "model.typo: model 'cube' has no option 'typo'.",
    "~model.sides": "~model.sides: an option of a component cannot be taken away.",
    "~modle": "'modle' cannot be taken away: it is not there.",
    "model.sizes=[8,": "'model.sizes=[8,' cannot be read: a bracket is not closed. A list has no spaces",
    "trainer.mode='a": "cannot be read: a quote is not closed.",
    "trainer.mode=a=b": "cannot be read: a value with special characters needs quotes",
    "trainer.mode=a,": "cannot be read: nothing follows the last comma.",
    "trainer.mode=${a": "cannot be read: a reference is written ${name}",
    "trainer.mode=f(3)": "cannot be read: there is no function 'f'.",
    "cubes": "'cubes' is not key=value. Did you mean +experiment=cubes?",
    "model=???": "no model was chosen. Choose one: model=NAME. Known: ",
    "model=null": "a config group cannot be set to null. To leave it out, write ~ before it",
    "model=5": "a config group is set to something that is not a name (int).",
    "model=[cube,needy]": "two choices are given for one name. A group that takes one is given one, such as model=cnn;",
    "model@x=needy": "model is chosen by model=NAME, without '@'.",
    "model=cube,needy": "model=cube,needy has several values. To run each of them, sweep: "
    "python -m expkit -m model=cube,needy",
    "model.sides=range(1,3)": "model.sides=range(1,3) is a sweep: it needs -m",
    "+experiment=cubs": "no experiment is called 'cubs'. Did you mean 'cubes'?",
    "experiment=cubes": "an experiment is added with a plus: +experiment=cubes.",
    "experiment=cubs": "an experiment is added with a plus: +experiment=cubs. Did you mean 'cubes'?",
    "loss=fails": "loss is not part of this config. Add it: +loss=NAME.",
    "metrics.other.j=1": "metrics.other: metric 'other' is not chosen (chosen: score). Choose it first: "
    "'metrics=[score,other]'",
    "metrics.othr.j=1": "no metric is called 'othr'. Did you mean 'other'? Chosen: score.",
    "metrics.score.tp=1": "metrics.score.tp: metric 'score' has no option 'tp'. Did you mean 'metrics.score.top'?",
    "+experiment=typo": "in config 'experiment/typo': model.side: model 'cube' has no option 'side'.",
    "+experiment=wrong": "in config 'experiment/wrong': trainer.epochs=many has the wrong type",
    "+experiment=group": "there is no group 'modle'. Did you mean 'model'?",
    "+experiment=damaged": "damaged.yaml, line 2, column 2, is not YAML: expected ',' or ']', but got ':'",
    "model=gone": "model 'gone' of fake-plugins 1.2 (no_such_module:X) cannot be used: there is no module",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_mistake_on_the_command_line_is_explained(composed, override) -> None:
    assert MISTAKES[override] in explained(lambda: composed(override))


def test_two_experiments_are_one_too_many(composed) -> None:
    message = explained(lambda: composed("+experiment=cubes", "+experiment=wrong"))
    assert message.startswith("more than one experiment is named.")


def test_missing_value_is_explained_when_it_is_used(composed) -> None:
    config = composed("model=needy")
    expected = "model.width has no value, and model 'needy' needs one. Give it: model.width=VALUE."
    assert expected in explained(lambda: instantiate(config.model, spec=1))
    assert expected in explained(lambda: OmegaConf.to_container(config, throw_on_missing=True))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "link=${trainer.mod}",
            "link cannot be resolved: it refers to ${trainer.mod}, which does",
        ),
        ("link=${nope:1}", "link cannot be resolved: it uses a resolver 'nope', which does not exist."),
        ("link=${link}", "link cannot be resolved: Recursive interpolation detected."),
        ("link=${oc.env:NO_SUCH_VARIABLE}", "Environment variable 'NO_SUCH_VARIABLE' not found"),
    ],
)
def test_reference_that_leads_nowhere_is_explained(composed, override, message) -> None:
    config = composed(override)
    assert message in explained(lambda: config.link)


def test_unknown_main_config_is_explained(composed) -> None:
    assert "there is no config 'confg'. Did you mean 'config'?" in explained(lambda: composed(name="confg"))


def test_target_that_cannot_be_imported_is_explained(composed) -> None:
    config = OmegaConf.create({"model": {"_target_": "no_such_module.X"}})
    message = explained(lambda: instantiate(config.model))
    assert message.startswith("model: 'no_such_module.X' cannot be imported: No module named 'no_such_module'.")


def test_option_that_a_plain_class_does_not_take_is_explained(composed) -> None:
    config = OmegaConf.create({"loss": {"_target_": "cube_parts.other", "typo": 1}})
    assert "loss: cube_parts.other does not take these options: " in explained(lambda: instantiate(config.loss))


def test_error_that_a_component_raises_itself_is_not_about_the_config(composed) -> None:
    config = OmegaConf.create({"_target_": "cube_parts.fails", "reason": "too cold"})
    with pytest.raises(Exception, match="too cold") as caught:
        instantiate(config)
    assert explain(caught.value) is None
    assert isinstance(component_failure(caught.value), RuntimeError)


def test_expkit_error_inside_hydras_is_found(composed) -> None:
    config = OmegaConf.create({"_target_": "cube_parts.fails", "reason": "data"})
    with pytest.raises(Exception, match="cube data") as caught:
        instantiate(config)
    assert explain(caught.value) == "cube data is gone"
    assert isinstance(user_error_in(caught.value), DataError)


def test_other_errors_are_not_explained() -> None:
    assert explain(ValueError("shapes differ")) is None
    assert explain(KeyError("x")) is None
    try:
        try:
            raise PluginError("handled already")
        except PluginError as error:
            raise RuntimeError("a bug") from error
    except RuntimeError as error:
        assert explain(error) is None
