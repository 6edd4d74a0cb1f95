"""The program of a child process that tries the promises of components; see `expkit.doctor.probe`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expkit.doctor.probe import STEPS, main
from expkit.registry import Entry, kind_named
from expkit.testing import examine_entry


def conforms(
    kind: str, name: str, module: str, attribute: str, owner: tuple[str, str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Try every promise of a component, and return what became of each."""
    entry = Entry(kind_named(kind), name, f"{module}:{attribute}", *owner)
    report = examine_entry(entry, options=options)
    return {
        "where": report.where,
        "counted": report.counted(),
        "blocks": report.blocks(),
        "outcomes": [
            {
                "promise": outcome.promise.name,
                "text": outcome.promise.text,
                "status": outcome.status,
                "reason": outcome.reason,
                "seconds": outcome.seconds,
                "problems": [vars(problem) | {"specs": list(problem.specs)} for problem in outcome.problems],
            }
            for outcome in report.outcomes
        ],
    }


if __name__ == "__main__":
    main({**STEPS, "conforms": conforms})
