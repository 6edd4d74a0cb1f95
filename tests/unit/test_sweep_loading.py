"""The configs of a sweep's jobs are those that Hydra composes, errors among them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from expkit import config
from expkit.cli.loading import SweepLoader
from expkit.paths import conf_dir

START = "+experiment=mnist_cnn"


@pytest.fixture(scope="module")
def hydra() -> Iterator[tuple[ConfigLoader, DictConfig]]:
    config.register()
    GlobalHydra.instance().clear()
    running = Hydra.create_main_hydra2("expkit", create_config_search_path(str(conf_dir())))
    yield running.config_loader, running.compose_config("expkit", [START], run_mode=RunMode.MULTIRUN)
    GlobalHydra.instance().clear()


@pytest.mark.parametrize(
    "overrides",
    [
        [START, "seed=3"],
        [START, "seed=4", "optimizer=sgd", "optimizer.learning_rate=0.1"],
        [START, "seed=5", "optimizer=sgd", "optimizer.learning_rate=0.01"],
        [START, "metrics=[accuracy,mse]", "name=x", "model=mlp", "model.hidden=[3,4]", "~schedule"],
        [START, "callbacks=[early_stopping]", "callbacks.early_stopping.patience=3", "+tracking.tags.a=b"],
        [START, "transforms=[shift,noise]", "++trainer.epochs=4", "hydra.job.name=z", "+hydra.job.env_set.A=b"],
        ["+experiment=mnist_mlp", "runs_dir=elsewhere"],
        ["experiment=mnist_mlp"],
        [START, "optimizer.nix=3"],
        [START, "optimizer=nix"],
        [START, "seed=x"],
        [START, "~model.channels"],
        [START, "seed="],
        [START, "seed=[1"],
    ],
    ids=" ".join,
)
def test_a_config_of_a_sweep_is_what_hydra_composes(
    hydra: tuple[ConfigLoader, DictConfig], overrides: list[str]
) -> None:
    loader, master = hydra
    quick = SweepLoader(loader, master)
    found = []
    for load in (lambda: loader.load_sweep_config(master, list(overrides)), lambda: quick.load(overrides)) * 2:
        try:
            found.append(OmegaConf.to_yaml(load()))
        except Exception as error:  # noqa: BLE001 - the same one, whatever it is
            found.append(f"{type(error).__name__}: {error}")
    assert found == [found[0]] * 4
