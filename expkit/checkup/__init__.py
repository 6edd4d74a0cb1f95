"""Says in seconds whether data, model and loss of an experiment fit together; writes nothing and tracks nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from expkit.checkup.data import data_section
from expkit.checkup.learning import learning_section
from expkit.checkup.model import model_section
from expkit.checkup.pictures import pictures_section
from expkit.config import ExperimentConfig
from expkit.findings import Finding, Section
from expkit.preparation import prepare

__all__ = ["Finding", "Section", "checkup"]


def checkup(config: ExperimentConfig, pictures: Path | None = None) -> Iterator[Section]:
    """Look at data, model and learning, one after the other.

    Args:
        config: the experiment.
        pictures: folder for what the callback `inspect` shows of the untrained model; None for no pictures.

    Yields:
        Each section as soon as it is there.

    Raises:
        ExpkitError: the experiment cannot be built, as a run would find too.
    """
    prepared = prepare(config)
    yield data_section(prepared)
    model = model_section(prepared)
    yield model
    if pictures is not None:
        yield pictures_section(prepared, pictures)
    suspects = any(finding.level in ("warning", "FAIL") for finding in model.findings)
    yield learning_section(config, prepared, suspects)
