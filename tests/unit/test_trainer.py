from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from expkit.api import ArraySplit, Callback, ConfigError, FitEnd, NotFiniteError, StepResult, TrainingStoppedError
from expkit.data import Batches
from expkit.metrics import Meter
from expkit.trainer import Interrupted, Monitor, Progress, RolledBack, Trainer


class FakeLearner:
    """Gives the losses that a test lists, one after the other; 1 where the list ends."""

    learning_rate = 0.5

    def __init__(self, train=(), valid=()):
        self.train, self.valid = list(train), list(valid)
        self.steps = 0

    def train_step(self, inputs, targets):
        self.steps += 1
        return StepResult(self.train.pop(0) if self.train else 1.0, np.zeros((len(targets), 10)))

    def eval_step(self, inputs, targets):
        return StepResult(self.valid.pop(0) if self.valid else 1.0, np.zeros((len(targets), 10)))


class Recorder(Callback):
    """Notes every event; does what a test wants at one of them."""

    def __init__(self, name="", log=None, at="", do=None):
        self.name, self.log, self.at, self.do = name, [] if log is None else log, at, do
        self.events = []

    def _note(self, method, event):
        self.log.append(f"{self.name}{method}")
        self.events.append(event)
        if method == self.at:
            self.do(event)

    def on_fit_start(self, event):
        self._note("fit_start", event)

    def on_epoch_start(self, event):
        self._note("epoch_start", event)

    def on_step_end(self, event):
        self._note("step_end", event)

    def on_epoch_end(self, event):
        self._note("epoch_end", event)

    def on_fit_end(self, event):
        self._note("fit_end", event)

    def of(self, kind):
        return [event for event in self.events if type(event).__name__ == kind]


class Script:
    """A metric whose values a test lists."""

    higher_is_better = True

    def __init__(self, values):
        self.values = list(values)

    def reset(self):
        pass

    def update(self, outputs, targets):
        pass

    def compute(self):
        return self.values.pop(0)


def fail(error):
    def raise_it(event):
        raise error

    return raise_it


@pytest.fixture
def make(tiny_spec, tmp_path):
    """A trainer of two epochs of three batches (2, 2 and 1 samples) and one validation batch."""

    def split(size):
        return ArraySplit(np.zeros((size, 28, 28), np.uint8), np.zeros(size, np.int64))

    def make(learner=None, *callbacks, epochs=2, monitor=None, scores=None, **options):
        return Trainer(
            learner or FakeLearner(),
            Batches(split(5), tiny_spec, batch_size=2),
            Batches(split(4), tiny_spec, batch_size=4),
            meters={
                "step": Meter({}),
                "train": Meter({}),
                "eval": Meter({} if scores is None else {"score": Script(scores)}),
            },
            callbacks=callbacks,
            monitor=monitor or Monitor("valid/loss", higher_is_better=False),
            epochs=epochs,
            folder=tmp_path,
            **options,
        )

    return make


def test_events_come_in_order_and_callbacks_in_theirs(make):
    log = []
    make(None, Recorder("a:", log), Recorder("b:", log)).fit()
    epoch = ["epoch_start", *["step_end"] * 3, "epoch_end"]
    wanted = ["fit_start", *epoch, *epoch, "fit_end"]
    assert log == [f"{who}:{what}" for what in wanted for who in "ab"]


def test_events_tell_numbers_that_can_be_checked_by_hand(make, tmp_path):
    seen = Recorder()
    learner = FakeLearner(train=[3.0, 2.0, 1.0, 0.5, 0.25, 0.125], valid=[4.0, 2.0])
    end = make(learner, seen).fit()
    (start,) = seen.of("FitStart")
    assert (start.epochs, start.steps_per_epoch, start.step, start.folder) == (2, 3, 0, tmp_path)
    steps = seen.of("StepEnd")
    assert [(e.epoch, e.batch, e.step, e.samples, e.loss) for e in steps] == [
        (1, 1, 1, 2, 3.0),
        (1, 2, 2, 2, 2.0),
        (1, 3, 3, 1, 1.0),
        (2, 1, 4, 2, 0.5),
        (2, 2, 5, 2, 0.25),
        (2, 3, 6, 1, 0.125),
    ]
    assert {e.learning_rate for e in steps} == {0.5}
    first, second = seen.of("EpochEnd")
    assert first.metrics == {"train/loss": (2 * 3.0 + 2 * 2.0 + 1.0) / 5, "valid/loss": 4.0}
    assert second.metrics == {"train/loss": (2 * 0.5 + 2 * 0.25 + 0.125) / 5, "valid/loss": 2.0}
    assert (first.epoch, first.step, second.epoch, second.step) == (1, 3, 2, 6)
    assert first.seconds > 0
    assert end == seen.of("FitEnd")[0] == FitEnd("finished", "", 2, 6)


