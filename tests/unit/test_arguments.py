from __future__ import annotations

import pytest

from expkit.cli.arguments import check, flags_first
from expkit.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "ordered"),
    [
        ("x=1 -m lr=1,2", "-m x=1 lr=1,2"),
        ("x=1 --cfg job y=2", "--cfg job x=1 y=2"),
        ("x=1 --cfg=job", "--cfg=job x=1"),
        ("x=1 --config-dir some/folder -p model", "--config-dir some/folder -p model x=1"),
        ("x=1 -cn other -cd=d", "-cn other -cd=d x=1"),
        ("x=1 --package a.b -c all --resolve", "--package a.b -c all --resolve x=1"),
        ("--info x=1", "--info=all x=1"),
        ("x=1 --info", "--info=all x=1"),
        ("x=1 -i searchpath y=2", "--info=searchpath x=1 y=2"),
        ("-sc query=bash", "-sc query=bash"),
        ("~model +a=-1 b=2", "~model +a=-1 b=2"),
        ("x=1 --cfg", "--cfg x=1"),
        ("", ""),
    ],
)
def test_flags_move_to_the_front_and_keep_their_values(typed, ordered) -> None:
    assert flags_first(typed.split()) == ordered.split()


def test_hydra_reads_the_result() -> None:
    from hydra._internal.utils import get_args_parser

    arguments = flags_first(["x=1", "-m", "--info", "y=2", "--config-dir", "d", "z=3", "-p", "model"])
    parsed = get_args_parser().parse_args(arguments)
    assert parsed.overrides == ["x=1", "y=2", "z=3"]
    assert (parsed.multirun, parsed.info, parsed.config_dir, parsed.package) == (True, "all", "d", "model")


def test_every_flag_of_hydra_is_known() -> None:
    from hydra._internal.utils import get_args_parser

    from expkit.cli import arguments

    for action in get_args_parser()._actions:
        for flag in action.option_strings:
            takes_value = action.nargs is None
            assert flag in (arguments._WITH_VALUE if takes_value else arguments._BARE), flag


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--epochs 3", r"no flag '--epochs'.*epochs=VALUE"),
        ("--experiment mnist_cnn", r"no flag '--experiment'.*\+experiment=VALUE"),
        ("x=1 --learning-rate=0.1", r"learning_rate=0\.1"),
        ("--mulitrun x=1,2", r"Did you mean '--multirun'"),
        ("experiment=mnist_cnn", r"Write \+experiment=mnist_cnn"),
        ("-m experiment=a,b", r"Write \+experiment=a,b"),
        ("+experimnt=mnist_cnn", r"Write \+experiment=mnist_cnn"),
        ("experiment=mnist_cn", r"Did you mean 'mnist_cnn'"),
    ],
)
def test_mistake_is_named_before_hydra_sees_it(typed, message) -> None:
    with pytest.raises(ConfigError, match=message):
        check(typed.split())


@pytest.mark.parametrize(
    "typed",
    [
        "tracking.experiment=mine",
        "+experiment=mnist_cnn",
        "-m x=1",
        "--multi x=1",
        "--cfg job",
        "--config-dir --odd",
        "x=--y",
        "-cjob",
        "~x",
    ],
)
def test_what_hydra_understands_passes(typed) -> None:
    check(typed.split())
