"""Components in files of the user's own, which no distribution brings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException

from expkit import own_code, registry
from expkit.cli import plugin_check
from expkit.cli.explain import explain
from expkit.config import compose, stored, to_yaml
from expkit.errors import ConfigError, PluginError
from expkit.plugin_health import examine_plugins
from expkit.record_files import write_config
from expkit.signature import describe

NET = '''"""Mine."""
from paddle import nn

from {parts} import scale


class TinyNet(nn.Layer):
    """A tiny net.

    Args:
        hidden: width.
    """

    def __init__(self, spec, hidden: int = 8, loose=None):
        super().__init__()
        self.scale = scale


class _Block(nn.Layer):
    pass
'''
BASE = ["+experiment=mnist_cnn"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with my_models.py, plugins/models.py, and what both import."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "my_parts.py").write_text("scale = 1\n")
    (tmp_path / "my_models.py").write_text(NET.format(parts="my_parts"))
    (tmp_path / "plugins" / "models.py").write_text(NET.format(parts="my_parts"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(own_code.VARIABLE, ".")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [n for n in sys.modules if n.partition(".")[0] in ("plugins", "my_models", "my_parts")]:
        del sys.modules[name]


def built(config):
    return config.model.build(spec=None)


def refused(override: str) -> str:
    with pytest.raises(HydraException) as caught:
        compose([*BASE, override])
    return explain(caught.value) or ""


@pytest.mark.parametrize("chosen", ["tiny_net", "my_models.TinyNet"])
def test_a_class_in_a_file_is_chosen_by_name_or_by_path_with_typed_options(project, chosen):
    config = compose([*BASE, f"model={chosen}", "model.hidden=5"])
    assert config.model.options == {"hidden": 5, "loose": None}
    assert built(config).scale == 1
    assert set(config.resolved[own_code.KEY]) == {
        "my_parts.py",
        config.model.target.rpartition(".")[0].replace(".", "/") + ".py",
    }


def test_files_in_the_folder_are_told_among_the_plugins(project):
    (project / "plugins" / "losses").mkdir()
    (project / "plugins" / "losses" / "torn.py").write_text("def x(")
    (project / "plugins" / "loss.py").write_text("class Hinge:\n    pass\n")
    told = {report.plugin.name: report for report in examine_plugins(load=False) if report.plugin.own}
    assert list(told) == ["./plugins/loss.py", "./plugins/losses/torn.py", "./plugins/models.py"]
    said = "nobody reads it; the file has to be called losses.py"
    assert (told["./plugins/loss.py"].status, told["./plugins/loss.py"].health.error) == ("broken", said)
    assert f"./plugins/loss.py: {said}" in refused("loss=hinge")
    assert [part.label for part in told["./plugins/models.py"].parts] == ["model/tiny_net"]
    torn = told["./plugins/losses/torn.py"]
    assert (torn.status, torn.health.advice) == ("broken", "Correct it")
    assert "cannot be read: line 1" in torn.health.error
    (entry,) = plugin_check.chosen("./plugins/models.py")
    assert entry.python_path == "plugins.models.TinyNet"


def test_a_name_that_a_plugin_has_is_told_with_the_way_out(project):
    (project / "plugins" / "models.py").write_text("class Mlp:\n    pass\n")
    (own,) = examine_plugins(["./plugins/models.py"], load=False)
    (part,) = own.parts
    assert (part.health.status, part.health.advice) == ("clashing", "Rename Mlp in ./plugins/models.py")


def test_a_target_is_checked_like_a_component_and_its_defaults_are_recorded(project):
    config = compose([*BASE, "model._target_=my_models.TinyNet"])
    assert config.resolved["model"] == {"_target_": "my_models.TinyNet", "hidden": 8, "loose": None}
    with pytest.raises(ConfigError, match=r"model\.hiden: .* has no option 'hiden'\. Did you mean 'hidden'\?"):
        compose([*BASE, "model._target_=my_models.TinyNet", "+model.hiden=3"])
    with pytest.raises(ConfigError, match=r"model\.hidden=x has the wrong type: it must be int"):
        compose([*BASE, "model._target_=my_models.TinyNet", "+model.hidden=x"])
    with pytest.raises(
        PluginError, match=r"defines no 'TinyNett' \(Did you mean 'TinyNet'\?\)\. Correct my_models\.py"
    ):
        compose([*BASE, "model._target_=my_models.TinyNett"])


def test_a_list_takes_a_class_by_its_path_under_its_name_in_small_letters(project):
    (project / "my_metrics.py").write_text("class HitRate:\n    def __init__(self, top: int = 1): ...\n")
    config = compose([*BASE, "metrics=[accuracy,my_metrics.HitRate]", "metrics.hit_rate.top=3"])
    assert config.metrics["hit_rate"].options == {"top": 3}
    assert "my_metrics.py" in config.resolved[own_code.KEY]
    (project / "my_metrics.py").write_text("class Accuracy:\n    def __init__(self, top: int = 1): ...\n")
    assert "two choices are given for one name" in refused("metrics=[accuracy,my_metrics.Accuracy]")


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ("model=my_modles.TinyNet", "no my_modles.py here, and no package of that name. Did you mean 'my_models'?"),
        ("loss=paddle.nn.L1Loss", "its target: loss=paddle_loss loss.of._target_=paddle.nn.L1Loss"),
        ("optimizer=paddle.optimizer.Adam", "its target: optimizer._target_=paddle.optimizer.Adam"),
        (
            "metrics=[paddle.metric.Auc]",
            "metrics=[paddle_metric] metrics.paddle_metric.of._target_=paddle.metric.Auc",
        ),
        ("metrics=[acuracy]", "or write metrics=[FILE.CLASS]"),
    ],
)
def test_a_path_that_names_nothing_says_how_the_class_is_named(project, chosen, told):
    assert told in refused(chosen)


def test_a_class_in_an_option_that_its_file_lacks_is_named_with_what_was_meant(project):
    config = compose([*BASE, "model=paddle_layer", "model.of._target_=my_models.TinyNett"])
    with pytest.raises(
        ConfigError, match=r"model\.of: .* 'my_models' defines no 'TinyNett' \(Did you mean 'TinyNet'\?\)"
    ):
        built(config)


def test_public_names_count_each_with_its_origin(project):
    found = registry.entries(registry.kind_named("model"))
    (mine,) = found["tiny_net"]
    assert (mine.distribution, mine.version, mine.own) == ("./plugins/models.py", registry.NOT_PACKAGED, True)
    assert not {"_block", "block", "scale"} & set(found)
    (project / "plugins" / "models.py").write_text("__all__ = ['b']\ndef a(): ...\ndef b(): ...\n")
    assert "a" not in registry.entries(registry.kind_named("model"))


def test_files_of_a_folder_of_a_kind_count_too(project):
    folder = project / "plugins" / "losses"
    folder.mkdir()
    (folder / "mine.py").write_text("class HTTPLoss:\n    def __init__(self, power: float = 2.0): ...\n")
    entry = registry.find(registry.kind_named("loss"), "http_loss")
    assert entry.target == "plugins.losses.mine:HTTPLoss"
    assert [option.name for option in describe(entry).options] == ["power"]


def test_a_file_that_is_not_python_hides_nobody_and_is_named(project):
    (project / "plugins" / "models.py").write_text("def broken(:\n")
    with pytest.raises(PluginError, match=r"called 'tiny_net'.*\./plugins/models\.py: it cannot be read: line 1"):
        registry.find(registry.kind_named("model"), "tiny_net")
    assert registry.find(registry.kind_named("model"), "cnn")


def test_a_name_that_is_taken_is_an_error_that_says_what_to_rename(project):
    (project / "plugins" / "models.py").write_text("class CNN: ...\n")
    with pytest.raises(PluginError, match=r"'cnn' is announced by expkit .* and \./plugins.*Rename CNN in \./plugins"):
        registry.find(registry.kind_named("model"), "cnn")


def test_a_file_called_like_a_module_of_pythons_is_refused(project):
    (project / "colorsys.py").write_text(NET.format(parts="my_parts"))
    with pytest.raises(ConfigError, match=r"colorsys\.py .* the name of Python's own module 'colorsys'\. Give it"):
        compose([*BASE, "model._target_=colorsys.TinyNet"])


def test_kwargs_take_further_options_and_a_hidden_spec_is_explained(project):
    (project / "my_models.py").write_text(
        NET.format(parts="my_parts")
        + "\n\nclass Loose(TinyNet):\n    def __init__(self, **kwargs): super().__init__(**kwargs)\n"
    )
    config = compose([*BASE, "model._target_=my_models.Loose", "+model.hidden=3"])
    assert config.model.options == {"hidden": 3}
    with pytest.raises(ConfigError, match=r"nothing tells that it wants spec.*def __init__\(self, spec, \.\.\.\)"):
        built(config)


def test_other_text_makes_another_run(project):
    hashes = [compose([*BASE, "model=tiny_net"]).resolved[own_code.KEY]]
    (project / "my_parts.py").write_text("scale = 2\n")
    hashes.append(compose([*BASE, "model=tiny_net"]).resolved[own_code.KEY])
    assert hashes[0]["my_parts.py"] != hashes[1]["my_parts.py"]
    assert hashes[0]["plugins/models.py"] == hashes[1]["plugins/models.py"]


def recorded(project):
    """Record a config as a run does; returns what reads it again."""
    config = compose([*BASE, "model=tiny_net"])
    run = project / "runs" / "one"
    run.mkdir(parents=True)
    write_config(run, config)
    text = to_yaml(config.resolved)
    return lambda folder=run: stored(text, choices=config.choices, overrides=(), folder=folder)


@pytest.mark.parametrize("change", ["edited", "deleted", "elsewhere"])
def test_a_recorded_config_uses_the_text_of_then(project, monkeypatch, caplog, change):
    again = recorded(project)
    if change == "edited":
        (project / "my_parts.py").write_text("scale = 2\n")
    elif change == "deleted":
        (project / "my_parts.py").unlink()
        (project / "plugins" / "models.py").unlink()
    else:
        (project / "away").mkdir()
        monkeypatch.chdir(project / "away")
    assert built(again()).scale == 1
    assert ("my_parts.py: changed since the run was made" in caplog.text) == (change == "edited")
    if change == "edited":  # and a new one today's
        assert built(compose([*BASE, "model=tiny_net"])).scale == 2


def test_text_that_is_nowhere_or_damaged_is_refused(project):
    again = recorded(project)
    (project / "my_parts.py").write_text("scale = 2\n")
    with pytest.raises(ConfigError, match=r"made with my_parts\.py, which has changed since then"):
        again(None)
    (project / "runs" / "one" / "code" / "my_parts.py").write_text("scale = 3\n")
    with pytest.raises(ConfigError, match=r"my_parts\.py is not what the run was made with: it is damaged"):
        again()


def test_a_password_in_the_text_is_not_recorded(project):
    (project / "my_parts.py").write_text('scale = 1\npassword = "hunter2hunter2"\n')
    again = recorded(project)
    assert "hunter2" not in (project / "runs" / "one" / "code" / "my_parts.py").read_text()
    (project / "my_parts.py").unlink()
    with pytest.raises(ConfigError, match=r"passwords in it were not recorded"):
        again()


@pytest.mark.slow
def test_looking_imports_neither_paddle_nor_the_file(project):
    code = (
        "import sys; from expkit.cli import main\n"
        "for words in (['list', 'models'], ['show', 'model/tiny_net'], "
        "['+experiment=mnist_cnn', 'model=tiny_net', '--cfg', 'job']): assert main(words) == 0\n"
        "assert not {'paddle', 'plugins.models', 'my_parts'} & set(sys.modules), 'imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tiny_net" in done.stdout
    assert "./plugins/models.py" in done.stdout
