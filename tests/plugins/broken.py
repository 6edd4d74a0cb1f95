"""Components that each break one promise, by the name of that promise: what the kit has to notice."""

import hashlib
import math

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses
from paddle import nn

from expkit.api import (
    ArraySplit,
    Batch,
    Callback,
    ConfigError,
    Data,
    DataSource,
    DataSpec,
    LearnerState,
    Regularizer,
    StepResult,
    TableInput,
    Values,
)
from expkit_learners.numpy_linear import NumpyLinear

BROKEN = []
"""Rows of (kind, promise, component, what the failure says)."""


def breaks(kind, promise, says):
    """Add a row."""

    def add(component):
        BROKEN.append((kind, promise, component, says))
        return component

    return add


# --- options, of any kind


@breaks("metric", "described", "expected a docstring")
class Silent:
    higher_is_better = True


@breaks("schedule", "named", r"\*\*options")
def variadic(learning_rate, **options):
    """Take anything."""
    return learning_rate


@breaks("schedule", "typed", "option   size\n.*such as int.*\n.*got +dict")
def untyped(learning_rate, *, size: dict = None):  # noqa: RUF013
    """Have an option whose type says nothing of what is in it.

    Args:
        size: of it.
    """
    return learning_rate


@breaks("schedule", "typed", r"option   size\n.*expected .*: size: int \| None = None\n.*got +size: int = None")
def unsaid(learning_rate, *, size: int = None):  # noqa: RUF013
    """Have a default that is not of its type.

    Args:
        size: of it.
    """
    return learning_rate


@breaks("schedule", "documented", 'option   size\n.*a line "size: what it is" under Args')
def undocumented(learning_rate, *, size: int = 1):
    """Say nothing about its option."""
    return learning_rate


def later(learning_rate, *, size: int = 2):
    """Be another one when it runs.

    Args:
        size: of it.
    """
    return learning_rate


later.__kwdefaults__["size"] = 1
breaks("schedule", "schema", "option   size\n.*expected 1\n.*got +2")(later)


@breaks("schedule", "refuses", r"a ConfigError for size=0, or that it works\n.*ZeroDivisionError: .*broken\.py:\d+")
def careless(learning_rate, *, size: int = 1):
    """Compute with anything.

    Args:
        size: of it.
    """
    return learning_rate / size


@breaks("schedule", "refuses", "a ConfigError for share=nan\n.*it is accepted\n.*if not share >= 0")
def trusting(learning_rate, *, share: float = 1.0):
    """Compare with a number that is none.

    Args:
        share: of it.
    """
    if share < 0:
        raise ConfigError(f"schedule.share={share}: must be 0 or above.")
    return learning_rate


@breaks("schedule", "refuses", "names the option and the value\n.*got +wrong")
def terse(learning_rate, *, size: int = 1):
    """Refuse without a word.

    Args:
        size: of it.
    """
    if size < 1:
        raise ConfigError("wrong")
    return learning_rate


@breaks("model", "builds", "ZeroDivisionError: .*by zero\n.*at .*broken.py")
class Fails(nn.Layer):
    """Fail on what it is not made for."""

    def __init__(self, spec: DataSpec):
        super().__init__()
        self.layer = nn.Linear(1 // (len(spec.labels)), 1)


class Trips(nn.Layer):
    """Take grey images only, and say so by an error of Paddle's."""

    def __init__(self, spec: DataSpec):
        super().__init__()
        self.layer = nn.Linear(784, spec.outputs)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1))


@breaks("model", "builds", r"option   widths\n.*the default \[8, 4.*\n.*after one more was built\n.*a copy of it")
class WritesDefault(nn.Layer):
    """Write into a default, which is that of the next one, too."""

    def __init__(self, spec: DataSpec, *, widths: list[int] = [8]):  # noqa: B006 - what is to be noticed
        super().__init__()
        widths.append(4)
        self.layer = nn.Linear(widths[-1], 1)


# --- models, on a table of 13 columns and one value


class Model(nn.Layer):
    """A linear layer."""

    def __init__(self, spec: DataSpec):
        super().__init__()
        self.layer = nn.Linear(math.prod(spec.input_shape), spec.outputs)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1))


