"""All that a plugin author imports.

A component is a class or function plus one entry point. Its keyword arguments become its config options: typed, with
the defaults and the docstring of the signature. What the framework knows only at run time (named under "Supplied"
below) is passed to a component that asks for it by that parameter name, and is not an option.

=============  =====================  ==========================================================  =============
kind           entry point group      contract                                                    supplied
=============  =====================  ==========================================================  =============
dataset        expkit.datasets        returns `Data`                                              -
model          expkit.models          a `paddle.nn.Layer`: inputs [N, *shape] -> outputs [N, K]   spec
loss           expkit.losses          (outputs, targets) -> scalar tensor                         spec
optimizer      expkit.optimizers      returns a `paddle.optimizer.Optimizer`                      parameters
schedule       expkit.schedules       returns a rate or a `paddle.optimizer.lr.LRScheduler`       see below
regularizer    expkit.regularizers    `Regularizer`                                               -
metric         expkit.metrics         `Metric`                                                    spec
transform      expkit.transforms      `Transform`                                                 spec
learner        expkit.learners        `Learner`                                                   parts
callback       expkit.callbacks       `Callback`                                                  spec
=============  =====================  ==========================================================  =============

An optimizer takes ``learning_rate: float`` as an ordinary option; when a schedule is chosen, the framework builds it
from that number and passes the scheduler in its place. A schedule is supplied ``learning_rate``, ``steps_per_epoch``,
``epochs`` and ``higher_is_better`` (of every metric that an epoch measures: {"valid/accuracy": True, ...}), and is
stepped once after every optimizer step. A `paddle.optimizer.lr.ReduceOnPlateau` has an attribute ``metric: str`` and is
stepped once after every epoch instead, with the value of that metric.

Shapes: N samples, C channels, H rows, W columns, F features, K outputs. Tables and values are float32, or float64
where the dataset says so (`TableInput.precision`, `Values.precision`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from expkit import inspection
from expkit.api_version import VERSION
from expkit.errors import (
    ConfigError,
    DataError,
    ExpkitError,
    ExportError,
    NotFiniteError,
    TrainingStoppedError,
    did_you_mean,
)
from expkit.events import Callback, EpochEnd, EpochStart, FitEnd, FitStart, StepEnd
from expkit.paths import cache_dir, data_dir
from expkit.preprocess import Classes, ImageInput, TableInput, Values
from expkit.spec import Array, ArraySplit, Batch, BatchSource, Data, DataSource, DataSpec, InputSpec, Split

if TYPE_CHECKING:
    import paddle

__all__ = [
    "VERSION",
    "Array",
    "ArraySplit",
    "Batch",
    "BatchSource",
    "Callback",
    "Classes",
    "ConfigError",
    "Data",
    "DataError",
    "DataSource",
    "DataSpec",
    "EpochEnd",
    "EpochStart",
    "ExpkitError",
    "ExportError",
    "FitEnd",
    "FitStart",
    "ImageInput",
    "InputSpec",
    "Learner",
    "LearnerState",
    "Loss",
    "Metric",
    "NotFiniteError",
    "Parts",
    "Regularizer",
    "Split",
    "StepEnd",
    "StepResult",
    "TableInput",
    "Team",
    "TrainingStoppedError",
    "Transform",
    "Values",
    "cache_dir",
    "data_dir",
    "did_you_mean",
    "inspection",
]


class Loss(Protocol):
    """Compares outputs with targets.

    `outputs` is the model's answer [N, K]; `targets` is [N] int64 (classes) or [N, K] float32 (values, or shares of
    classes that sum to 1, which some transforms make of classes; a loss may refuse them).

    A loss of classes may have an attribute ``scores: str``, which says what it takes the outputs for: "logits" (when
    there is none), "probabilities", "log_probabilities" or "sigmoid" (independent logits). It becomes
    ``spec.target.scores``, by which metrics, pictures and predictions read the outputs: see `Classes.probabilities`.
    A model may have such an attribute, too, for what it answers; the two are then compared.

    A loss whose mean is a weighted one, as with weights of classes, has ``divisor(targets: Array) -> float``,
    which returns what that mean divides by. Without, that is the number of samples. It puts the shares of a batch
    together that several devices compute; see `Team`.
    """

    def __call__(self, outputs: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Return a scalar (0-D) tensor, the mean over the batch."""