@pytest.mark.parametrize(
    ("scores", "best", "best_epoch", "is_best"),
    [
        ([3.0, 2.0, 1.0], 1.0, 3, [True, True, True]),
        ([1.0, 2.0, 0.5], 0.5, 3, [True, False, True]),
        ([1.0, 1.0, 1.0], 1.0, 1, [True, False, False]),  # a tie stays with the first
        ([math.nan, 2.0, math.nan], 2.0, 2, [False, True, False]),
        ([math.inf, 2.0, 3.0], 2.0, 2, [True, True, False]),
        ([math.nan, math.nan, math.nan], None, 0, [False, False, False]),
    ],
)
def test_the_best_epoch_follows_the_monitor(make, scores, best, best_epoch, is_best):
    seen = Recorder()
    trainer = make(None, seen, epochs=3, scores=scores, monitor=Monitor("valid/score", False))
    trainer.fit()
    assert trainer.progress.best == best
    assert trainer.progress.best_epoch == best_epoch
    assert [e.is_best for e in seen.of("EpochEnd")] == is_best
    if best is not None:
        assert trainer.progress.best_metrics["valid/score"] == best


def test_higher_is_better_turns_the_monitor_round(make):
    trainer = make(FakeLearner(valid=[1.0, 3.0, 2.0]), epochs=3, monitor=Monitor("valid/loss", True))
    trainer.fit()
    assert (trainer.progress.best, trainer.progress.best_epoch) == (3.0, 2)


def test_a_monitor_that_is_not_measured_is_named(make):
    with pytest.raises(ConfigError, match=r"'valid/f1' is not measured\. Measured are train/loss, valid/loss"):
        make(monitor=Monitor("valid/f1", True)).fit()


@pytest.mark.parametrize(("reason", "shown"), [("good enough", "good enough"), ("", "a callback asked to stop")])
def test_a_callback_stops_training_after_its_epoch(make, reason, shown):
    seen = Recorder(at="epoch_end", do=lambda event: event.stop(reason))
    end = make(None, seen, Recorder(at="epoch_end", do=lambda event: event.stop("second")), epochs=9).fit()
    assert end == FitEnd("stopped", shown, 1, 3)
    assert seen.log[-2:] == ["epoch_end", "fit_end"]


def test_an_interrupt_in_the_middle_of_an_epoch_ends_training_between_two_steps(make):
    seen, learner = Recorder(), FakeLearner()
    trainer = make(learner, seen, interrupted=lambda: learner.steps == 5)
    with pytest.raises(Interrupted):
        trainer.fit()
    assert seen.of("FitEnd") == [FitEnd("interrupted", "asked to stop", 2, 5)]
    assert (trainer.progress.epoch, trainer.progress.batch, trainer.progress.step) == (2, 2, 5)
    assert len(seen.of("StepEnd")) == 5


def test_an_interrupt_is_not_swallowed_by_except_exception():
    assert not issubclass(Interrupted, Exception)


