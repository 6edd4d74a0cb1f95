"""Linear regression without a framework: gradients derived by hand, in NumPy."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from expkit.api import (
    Array,
    ConfigError,
    DataSpec,
    LearnerState,
    NotFiniteError,
    Parts,
    StepResult,
    TableInput,
    Values,
    did_you_mean,
)


class NumpyLinear:
    """Linear regression by hand in NumPy: gradient descent, or the closed-form solution (Bishop 2006, sec. 3.1).

    For inputs x [N, F] it answers z = x w + b, with w [F, K] and b [K] in the dtype of the inputs, and reports the mean
    squared error E = sum (z - y)^2 / (N K) to targets y [N, K]. The gradient it follows is that of E / 2, in which no
    factor 2 is left: x^T (z - y) / (N K) for w, the column sums of (z - y) / (N K) for b. For one output that is
    mean((z - y) x) and mean(z - y).

    Weights are named w0, w1, ... (or 0, 1, ...) and as the table's columns; w5 is row 5 of w. The bias is "bias".

    Args:
        parts: supplied.
        learning_rate: size of a step of method=gradient: w <- w - rate * gradient.
        method: "gradient" steps downhill; "exact" solves the least squares of its batch at once, which must hold all
            training samples.
        trainable: weights that move, such as [w5, w9]; all others and the bias stay. null moves everything.
        initial: start values by name, such as {w5: -100}.
        init_seed: of the other start values, which are np.random.RandomState(init_seed).randn(F, K); the bias starts
            at 0.

    Raises:
        ConfigError: the data is no table with values to predict; an option is out of range or names no weight.

    Example:
        >>> learner = NumpyLinear(parts, learning_rate=0.1)  # doctest: +SKIP
        >>> learner.train_step(np.array([[1.0]]), np.array([[2.0]])).loss  # doctest: +SKIP
        0.0557...
    """

    def __init__(
        self,
        parts: Parts,
        *,
        learning_rate: float = 0.01,
        method: Literal["gradient", "exact"] = "gradient",
        trainable: list[str] | None = None,
        initial: Mapping[str, float] = {},
        init_seed: int = 0,
    ):
        self._spec = parts.spec
        _check(parts, learning_rate, method, init_seed)
        self._rate, self._rate_factor, self._method = learning_rate, 1.0, method
        features, outputs = self._spec.input_shape[0], self._spec.outputs
        # RandomState's streams never change; the global generator, which the textbook seeds, stays untouched.
        start = np.random.RandomState(init_seed).randn(features, outputs)
        self._weight = start.astype(self._spec.input_dtype)
        self._bias = np.zeros(outputs, self._spec.input_dtype)
        names = _names(self._spec)
        for index, (name, value) in zip(_find("initial", initial, names), initial.items(), strict=True):
            if not math.isfinite(value):
                raise ConfigError(f"learner.initial.{name}={value}: must be a finite number.")
            (self._bias if index == features else self._weight[index])[...] = value
        moving = range(features + 1) if trainable is None else sorted(set(_find("trainable", trainable, names)))
        if not moving:
            raise ConfigError("learner.trainable=[] leaves nothing to train. null trains all weights and the bias.")
        self._rows = np.array([index for index in moving if index < features], dtype=np.int64)
        self._bias_moves = features in moving

    @property
    def learning_rate(self) -> float:
        """Rate that the next step will use; 0 for the closed form, which has none."""
        return self._rate * self._rate_factor if self._method == "gradient" else 0.0

    def train_step(self, inputs: Array, targets: Array) -> StepResult:
        """Update once; loss and outputs are those from before a step, but those of an exact solution.

        Raises:
            NotFiniteError: the loss or the gradient is not finite, and nothing has changed.
        """
        if self._method == "exact":
            return self._exact_step(inputs, targets)
        result = self.eval_step(inputs, targets)
        slope = (result.outputs - targets) / targets.size
        with np.errstate(over="ignore", invalid="ignore"):
            gradient = inputs.T[self._rows] @ slope
            if not np.isfinite(gradient).all():
                raise NotFiniteError("the gradient of weight is NaN or infinite", kind="gradient")
            self._weight[self._rows] -= self.learning_rate * gradient
            if self._bias_moves:
                self._bias -= self.learning_rate * slope.sum(axis=0)
        return result

    def scale_learning_rate(self, factor: float) -> None:
        """Multiply the rate from now on; the state keeps it."""
        self._rate_factor *= factor

    def eval_step(self, inputs: Array, targets: Array) -> StepResult:
        """Compare answers with targets; nothing changes.

        Raises:
            NotFiniteError: the loss is not finite.
        """
        outputs = self.predict(inputs)
        with np.errstate(over="ignore", invalid="ignore"):  # it is said better below
            loss = float(np.square(outputs - targets).mean())
        if not math.isfinite(loss):
            raise NotFiniteError(f"the loss is {loss}")
        return StepResult(loss, outputs)

    def predict(self, inputs: Array) -> Array:
        """Return outputs [N, K] in the dtype of the inputs."""
        with np.errstate(over="ignore", invalid="ignore"):
            outputs: Array = inputs @ self._weight + self._bias
        return outputs

    def state_dict(self) -> LearnerState:
        """Return a copy of weight and bias; there is nothing else to remember."""
        model = {"weight": self._weight.copy(), "bias": self._bias.copy()}
        factor = {"rate_factor": self._rate_factor} if self._rate_factor != 1 else {}
        return LearnerState(model, {}, {"method": self._method, **factor})

    def load_state_dict(self, state: LearnerState) -> None:
        """Take back what `state_dict` gave.

        Raises:
            ConfigError: the state belongs to another model or method.
        """
        own = {"weight": self._weight.shape, "bias": self._bias.shape}
        given = {name: tuple(array.shape) for name, array in state.model.items()}
        if own != given:
            raise ConfigError(f"the saved weights belong to another model: {_shown(given)} saved, {_shown(own)} here.")
        method = state.extra.get("method", self._method)
        if method != self._method:
            raise ConfigError(f"the saved state is that of method={method}, but learner.method={self._method}.")
        self._weight[...], self._bias[...] = state.model["weight"], state.model["bias"]
        self._rate_factor = float(state.extra.get("rate_factor", 1.0))

    def summary(self) -> Mapping[str, float]:
        """Return the number of trainable parameters."""
        return {"parameters": (len(self._rows) + self._bias_moves) * self._spec.outputs}

    def export(self, folder: Path) -> Callable[[Array], Array]:
        """Write a `paddle.nn.Linear` with these weights as every other learner's models are written.

        Raises:
            ExportError: Paddle cannot read back what it wrote.
        """
        import paddle  # no step of training needs it

        from expkit_learners._graph import write_graph

        with paddle.utils.unique_name.guard():
            layer = paddle.nn.Linear(*self._weight.shape)
        layer.to(dtype=self._spec.input_dtype)
        layer.set_state_dict({name: paddle.to_tensor(array) for name, array in self.state_dict().model.items()})
        return write_graph(layer, folder, self._spec)

    def _exact_step(self, inputs: Array, targets: Array) -> StepResult:
        before = self._weight.copy(), self._bias.copy()
        try:
            self._solve(inputs, targets)
            return self.eval_step(inputs, targets)
        except (NotFiniteError, np.linalg.LinAlgError) as error:  # NumPy: "SVD did not converge", of a batch with NaN
            self._weight[...], self._bias[...] = before
            if isinstance(error, NotFiniteError):
                raise
            raise NotFiniteError(f"the least squares have no solution ({error})") from error

    def _solve(self, inputs: Array, targets: Array) -> None:
        """Set what moves to the least-squares solution, the shortest one where there are several."""
        columns = [inputs[:, self._rows]]
        self._weight[self._rows] = 0
        if self._bias_moves:
            self._bias[...] = 0
            columns.append(np.ones((len(inputs), 1), inputs.dtype))
        wanted = targets - self.predict(inputs)  # what weights that stay leave to be explained
        if not (np.isfinite(inputs).all() and np.isfinite(wanted).all()):  # LAPACK would print about it
            raise NotFiniteError("an input or a target is NaN or infinite")
        solution = np.linalg.lstsq(np.hstack(columns), wanted, rcond=None)[0]
        self._weight[self._rows] = solution[: len(self._rows)]
        if self._bias_moves:
            self._bias[...] = solution[-1]


def _check(parts: Parts, learning_rate: float, method: str, init_seed: int) -> None:
    spec = parts.spec
    if not isinstance(spec.target, Values):
        raise ConfigError(
            f"learner=numpy_linear needs values to predict, but the targets of {spec.name} are {spec.outputs} classes. "
            "Choose learner=paddle."
        )
    if len(spec.input_shape) != 1:
        raise ConfigError(
            f"learner=numpy_linear needs the rows of a table, but an input of {spec.name} is {list(spec.input_shape)}. "
            "Choose learner=paddle."
        )
    if parts.to_static:
        raise ConfigError("learner=numpy_linear has no graph to trace. Set trainer.to_static=false.")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ConfigError(f"learner.learning_rate={learning_rate}: must be a number above 0.")
    if not 0 <= init_seed < 2**32:
        raise ConfigError(f"learner.init_seed={init_seed}: must be from 0 to 4294967295.")
    if method not in ("gradient", "exact"):
        raise ConfigError(f"learner.method={method!r}: must be gradient or exact.")
    if method == "exact" and parts.steps_per_epoch > 1:
        raise ConfigError(
            f"learner.method=exact solves each batch from nothing, so that of {parts.steps_per_epoch} batches an epoch "
            "only the last would count. Make them one: a larger dataset.batch_size, and dataset.repeat=1."
        )


def _names(spec: DataSpec) -> dict[str, int]:
    """Return the number of each name of a weight; F is that of the bias."""
    features = spec.input_shape[0]
    names = {f"w{number}": number for number in range(features)}
    names.update({str(number): number for number in range(features)})
    names["bias"] = features
    if isinstance(spec.input, TableInput):
        names.update({column: number for number, column in enumerate(spec.input.columns)})
    return names


def _find(option: str, wanted: Iterable[str], names: Mapping[str, int]) -> list[int]:
    found = []
    for name in wanted:
        if name not in names:
            known = [other for other in names if not other.isdigit()]
            near = did_you_mean(name, known)
            raise ConfigError(f"learner.{option}: there is no weight {name!r}.{near} Known: {', '.join(known)}.")
        found.append(names[name])
    return found


def _shown(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "nothing"
