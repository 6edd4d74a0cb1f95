"""Draws rates, losses and augmented digits; colours that can be seen on white and on black."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expkit import registry
from expkit.api import Batch, Classes, ConfigError, DataSource, DataSpec, TableInput, Values

_GREY, _BLUE = "#888888", "#2f81f7"
_RATE, _STEPS = 0.1, 20
_DIGITS = 6


def _spec(target: Classes | Values) -> DataSpec:
    """Return a spec of a small table with targets."""
    table = TableInput(columns=("x", "y"), mean=(0.0, 0.0), scale=(1.0, 1.0))
    return DataSpec("example", table, target, DataSource("package", "example"), "0" * 64)


def rate_picture(schedule: Any, path: Path) -> str:
    """Draw the rate over a training of 100 epochs, or of 5 where all happens at its beginning; return the caption."""
    epochs, (rates, watched) = 100, _rates(schedule, 100)
    changes = np.abs(np.diff(rates))
    if changes.sum() > 0 and changes[: len(changes) // 10].sum() > 0.9 * changes.sum():
        epochs, (rates, watched) = 5, _rates(schedule, 5)
    _curve(path, np.arange(len(rates)) / _STEPS, rates, "epoch", "rate")
    caption = f"The rate over {epochs} epochs of {_STEPS} steps, with optimizer.learning_rate={_RATE}"
    return f"{caption}, when {watched} never improves." if watched else f"{caption}."


def _made(schedule: Any, epochs: int) -> Any:
    supplied = {
        "learning_rate": _RATE,
        "steps_per_epoch": _STEPS,
        "epochs": epochs,
        "higher_is_better": {"train/loss": False, "valid/loss": False},
    }
    asked = inspect.signature(schedule).parameters
    return schedule(**{name: value for name, value in supplied.items() if name in asked})


def _rates(schedule: Any, epochs: int) -> tuple[np.ndarray, str]:
    """Return the rate of each step, and the metric that is watched, or ""; that never improves."""
    made = _made(schedule, epochs)
    if isinstance(made, (int, float)):
        return np.full(epochs * _STEPS, float(made)), ""
    watched = getattr(made, "metric", "")
    rates = []
    for _ in range(epochs):
        for _ in range(_STEPS):
            rates.append(float(made()))
            if not watched:
                made.step()
        if watched:
            made.step(1.0)
    return np.array(rates), watched


def loss_picture(loss: Any, path: Path) -> str:
    """Draw what one sample costs: by the error of a value, or by the probability of the right class."""
    for draw in (_value_costs, _class_costs):
        try:
            return draw(loss, path)
        except ConfigError:  # it is for other targets
            continue
    return ""


def _value_costs(loss: Any, path: Path) -> str:
    import paddle

    made = with_spec(loss, _spec(Values(("price",), mean=(0.0,), scale=(1.0,))))
    errors = np.linspace(-3, 3, 121, dtype=np.float32)
    zero = paddle.zeros([1, 1])
    _curve(path, errors, [float(made(paddle.to_tensor([[e]]), zero)) for e in errors], "output - target", "loss")
    return "What a value costs by its error, with the default options."


def _class_costs(loss: Any, path: Path) -> str:
    made = with_spec(loss, _spec(Classes(("no", "yes"))))
    shares = np.linspace(0.01, 0.99, 99)
    _curve(path, shares, [_cost(made, share) for share in shares], "probability of the right class", "loss")
    return "What a sample costs by the probability that the model gives to its class, of two, with the default options."


def _cost(loss: Any, share: float) -> float:
    """Return the loss of one sample to whose class the model gives this probability."""
    import paddle

    both = {
        "probabilities": [1 - share, share],
        "log_probabilities": [math.log(1 - share), math.log(share)],
        "sigmoid": [-math.log(share / (1 - share)), math.log(share / (1 - share))],
    }
    given = both.get(getattr(loss, "scores", "logits"), both["log_probabilities"])
    return float(loss(paddle.to_tensor([given], dtype="float32"), paddle.to_tensor([1])))


def with_spec(make: Any, spec: DataSpec) -> Any:
    """Make a component with its default options."""
    return make(spec=spec) if "spec" in inspect.signature(make).parameters else make()


def _curve(path: Path, x: Sequence[float], y: Sequence[float], across: str, up: str) -> None:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 2.1), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.plot(x, y, color=_BLUE, linewidth=2)
    axes.set_xlabel(across, color=_GREY)
    axes.set_ylabel(up, color=_GREY)
    axes.set_ylim(0 if min(y) >= 0 else None, 1.08 * max(y) if max(y) > 0 else None)
    axes.tick_params(colors=_GREY)
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_GREY)
    figure.savefig(path, transparent=True, metadata={"Date": None})


def transform_picture(transform: Any, path: Path) -> str:
    """Draw digits, and below them what becomes of them; nothing where these are refused."""
    from PIL import Image

    entry = registry.find(registry.kind_named("dataset"), "digits")
    data = getattr(importlib.import_module(entry.module), entry.attribute)()
    inputs, targets = data.train.gather(np.arange(_DIGITS))
    try:
        after = with_spec(transform, data.spec)(Batch(inputs, targets), np.random.default_rng(5)).inputs
    except ConfigError:
        return ""
    rows = [_row(np.asarray(images)) for images in (inputs, after)]
    sheet = np.concatenate([rows[0], np.full((4, rows[0].shape[1]), 128, np.uint8), rows[1]])
    image = Image.fromarray(sheet).resize((sheet.shape[1] * 3, sheet.shape[0] * 3), Image.Resampling.NEAREST)
    image.save(path)
    return "Above digits, below what one batch of them becomes with the default options (generator seeded with 5)."


def _row(images: np.ndarray) -> np.ndarray:
    images = images[..., 0] if images.ndim == 4 else images
    gap = np.full((images.shape[1], 4), 128, np.uint8)
    parts = [part for image in images for part in (image.astype(np.uint8), gap)]
    return np.concatenate(parts[:-1], axis=1)