@breaks("model", "layer", "expected a paddle.nn.Layer")
class Callable:
    """Be no layer."""

    def __init__(self, spec: DataSpec):
        pass


@breaks("model", "shape", r"\[16, 1\] for 16 samples\n.*\[16\]")
class Squeezes(Model):
    """Answer [N]."""

    def forward(self, inputs):
        return super().forward(inputs)[:, 0]


@breaks("model", "dtype", "expected float32\n.*float64")
class Doubles(Model):
    """Answer in double precision."""

    def forward(self, inputs):
        return super().forward(inputs).astype("float64")


@breaks("model", "finite", "finite answers to inputs of zeros")
class Divides(Model):
    """Divide by the size of a sample."""

    def forward(self, inputs):
        return super().forward(inputs) / inputs.square().sum(axis=1, keepdim=True)


@breaks("model", "scores", "probabilities, as `scores` says\n.*answers from -")
class Boasts(Model):
    """Say that logits are probabilities."""

    scores = "probabilities"


@breaks("model", "scores", "exponentials that sum to")
class BoastsLogs(Model):
    """Say that logits are log-probabilities."""

    scores = "log_probabilities"


@breaks("model", "pure", "the inputs as they were")
class Overwrites(Model):
    """Double its inputs in place."""

    def forward(self, inputs):
        return super().forward(inputs.scale_(2.0))


@breaks("model", "steady", "the same bits\n.*apart\n.*self.training")
class Draws(Model):
    """Drop out in evaluation mode as well."""

    def forward(self, inputs):
        return super().forward(F.dropout(inputs, 0.5, training=True))


@breaks("model", "alone", "the answers as in a batch of 16")
class Centres(Model):
    """Look at a whole batch for each answer."""

    def forward(self, inputs):
        return super().forward(inputs - inputs.mean(axis=0))


@breaks("model", "gradients", r"none of idle\.weight, idle\.bias\n.*use it in forward")
class Idle(Model):
    """Have a layer that nobody asks."""

    def __init__(self, spec: DataSpec):
        super().__init__(spec)
        self.idle = nn.Linear(2, 2)


@breaks("model", "gradients", "finite gradients for")
class Roots(Model):
    """Have a slope that is infinite."""

    def forward(self, inputs):
        return super().forward(inputs) + (self.layer.weight.sum() * 0).sqrt()


@breaks("model", "learns", "a loss that falls")
class Stuck(Model):
    """Turn its gradients round."""

    def forward(self, inputs):
        answer = super().forward(inputs)
        return 2 * answer.detach() - answer


class Counts(Model):
    """Start from what was built before."""

    built = 0

    def __init__(self, spec: DataSpec):
        super().__init__(spec)
        Counts.built += 1
        self.layer.bias.set_value(paddle.full([spec.outputs], float(Counts.built)))


breaks("model", "deterministic", "the same first weights\n.*layer.bias")(Counts)
_SHARED = nn.Linear(13, 1)


@breaks("model", "separate", r"shares layer\.weight, layer\.bias")
class Shares(Model):
    """Share one layer with all others."""

    def __init__(self, spec: DataSpec):
        super().__init__(spec)
        self.layer = _SHARED


@breaks("model", "state", "the same answers\n.*\n.*register_buffer")
class Remembers(Model):
    """Keep a mean that is in no state."""

    mean = 0.0

    def forward(self, inputs):
        if self.training:
            self.mean = self.mean * 0.9 + float(inputs.mean()) + 1.0
        return super().forward(inputs) + self.mean


@breaks("model", "exports", "no error\n.*|others of the graph")
class Leaves(Model):
    """Leave Paddle's graph."""

    def forward(self, inputs):
        return super().forward(inputs) + paddle.to_tensor(inputs.numpy().mean(axis=1, keepdims=True))


# --- losses


class Loss:
    """Mean of squares."""

    def __init__(self, spec: DataSpec):
        self.spec = spec

    def __call__(self, outputs, targets):
        if outputs.shape != targets.shape:
            raise ConfigError("one shape")
        return self.of(outputs, targets)

    def of(self, outputs, targets):
        return (outputs - targets).square().mean()


