"""Answers for the items of a request."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from expkit.api import Array
from expkit.predict import Predictor
from expkit.preprocess import ImageInput, UnreadableInputError
from expkit.serving.about import picture
from expkit.serving.inputs import Item, RequestError, raw_of


def answer(model: Predictor, items: Sequence[Item], most: int, deadline: float, *, show: bool) -> list[dict[str, Any]]:
    """Answer each item; one that cannot be read does not keep the others from being answered.

    Args:
        model: answers.
        items: of the request.
        most: inputs that a request may have in all.
        deadline: of `time.monotonic`; nothing more is begun after it.
        show: whether each image is shown as the network sees it.

    Returns:
        One entry an item: its name, and "answers" or "error".

    Raises:
        RequestError: there are too many, or the network answered what is not finite.
        TimeoutError: the time is over.
    """
    read: list[Array | str] = []
    total = 0
    for item in items:
        if time.monotonic() > deadline:
            raise TimeoutError
        try:
            raw = raw_of(item, model.reader)
        except UnreadableInputError as error:
            read.append(str(error))
            continue
        total += len(raw)
        if total > most:
            raise RequestError(
                f"a request may have {most:,} images or rows; this one has more. Send less at a time.", 413
            )
        read.append(raw)
    return _entries(model, items, read, show=show)


def _entries(
    model: Predictor, items: Sequence[Item], read: Sequence[Array | str], *, show: bool
) -> list[dict[str, Any]]:
    good = [raw for raw in read if not isinstance(raw, str)]
    answers = iter(model.answers(np.concatenate(good)) if good else [])
    entries: list[dict[str, Any]] = []
    for item, raw in zip(items, read, strict=True):
        entry: dict[str, Any] = {"name": item.name}
        if isinstance(raw, str):
            entries.append(entry | {"error": raw})
            continue
        entry["answers"] = [_finite(next(answers)) for _ in raw]
        if show and isinstance(model.reader, ImageInput):
            entry["seen"] = [picture(pixels) for pixels in raw]
        entries.append(entry)
    return entries


def _finite(found: dict[str, Any]) -> dict[str, Any]:
    numbers: Mapping[str, float] = found.get("probabilities") or found.get("values") or {}
    if not all(math.isfinite(number) for number in numbers.values()):
        raise RequestError("the model answers NaN or infinity to this; its weights, or this input, are far off.", 500)
    return found
