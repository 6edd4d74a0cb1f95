"""Orders the command line so that Hydra can read it, and finds mistakes that Hydra would explain badly."""

from __future__ import annotations

from pathlib import Path

from expkit.cli.experiments import experiment_names
from expkit.errors import ConfigError, did_you_mean
from expkit.settings import Settings

_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_WITH_VALUE = frozenset(
    {
        *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
        *("--config-dir", "-cd", "--experimental-rerun"),
    }
)
_BARE = frozenset(
    {
        *("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m"),
        *("--shell-completion", "-sc", "--info", "-i"),
    }
)


def flags_first(arguments: list[str]) -> list[str]:
    """Move flags, with their values, before the overrides: argparse cannot read ``x=1 -m lr=1,2``.

    Args:
        arguments: of the command line, without the program.
    """
    flags: list[str] = []
    overrides: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not is_flag(argument):
            overrides.append(argument)
        elif argument in _WITH_VALUE and rest:
            flags += [argument, rest.pop(0)]
        elif argument in ("--info", "-i"):  # its value may be left out, and the next override must not be it
            flags.append(f"--info={rest.pop(0) if rest and rest[0] in _INFO else 'all'}")
        else:
            flags.append(argument)
    return [*flags, *overrides]


def config_dirs(arguments: list[str]) -> list[Path]:
    """Return the folders that `--config-dir` names."""
    flags = flags_first(arguments)
    named = [flags[i + 1] for i, flag in enumerate(flags[:-1]) if flag in ("--config-dir", "-cd")]
    named += [flag.partition("=")[2] for flag in flags if flag.startswith("--config-dir=")]
    return [Path(name).absolute() for name in named]


def is_flag(argument: str) -> bool:
    """Say whether an argument is a flag such as `-m` or `--cfg=job`."""
    return len(argument) > 1 and argument.startswith("-")


def check(arguments: list[str]) -> None:
    """Refuse what Hydra would take for something else.

    Raises:
        ConfigError: a flag that does not exist, or an experiment that is chosen without its plus.
    """
    flags = flags_first(arguments)
    values = {i + 1 for i, argument in enumerate(flags) if argument in _WITH_VALUE}
    for position, argument in enumerate(flags):
        if position not in values:
            _check_flag(argument) if is_flag(argument) else _check_experiment(argument)
    _check_search(flags)


def _check_search(arguments: list[str]) -> None:
    name = next((one.partition("=")[2] for one in arguments if one.startswith(("+search=", "search="))), None)
    if name is None:
        return
    if not any(one.startswith("+search=") for one in arguments):
        raise ConfigError(f"'search={name}': a search is added with a plus. Write +search={name}.")
    looks = any(one.startswith(("--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")) for one in arguments)
    if not looks and not {"-m", "--multirun"} & set(arguments):
        raise ConfigError(f"'+search={name}': a search makes many runs. Write -m, too: python -m expkit -m ...")


def _check_flag(argument: str) -> None:
    flag, _, value = argument.partition("=")
    known = sorted(_WITH_VALUE | _BARE)
    slip = flag == "--experiment"  # which argparse would take for the beginning of --experimental-rerun
    if not slip and (not flag.startswith("--") or any(name.startswith(flag) for name in known)):
        return  # a short one may have its value glued on: argparse sees to it
    key = "+experiment" if slip else flag.removeprefix("--").replace("-", "_")
    raise ConfigError(
        f"there is no flag {flag!r}.{did_you_mean(flag, known)} An option is written without dashes: "
        f"{key}={value or 'VALUE'}. `python -m expkit --help` shows what can be written."
    )


def _check_experiment(argument: str) -> None:
    key, equals, name = argument.partition("=")
    bare = key.lstrip("+")
    known = bare.split(".")[0] in (*Settings.__dataclass_fields__, "experiment")
    misspelt = not known and did_you_mean(bare, ["experiment"])
    if not equals or not (key == "experiment" or misspelt):
        return
    there = experiment_names()
    near = "".join(did_you_mean(one, there) for one in name.split(",") if one not in there)
    raise ConfigError(f"{argument!r}: an experiment is added with a plus. Write +experiment={name}.{near}")