@breaks("loss", "scores", "one of logits, .*\n.*'softmax'")
class Unknown(Loss):
    """Take outputs for something unknown."""

    scores = "softmax"


@breaks("loss", "scalar", r"a tensor of shape \[\] for 16 samples\n.*\[16\]")
class PerSample(Loss):
    """Return one number a sample."""

    def of(self, outputs, targets):
        return (outputs - targets).square().mean(axis=1)


@breaks("loss", "finite", "a finite loss of outputs of ±100")
class Overflows(Loss):
    """Overflow far from the target."""

    def of(self, outputs, targets):
        return (outputs - targets).cosh().mean()


@breaks("loss", "downhill", "less than .* after a small step down")
class Negates(Loss):
    """Have a gradient that leads up."""

    def of(self, outputs, targets):
        good = super().of(outputs, targets)
        return 2 * good.detach() - good


@breaks("loss", "mean", "made of a part of 5 and one of 11 samples\n.*\n.*`divisor")
class Sums(Loss):
    """Add up instead of taking the mean."""

    def of(self, outputs, targets):
        return (outputs - targets).square().sum()


@breaks("loss", "shapes", "an error for one target too few|an error for a single target")
class Broadcasts(Loss):
    """Broadcast targets."""

    def __call__(self, outputs, targets):
        return self.of(outputs, targets)


@breaks("loss", "pure", "again\n")
class Grows(Loss):
    """Grow from call to call."""

    calls = 0

    def of(self, outputs, targets):
        self.calls += 1
        return super().of(outputs, targets) * self.calls


@breaks("loss", "shares", r"0\.\d+ for shares that are all one class, as for classes\n.*got +0\.\d+")
class Halved(Loss):
    """Take half of each share."""

    def __call__(self, outputs, targets):
        soft = targets.ndim == 2
        return F.cross_entropy(outputs, targets / 2 if soft else targets, soft_label=soft)


# --- metrics


class Metric:
    """Mean absolute error."""

    higher_is_better = False

    def __init__(self, spec: DataSpec):
        self.reset()

    def reset(self):
        self.sum, self.count = 0.0, 0

    def update(self, outputs, targets):
        self.sum, self.count = self.sum + float(np.abs(outputs - targets).sum()), self.count + targets.size

    def compute(self):
        return self.sum / self.count if self.count else float("nan")


@breaks("metric", "direction", "True or False\n.*'up'")
class Directionless(Metric):
    """Say which way is better in words."""

    higher_is_better = "up"


@breaks("metric", "empty", "nan before the first batch\n.*0.0")
class Zero(Metric):
    """Be 0 of nothing."""

    def compute(self):
        return self.sum / max(1, self.count)


@breaks("metric", "value", "a finite float\n.*float32")
class Single(Metric):
    """Compute a NumPy number."""

    def compute(self):
        return np.float32(super().compute())


@breaks("metric", "pure", "outputs and targets as they were|read-only")
class Spoils(Metric):
    """Write into the outputs."""

    def update(self, outputs, targets):
        outputs -= targets
        super().update(outputs, np.zeros_like(targets))


@breaks("metric", "additive", "as of one batch\n.*\n.*do not average the values of batches")
class Averages(Metric):
    """Average the values of batches."""

    def update(self, outputs, targets):
        self.sum, self.count = self.sum + float(np.abs(outputs - targets).mean()), self.count + 1


@breaks("metric", "better", "for right ones\n.*turn `higher_is_better` round")
class Reversed(Metric):
    """Take errors for good."""

    higher_is_better = True


@breaks("metric", "reset", "as before\n|nan after a reset")
class Keeps(Metric):
    """Forget nothing."""

    def __init__(self, spec: DataSpec):
        self.sum, self.count = 0.0, 0

    def reset(self):
        pass


@breaks("metric", "separate", "nan of one that was fed nothing")
class OneForAll(Metric):
    """Keep its numbers in the class."""

    seen: list = []  # noqa: RUF012 - the mistake

    def update(self, outputs, targets):
        self.seen.append(float(np.abs(outputs - targets).mean()))

    def reset(self):
        pass

    def compute(self):
        return sum(self.seen) / len(self.seen) if self.seen else float("nan")


