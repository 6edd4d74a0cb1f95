"""What a search finds out before its first trial: what it optimises, and what would go wrong."""

from __future__ import annotations

import pytest

from expkit import config
from expkit.cli.search import read_settings
from expkit.cli.search_space import read
from expkit.errors import ConfigError
from expkit.sweeping.jobs import FINISHED, Outcome
from expkit.sweeping.search.objectives import Objective, find
from expkit.sweeping.search.options import SearchOptions
from expkit.sweeping.search.prepare import prepare
from expkit.sweeping.search.space import Choices, Condition, Parameter, Space, numbers

MNIST = ("+experiment=mnist_cnn",)
RATE = Parameter("optimizer.learning_rate", numbers("x", 1e-4, 1.0, step=None, log=True, whole=False))
OPTIMIZERS = Parameter("optimizer", Choices(("sgd", "momentum", "adam")))


def found(*overrides: str, **options) -> list[tuple[str, str]]:
    objectives = find(SearchOptions(**options), config.compose([*MNIST, *overrides]))
    return [(one.name, one.direction) for one in objectives]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), ("valid/accuracy", "maximize")),
        (("metrics=[mse]", "dataset=housing", "model=linear", "loss=squared_error"), ("valid/mse", "minimize")),
        (("metrics=[]",), ("valid/loss", "minimize")),
        (("checkpoint.monitor=valid/loss",), ("valid/loss", "minimize")),
        (("checkpoint.mode=min",), ("valid/accuracy", "minimize")),
    ],
)
def test_what_the_runs_monitor_is_optimised_in_its_direction(overrides, expected):
    assert found(*overrides) == [expected]


def test_a_direction_may_be_given_and_must_agree():
    assert found(direction="maximize") == [("valid/accuracy", "maximize")]
    with pytest.raises(ConfigError, match=r"valid/accuracy is to minimize, but of it higher is better"):
        found(direction="minimize")


def test_several_objectives_know_their_directions():
    wanted = {"valid/accuracy": None, "seconds": None, "parameters": "minimize", "train/loss": None}
    assert found(objectives=wanted) == [
        ("valid/accuracy", "maximize"),
        ("seconds", "minimize"),
        ("parameters", "minimize"),
        ("train/loss", "minimize"),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objectives": {"valid/acuracy": None}}, r"'valid/acuracy' is not measured. Did you mean 'valid/accuracy'"),
        ({"objectives": {"seconds": "maximize"}}, r"seconds is to maximize, but of it lower is better"),
        ({"objectives": {"test/accuracy": None}, "pruner": "median"}, r"is known when a run is over"),
    ],
)
def test_what_cannot_be_optimised_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        found(**options)


def test_a_monitor_that_is_not_measured_is_refused():
    with pytest.raises(ConfigError, match=r"checkpoint.monitor='valid/f1' is not measured"):
        found("checkpoint.monitor=valid/f1")


def test_the_number_of_parameters_is_that_of_the_record(tmp_path):
    (tmp_path / "run.json").write_text('{"summary": {"parameters": 20550}}')
    assert Objective("parameters", higher_is_better=False).of_run(Outcome(FINISHED), tmp_path) == 20550


class Composer:
    """Composes as the command line does, and counts."""

    def __init__(self, *shared: str) -> None:
        self.shared = shared
        self.made: list[tuple[str, ...]] = []

    def __call__(self, number, values):
        self.made.append(tuple(values))
        try:
            made = config.compose([*MNIST, *self.shared, *values])
        except Exception as error:
            raise ConfigError(str(error).splitlines()[0]) from error
        return made


def test_each_choice_is_composed_before_anything_starts(tmp_path):
    jobs = Composer("trainer.epochs=9")
    search = prepare(Space([OPTIMIZERS, RATE]), SearchOptions(pruner="hyperband"), jobs, tmp_path)
    assert [one[0] for one in jobs.made] == ["optimizer=sgd", "optimizer=momentum", "optimizer=adam"]
    assert {one[1] for one in jobs.made} == {"optimizer.learning_rate=0.0001", "optimizer.learning_rate=1.0"}
    assert search.objectives == (Objective("valid/accuracy", higher_is_better=True, monitored=True),)
    assert search.study.pruner._max_resource == 9


