from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import paddle
import pytest
from paddle import nn
from small_learner import OPTIMIZERS, Net, Parts, batch, bits, falling, learner, train

from expkit.api import ConfigError, ExportError, LearnerState, TableInput
from expkit.checkpoint import CheckpointFolder, Snapshot
from expkit.testing import example_specs
from expkit_learners.paddle_learner import PaddleLearner
from expkit_losses.cross_entropy import CrossEntropy
from expkit_losses.squared_error import SquaredError
from expkit_regularizers.l2 import L2
from expkit_regularizers.per_pattern import PerPattern
from expkit_schedules.reduce_on_plateau import reduce_on_plateau


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_a_saved_state_goes_on_bit_identically_in_a_new_learner(tmp_path, name, options):
    first = learner(name, **options)
    train(first, range(3))
    folder = CheckpointFolder(tmp_path)
    folder.save(Snapshot(first.state_dict(), {"epoch": 1, "step": 3}), best=True)
    wanted = train(first, range(3, 7))
    nn.Sequential(nn.Conv2D(1, 1, 1), nn.Linear(2, 2), nn.BatchNorm2D(2))  # shifts Paddle's global names
    second = learner(name, **options)
    train(second, range(20, 22))  # it had a life before
    second.load_state_dict(folder.load("last").learner)
    assert train(second, range(3, 7)) == wanted
    assert bits(second.state_dict()) == bits(first.state_dict())
    assert second.learning_rate == first.learning_rate < 0.05


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
@pytest.mark.parametrize("schedule", [falling, None])
def test_a_learner_can_be_taken_back_to_its_very_beginning(name, options, schedule):
    trained = learner(name, schedule=schedule, **options)
    start = trained.state_dict()
    wanted = train(trained, range(4))
    trained.load_state_dict(start)
    assert bits(trained.state_dict()) == bits(start)
    assert train(trained, range(4)) == wanted


@pytest.mark.parametrize(
    ("answer", "got"), [(lambda o, t: o[:, 0], r"a tensor \[\d+\]"), (lambda o, t: float(o.sum()), "a float")]
)
def test_a_loss_that_is_no_scalar_is_named(monkeypatch, answer, got):
    trained = learner("sgd")
    monkeypatch.setattr(trained, "_loss", answer)
    with pytest.raises(ConfigError, match=f"^loss .* returns {got}; it has to be a scalar tensor"):
        train(trained, range(1))


def test_rprop_goes_on_with_its_own_rates_after_a_resume():
    first, second = learner("rprop", schedule=None), learner("rprop", schedule=None)
    train(first, range(3))
    state = first.state_dict()
    rates = state.optimizer["head.weight/learning_rates_0"]
    assert rates.min() < 0.05 < rates.max()
    train(second, range(20, 22))
    second.load_state_dict(state)
    assert train(second, range(3, 7)) == train(first, range(3, 7))
    assert bits(second.state_dict()) == bits(first.state_dict())


def test_equal_seeds_give_equal_learners_and_others_do_not():
    one, same = learner("adam"), learner("adam")
    assert train(one, range(3)) == train(same, range(3))
    assert bits(one.state_dict()) == bits(same.state_dict())
    paddle.seed(1)
    assert bits(PaddleLearner(Parts("adam")).state_dict())[0] != bits(learner("adam").state_dict())[0]


@pytest.mark.parametrize("regularizer", [None, L2(coefficient=0.01), PerPattern(l2={"head.*": 0.1})])
@pytest.mark.parametrize("schedule", [falling, None])
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_tuning_changes_no_bit_of_training(name, options, schedule, regularizer):
    if regularizer is not None and name in ("adamw", "lamb"):
        regularizer, options = None, {**options, "weight_decay": 0.1, "clip_norm": 0.5}
    options = {**options, "schedule": schedule, "regularizer": regularizer}
    tuned, stock = learner(name, tune=True, **options), learner(name, tune=False, **options)
    assert train(tuned, range(4)) == train(stock, range(4))
    assert bits(tuned.state_dict()) == bits(stock.state_dict())