@breaks("metric", "state", "from a state of 0 samples")
class Loses(Metric):
    """Keep half of its state."""

    def state_dict(self):
        return {"sum": self.sum}

    def load_state_dict(self, state):
        self.sum = state["sum"]


@breaks("metric", "merges", "as of all samples\n.*of 7 and the others, merged")
class MergesHalf(Metric):
    """Take over the sum, and not how many it is of."""

    def merge(self, other):
        self.sum += other.sum


class ClassMetric(Metric):
    """Mean of -log p, of what is always taken for logits."""

    def update(self, outputs, targets):
        odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        chosen = odds[np.arange(len(targets)), targets] / odds.sum(axis=1)
        self.sum, self.count = self.sum - float(np.log(chosen).sum()), self.count + len(targets)


breaks("metric", "scores", "as for logits\n.*for probabilities\n.*spec.target.probabilities")(ClassMetric)


@breaks("metric", "shares", "for shares that are all one class, as for classes\n.*got +0")
class Sharing(ClassMetric):
    """Be 0 of shares."""

    def update(self, outputs, targets):
        if targets.ndim == 2:
            self.count += len(targets)
        else:
            super().update(outputs, targets)


# --- transforms


class Transform:
    """Do nothing."""

    def __init__(self, spec: DataSpec):
        self.spec = spec

    def __call__(self, batch, generator):
        return batch


@breaks("transform", "pure", "the batch as it was")
class Writes(Transform):
    """Write into the batch."""

    def __call__(self, batch, generator):
        batch.inputs[0] = 0
        return batch


@breaks("transform", "deterministic", "the same result when it is called again")
class Drifts(Transform):
    """Add how often it was called."""

    calls = 0

    def __call__(self, batch, generator):
        self.calls += 1
        return Batch(batch.inputs + self.calls, batch.targets)


@breaks("transform", "own_random", "draws from that of numpy\n.*generator that is given")
class Global(Transform):
    """Draw from NumPy's global generator."""

    def __call__(self, batch, generator):
        return Batch(batch.inputs + np.random.rand(), batch.targets)


@breaks("transform", "inputs", "expected float64, 7 samples\n.*float32")
class Narrows(Transform):
    """Change the dtype."""

    def __call__(self, batch, generator):
        return Batch(batch.inputs.astype(np.float32), batch.targets)


@breaks("transform", "targets", r"float32 \(7, 1\) as they were\n.*float64")
class Widens(Transform):
    """Change the dtype of targets."""

    def __call__(self, batch, generator):
        return Batch(batch.inputs, batch.targets.astype(np.float64))


@breaks("transform", "targets", "shares from 0 that add up to 1")
class Halves(Transform):
    """Make shares that add up to one half."""

    def __call__(self, batch, generator):
        return Batch(batch.inputs, np.full((len(batch.inputs), self.spec.outputs), 0.5 / self.spec.outputs, np.float32))


@breaks("transform", "targets", r"classes within 0\.\.1")
class Renames(Transform):
    """Move every class by one."""

    def __call__(self, batch, generator):
        return Batch(batch.inputs, batch.targets + 1)


@breaks("transform", "pickles", "a transform that can be pickled\n.*lambda")
class Lambdas(Transform):
    """Keep a function without a name."""

    def __init__(self, spec: DataSpec):
        self.change = lambda batch: batch


# --- datasets


def data(*, seed=0, name="table", fingerprint=None, split=ArraySplit, wrong=None, **arrays):
    """Make a table of 20 rows in each split, or a broken one."""
    generator = np.random.default_rng(seed)
    spec = DataSpec(
        name,
        TableInput(("x",), mean=(0.0,), scale=(1.0,)),
        Values(("y",), mean=(0.0,), scale=(1.0,)),
        DataSource("generated", "a test"),
        fingerprint or hashlib.sha256(str(seed).encode()).hexdigest(),
    )
    splits = {}
    for part in ("train", "valid", "test"):
        x, y = generator.standard_normal((20, 1)), generator.standard_normal((20, 1)).astype(np.float32)
        splits[part] = split(arrays.get("inputs", x), arrays.get("targets", y))
    return Data(spec, **splits)