def test_an_option_that_not_all_choices_have_is_found_at_once_with_what_to_do(tmp_path):
    momentum = Parameter("optimizer.momentum", Choices(("0.5", "0.9")))
    with pytest.raises(ConfigError) as refused:
        prepare(Space([OPTIMIZERS, momentum]), SearchOptions(), Composer(), tmp_path / "sweep")
    text = str(refused.value)
    assert "cannot be run; nothing was started" in text
    assert "optimizer=sgd optimizer.momentum=0.5" in text
    assert "hydra.sweeper.conditions={optimizer.momentum: 'optimizer=momentum'}" in text
    assert "'hydra.sweeper.without=[optimizer.momentum]'" in text
    assert not (tmp_path / "sweep").exists()


def test_with_its_condition_it_is_composed_where_it_exists(tmp_path):
    momentum = Parameter("optimizer.momentum", Choices(("0.5", "0.9")), (Condition("optimizer", ("momentum",)),))
    jobs = Composer()
    prepare(Space([OPTIMIZERS, momentum]), SearchOptions(), jobs, tmp_path)
    assert ("optimizer=momentum", "optimizer.momentum=0.9") in jobs.made


def test_a_key_that_does_not_exist_is_found_at_once(tmp_path):
    typo = Parameter("optimizer.learning_rat", RATE.domain)
    with pytest.raises(ConfigError, match=r"learning_rat[\s\S]*None of the combinations"):
        prepare(Space([typo]), SearchOptions(), Composer(), tmp_path)


@pytest.mark.parametrize("name", ["mnist_cnn", "housing_linear"])
def test_the_files_that_come_with_expkit_can_be_run(tmp_path, name):
    from omegaconf import OmegaConf

    from expkit.paths import conf_dir

    experiment = f"+experiment={name}"
    given = OmegaConf.load(conf_dir() / f"search/{name}.yaml").hydra.sweeper
    settings = read_settings(given)
    composed = OmegaConf.create(dict(config.compose([experiment]).resolved))
    space = read(settings.params, settings.conditions, [experiment], composed).space
    made = []

    def compose(number, values):
        one = config.compose([experiment, f"+search={name}", *values])
        made.append(one)
        return one

    prepare(space, settings.options, compose, tmp_path)
    assert len(made) >= 3


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"trails": 3}, r"hydra.sweeper.trails: there is no such option. Did you mean 'trials'"),
        ({"trials": "many"}, r"hydra.sweeper.trials: Value 'many' of type 'str' could not be converted to Integer"),
        ({"params": [1]}, r"hydra.sweeper.params"),
        ({"objectives": [1]}, r"objectives=\[1\]: write names of metrics"),
        ({"objectives": {"valid/loss": 3}}, r"write names of metrics"),
        ({"sampler": "bayes"}, r"sampler=bayes: must be one of tpe"),
    ],
)
def test_options_are_typed_and_closed(node, message):
    with pytest.raises(ConfigError, match=message):
        read_settings(node)


def test_what_a_file_searches_can_be_left_out():
    node = {"params": {"seed": "1,2", "model.channels": "a,b"}, "conditions": {"model.channels": "model=cnn"}}
    for without in (["model.channels"], "model.channels"):
        settings = read_settings({**node, "without": without})
        assert (settings.params, settings.conditions) == ({"seed": "1,2"}, {})
    with pytest.raises(ConfigError, match=r"without=model\.chanels: no file searches that\. Did you mean"):
        read_settings({**node, "without": ["model.chanels"]})


def test_objectives_may_be_a_name_a_list_or_names_with_directions():
    assert read_settings({"objectives": "valid/loss"}).options.objectives == {"valid/loss": None}
    assert read_settings({"objectives": ["a", "b"]}).options.objectives == {"a": None, "b": None}
    assert read_settings({"objectives": {"a": "minimize"}}).options.objectives == {"a": "minimize"}