class Metric(Protocol):
    """Measures outputs over many batches, in NumPy, whatever engine trained them.

    A metric may also have ``state_dict()``, which returns what it has gathered since `reset` as a dict of numbers,
    texts, lists, dicts and NumPy arrays of numbers, and ``load_state_dict(state)``, which takes back such a dict. A run
    that is resumed in the middle of an epoch then measures that epoch as if it had not stopped; of a metric without,
    the value in training of that one epoch covers the rest of it only, and a warning says so.

    It may have ``merge(other)``, which takes in all that another one of the same class and options has gathered, as if
    it had been given the same batches. It spares a training step from measuring its batch twice, by itself and as part
    of the epoch.

    Attributes:
        higher_is_better: direction of "best".
    """

    higher_is_better: bool

    def reset(self) -> None:
        """Forget all batches."""

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in outputs [N, K] and targets ([N] int64; or [N, K] float32: values, shares of classes) of one batch."""

    def compute(self) -> float:
        """Value over all batches since `reset`; NaN when there were none."""


class Regularizer(Protocol):
    """Says how each parameter decays.

    One that is meant for some parameters only may have an attribute `pattern: str`; a learner then refuses a model in
    which nothing decays, because the pattern must be mistaken. One with several may have `patterns: Sequence[str]`,
    read as `fnmatch.fnmatchcase` does; a learner then refuses a model in which one of them fits no parameter.
    """

    def decay(self, name: str, shape: tuple[int, ...]) -> Any:
        """Return a regularizer for this parameter, or None to leave it alone.

        It is a `paddle.regularizer.L1Decay`, `L2Decay`, or of another class derived from `WeightDecayRegularizer`.

        Args:
            name: structured name, such as "conv1.weight".
            shape: of the parameter.
        """


class Transform(Protocol):
    """Augments a raw training batch: a pure function of (batch, generator), so that every step can be replayed.

    One that mixes samples may turn targets that are classes [N] int64 into shares of classes [N, K] float32, which add
    up to 1 in each row; every transform takes either.

    One that has to draw from Python's or NumPy's global generators, seeded from the batch's and put back, says so by
    `draws_globally = True`: it is not run in a thread beside training.
    """

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        """Return a new batch; never write into the one given."""


@dataclass(frozen=True)
class StepResult:
    """What a learner answers for one batch.

    Attributes:
        loss: mean over the batch.
        outputs: the model's answers [N, K], for the metrics.
        skipped: whether the update was left out, as a loss scaler does where 16 bits overflow: no failure.
        targets: of the outputs, where these are not those that were given, but of a batch that several devices share.
    """

    loss: float
    outputs: Array
    skipped: bool = False
    targets: Array | None = None


@dataclass(frozen=True)
class LearnerState:
    """All that a learner must get back to go on as if it had not stopped.

    Attributes:
        model: parameters and buffers by structured name.
        optimizer: accumulators by "<structured parameter name>/<slot>". The slot "ema" is of an averaged weight, which
            is measured in place of the raw one.
        extra: the rest, JSON only: schedule position, random state.
    """

    model: Mapping[str, Array]
    optimizer: Mapping[str, Array]
    extra: Mapping[str, Any] = field(default_factory=dict)


class Team(Protocol):
    """The devices that train one model together (`trainer.devices`); each has a process and a learner of its own.

    In each step, every learner is given its own share of the batch. It computes loss and gradients of that, lets `mean`
    make them those of the whole batch, and goes on as if it had computed these by itself: whether they are finite, how
    they are clipped, which update follows. So all learners stay the same. `StepResult.outputs` are those of the share.

    Attributes:
        rank: of this device, counts from 0; what is measured, kept and exported is that of rank 0.
        size: number of devices, at least 2.
    """

    rank: int
    size: int

    def mean(self, tensors: Sequence[paddle.Tensor], weight: float) -> list[paddle.Tensor]:
        """Return the mean of each tensor over all devices, the same to the last bit on each.

        Args:
            tensors: dense; as many, of the same shapes and dtypes, on all devices.
            weight: what the mean of this device's share divides by: `divisor` of its loss, or the number of samples.
        """


class Parts(Protocol):
    """What a learner may ask for; each part is built when asked, from the composed config.

    A learner asks while it is constructed. What was chosen and is not asked for is refused, so that nothing is ignored.

    Attributes:
        spec: the data's spec.
        epochs: to train in all.
        steps_per_epoch: optimizer steps in one epoch.
        seed: of the run.
        device: "cpu" or "gpu:0".
        tune: whether faster ways to compute the same are wanted.
        to_static: whether training is to run a graph that is traced from the model's code.
        training: whether steps are to be made; false where weights are only measured, maybe on another device.
        team: the devices that train together; None where there is one. A learner that does not ask for it is refused
            where there are several.
        engine: what is to compute on the CPU, "paddle" or "onednn"; asked for like `team`.
    """

    spec: DataSpec
    epochs: int
    steps_per_epoch: int
    seed: int
    device: str
    tune: bool
    to_static: bool
    training: bool

    @property
    def team(self) -> Team | None:
        """As above."""

    @property
    def engine(self) -> str:
        """As above."""

    def model(self) -> paddle.nn.Layer:
        """Build the chosen model."""

    def loss(self) -> Loss:
        """Build the chosen loss."""

    def regularizer(self) -> Regularizer:
        """Build the chosen regularizer."""

    def optimizer(self, parameters: Iterable[Any]) -> paddle.optimizer.Optimizer:
        """Build the chosen optimizer on these parameters, with the chosen schedule."""


class Learner(Protocol):
    """The one seam between the training loop and an engine (Paddle, or gradients by hand in NumPy).

    Inputs are normalised [N, *spec.input_shape] arrays, targets [N] int64 or [N, K] arrays.

    A learner may also have

    - ``end_epoch(metrics)``, called after each epoch's validation, for rates that follow a metric;
    - ``model`` and ``loss``, a `paddle.nn.Layer` and a `Loss`, for those who look inside;
    - ``tags()``, which returns facts to search runs by, such as {"engine": "onednn"};
    - ``digest()``, which returns a text that is the same for the same trainable weights; several devices compare theirs
      at the start of each epoch;
    - ``scale_learning_rate(factor)``, which multiplies all rates from now on, and is kept in the learner's state; what
      ``trainer.on_nonfinite=rollback`` needs.

    `train_step` should look at its loss and gradients before it updates, and raise `NotFiniteError` where they are NaN
    or infinite, as it was before the step: what ``trainer.on_nonfinite=skip`` needs. The global generators are put back
    by the caller. A loss that is not finite may also be returned; the step is then taken to be done.
    """

    @property
    def learning_rate(self) -> float:
        """Rate that the next step will use."""

    def train_step(self, inputs: Array, targets: Array) -> StepResult:
        """Run forward, backward and one update.

        Raises:
            NotFiniteError: the loss or a gradient is not finite, and nothing has changed.
        """

    def eval_step(self, inputs: Array, targets: Array) -> StepResult:
        """Run forward only, in evaluation mode."""

    def predict(self, inputs: Array) -> Array:
        """Return outputs [N, K] in evaluation mode."""

    def state_dict(self) -> LearnerState:
        """Return a copy of the whole state; later steps do not change it."""

    def load_state_dict(self, state: LearnerState) -> None:
        """Take back what `state_dict` gave; of a state without optimizer, take the model alone."""

    def summary(self) -> Mapping[str, float]:
        """Facts for people, such as {"parameters": 20_550}."""

    def export(self, folder: Path) -> Callable[[Array], Array]:
        """Write an inference model into `folder` and return a function that predicts with *what was written*."""
