"""Looks inside a Paddle model on one batch, and leaves everything as it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from expkit.inspection.facts import Break, LayerFacts, Look, ParameterFacts, Spread, spread
from expkit.inspection.operations import operations
from expkit.spec import Array

SHOWN_SAMPLES = 2
# What only hands on what it was given: its zeros are nobody's fault.
_PASSING = ("Flatten", "Unflatten", "Identity", "Dropout", "Dropout2D", "Dropout3D", "AlphaDropout")
_FEATURES_LAST = ("Linear", "LayerNorm", "Embedding", "LSTM", "GRU", "SimpleRNN", "MultiHeadAttention")
_CONVOLUTIONS = ("Conv2D", "Conv2DTranspose")


def look_inside(
    model: Any,
    loss: Callable[[Any, Any], Any],
    inputs: Array,
    targets: Array,
    *,
    training: bool = True,
    output_gradients: bool = False,
) -> Look:
    """Run one batch forward and backward, and note what every layer and parameter did.

    Training goes on as if nobody had looked: random state, running statistics, gradients and modes are put back, and
    hooks are removed, also when the model fails.

    Args:
        model: a `paddle.nn.Layer`.
        loss: (outputs, targets) -> scalar tensor.
        inputs: normalised [N, *shape].
        targets: [N] int64 or [N, K].
        training: the mode; False for that of evaluation.
        output_gradients: whether to note the gradients at the layers' outputs, too.
    """
    import paddle

    recorder = _Recorder(model, keep=output_gradients)
    with undisturbed(model), recorder.listening(), paddle.enable_grad():
        model.train() if training else model.eval()
        outputs = model(paddle.to_tensor(inputs))
        value = loss(outputs, paddle.to_tensor(targets))
        parameters = _parameters(model, value, recorder)
        return Look(
            samples=len(inputs),
            inputs=tuple(inputs.shape),
            loss=float(value),
            outputs=_array(outputs),
            layers=recorder.facts(),
            parameters=parameters,
            broke=recorder.broke,
        )


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Put back, at the end, all that running a model changes: random state, modes and what it keeps beside weights.

    Args:
        model: a `paddle.nn.Layer`.
    """
    import paddle
    from paddle.utils import unique_name

    states = random.getstate(), np.random.get_state(), paddle.get_rng_state()
    modes = [(layer, layer.training) for layer in model.sublayers(include_self=True)]
    kept = [(tensor, tensor.detach().clone()) for tensor in _kept(model)]
    try:
        with unique_name.guard():  # the numbers in Paddle's names count on
            yield
    finally:
        with paddle.no_grad():
            for tensor, before in kept:
                tensor.set_value(before)
        for layer, training in modes:
            layer.training = training
        random.setstate(states[0])
        np.random.set_state(states[1])
        paddle.set_rng_state(states[2])


def _kept(model: Any) -> list[Any]:
    """Running statistics and the like, which Paddle keeps as buffers or as parameters without gradient."""
    tensors = [*model.buffers(), *(p for p in model.parameters() if p.stop_gradient)]
    return [tensor for tensor in tensors if tensor._is_initialized()]  # nn.LSTM has one without memory


def _parameters(model: Any, loss: Any, recorder: _Recorder) -> tuple[ParameterFacts, ...]:
    import paddle

    trainable = [(name, p) for name, p in model.named_parameters() if not p.stop_gradient]
    # `paddle.grad`, unlike `backward`, adds to no parameter's own gradient.
    gradients: Sequence[Any] = [None] * len(trainable)
    wanted = [*(p for _, p in trainable), *recorder.outputs()]
    if wanted and not loss.stop_gradient:
        found = paddle.grad(loss, wanted, allow_unused=True)
        gradients = found[: len(trainable)]
        recorder.take_gradients(found[len(trainable) :])
    owners = dict(model.named_sublayers(include_self=True))
    facts = []
    for (name, parameter), gradient in zip(trainable, gradients, strict=True):
        owner = name.rpartition(".")[0]
        values = _array(parameter)
        convolution = owner in owners and _is_one_of(owners[owner], _CONVOLUTIONS) and values.ndim == 4
        facts.append(
            ParameterFacts(
                name=name,
                layer=owner,
                shape=tuple(values.shape),
                values=spread(values),
                gradient=None if gradient is None else spread(_array(gradient)),
                kernels=values.copy() if convolution else None,
            )
        )
    return tuple(facts)


