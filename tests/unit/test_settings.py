"""The framework's own options: what is refused, and that code and config files agree."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import yaml

from expkit.config import compose
from expkit.errors import ConfigError
from expkit.paths import conf_dir
from expkit.settings import Settings, TrackingSettings, check, check_name

FILES = {
    "trainer": "trainer/default",
    "device": "device/auto",
    "tracking": "tracking/mlflow",
    "checkpoint": "checkpoint/default",
    "export": "export/paddle",
    "plots": "plots/default",
}


@pytest.mark.parametrize(("node", "file"), FILES.items())
def test_the_config_files_document_every_option_with_its_default(node: str, file: str) -> None:
    text = (conf_dir() / f"{file}.yaml").read_text(encoding="utf-8")
    values = {k: float(v) if k == "tolerance" else v for k, v in yaml.safe_load(text).items()}
    assert values == asdict(getattr(Settings(), node))
    undocumented = [line for line in text.splitlines() if line and "#" not in line and node != "export"]
    assert [line for line in undocumented if not line.startswith(("name:", "kind:", "enabled:"))] == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("export=[]", r"export=\[\]: this chooses no export, .* write export=none\."),
        ("~export", "~export: this chooses no export, .* write export=none"),
        ("tracking=[ ]", "write tracking=none"),
        ("checkpoint=[]", "Leave it out of the command for that"),
        ("export.formats=[]", "must name one. To export nothing: export=none"),
    ],
)
def test_choosing_nothing_is_refused_with_what_means_none(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(["+experiment=mnist_cnn", override])


@pytest.mark.parametrize("value", [-1, 2**32])
def test_a_seed_that_numpy_does_not_take_is_refused(value: int) -> None:
    with pytest.raises(ConfigError, match="seed="):
        check(Settings(seed=value))


def test_a_word_that_is_not_offered_is_refused_with_those_that_are() -> None:
    settings = Settings()
    settings.trainer.progress = "fancy"
    with pytest.raises(ConfigError, match=r"trainer.progress=fancy: must be one of auto, bar, plain, off"):
        check(settings)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("on_nonfinite", "ignore", r"trainer\.on_nonfinite=ignore: must be one of stop, skip, rollback"),
        ("nonfinite_limit", 0, r"trainer\.nonfinite_limit=0: must be at least 1"),
        ("rollback_factor", 1.0, r"trainer\.rollback_factor=1\.0: must be between 0 and 1"),
        ("rollback_factor", 0.0, r"trainer\.rollback_factor=0\.0: must be between 0 and 1"),
    ],
)
def test_what_to_do_with_nan_is_checked(option: str, value: object, said: str) -> None:
    settings = Settings()
    setattr(settings.trainer, option, value)
    with pytest.raises(ConfigError, match=said):
        check(settings)


@pytest.mark.parametrize("group", ["checkpoint.sync_every", "sweep.grace"])
def test_seconds_that_may_be_none_are_not_below_zero(group: str) -> None:
    settings, (owner, option) = Settings(), group.split(".")
    setattr(getattr(settings, owner), option, 0.0)
    check(settings)
    setattr(getattr(settings, owner), option, -1.0)
    with pytest.raises(ConfigError, match=rf"{group}=-1\.0: must be at least 0 seconds"):
        check(settings)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a:b", "a\nb"])
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="plain file name"):
        check_name(name)


@pytest.mark.parametrize("name", ["mnist_cnn", "with space", "数字", "a.b"])
def test_any_other_name_will_do(name: str) -> None:
    assert check_name(name) == name


def test_a_secret_is_no_part_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOO_API_KEY", "Zq9leakKey123")
    monkeypatch.setenv("DB_PASSWORD", "postgres")
    with pytest.raises(ConfigError, match=r"^name=x-\*\*\*: it holds the value of FOO_API_KEY\."):
        check_name("x-Zq9leakKey123")
    with pytest.raises(ConfigError, match=r"runs_dir=/a/\*\*\*/runs: it holds"):
        check(Settings(runs_dir="/a/Zq9leakKey123/runs"))
    with pytest.raises(ConfigError, match=r"tracking\.experiment=\*\*\*: it holds"):
        check(Settings(tracking=TrackingSettings(experiment="Zq9leakKey123")))
    check(Settings(name="mnist", runs_dir="/home/postgres/runs"))
