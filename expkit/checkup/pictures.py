"""The pictures of a checkup: those of the callback `inspect`, which is found as any plugin is."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from expkit import registry
from expkit.api import FitEnd, FitStart
from expkit.errors import ConfigError
from expkit.findings import Section
from expkit.preparation import Prepared


def pictures_section(prepared: Prepared, folder: Path) -> Section:
    """Draw what the callback `inspect` shows of the untrained model.

    Args:
        prepared: the experiment.
        folder: where the pictures and tables go; it is made.

    Raises:
        ConfigError: the folder cannot be written.
    """
    entry = registry.find(registry.kind_named("callback"), "inspect")
    callback = getattr(importlib.import_module(entry.module), entry.attribute)()
    train, valid = prepared.batches["train"], prepared.batches["valid"]
    with tempfile.TemporaryDirectory() as scratch:
        start = FitStart(prepared.data.spec, 1, len(train), 0, Path(scratch))
        callback.on_fit_start(replace(start, learner=prepared.learner, train=train, valid=valid))
        callback.on_fit_end(FitEnd("finished", "", 0, 0))
        made = sorted(path for path in Path(scratch).rglob("*") if path.is_file())
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in made:
                shutil.copy(path, folder / path.name)
        except OSError as error:
            raise ConfigError(f"--plots {folder}: {error.strerror}. Name a folder that can be written.") from error
    return Section("pictures", "\n".join(str(folder / path.name) for path in made))
