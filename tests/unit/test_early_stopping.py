import json

import pytest

from expkit.api import ConfigError, EpochEnd
from expkit_callbacks.early_stopping import EarlyStopping


def epochs_until_stop(stopping, values, metric="valid/loss"):
    """Feed one value an epoch; return (epoch, reason) of the first wish to stop, or None."""
    wishes = []
    for epoch, value in enumerate(values, start=1):
        event = EpochEnd(
            epoch, epoch, {metric: value}, False, 0.1, lambda why, e=epoch: wishes.append((e, why))
        )
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


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        ("valid/loss", False),
        ("valid/accuracy", True),
        ("valid/mse", False),
        ("valid/mae", False),
        ("valid/top_error", False),
        ("valid/f1", True),
    ],
)
def test_direction_follows_from_the_name(metric, higher):
    stopping = EarlyStopping(metric=metric, patience=1)
    rising = epochs_until_stop(stopping, [0.1, 0.2, 0.3], metric)
    assert (rising is None) == higher


def test_direction_can_be_given():
    stopping = EarlyStopping(metric="valid/loss", patience=1, higher_is_better=True)
    assert epochs_until_stop(stopping, [0.1, 0.2, 0.3]) is None


def test_nan_is_never_an_improvement():
    nan = float("nan")
    assert epochs_until_stop(EarlyStopping(patience=2), [nan, nan]) == (
        2,
        "valid/loss has not improved for 2 epochs (never a number, now nan)",
    )
    assert epochs_until_stop(EarlyStopping(patience=2), [nan, 1.0, nan, 0.9]) is None


def test_unknown_metric_lists_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"metric='valid/acc' is not measured\. Known: train/loss, valid/loss\."
    ):
        EarlyStopping(metric="valid/acc").on_epoch_end(
            EpochEnd(1, 1, {"valid/loss": 1.0, "train/loss": 1.0}, True, 0.1, print)
        )


def test_state_travels_through_json():
    first, second = EarlyStopping(patience=3), EarlyStopping(patience=3)
    epochs_until_stop(first, [1.0, 1.1, 1.2])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert epochs_until_stop(second, [1.3]) == (
        1,
        "valid/loss has not improved for 3 epochs (best 1, now 1.3)",
    )


@pytest.mark.parametrize(
    ("option", "value"), [("patience", 0), ("min_delta", -0.1), ("min_delta", float("nan"))]
)
def test_option_out_of_range_is_refused(option, value):
    with pytest.raises(ConfigError, match=rf"callbacks\.early_stopping\.{option}={value}"):
        EarlyStopping(**{option: value})