class Growing(nn.Layer):
    """Uses its second layer from the third training step on, and not in the fifth."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.steps = nn.Linear(784, 10), nn.Linear(784, 10), 0

    def forward(self, x):
        x = x.flatten(1)
        self.steps += self.training
        return self.first(x) + (self.second(x) if self.steps in (3, 4, 6) else 0.0)


@pytest.mark.parametrize(
    ("name", "options"),
    [("adam", {"fused": False}), ("momentum", {}), ("sgd", {"clip_norm": 0.1}), ("sgd", {"schedule": None})],
)
def test_tuning_changes_no_bit_where_the_weights_in_use_change_from_step_to_step(name, options):
    tuned, stock = (learner(name, model=Growing, tune=tune, **options) for tune in (True, False))
    assert train(tuned, range(7)) == train(stock, range(7))
    assert bits(tuned.state_dict()) == bits(stock.state_dict())


@pytest.mark.parametrize(("name", "options"), [("sgd", {}), ("sgd", {"clip_norm": 0.5}), ("adam", {"fused": True})])
def test_a_step_is_that_of_a_script_by_hand_to_the_last_bit(name, options):
    trained = learner(name, schedule=None, **options)
    paddle.seed(0)
    model = Net()
    optimizer = Parts(name, schedule=None, **options).optimizer(model.parameters())
    model.train()
    for number in range(4):
        inputs, targets = batch(number)
        paddle.seed(number)  # dropout draws the same in both
        outputs = model(paddle.to_tensor(inputs))
        value = nn.functional.cross_entropy(outputs, paddle.to_tensor(targets))
        value.backward()
        optimizer.step()
        optimizer.clear_grad()
        paddle.seed(number)
        result = trained.train_step(inputs, targets)
        assert (result.loss, result.outputs.tobytes()) == (float(value), outputs.numpy().tobytes())
    weights = trained.state_dict().model
    assert {k: v.tobytes() for k, v in weights.items()} == {
        k: v.numpy().tobytes() for k, v in model.state_dict().items()
    }


def test_a_rate_that_is_scaled_down_is_that_of_the_very_next_step():
    one, other = (learner(schedule=None, tune=tune) for tune in (True, False))
    for trained in (one, other):
        train(trained, range(2))
        trained.scale_learning_rate(0.5)
        train(trained, range(2, 4))
    assert bits(one.state_dict()) == bits(other.state_dict())


@pytest.mark.parametrize("change", ["rate of one", "pull on one", "clipping"])
@pytest.mark.parametrize(("name", "options"), [("sgd", {}), ("adam", {"fused": True}), ("adam", {"fused": False})])
def test_what_a_callback_changes_in_the_optimizer_counts_from_the_next_step(name, options, change):
    one, other = (learner(name, tune=tune, **options) for tune in (True, False))
    for trained in (one, other):
        train(trained, range(3))
        weight = dict(trained._model.named_parameters())["head.weight"]
        if change == "rate of one":
            weight.optimize_attr["learning_rate"] = 0.1
        elif change == "pull on one":
            weight.regularizer = paddle.regularizer.L2Decay(0.5)
        else:
            trained._optimizer._grad_clip = nn.ClipGradByGlobalNorm(0.01)
        train(trained, range(3, 6))
    assert bits(one.state_dict()) == bits(other.state_dict())


def test_a_batch_is_copied_whoever_keeps_it():
    class Keeping(Net):
        def forward(self, x):
            self.kept = x
            return super().forward(x)

    trained = learner(model=Keeping)
    inputs, targets = batch(0)
    before = inputs.copy()
    trained.train_step(inputs, targets)
    inputs[:] = 0
    np.testing.assert_array_equal(trained.model.kept.numpy(), before)


def test_an_optimizer_of_ones_own_is_asked_to_step_as_it_wants():
    class Halving(paddle.optimizer.SGD):
        def step(self):
            for parameter in self._parameter_list:
                parameter.set_value(parameter * 0.5)

    class Own(Parts):
        def optimizer(self, parameters):
            return Halving(0.1, parameters=list(parameters))

    paddle.seed(0)
    own = PaddleLearner(Own())
    before = own.state_dict().model["head.weight"]
    train(own, range(3))
    np.testing.assert_array_equal(own.state_dict().model["head.weight"], before / 8)


def test_a_state_is_a_copy_that_later_steps_do_not_change():
    trained = learner("adam")
    train(trained, range(2))
    state = trained.state_dict()
    before = bits(state)
    train(trained, range(2, 5))
    trained.eval_step(*batch(9))
    assert bits(state) == before
    assert bits(trained.state_dict()) != before
    trained.load_state_dict(state)
    train(trained, range(2))
    assert bits(state) == before


def test_a_state_names_weights_by_structure_and_not_by_paddles_counters():
    trained = learner("momentum")
    train(trained, range(1))
    state = trained.state_dict()
    weights = {"conv.weight", "conv.bias", "norm.weight", "norm.bias", "head.weight", "head.bias"}
    assert set(state.model) == weights | {"norm._mean", "norm._variance"}
    assert set(state.optimizer) == {f"{name}/velocity_0" for name in weights}
    assert set(state.extra) == {"optimizer", "schedule"}


def test_models_that_are_built_beside_it_shift_no_name_of_a_state():
    alone = learner("adam")
    train(alone, range(4))
    paddle.nn.Linear(3, 3)  # counts up what Paddle names its parameters by
    among_others = learner("adam")
    train(among_others, range(2))
    other = learner("adam")
    train(other, range(1))
    state = among_others.state_dict()
    assert state.optimizer.keys() == alone.state_dict().optimizer.keys()
    goes_on = learner("adam")
    goes_on.load_state_dict(state)
    train(goes_on, range(2, 4))
    assert bits(goes_on.state_dict()) == bits(alone.state_dict())


def test_a_state_without_optimizer_brings_the_weights_alone():
    trained = learner("momentum")
    train(trained, range(2))
    state = trained.state_dict()
    train(trained, range(2, 4))
    kept = trained.state_dict()
    trained.load_state_dict(LearnerState(state.model, {}))
    now = trained.state_dict()
    assert bits(LearnerState(now.model, {})) == bits(LearnerState(state.model, {}))
    assert bits(LearnerState({}, now.optimizer, now.extra)) == bits(LearnerState({}, kept.optimizer, kept.extra))


def test_a_state_of_another_model_is_refused_and_the_differences_are_named():
    trained, other = learner(), learner(model=lambda: Net(channels=4))
    before = bits(trained.state_dict())
    message = r"another model: conv.bias: \[4\] saved, \[3\] here; conv.weight: \[4, 1, 5, 5\] saved, .* and 3 more"
    with pytest.raises(ConfigError, match=message):
        trained.load_state_dict(other.state_dict())
    state = trained.state_dict()
    fewer = {name: array for name, array in state.model.items() if name != "head.bias"}
    with pytest.raises(ConfigError, match=r"another model: head.bias: nothing saved, \[10\] here\."):
        trained.load_state_dict(LearnerState(fewer, {}))
    assert bits(trained.state_dict()) == before


def test_a_state_of_another_optimizer_is_refused():
    trained = learner("adam")
    train(trained, range(1))
    with pytest.raises(ConfigError, match="the saved state is that of Adam, but the optimizer is Momentum"):
        learner("momentum").load_state_dict(trained.state_dict())


def test_the_rate_is_the_one_the_next_step_uses():
    trained = learner("sgd")
    rates = []
    for number in range(3):
        rates.append(trained.learning_rate)
        train(trained, [number])
    # From 0.05 to a tenth of it in ten steps: 0.0045 less each.
    assert rates == pytest.approx([0.05, 0.0455, 0.041])


def plateau():
    directions = {"valid/loss": False, "valid/accuracy": True}
    return reduce_on_plateau(0.05, directions, metric="valid/accuracy", factor=0.5, patience=0)


def test_a_rate_that_follows_a_metric_falls_between_epochs_only():
    trained = learner("sgd", schedule=plateau)
    rates = []
    for accuracy in [0.5, 0.5, 0.6, 0.6]:
        train(trained, range(2))
        trained.end_epoch({"valid/loss": 1.0, "valid/accuracy": accuracy})
        rates.append(trained.learning_rate)
    assert rates == [0.05, 0.025, 0.025, 0.0125]


def test_a_rate_that_follows_a_metric_remembers_its_best_value_after_a_resume(tmp_path):
    first, second = learner("sgd", schedule=plateau), learner("sgd", schedule=plateau)
    train(first, range(2))
    first.end_epoch({"valid/accuracy": 0.5})
    folder = CheckpointFolder(tmp_path)
    folder.save(Snapshot(first.state_dict(), {"epoch": 1, "step": 2}), best=True)
    second.load_state_dict(folder.load("last").learner)
    for trained in (first, second):
        trained.end_epoch({"valid/accuracy": 0.4})
    assert second.learning_rate == first.learning_rate == 0.025
    assert bits(second.state_dict()) == bits(first.state_dict())


def test_a_metric_that_was_not_measured_is_refused():
    with pytest.raises(ConfigError, match=r"schedule.metric='valid/accuracy' is not measured. Did you mean 'valid/acc"):
        learner("sgd", schedule=plateau).end_epoch({"valid/loss": 1.0, "valid/acc": 0.5})


def test_a_plateau_that_names_no_metric_is_refused():
    with pytest.raises(ConfigError, match="ReduceOnPlateau without an attribute `metric`"):
        learner("sgd", schedule=lambda: paddle.optimizer.lr.ReduceOnPlateau(0.1))


def test_the_end_of_an_epoch_is_nothing_to_a_rate_that_follows_the_steps():
    trained = learner("sgd")
    before = trained.learning_rate
    trained.end_epoch({"valid/loss": 1.0})
    assert trained.learning_rate == before


def test_a_step_of_plain_sgd_by_hand():
    class Scale(nn.Layer):
        def __init__(self):
            super().__init__()
            self.bias = self.create_parameter([10], default_initializer=nn.initializer.Constant(0.0))

        def forward(self, x):
            return paddle.zeros([x.shape[0], 10]) + self.bias

    trained = learner(model=Scale, schedule=None)
    result = trained.train_step(batch(0)[0], np.array([3] * 8))
    assert result.loss == pytest.approx(np.log(10), rel=1e-6)
    assert result.outputs.shape == (8, 10)
    # The gradient is softmax - one hot: 0.1 everywhere but 0.1 - 1 at class 3; the rate is 0.05.
    wanted = np.full(10, -0.005)
    wanted[3] = 0.045
    np.testing.assert_allclose(trained.state_dict().model["bias"], wanted, rtol=1e-5)


def test_evaluation_and_prediction_change_no_state():
    trained = learner("adam")
    train(trained, range(2))
    before = bits(trained.state_dict())
    inputs, targets = batch(0)
    first, second = trained.eval_step(inputs, targets), trained.eval_step(inputs, targets)
    assert first.loss == second.loss  # no dropout
    np.testing.assert_array_equal(first.outputs, trained.predict(inputs))
    assert bits(trained.state_dict()) == before


def test_trying_the_model_uses_no_random_number_and_moves_no_statistic():
    trained = learner()
    drawn = paddle.rand([1]).item()
    paddle.seed(0)
    Net()
    assert paddle.rand([1]).item() == drawn
    assert set(trained.state_dict().model["norm._mean"]) == {0.0}


def test_the_summary_counts_trainable_numbers():
    # conv 3*1*5*5 + 3, normalisation 3 + 3 without its statistics, head 108*10 + 10
    assert learner().summary() == {"parameters": 75 + 3 + 6 + 1090}


def test_frozen_weights_are_neither_counted_nor_changed():
    def frozen():
        net = Net()
        net.conv.weight.stop_gradient = True
        return net

    trained = learner("adam", model=frozen)
    before = trained.state_dict().model["conv.weight"]
    train(trained, range(2))
    np.testing.assert_array_equal(trained.state_dict().model["conv.weight"], before)
    assert trained.summary() == {"parameters": 3 + 6 + 1090}


def test_a_regularizer_pulls_the_weights_that_its_pattern_names():
    free, pulled = learner("sgd"), learner("sgd", regularizer=L2(coefficient=0.5, pattern="head.weight"))
    start = free.state_dict().model
    train(free, range(1))
    train(pulled, range(1))
    a, b = free.state_dict().model, pulled.state_dict().model
    np.testing.assert_allclose(a["head.weight"] - b["head.weight"], 0.05 * 0.5 * start["head.weight"], atol=1e-6)
    np.testing.assert_array_equal(a["conv.weight"], b["conv.weight"])


def test_a_pattern_that_fits_no_parameter_is_refused_with_the_names_there_are():
    with pytest.raises(ConfigError, match=r"regularizer.pattern='con.\*' fits no parameter. The model has conv.weight"):
        learner(regularizer=L2(pattern="con.*"))


def test_a_rule_that_fits_no_parameter_is_refused_by_name():
    rules = PerPattern(l2={"*.weight": 0.1, "haed.*": 0.2})
    with pytest.raises(ConfigError, match=r"pattern 'haed.\*' fits no parameter. The model has conv.weight, conv.bias"):
        learner(regularizer=rules)


def test_rules_pull_parameters_with_forces_of_their_own():
    rules = PerPattern(l2={"*.weight": 0.5, "norm.*": 0.0}, l1={"head.weight": 0.25})
    free, pulled = learner("sgd"), learner("sgd", regularizer=rules)
    start = free.state_dict().model
    train(free, range(1))
    train(pulled, range(1))
    a, b = free.state_dict().model, pulled.state_dict().model
    pull = {name: (a[name] - b[name]) / 0.05 for name in a}
    np.testing.assert_allclose(pull["conv.weight"], 0.5 * start["conv.weight"], atol=1e-5)
    head = start["head.weight"]
    np.testing.assert_allclose(pull["head.weight"], 0.5 * head + 0.25 * np.sign(head), atol=1e-5)
    assert not pull["norm.weight"].any() and not pull["head.bias"].any()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: Net(outputs=7), r"model Net answers \[2, 7\] for a batch of 2; .* needs \[2, 10\]"),
        (lambda: nn.Flatten(), "model Flatten has no parameter to train"),
        (lambda: "a string", "the model is a str; learner=paddle trains a paddle.nn.Layer"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_training(model, message):
    with pytest.raises(ConfigError, match=message):
        learner(model=model)


def test_inputs_in_double_precision_are_refused_with_the_option_that_helps(monkeypatch):
    table = replace(example_specs()[2], input=TableInput(("x",), (0.0,), (1.0,), "float64"))
    monkeypatch.setattr(Parts, "spec", table)
    monkeypatch.setattr(Parts, "loss", lambda parts: SquaredError(parts.spec))
    with pytest.raises(ConfigError, match=r"inputs \[2, 1\] float64: .* set dataset\.precision=float32"):
        learner(model=lambda: nn.Linear(1, 1))


def test_a_model_that_answers_several_things_is_refused():
    class Two(Net):
        def forward(self, x):
            return super().forward(x), x

    with pytest.raises(ConfigError, match="model Two answers a tuple for a batch of 2"):
        learner(model=Two)


def test_an_export_is_free_of_the_training_changes_and_takes_any_batch(tmp_path):
    trained = learner("adam")
    train(trained, range(3))
    before = bits(trained.state_dict())
    predict = trained.export(tmp_path)
    assert bits(trained.state_dict()) == before
    text = (tmp_path / "model.json").read_text()
    operations = set(re.findall(r'"#":"\d+\.([a-z_0-9]+)"', text))
    assert "pool2d" in operations, sorted(operations)
    assert not [name for name in operations if "index" in name]
    for size in (1, 3, 64):
        inputs = batch(size, size)[0]
        np.testing.assert_allclose(predict(inputs), trained.predict(inputs), atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.pdiparams"]
    train(trained, range(3, 5))  # exporting leaves the trained model as fast, and trainable, as it was


def test_an_export_holds_the_weights_of_its_moment(tmp_path):
    trained = learner("sgd")
    train(trained, range(2))
    inputs = batch(0)[0]
    wanted = trained.predict(inputs)
    predict = trained.export(tmp_path)
    train(trained, range(2, 6))
    np.testing.assert_allclose(predict(inputs), wanted, atol=1e-5)
    assert np.abs(trained.predict(inputs) - wanted).max() > 1e-3


def test_a_model_that_is_no_graph_is_refused_by_name(tmp_path):
    class Stubborn(Net):
        def forward(self, x):
            if not isinstance(x.shape[0], int) or x.shape[0] < 0:
                raise RuntimeError("only whole batches")
            return super().forward(x)

    with pytest.raises(ExportError, match="Stubborn cannot be turned into a static graph"):
        learner(model=Stubborn).export(tmp_path)


def test_a_traced_graph_learns_as_the_code_it_was_traced_from():
    traced, stock = learner("adam", to_static=True), learner("adam")
    assert np.allclose(train(traced, range(6)), train(stock, range(6)), rtol=0, atol=1e-4)
    inputs, targets = batch(9)
    assert np.allclose(traced.predict(inputs), stock.predict(inputs), atol=1e-3)
    assert traced.eval_step(inputs, targets).loss == pytest.approx(stock.eval_step(inputs, targets).loss, abs=1e-4)


def test_what_is_trained_can_be_looked_at():
    trained = learner()
    assert isinstance(trained.model, Net)
    assert isinstance(trained.loss, CrossEntropy)