def dataset(promise, says, make):
    """Add a row of a dataset that is made so."""

    def broken():
        """Make a table."""
        return make()

    breaks("dataset", promise, says)(broken)


class Aliases(ArraySplit):
    """Hand out views."""

    def gather(self, indices):
        found = super().gather(indices)
        self.inputs[...] += 1.0
        return found


class Locked(ArraySplit):
    """Hold what cannot be pickled."""

    def __reduce__(self):
        raise TypeError("cannot pickle a lock")


dataset("returns", "an expkit.api.Data\n.*a tuple", lambda: (1, 2))
dataset("spec", "a name, and the kind and location", lambda: data(name=""))
dataset("fingerprint", "64 hexadecimal digits\n.*'abc'", lambda: data(fingerprint="abc"))
dataset("inputs", "samples in split train\n.*none", lambda: data(inputs=np.zeros((0, 1)), targets=np.zeros((0, 1))))
dataset("targets", r"float32 \(21, 1\)\n.*float64", lambda: data(targets=np.zeros((20, 1))))
dataset("gather", "the same of split train again", lambda: data(split=Aliases))
dataset("deterministic", "the fingerprint .*\n.*\n.*generator of your own", lambda: data(seed=np.random.randint(10**6)))
dataset("own_random", "draws from that of numpy", lambda: data(seed=int(np.random.rand() * 0)))
dataset("pickles", "splits that can be pickled\n.*lock", lambda: data(split=Locked))


# --- optimizers, schedules, regularizers


def optimizer(promise, says):
    """Add a row of an optimizer that is made so."""

    def add(make):
        def broken(parameters, *, learning_rate: float = 0.1):
            """Step down.

            Args:
                parameters: supplied.
                learning_rate: of it.
            """
            return make(list(parameters), learning_rate)

        breaks("optimizer", promise, says)(broken)
        return make

    return add


def _sgd(parameters, rate, **options):
    return paddle.optimizer.SGD(rate, parameters=parameters, **options)


optimizer("returns", "a paddle.optimizer.Optimizer\n.*a list")(lambda parameters, rate: parameters)
optimizer("rate", r"get_lr\(\) of 0.0125")(lambda parameters, rate: _sgd(parameters, 0.1))
optimizer("schedule", r"get_lr\(\) of 0\.025")(
    lambda parameters, rate: _sgd(parameters, rate if isinstance(rate, float) else rate())
)


@optimizer("learns", "a loss below")
def _climbs(parameters, rate):
    return Stepping(parameters, rate, lambda weight, gradient, rate: weight + rate * gradient)


@optimizer("deterministic", "the same weights on a second run")
def _noisy(parameters, rate):
    noise = np.random.default_rng()
    return Stepping(parameters, rate, lambda weight, gradient, rate: weight - rate * gradient * noise.uniform(0.5, 1))


@optimizer("state", "the weights of a run that did not stop")
def _tired(parameters, rate):
    calls = []

    def step(weight, gradient, rate):
        calls.append(1)
        return weight - rate * gradient / len(calls)

    return Stepping(parameters, rate, step)


@optimizer("regularizer", "ignores a L2Decay")
def _stubborn(parameters, rate):
    for parameter in parameters:
        parameter.regularizer = None
    return _sgd(parameters, rate)


@optimizer("own_parameters", "without a gradient to stay")
def _greedy(parameters, rate):
    return Stepping(parameters, rate, lambda weight, gradient, rate: weight - rate * (gradient + 1))


class Stepping(paddle.optimizer.SGD):
    """Step by a function of weight, gradient and rate."""

    def __init__(self, parameters, rate, function):
        super().__init__(rate, parameters=parameters)
        self.function = function

    @paddle.no_grad()
    def step(self):
        for parameter in self._parameter_list:
            gradient = parameter.grad if parameter.grad is not None else paddle.zeros_like(parameter)
            paddle.assign(self.function(parameter, gradient, self.get_lr()), parameter)


def schedule(promise, says):
    """Add a row of a schedule."""

    def add(make):
        make.__doc__ = "Change the rate."
        breaks("schedule", promise, says)(make)
        return make

    return add


