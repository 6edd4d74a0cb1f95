"""Looks inside the model while it is trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from expkit.api import Array, Callback, ConfigError, EpochEnd, FitEnd, FitStart, Learner, inspection
from expkit_callbacks import _inspection_pictures as pictures
from expkit_callbacks._figures import attempt


class Inspect(Callback):
    """Look inside the model: layers, activations, gradients, dead units, kernels and feature maps.

    One fixed batch, without augmentation, runs forward and backward at the start, at the end, and in between as often
    as `every` says. Training goes on as if nobody had looked. The run folder gets `inspect/layers.txt` (output shape,
    parameters and operations of each layer), `inspect/epoch_*.txt` (mean, spread, zeros of outputs, weights and
    gradients; dead units), and `plots/histograms.png`, `plots/kernels.png`, `plots/feature_maps.png`. Of a learner that
    shows no model, there are weights alone. With `learner.ema`, it is the raw weights that are looked at.

    Args:
        every: epochs from one look to the next; null looks at the start and at the end only.
        samples: size of the batch.
        split: where its samples are taken from, evenly spread: train or valid.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> look = Inspect(every=5, samples=32, split="valid")
    """

    def __init__(self, *, every: int | None = None, samples: int = 64, split: Literal["train", "valid"] = "train"):
        if every is not None and every < 1:
            raise ConfigError(f"callbacks.inspect.every={every}: must be 1 epoch or more, or null.")
        if samples < 1:
            raise ConfigError(f"callbacks.inspect.samples={samples}: must be 1 or more.")
        if split not in ("train", "valid"):
            raise ConfigError(f"callbacks.inspect.split={split!r}: must be train or valid.")
        self._every, self._samples, self._split = every, samples, split
        self._start: FitStart | None = None
        self._last: tuple[inspection.Look, Array, list[str]] | None = None
        self._memory: list[dict[str, Any]] = []

    def on_fit_start(self, event: FitStart) -> None:
        """Look at the untrained model, unless this is a resumed run."""
        self._start = event
        if event.step == 0:
            self._look(0, 0)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Look, when it is time to."""
        last = self._start is not None and event.epoch == self._start.epochs
        if last or (self._every is not None and event.epoch % self._every == 0):
            self._look(event.epoch, event.step)

    def on_fit_end(self, event: FitEnd) -> None:
        """Draw the pictures, after a last look if training ended early; of a run that goes on later, not yet."""
        if self._start is None or event.status in ("interrupted", "paused"):
            return
        if event.epoch not in [memory["epoch"] for memory in self._memory]:
            self._look(event.epoch, event.step)
        if self._memory:
            self._draw(self._start.folder / "plots")

    def state_dict(self) -> dict[str, Any]:
        """Histograms of all looks so far."""
        return {"looks": list(self._memory)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._memory = list(state["looks"])

    def _look(self, epoch: int, step: int) -> None:
        start = self._start
        source = None if start is None else start.train if self._split == "train" else start.valid
        if start is None or start.learner is None or source is None:
            return
        folder, learner = start.folder / "inspect", start.learner
        model, loss = getattr(learner, "model", None), getattr(learner, "loss", None)
        if model is None or loss is None:
            self._look_at_weights(learner, epoch, folder)
            return
        # Spread over the split, which may be in the order of its classes.
        chosen = np.unique(np.linspace(0, len(source.split) - 1, self._samples).astype(np.int64))
        raw, targets = source.split.gather(chosen)
        look = inspection.look_inside(model, loss, start.spec.input.normalise(raw), targets)
        names = [start.spec.labels[int(t)] if start.spec.is_classification else "" for t in targets[:2]]
        self._last = look, raw[:2], names
        self._memory.append({"epoch": epoch, "rows": _rows(look)})
        start.log(worth_logging(look), step)
        _write(folder / "layers.txt", inspection.layer_table(look))
        odd = "\n".join(remark.text for remark in inspection.remarks(look)) or "Nothing is odd."
        head = f"epoch {epoch}, {look.samples} samples of {self._split}: loss {look.loss:.6g}"
        _write(folder / f"epoch_{epoch:03}.txt", f"{head}\n\n{odd}\n\n{inspection.statistics_table(look)}")

    def _look_at_weights(self, learner: Learner, epoch: int, folder: Path) -> None:
        spreads = {name: inspection.spread(values) for name, values in learner.state_dict().model.items()}
        self._memory.append({"epoch": epoch, "rows": {name: {"weights": _packed(s)} for name, s in spreads.items()}})
        why = f"{type(learner).__name__} shows no layers (it has no `model` and `loss`), so there are weights alone."
        lines = [f"{n}: mean {s.mean:.3g}, std {s.std:.3g}, L2 norm {s.norm:.4g}" for n, s in spreads.items()]
        _write(folder / f"epoch_{epoch:03}.txt", "\n".join([f"epoch {epoch}", "", why, "", *lines]))

    def _draw(self, plots: Path) -> None:
        epoch, path = self._memory[-1]["epoch"], plots / "histograms.png"
        attempt(lambda: pictures.draw_histograms(path, self._memory), path)
        if self._last is not None:
            look, raw, names = self._last
            kernels, maps = plots / "kernels.png", plots / "feature_maps.png"
            attempt(lambda: pictures.draw_kernels(kernels, look, epoch), kernels)
            attempt(lambda: pictures.draw_feature_maps(maps, look, epoch, raw, names), maps)


def worth_logging(look: inspection.Look) -> dict[str, float]:
    """Return the few values whose curves tell something: of each layer with weights, and dead units in all.

    Args:
        look: at the model.
    """
    values: dict[str, float] = {}
    for layer in look.layers:
        own = [p for p in look.parameters if p.layer == layer.name]
        if layer.output is None or not own:
            continue
        name = f"inspect/{layer.name or 'model'}"
        gradients = [p.gradient.norm for p in own if p.gradient is not None]
        values[f"{name}/activation_mean"] = layer.output.mean
        values[f"{name}/activation_std"] = layer.output.std
        values[f"{name}/gradient_norm"] = math.hypot(*gradients)
    dead = {remark.where for remark in inspection.remarks(look) if remark.kind == "dead"}
    values["inspect/dead_units"] = float(sum(layer.dead for layer in look.layers if layer.name in dead))
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _rows(look: inspection.Look) -> dict[str, dict[str, Any]]:
    """Histograms of each layer that has a weight matrix, or kernels: its outputs, its weights, their gradients."""
    rows = {}
    for layer in look.layers:
        weights = [p for p in look.parameters if p.layer == layer.name and len(p.shape) > 1]
        if weights:
            largest = max(weights, key=lambda p: math.prod(p.shape))
            found = {"outputs": layer.output, "weights": largest.values, "gradients": largest.gradient}
            rows[layer.name] = {what: _packed(spread) for what, spread in found.items() if spread is not None}
    return rows


def _packed(spread: inspection.Spread) -> dict[str, Any]:
    """Make a histogram fit for JSON."""
    return {
        "low": float(spread.edges[0]),
        "high": float(spread.edges[-1]),
        "counts": [int(count) for count in spread.counts],
        "zeros": spread.zeros,
        "not_finite": spread.not_finite,
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="utf-8")
