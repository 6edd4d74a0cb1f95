"""Reads the graph that `paddle.jit.save` wrote: its operators, and which layer each comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit.export.converter import walk


@dataclass(frozen=True)
class Operator:
    """One operator of a graph.

    Attributes:
        kind: how the file names it, such as "1.erfinv".
        place: the layer it comes from, such as "features.1 (Block), model.py line 9"; empty where the file knows none.
    """

    kind: str
    place: str

    @property
    def name(self) -> str:
        """Paddle's name of it: "erfinv"."""
        return self.kind.partition(".")[2] or self.kind


def read_operators(folder: Path) -> list[Operator]:
    """Return the operators of `model.json` in a folder, in order, those inside branches and loops as well."""
    document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    blocks = (block for region in document["program"]["regions"] for block in region["blocks"])
    return [Operator(one["#"], _place(one)) for block in blocks for one in walk(block)]


def users(operators: Iterable[Operator]) -> str:
    """Say which layers use operators: "erfinv in features.1 (Block), model.py line 9; lgamma in head (Head)"."""
    found: dict[str, dict[str, None]] = {}
    for one in operators:
        found.setdefault(one.name, {})[one.place or "the model's own forward"] = None
    return "; ".join(f"{name} in {' and in '.join(places)}" for name, places in found.items())


def _place(operator: dict[str, Any]) -> str:
    for attribute in operator.get("A", []):
        if isinstance(attribute, dict) and attribute.get("N") == "struct_name":
            return str(attribute["AT"]["D"]).strip("/")
    return ""
