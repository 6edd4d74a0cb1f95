"""The kit notices each promise that a learner can break."""

import numpy as np
import pytest

from expkit.api import LearnerState, StepResult
from expkit.testing import ConformanceError, check_learner, example_specs
from expkit_learners.numpy_linear import NumpyLinear

TABLE = example_specs()[2]


class Right(NumpyLinear):
    """Keeps all promises."""

    def __init__(self, parts):
        super().__init__(parts)


class Forgets(Right):
    """Takes back no weights."""

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self._weight[...] = 0


class Aliases(Right):
    """Hands out its own arrays."""

    def state_dict(self):
        return LearnerState({"weight": self._weight, "bias": self._bias}, {}, {"method": "gradient"})


class Counts(Right):
    """Slows down by a count that no state holds."""

    steps = 0

    def train_step(self, inputs, targets):
        self.steps += 1
        self._rate = 0.01 / self.steps
        return super().train_step(inputs, targets)


class Leans(Right):
    """Pushes its bias further with each step, by a memory that no state holds."""

    push = 0.0

    def train_step(self, inputs, targets):
        self.push += 1e-3
        self._bias += self.push
        return super().train_step(inputs, targets)


class Averages(Right):
    """Measures an average of its weights that no state holds."""

    def __init__(self, parts):
        super().__init__(parts)
        self._average = self._weight.copy()

    def train_step(self, inputs, targets):
        result = super().train_step(inputs, targets)
        self._average += (self._weight - self._average) / 2
        return result

    def predict(self, inputs):
        return inputs @ self._average + self._bias


class Draws(Right):
    """Adds noise to its answers."""

    def predict(self, inputs):
        return super().predict(inputs) + np.random.normal(size=(len(inputs), 1)).astype(np.float32)


class Learns(Right):
    """Learns while it is watched."""

    def eval_step(self, inputs, targets):
        self._bias += 1
        return super().eval_step(inputs, targets)


class Climbs(Right):
    """Steps uphill."""

    def train_step(self, inputs, targets):
        self._rate = -0.01
        return super().train_step(inputs, targets)


class Normalises(Right):
    """Looks at a whole batch for each answer."""

    def predict(self, inputs):
        return super().predict(inputs - inputs.mean(axis=0))


class Trusts(Right):
    """Takes any weights."""

    def load_state_dict(self, state):
        self._weight = state.model["weight"].copy()
        self._bias = state.model["bias"].copy()


class Lies(Right):
    """Predicts with its own weights, not with what was written."""

    def export(self, folder):
        super().export(folder)
        return self.predict


class Idle(Right):
    """Writes nothing."""

    def export(self, folder):
        return self.predict


class Answers(Right):
    """Answers a tensor for a loss."""

    def eval_step(self, inputs, targets):
        return StepResult(np.float32(0), self.predict(inputs))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Forgets, "answers differently after its state was saved and loaded"),
        (Leans, "learns differently after its state was saved and loaded"),
        (Averages, "answers differently after its state was saved and loaded"),
        (Aliases, "changes a state after it was handed out"),
        (Counts, "has another rate after its state was saved and loaded"),
        (Draws, "answers differently in eval_step, in predict, or when asked again"),
        (Learns, "answers differently in eval_step"),
        (Climbs, "does not learn 16 samples: loss"),
        (Normalises, "answers a sample differently alone than in a batch"),
        (Trusts, "takes weight in the shape of another model; that is a ConfigError"),
        (Lies, "exports what predicts differently"),
        (Idle, "exports without writing a file"),
        (Answers, "expected a StepResult with a loss that is a float"),
    ],
)
def test_the_kit_names_the_promise_that_a_learner_breaks(broken, message):
    with pytest.raises(ConformanceError, match=f"{broken.__name__}: .*{message}"):
        check_learner(broken, specs=[TABLE])


def test_a_learner_that_keeps_them_all_conforms():
    check_learner(Right, specs=[TABLE])


def test_a_learner_that_refuses_all_data_does_not_conform():
    with pytest.raises(ConformanceError, match="accepts none of the specs: learner=numpy_linear needs values"):
        check_learner(NumpyLinear, specs=example_specs()[:2])
