"""What a search leaves behind: its best trials on the screen, and results and pictures in the folder of the sweep."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from expkit.report import quote_path
from expkit.sweeping.search.pictures import draw, enough_for_importances
from expkit.sweeping.search.results import RESULTS, best, counts, lines, write_results
from expkit.sweeping.search.source import Search

PICTURES = "search"
"""Folder of the pictures, in that of the sweep."""

log = logging.getLogger("expkit")


class Ending:
    """Concludes a search, however it ended.

    Args:
        search: to conclude.
        shared: overrides that all of its trials share.
        folder: of the sweep.
        title: above its pictures.
    """

    def __init__(self, search: Search, shared: Sequence[str], folder: Path, title: str) -> None:
        self._search, self._shared, self._folder, self._title = search, shared, folder, title

    @property
    def reached(self) -> bool:
        """Whether there are as many trials as were wanted, so that it matters to nobody if others failed."""
        return self._search.done >= self._search.total

    def best_value(self) -> float | None:
        """Return the best value; None where there are several objectives, or no trial that ended."""
        found = best(self._search.study, self._search.objectives)
        single = len(self._search.objectives) == 1 and found
        return next(iter(found[0].values.values())) if single else None

    def __call__(self, console: Console) -> list[Path]:
        """Show the best trials, and write the results.

        Args:
            console: where to.

        Returns:
            What was written, for the tracking store.
        """
        study, objectives = self._search.study, self._search.objectives
        found = best(study, objectives)
        files = []
        try:
            write_results(self._folder / RESULTS, found, objectives)
            files.append(self._folder / RESULTS)
            pictures = draw(study, objectives, self._folder / PICTURES, self._title)
            files += pictures
            if pictures:
                where = quote_path(self._folder / PICTURES)
                names = ", ".join(picture.name for picture in pictures)
                console.print(f"{'pictures':<11} {where}: {names}", soft_wrap=True, markup=False)
            if pictures and (why_not := enough_for_importances(study)):
                console.print(f"{'':<11} none of importances: {why_not}", soft_wrap=True, markup=False)
        except Exception as error:  # noqa: BLE001 - of a full disk, or of Optuna's drawing: the search itself is done
            log.warning("results of the search could not be written: %s: %s", type(error).__name__, error)
        for line in lines(found, self._shared, counts(study), self._folder):
            console.print(line, soft_wrap=True, markup=False)
        return files
