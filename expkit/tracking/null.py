"""What stands in for a tracker where nothing is tracked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from expkit.spec import DataSpec
from expkit.tracking.writer import Point


class NullTracker:
    """Records nothing: what `tracking=none` gives, so that nobody has to ask whether there is a tracker."""

    run_id: str = ""
    experiment_id: str = ""
    uri: str = ""

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Ignore the values."""

    def pending(self) -> list[Point]:
        """Nothing waits."""
        return []

    def put_back(self, points: Sequence[Sequence[Any]]) -> None:
        """Ignore the points."""

    def log_data(self, spec: DataSpec, sizes: Mapping[str, int]) -> None:
        """Ignore the data."""

    def log_artifacts(self, folder: Path, artifact_path: str | None = None) -> None:
        """Ignore the folder."""

    def log_artifact(self, file: Path, artifact_path: str | None = None) -> None:
        """Ignore the file."""

    def log_model(
        self,
        export_folder: Path,
        input_example: npt.NDArray[Any],
        *,
        name: str = "model",
        step: int = 0,
    ) -> str | None:
        """Ignore the model."""
        return None

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Ignore the tags."""

    def set_description(self, markdown: str) -> None:
        """Ignore the text."""

    def finish(self, status: str = "FINISHED", reason: str = "") -> None:
        """Do nothing."""
