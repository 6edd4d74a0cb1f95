"""Looks inside a Paddle model on one batch: layers, activations, gradients, and what is odd about them."""

from __future__ import annotations

from expkit.inspection.facts import Break, LayerFacts, Look, ParameterFacts, Spread, spread
from expkit.inspection.look import look_inside, undisturbed
from expkit.inspection.trouble import Origin, Row, find_origin, trouble_rows, trouble_table
from expkit.inspection.words import Remark, layer_table, remarks, statistics_table

__all__ = [
    "Break",
    "LayerFacts",
    "Look",
    "Origin",
    "ParameterFacts",
    "Remark",
    "Row",
    "Spread",
    "find_origin",
    "layer_table",
    "look_inside",
    "remarks",
    "spread",
    "statistics_table",
    "trouble_rows",
    "trouble_table",
    "undisturbed",
]