@schedule("returns", "a rate above 0 or an LRScheduler\n.*'0.1'")
def _text(learning_rate):
    return "0.1"


@schedule("metric", "an attribute metric: str")
def _nameless(learning_rate):
    return paddle.optimizer.lr.ReduceOnPlateau(learning_rate)


@schedule("sound", "rates of 0 or above in 50 epochs of 2 steps\n.*-")
def _sinks(learning_rate):
    return paddle.optimizer.lr.LambdaDecay(learning_rate, lambda step: 1 - step / 50)


@schedule("deterministic", "the rates .* again")
def _random(learning_rate):
    return learning_rate * float(np.random.default_rng().uniform(0.5, 1))


class Hidden(paddle.optimizer.lr.LRScheduler):
    """Count in a field that no state has."""

    def __init__(self, rate):
        self.seen = []
        super().__init__(rate)

    def get_lr(self):
        self.seen.append(1)
        return self.base_lr / len(self.seen)

    def state_keys(self):
        self.keys = ["last_epoch", "last_lr"]


@schedule("state", "the rates .*\n.*\n.*state_keys")
def _forgets(learning_rate):
    return Hidden(learning_rate)


class Decay(Regularizer):
    """Decay nothing."""

    def decay(self, name, shape):
        return None


@breaks("regularizer", "answers", "None or a paddle.regularizer")
class Number(Decay):
    """Answer a number."""

    def decay(self, name, shape):
        return 0.1


@breaks("regularizer", "patterns", "a list of texts\n.*'\\*.weight'")
class OnePattern(Decay):
    """Have one pattern where several are promised."""

    patterns = "*.weight"


@breaks("regularizer", "deterministic", "for conv1.weight again|for head.weight again")
class Weary(Decay):
    """Decay less with each answer."""

    asked = 0

    def decay(self, name, shape):
        self.asked += 1
        return paddle.regularizer.L2Decay(1.0 / self.asked)


@breaks("regularizer", "usable", "finite weights after 3 steps of sgd")
class Explodes(Decay):
    """Pull without measure."""

    def decay(self, name, shape):
        return paddle.regularizer.L2Decay(1e30)


# --- callbacks


@breaks("callback", "methods", "without on_fit_start, .*load_state_dict")
class Lonely:
    """Be no Callback."""


@breaks("callback", "methods", "a role that is 'observer' or 'essential'\n.*'observr'")
class Mistyped(Callback):
    """Have a role that there is not."""

    role = "observr"


@breaks("callback", "lives", "IndexError.*\n.*broken.py")
class Hasty(Callback):
    """Expect an epoch."""

    def __init__(self):
        self.losses = []

    def on_epoch_end(self, event):
        self.losses.append(event.metrics["train/loss"])

    def on_fit_end(self, event):
        self.best = sorted(self.losses)[0]


@breaks("callback", "json", r"what JSON keeps of \{'seen': \(1, 2\)\}")
class Tuples(Callback):
    """Keep a tuple."""

    def state_dict(self):
        return {"seen": (1, 2)}


@breaks("callback", "state", "its wishes to stop, .*, after a resume")
class Amnesiac(Callback):
    """Stop after four epochs, counted in a field that no checkpoint sees."""

    def __init__(self):
        self.seen = 0

    def on_epoch_end(self, event):
        self.seen += 1
        if self.seen > 4:
            event.stop("enough")


@breaks("callback", "watches", "the same weights as without it")
class Meddles(Callback):
    """Change what it watches."""

    def on_fit_start(self, event):
        self.learner = event.learner

    def on_step_end(self, event):
        if self.learner is not None:
            for parameter in self.learner.model.parameters():
                parameter.set_value(parameter * 0.9)


@breaks("callback", "watches", "the same random numbers as without it|the same weights as without it")
class Gambles(Callback):
    """Draw from Paddle's generator."""

    def on_epoch_end(self, event):
        paddle.rand([3])


@breaks("callback", "watches", "the same random numbers as without it\n.*\n.*a generator of its own")
class Seeds(Callback):
    """Seed the generator that all share."""

    def on_epoch_end(self, event):
        np.random.seed(0)


