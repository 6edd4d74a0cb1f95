"""Composes the combinations of a sweep in the running Hydra context."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from expkit import config as configs
from expkit.cli.explain import explain
from expkit.cli.loading import SweepLoader
from expkit.errors import ConfigError, ExpkitError
from expkit.identity import config_hash
from expkit.sweeping.grid import Combination, varying, whole_hash

MANY = 20
"""Combinations that are worth a word while they are composed."""
SHOWN = 12
"""Errors of one screen."""


class Composer:
    """Composes and checks combinations.

    Args:
        loader: of the running Hydra.
        config: what Hydra composed of what all jobs share.
        folder: of the sweep.
        console: where to say that it takes a while.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig, folder: Path, console: Console) -> None:
        self._loader, self._folder, self._console = SweepLoader(loader, config), folder, console

    def compose(self, number: int, overrides: Sequence[str]) -> Combination:
        """Compose and check one combination.

        Raises:
            ConfigError: it is none of a run.
        """
        instance = HydraConfig.instance()
        before = instance.cfg
        try:
            composed = self._loader.load(overrides)
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = number
                composed.hydra.sweep.dir = str(self._folder)
            instance.set_config(composed)
            return _combination(composed)
        except ExpkitError:
            raise
        except Exception as error:
            told = explain(error)
            if told is None:
                raise
            raise ConfigError(told) from error
        finally:
            instance.cfg = before

    def compose_all(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[Combination]:
        """Compose and check all of them.

        Raises:
            ConfigError: some are none of a run; all of these are named.
        """
        with self._said(f"composing {len(job_overrides)} jobs ..." if len(job_overrides) > MANY else ""):
            return self._compose_all(job_overrides, first)

    @contextlib.contextmanager
    def _said(self, text: str) -> Iterator[None]:
        """Say something for as long as it is true, where the screen lets it be taken away."""
        if text and self._console.is_terminal and not self._console.is_dumb_terminal:
            with self._console.status(text):
                yield
        else:
            if text:
                self._console.print(text)
            yield

    def _compose_all(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[Combination]:
        found: list[Combination] = []
        errors: dict[str, list[int]] = {}
        for place, overrides in enumerate(job_overrides):
            try:
                found.append(self.compose(first + place, overrides))
            except ExpkitError as error:
                errors.setdefault(str(error), []).append(place)
        if errors:
            raise _all_errors(errors, [list(overrides) for overrides in job_overrides])
        return found


def _combination(composed: DictConfig) -> Combination:
    hydra = composed.hydra
    raw = OmegaConf.to_container(hydra.sweep, resolve=False)
    assert isinstance(raw, dict)
    subfolder = None if raw["subdir"] == "${hydra.job.num}" else str(hydra.sweep.subdir)
    environment: Any = OmegaConf.to_container(hydra.job.env_set, resolve=True)
    choices, overrides = dict(hydra.runtime.choices), list(hydra.overrides.task)
    plain = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    made = configs.parse(plain, choices=choices, overrides=overrides)
    return Combination(
        overrides=tuple(overrides),
        config=made,
        subfolder=subfolder,
        environment={key: str(value) for key, value in environment.items()},
        identity=config_hash(made.resolved),
        whole=whole_hash(made.resolved),
    )


def _all_errors(errors: dict[str, list[int]], job_overrides: Sequence[Sequence[str]]) -> ConfigError:
    """Make one error of all, each with the overrides of its jobs."""
    different = varying(job_overrides)
    bad = sum(len(places) for places in errors.values())
    lines = [f"{bad} of {len(job_overrides)} jobs cannot be run; none was started."]
    for text, places in list(errors.items())[:SHOWN]:
        named = [" ".join(different[place]) or f"job {place}" for place in places]
        who = "all of them" if len(places) == len(job_overrides) > 1 else "; ".join(named[:3])
        who += f"; and {len(named) - 3} more" if len(named) > 3 and not who.startswith("all") else ""
        lines += [f"  {who}:", *(f"    {line}" for line in text.splitlines())]
    if len(errors) > SHOWN:
        lines.append(f"  ... and {len(errors) - SHOWN} more errors.")
    return ConfigError("\n".join(lines)) if len(job_overrides) > 1 else ConfigError(next(iter(errors)))