class _Record:
    """What a layer's calls have shown so far."""

    def __init__(self, name: str, layer: Any, inside: Sequence[_Record]) -> None:
        self.name, self.layer, self.inside = name, layer, inside
        self.order = self.calls = 0
        self.shapes: tuple[tuple[int, ...], ...] = ()
        self.operations: int | None = 0
        self.output: Spread | None = None
        self.tensor: Any = None
        self.gradient: Spread | None = None
        self.alive: Array | None = None
        self.samples: Array | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it computes by itself, rather than by the layers in it."""
        return not any(each.calls for each in self.inside)

    def note(self, order: int, inputs: Any, outputs: Any, features_last: bool) -> None:
        """Take in one call.

        Args:
            order: position of this call among all.
            inputs: what the layer was given: tensors, perhaps in tuples.
            outputs: what it answered, likewise.
            features_last: whether features, rather than channels, are what a unit is.
        """
        given, answered = _tensors(inputs), _tensors(outputs)
        self.order = self.order or order
        self.calls += 1
        self.shapes = tuple(tuple(tensor.shape) for tensor in answered)
        if not self.is_whole or not answered:
            return
        if self.operations is not None:
            count = operations(self.layer, tuple(given[0].shape), self.shapes[0]) if given else None
            self.operations = None if count is None else self.operations + count
        if answered[0].is_floating_point():
            values = _array(answered[0])
            self.output = spread(values)
            self._note_units(values, features_last)
            if _is_one_of(self.layer, _CONVOLUTIONS) and values.ndim == 4:
                self.samples = values[:SHOWN_SAMPLES].copy()

    def _note_units(self, values: Array, features_last: bool) -> None:
        if values.ndim < 2 or _is_one_of(self.layer, _PASSING):
            return
        axis = values.ndim - 1 if features_last else 1
        alive = (values != 0).any(axis=tuple(n for n in range(values.ndim) if n != axis))
        before = self.alive
        self.alive = alive | before if before is not None and before.shape == alive.shape else alive

    def facts(self, counted: set[int]) -> LayerFacts:
        """Return what was seen; parameters whose id is in `counted` are left out, the others are put into it."""
        layers = [self, *self.inside] if self.is_whole and self.calls else [self]
        own = {id(p): p for each in layers for p in each.layer.parameters(include_sublayers=False)}
        new = [p for key, p in own.items() if key not in counted]
        counted.update(own)
        sizes = [(p.stop_gradient, int(np.prod(p.shape))) for p in new]
        return LayerFacts(
            name=self.name,
            kind=type(self.layer).__name__,
            calls=self.calls,
            shapes=self.shapes,
            parameters=sum(size for fixed, size in sizes if not fixed),
            fixed=sum(size for fixed, size in sizes if fixed),
            operations=self.operations if self.calls else 0,
            output=self.output,
            units=0 if self.alive is None else len(self.alive),
            dead=0 if self.alive is None else int((~self.alive).sum()),
            samples=self.samples,
            gradient=self.gradient,
        )


class _Recorder:
    """Listens to every layer of a model; answers for those that compute."""

    def __init__(self, model: Any, *, keep: bool = False) -> None:
        self.broke: Break | None = None
        self._keep = keep
        self._records: list[_Record] = []
        self._clock = 0
        self._features_last = False
        self._add("", model)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hook on to all layers, and off again."""
        hooks = [each.layer.register_forward_post_hook(self._hook(each)) for each in self._records]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def facts(self) -> tuple[LayerFacts, ...]:
        """Return the layers that compute, by their first call; then those that should have and were never called."""
        shown: list[_Record] = []
        hidden: set[int] = set()
        for each in self._records:  # a layer comes before those that are in it
            leaf = not each.inside
            whole = bool(each.calls) and each.is_whole
            keeps = bool(each.layer.parameters(include_sublayers=False))
            if id(each) not in hidden and (leaf or whole or keeps):
                shown.append(each)
                if whole:
                    hidden.update(map(id, each.inside))
        counted: set[int] = set()
        ordered = sorted(shown, key=lambda each: (not each.calls, each.order))
        return tuple(each.facts(counted) for each in ordered)

    def outputs(self) -> list[Any]:
        """Return the outputs whose gradients are wanted: of layers that compute, in their last calls."""
        return [each.tensor for each in self._records if each.tensor is not None]

    def take_gradients(self, gradients: Sequence[Any]) -> None:
        """Note the gradients at `outputs`, in the same order; None for one that the loss does not depend on."""
        kept = [each for each in self._records if each.tensor is not None]
        for each, gradient in zip(kept, gradients, strict=True):
            each.gradient = None if gradient is None else spread(_array(gradient))

    def _add(self, name: str, layer: Any) -> list[_Record]:
        """Make the records of a layer and of those in it, in the order of the model; one that is shared has one."""
        if any(each.layer is layer for each in self._records):
            return []
        inside: list[_Record] = []
        record = _Record(name, layer, inside)
        self._records.append(record)
        for key, child in layer.named_children():
            inside.extend(self._add(f"{name}.{key}" if name else key, child))
        return [record, *inside]

    def _hook(self, record: _Record) -> Callable[[Any, Any, Any], None]:
        kept: bool | None = None  # what has no weights works on the units of the last layer that has some
        if _is_one_of(record.layer, _FEATURES_LAST) or str(getattr(record.layer, "_data_format", "")).endswith("C"):
            kept = True
        elif record.layer.parameters(include_sublayers=False):
            kept = False

        def hook(layer: Any, inputs: Any, outputs: Any) -> None:
            self._clock += 1
            if kept is not None and record.is_whole:
                self._features_last = kept
            record.note(self._clock, inputs, outputs, self._features_last)
            if self._keep and record.is_whole:
                record.tensor = next((t for t in _real(outputs) if not t.stop_gradient), None)
            if self.broke is None and not _all_finite(outputs) and _all_finite(inputs):
                given = next((spread(_array(tensor)) for tensor in _real(inputs)), None)
                self.broke = Break(record.name, type(layer).__name__, not record.is_whole, given)

        return hook


def _tensors(values: Any) -> list[Any]:
    """All tensors in nested tuples, lists and dicts, in order."""
    import paddle

    if isinstance(values, paddle.Tensor):
        return [values]
    if isinstance(values, dict):
        values = list(values.values())
    return [t for value in values for t in _tensors(value)] if isinstance(values, (tuple, list)) else []


def _real(values: Any) -> list[Any]:
    return [tensor for tensor in _tensors(values) if tensor.is_floating_point()]


def _all_finite(values: Any) -> bool:
    return all(bool(np.isfinite(_array(tensor)).all()) for tensor in _real(values))


def _array(tensor: Any) -> Array:
    import paddle

    known = tensor.detach()
    if known.is_floating_point() and known.dtype not in (paddle.float32, paddle.float64):
        known = known.astype("float32")  # NumPy has no bfloat16
    values: Array = known.numpy()
    return values


def _is_one_of(layer: Any, names: Sequence[str]) -> bool:
    return any(cls.__name__ in names for cls in type(layer).__mro__ if cls.__module__.startswith("paddle.nn"))