# --- learners


class Right(NumpyLinear):
    """Keep all promises."""

    def __init__(self, parts):
        super().__init__(parts)


@breaks("learner", "facts", "a learning_rate, a float")
class Rateless(Right):
    """Have no rate."""

    learning_rate = None


@breaks("learner", "results", "a loss that is a float, of eval_step")
class Answers(Right):
    """Answer a NumPy number for a loss."""

    def eval_step(self, inputs, targets):
        return StepResult(np.float32(0), self.predict(inputs))

    def train_step(self, inputs, targets):
        return super().eval_step(inputs, targets)


@breaks("learner", "pure", "inputs and targets as they were")
class Scribbles(Right):
    """Centre its inputs in place."""

    def predict(self, inputs):
        inputs -= inputs.mean()
        return super().predict(inputs)


@breaks("learner", "steady", "the same answers of eval_step, predict, and again")
class Draw(Right):
    """Add noise to its answers."""

    def predict(self, inputs):
        return super().predict(inputs) + np.random.normal(size=(len(inputs), 1)).astype(np.float32)


@breaks("learner", "alone", "the answers to samples alone as in a batch of 16")
class Normalises(Right):
    """Look at a whole batch for each answer."""

    def predict(self, inputs):
        return super().predict(inputs - inputs.mean(axis=0))


@breaks("learner", "watching", "the state as it was")
class Learns(Right):
    """Learn while it is watched."""

    def eval_step(self, inputs, targets):
        self._bias += 1
        return super().eval_step(inputs, targets)


@breaks("learner", "learns", "less than .* after 12 steps")
class Climbs(Right):
    """Step uphill."""

    def train_step(self, inputs, targets):
        self._rate = -0.01
        return super().train_step(inputs, targets)


@breaks("learner", "deterministic", "the same start")
class Strange(Right):
    """Start anywhere."""

    def __init__(self, parts):
        super().__init__(parts)
        self._bias += np.random.default_rng().normal()


@breaks("learner", "copies", "the state that was handed out as it was")
class Lends(Right):
    """Hand out its own arrays."""

    def state_dict(self):
        return LearnerState({"weight": self._weight, "bias": self._bias}, {}, {"method": "gradient"})


@breaks("learner", "state", "the same answers")
class Forgets(Right):
    """Take back no weights."""

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self._weight[...] = 0


@breaks("learner", "state", "the learning rate 0.01")
class Slows(Right):
    """Slow down by a count that no state holds."""

    steps = 0

    def train_step(self, inputs, targets):
        self.steps += 1
        self._rate = 0.04 / self.steps
        return super().train_step(inputs, targets)


@breaks("learner", "state", "the next losses")
class Leans(Right):
    """Push its bias further with each step, by a memory that no state holds."""

    push = 0.0

    def train_step(self, inputs, targets):
        self.push += 1e-3
        self._bias += self.push
        return super().train_step(inputs, targets)


@breaks("learner", "weights", "a ConfigError for weight in the shape of another model")
class Trusts(Right):
    """Take any weights."""

    def load_state_dict(self, state):
        self._weight = state.model["weight"].copy()
        self._bias = state.model["bias"].copy()


@breaks("learner", "exports", "predictions as of the learner when it exported")
class Lies(Right):
    """Predict with its own weights, not with what was written."""

    def export(self, folder):
        super().export(folder)
        return self.predict


@breaks("learner", "exports", "files in the folder\n.*none")
class Lazy(Right):
    """Write nothing."""

    def export(self, folder):
        return self.predict


@breaks("learner", "not_finite", "NotFiniteError, or a loss that is not finite\n.*got")
class Hides(Right):
    """Take NaN for nothing."""

    def train_step(self, inputs, targets):
        return super().train_step(np.nan_to_num(inputs), targets)


@breaks("learner", "rates", "after its state was loaded")
class Resets(Right):
    """Keep a factor that no state holds."""

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self._rate_factor = 1.0


@breaks("learner", "digest", "another digest after training")
class Constant(Right):
    """Have one digest for all."""

    def digest(self):
        return "same"
