import json
from pathlib import Path

import pytest

from expkit.api import ConfigError, EpochEnd, FitStart
from expkit.testing import example_specs
from expkit_callbacks.early_stopping import EarlyStopping


def start(**higher_is_better):
    """The start of a training that measures these: start(loss=False) announces train/loss and valid/loss."""
    known = {f"{split}/{name}": up for name, up in higher_is_better.items() for split in ("train", "valid")}
    return FitStart(example_specs()[0], 9, 1, 0, Path(), known)


def epochs_until_stop(stopping, values, metric="valid/loss"):
    """Feed one value an epoch; return (epoch, reason) of the first wish to stop, or None."""
    wishes = []
    for epoch, value in enumerate(values, start=1):
        event = EpochEnd(epoch, epoch, {metric: value}, False, 0.1, lambda why, e=epoch: wishes.append((e, why)))
        stopping.on_epoch_end(event)
        if wishes:
            return wishes[0]
    return None


def test_stops_after_patience_epochs_without_improvement():
    epoch, reason = epochs_until_stop(EarlyStopping(patience=2), [1.0, 0.5, 0.6, 0.5, 0.1])
    assert epoch == 4
    assert reason == "valid/loss has not improved for 2 epochs (best 0.5, now 0.5)"


def test_an_improvement_starts_patience_anew():
    assert epochs_until_stop(EarlyStopping(patience=2), [1.0, 1.1, 0.9, 1.0, 0.8, 0.9]) is None


def test_small_improvements_do_not_count():
    epoch, _ = epochs_until_stop(EarlyStopping(patience=2, min_delta=0.1), [1.0, 0.95, 0.91])
    assert epoch == 3


def test_small_improvements_add_up():
    assert epochs_until_stop(EarlyStopping(patience=2, min_delta=0.1), [1.0, 0.95, 0.89, 0.85, 0.78]) is None


def test_direction_is_the_metrics_own_whatever_its_name():
    falling, rising = [0.5, 0.4, 0.3], [0.3, 0.4, 0.5]
    for metric, higher in (("valid/error_rate", False), ("valid/mean_loss", True)):
        for values in (falling, rising):
            stopping = EarlyStopping(metric=metric, patience=1)
            stopping.on_fit_start(start(loss=False, error_rate=False, mean_loss=True))
            assert (epochs_until_stop(stopping, values, metric) is None) == (higher == (values is rising))


def test_direction_can_be_given():
    stopping = EarlyStopping(metric="valid/loss", patience=1, higher_is_better=True)
    stopping.on_fit_start(start(loss=False))
    assert epochs_until_stop(stopping, [0.1, 0.2, 0.3]) is None


def test_without_word_from_the_trainer_only_a_loss_has_a_known_direction():
    assert epochs_until_stop(EarlyStopping(patience=1), [0.3, 0.2, 0.1]) is None
    silent = EarlyStopping(metric="valid/error_rate", patience=1)
    silent.on_fit_start(start())
    message = r"'valid/error_rate': .*Set callbacks\.early_stopping\.higher_is_better to true or false"
    with pytest.raises(ConfigError, match=message):
        epochs_until_stop(silent, [0.5], "valid/error_rate")
    given = EarlyStopping(metric="valid/error_rate", patience=1, higher_is_better=False)
    assert epochs_until_stop(given, [0.5, 0.4, 0.3], "valid/error_rate") is None


def test_nan_is_never_an_improvement():
    nan = float("nan")
    assert epochs_until_stop(EarlyStopping(patience=2), [nan, nan]) == (
        2,
        "valid/loss has not improved for 2 epochs (never a number, now nan)",
    )
    assert epochs_until_stop(EarlyStopping(patience=2), [nan, 1.0, nan, 0.9]) is None


UNKNOWN = r"metric='valid/los' is not measured\. Did you mean 'valid/loss'\? Known: train/loss, valid/loss\."


def test_unknown_metric_is_refused_before_the_first_step():
    with pytest.raises(ConfigError, match=UNKNOWN):
        EarlyStopping(metric="valid/los").on_fit_start(start(loss=False))


def test_unknown_metric_is_refused_after_an_epoch_at_the_latest():
    stopping = EarlyStopping(metric="valid/los")
    stopping.on_fit_start(start())
    with pytest.raises(ConfigError, match=UNKNOWN):
        stopping.on_epoch_end(EpochEnd(1, 1, {"valid/loss": 1.0, "train/loss": 1.0}, True, 0.1, print))


def test_state_travels_through_json():
    first, second = EarlyStopping(patience=3), EarlyStopping(patience=3)
    epochs_until_stop(first, [1.0, 1.1, 1.2])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert epochs_until_stop(second, [1.3]) == (
        1,
        "valid/loss has not improved for 3 epochs (best 1, now 1.3)",
    )


@pytest.mark.parametrize(("option", "value"), [("patience", 0), ("min_delta", -0.1), ("min_delta", float("nan"))])
def test_option_out_of_range_is_refused(option, value):
    with pytest.raises(ConfigError, match=rf"callbacks\.early_stopping\.{option}={value}"):
        EarlyStopping(**{option: value})