def test_a_second_ctrl_c_is_no_interrupt_that_could_be_saved_for_it_may_tear_a_step(make):
    seen = Recorder(at="step_end", do=fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        make(None, seen).fit()
    assert seen.of("FitEnd")[0].status == "failed"


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_training_and_says_where(make, loss):
    seen = Recorder()
    learner = FakeLearner(train=[1.0, 1.0, 1.0, 1.0, loss])
    with pytest.raises(TrainingStoppedError, match=r"at step 5 \(epoch 2, batch 2\)\."):
        make(learner, seen).fit()
    (end,) = seen.of("FitEnd")
    assert end.status == "failed"
    assert end.reason.startswith(f"TrainingStoppedError: the loss is {loss}")
    assert len(seen.of("StepEnd")) == 4


class Undoing(FakeLearner):
    """Raises at the steps that a test lists, counted from 1."""

    def __init__(self, at, **options):
        super().__init__(**options)
        self.at = at

    def train_step(self, inputs, targets):
        result = super().train_step(inputs, targets)
        if self.steps in self.at:
            raise NotFiniteError("the gradient of head is NaN", kind="gradient")
        return result


def test_a_batch_that_is_left_out_is_a_step_that_nobody_hears_of(make):
    seen, told, logged = Recorder(), [], []
    trainer = make(
        Undoing({2, 6}),
        seen,
        log=lambda values, step: logged.append((dict(values), step)),
        not_finite=lambda error, batch: told.append((error.kind, len(batch[1]), trainer.progress.step)),
    )
    assert trainer.fit().step == 6
    assert [(e.epoch, e.batch, e.step) for e in seen.of("StepEnd")] == [(1, 1, 1), (1, 3, 3), (2, 1, 4), (2, 2, 5)]
    assert told == [("gradient", 2, 1), ("gradient", 1, 5)]
    assert logged == [({"nonfinite/skipped": 1}, 2), ({"nonfinite/skipped": 2}, 6)]
    assert trainer.progress.skipped == 2


def test_training_that_was_taken_back_goes_on_from_where_it_stands_then(make):
    def back(error, batch):
        trainer.progress = Progress(epoch=1, batch=3, step=5, validated=1, rollbacks=1)
        raise RolledBack

    seen = Recorder()
    trainer = make(Undoing({5}), seen, not_finite=back)
    assert trainer.fit() == FitEnd("finished", "", 2, 8)
    steps = [(e.epoch, e.batch, e.step) for e in seen.of("StepEnd")]
    assert steps == [(1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 1, 4), (2, 1, 6), (2, 2, 7), (2, 3, 8)]
    assert [e.epoch for e in seen.of("EpochEnd")] == [1, 2]


def test_a_validation_that_is_not_finite_cannot_be_left_out(make):
    told = []
    trainer = make(FakeLearner(valid=[math.inf]), not_finite=lambda error, batch: told.append((error.kind, batch)))
    with pytest.raises(NotFiniteError, match=r"the validation loss is inf\."):
        trainer.fit()
    assert told == [("validation", None)]


def test_a_validation_that_is_not_finite_stops_training_and_says_where(make):
    with pytest.raises(TrainingStoppedError, match=r"the validation loss is nan after epoch 1, step 3\."):
        make(FakeLearner(valid=[math.nan])).fit()


@pytest.mark.parametrize("at", ["fit_start", "epoch_start", "step_end", "epoch_end"])
def test_all_callbacks_hear_the_end_when_one_of_them_fails(make, at):
    before, bad, after = Recorder(), Recorder(at=at, do=fail(RuntimeError("boom"))), Recorder()
    with pytest.raises(RuntimeError, match="boom"):
        make(None, before, bad, after).fit()
    for callback in (before, bad, after):
        (end,) = callback.of("FitEnd")
        assert (end.status, end.reason) == ("failed", "RuntimeError: boom")


def test_a_failure_in_one_fit_end_reaches_the_caller_after_the_others_have_heard(make, caplog):
    bad, after = Recorder(at="fit_end", do=fail(RuntimeError("disk full"))), Recorder()
    with caplog.at_level(logging.WARNING), pytest.raises(RuntimeError, match="disk full"):
        make(None, bad, after).fit()
    assert after.of("FitEnd")[0].status == "finished"
    assert "Recorder.on_fit_end failed: RuntimeError: disk full" in caplog.text


def test_a_failure_in_fit_end_does_not_hide_the_error_that_ended_training(make, caplog):
    bad = Recorder(at="fit_end", do=fail(RuntimeError("disk full")))
    with pytest.raises(TrainingStoppedError, match="the loss is nan"):
        make(FakeLearner(train=[math.nan]), bad).fit()
    assert "disk full" in caplog.text


def test_a_checkpoint_that_cannot_be_saved_at_an_interrupt_is_said(make, caplog):
    bad = Recorder(at="fit_end", do=fail(OSError("disk full")))
    with pytest.raises((Interrupted, OSError)):
        make(None, bad, interrupted=lambda: True).fit()
    assert "disk full" in caplog.text


def test_a_step_that_its_learner_left_out_is_counted_and_no_failure(make):
    class Overflowing(FakeLearner):
        def train_step(self, inputs, targets):
            return replace(super().train_step(inputs, targets), skipped=self.steps in (2, 3))

    logged = []
    trainer = make(Overflowing(), epochs=1, log=lambda values, step: logged.append((dict(values), step)))
    assert trainer.fit().status == "finished"
    assert (trainer.progress.step, trainer.progress.overflows, trainer.progress.skipped) == (3, 2, 0)
    assert logged == [({"amp/overflows": 1}, 2), ({"amp/overflows": 2}, 3)]


def test_progress_is_plain_values(make):
    trainer = make(FakeLearner(valid=[2.0, 3.0]))
    trainer.fit()
    assert trainer.progress.as_dict() == {
        "epoch": 2,
        "batch": 3,
        "step": 6,
        "best": 2.0,
        "best_epoch": 1,
        "best_metrics": {"train/loss": 1.0, "valid/loss": 2.0},
        "validated": 2,
        "stopped": "",
        "skipped": 0,
        "rollbacks": 0,
        "overflows": 0,
    }


def test_what_a_callback_has_ended_stays_ended_when_the_process_dies_before_its_result_is_written(make):
    trainer = make(None, Recorder(at="epoch_end", do=lambda event: event.stop("enough")), epochs=9)
    trainer.fit()
    again = make(None, seen := Recorder(), epochs=9)
    again.progress = Progress(**trainer.progress.as_dict())
    assert again.fit() == FitEnd("stopped", "enough", 1, 3)
    assert seen.of("StepEnd") == []


def test_training_goes_on_where_progress_stands(make):
    whole, rest = Recorder(), Recorder()
    make(None, whole, epochs=3).fit()
    trainer = make(None, rest, epochs=3)
    trainer.progress = Progress(epoch=2, batch=1, step=4, best=0.5, best_epoch=1, validated=1)
    trainer.fit()
    assert [(e.epoch, e.batch, e.step) for e in rest.of("StepEnd")] == [
        (e.epoch, e.batch, e.step) for e in whole.of("StepEnd")
    ][4:]
    assert [e.epoch for e in rest.of("EpochEnd")] == [2, 3]
    assert rest.of("FitStart")[0].step == 4
    assert trainer.progress.best_epoch == 1


@pytest.mark.parametrize(("validated", "ended"), [(1, [2, 3]), (2, [3])])
def test_an_epoch_whose_validation_was_torn_is_validated_and_a_whole_one_is_not_repeated(make, validated, ended):
    seen = Recorder()
    trainer = make(None, seen, epochs=3)
    trainer.progress = Progress(epoch=2, batch=3, step=6, validated=validated)
    trainer.fit()
    assert [e.epoch for e in seen.of("EpochEnd")] == ended
    assert [e.step for e in seen.of("StepEnd")] == [7, 8, 9]


def test_training_pauses_after_the_epoch_that_it_was_told(make):
    seen = Recorder()
    trainer = make(None, seen, epochs=3)
    trainer.stop_after = 1
    end = trainer.fit()
    assert end == FitEnd("paused", "after epoch 1 of 3, as trainer.stop_after=1 says", 1, 3)
    assert trainer.fit().status == "finished"
    assert [e.epoch for e in seen.of("EpochEnd")] == [1, 2, 3]


def test_to_pause_after_the_last_epoch_is_to_finish(make):
    trainer = make()
    trainer.stop_after = 2
    assert trainer.fit().status == "finished"


def test_callbacks_get_the_learner_the_batches_and_a_place_for_values(make):
    logged = []
    seen, learner = Recorder(), FakeLearner()
    trainer = make(learner, seen, epochs=1, log=lambda values, step: logged.append((dict(values), step)))
    trainer.fit()
    (start,) = seen.of("FitStart")
    assert (start.learner, start.train, start.valid) == (learner, trainer.train, trainer.valid)
    start.log({"weights/norm": 2.0}, 3)
    assert logged == [({"weights/norm": 2.0}, 3)]


def test_a_learner_that_wants_to_hears_the_metrics_of_each_epoch(make):
    learner = FakeLearner(valid=[4.0, 2.0])
    heard = []
    learner.end_epoch = lambda metrics: heard.append(metrics["valid/loss"])
    make(learner).fit()
    assert heard == [4.0, 2.0]


def test_evaluating_measures_each_time_anew(make):
    trainer = make(FakeLearner(valid=[3.0, 5.0]))
    assert trainer.evaluate(trainer.valid) == {"loss": 3.0}
    assert trainer.evaluate(trainer.valid) == {"loss": 5.0}
