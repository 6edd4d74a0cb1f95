import pytest

from expkit.config import compose
from expkit.errors import ConfigError
from expkit.parts import ConfiguredParts
from expkit.testing import example_specs

TABLE = example_specs()[2]
ALL = ("dataset=digits", "model=linear", "loss=squared_error", "optimizer=sgd", "schedule=cosine", "regularizer=l2")


def parts(*overrides):
    return ConfiguredParts(compose(overrides), TABLE, steps_per_epoch=5, device="cpu")


def test_a_learner_that_asks_for_all_parts_leaves_none_idle():
    chosen = parts(*ALL)
    model = chosen.model()
    chosen.loss()
    chosen.regularizer()
    chosen.optimizer(model.parameters())
    chosen.refuse_idle()


def test_what_a_learner_makes_no_use_of_is_refused_with_the_remedy():
    chosen = parts(*ALL, "learner=numpy_linear")
    chosen.model()
    message = (
        r"learner=numpy_linear makes no use of loss=squared_error, optimizer=sgd, schedule=cosine, regularizer=l2\. "
        r"Leave out what it does not use \(~loss ~optimizer ~schedule ~regularizer\), or choose another learner"
    )
    with pytest.raises(ConfigError, match=message):
        chosen.refuse_idle()


@pytest.mark.parametrize("left", [("schedule=constant", "regularizer=none"), ("~schedule", "~regularizer")])
def test_a_choice_that_asks_for_nothing_may_be_left_as_it_is(left):
    parts("dataset=digits", "~model", "~loss", "~optimizer", *left).refuse_idle()


def test_a_schedule_learns_which_way_each_metric_is_better():
    chosen = parts(*ALL, "metrics=[mae]", "schedule=reduce_on_plateau", "schedule.metric=valid/mae")
    rate = chosen.optimizer(chosen.model().parameters())._learning_rate
    assert (rate.metric, rate.mode) == ("valid/mae", "min")


def test_a_metric_that_no_epoch_measures_is_refused_before_training():
    chosen = parts(*ALL, "metrics=[mae]", "schedule=reduce_on_plateau", "schedule.metric=valid/mea")
    message = r"not measured. Did you mean 'valid/mae'.* Measured are train/mae, train/loss, valid/mae, valid/loss\."
    with pytest.raises(ConfigError, match=message):
        chosen.optimizer(chosen.model().parameters())
