"""Optuna's side of a search: where its study is kept, who proposes, who prunes. Only this package knows Optuna."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expkit.errors import ConfigError, did_you_mean, first_line
from expkit.sweeping.search.objectives import Objective
from expkit.sweeping.search.options import NODE, SearchOptions
from expkit.sweeping.search.space import Choices, Parameter, Space, Value

if TYPE_CHECKING:
    import optuna

STORAGE = "optuna.log"
"""In the folder of the sweep; a journal, in which a report costs 3 ms, against 16 ms in SQLite."""


def import_optuna() -> Any:
    """Import Optuna, without its remarks on every trial.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            f"a search needs Optuna, which is not installed ({error}). Install it: pip install 'expkit[optuna]'. "
            "Without it, -m tries all combinations: leave out +search and hydra/sweeper."
        ) from error
    major = int(optuna.__version__.partition(".")[0])
    if major < 5:
        raise ConfigError(
            f"a search needs Optuna 5, and {optuna.__version__} is installed. pip install 'expkit[optuna]' updates it."
        )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@contextmanager
def hushed() -> Iterator[None]:
    """Leave out Optuna's remarks that a feature is experimental; we hold it by tests."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"optuna\.")
        warnings.simplefilter("ignore", import_optuna().exceptions.ExperimentalWarning)
        yield


def open_study(
    options: SearchOptions, space: Space, objectives: Sequence[Objective], folder: Path, epochs: int
) -> optuna.Study:
    """Open the study of a sweep, or make it.

    Args:
        options: how to search.
        space: what to search.
        objectives: what for.
        folder: of the sweep, which holds the study unless another storage is given.
        epochs: that a run trains at most.

    Raises:
        ConfigError: Optuna is missing or refuses an option; the storage cannot be used; the study there is of another
            search.
    """
    module = import_optuna()
    url = options.storage or str(folder / STORAGE)
    directions = [one.direction for one in objectives]
    try:
        with hushed():
            study: optuna.Study = module.create_study(
                study_name=options.study,
                storage=_storage(module, options.storage, folder),
                directions=directions,
                load_if_exists=True,
            )
            trials = study.get_trials(deepcopy=False)
    except Exception as error:
        why = f"{type(error).__name__}: {first_line(error).rstrip('.')}"
        raise ConfigError(
            f"{NODE}.storage={url}: the study cannot be opened: {why}. It is a "
            "URL such as sqlite:////home/me/studies.db, postgresql://user@host/name or journal:////shared/studies.log; "
            "null keeps the study in the folder of the sweep."
        ) from error
    _check_same(study, options, url, objectives, space, trials)
    # With the same seed, a search that goes on would propose again what it has begun with.
    seed = None if options.seed is None else (options.seed + len(trials)) % 2**32
    with hushed():
        study.sampler = _sampler(module, options, space, seed)
        study.pruner = _pruner(module, options, epochs)
        study.set_metric_names([one.name for one in objectives])
    return study


def suggest(trial: optuna.Trial) -> Callable[[Parameter], Value]:
    """Return what asks a trial for its values, one after another."""

    def ask(parameter: Parameter) -> Value:
        domain = parameter.domain
        if isinstance(domain, Choices):
            return str(trial.suggest_categorical(parameter.key, list(domain.values)))
        if domain.whole:
            step = 1 if domain.step is None else int(domain.step)
            return trial.suggest_int(parameter.key, int(domain.low), int(domain.high), step=step, log=domain.log)
        value = trial.suggest_float(parameter.key, domain.low, domain.high, step=domain.step, log=domain.log)
        return float(value) if domain.step is None else float(f"{value:.12g}")  # 0.1 + 0.2 is to be 0.3

    return ask


class _Unlocked:
    """In place of Optuna's lock file, which a killed process leaves behind for half a minute.

    The folder of a sweep belongs to one process anyway.
    """

    def acquire(self) -> bool:
        """Do nothing."""
        return True

    def release(self) -> None:
        """Do nothing."""


def _storage(optuna: Any, url: str | None, folder: Path) -> Any:
    """Return what Optuna takes for a storage.

    Raises:
        OSError: the folder cannot be written.
    """
    journal = optuna.storages.journal
    if url is None:
        folder.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(folder / STORAGE)
        return optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder / STORAGE), lock_obj=_Unlocked()))
    if url.startswith("journal:///"):
        return optuna.storages.JournalStorage(journal.JournalFileBackend(url.removeprefix("journal:///")))
    return url


def _drop_torn_line(file: Path) -> None:
    """Cut off what a power cut left of the last line: whatever is appended to it could not be read."""
    if not file.is_file():
        return
    with file.open("r+b") as journal:
        content = journal.read()
        journal.truncate(content.rfind(b"\n") + 1)


def _sampler(optuna: Any, options: SearchOptions, space: Space, seed: int | None) -> Any:
    samplers = optuna.samplers
    if options.sampler == "tpe":
        several = len(options.objectives) > 1
        # Jobs run side by side: the liar keeps a new trial away from those whose results are not there yet.
        ours: dict[str, Any] = {"seed": seed, "constant_liar": True}
        if space.conditional and not several:
            ours |= {"multivariate": True, "group": True}
        return _made("sampler", options.sampler_options, samplers.TPESampler, ours)
    if options.sampler == "cmaes":
        numeric = [one for one in space if not isinstance(one.domain, Choices) and not one.when]
        if len(numeric) < 2:
            raise ConfigError(
                f"{NODE}.sampler=cmaes: CMA-ES needs at least two ranges of numbers that exist in every trial; here "
                f"there {'is' if len(numeric) == 1 else 'are'} {len(numeric)}. Use tpe."
            )
        _need_cmaes()
        ours = {"seed": seed, "warn_independent_sampling": False}
        return _made("sampler", options.sampler_options, samplers.CmaEsSampler, ours)
    return _made("sampler", options.sampler_options, samplers.RandomSampler, {"seed": seed})


def _need_cmaes() -> None:
    try:
        importlib.import_module("cmaes")  # Optuna imports it late, and would fail in the middle of the search
    except ImportError as error:
        raise ConfigError(f"{NODE}.sampler=cmaes: {error}. Install it: pip install 'expkit[optuna]'.") from error


def _pruner(optuna: Any, options: SearchOptions, epochs: int) -> Any:
    pruners = optuna.pruners
    if options.pruner == "none":  # its options wait for another one, as in a file whose pruner was switched off
        return pruners.NopPruner()
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "median": (pruners.MedianPruner, {}),
        # Optuna would wait for the first trial to end to learn how long one is; we know.
        "asha": (pruners.SuccessiveHalvingPruner, {"min_resource": max(1, epochs // 100)}),
        "hyperband": (pruners.HyperbandPruner, {"min_resource": max(1, epochs // 100), "max_resource": epochs}),
    }
    kind, ours = kinds[options.pruner]
    return _made("pruner", options.pruner_options, kind, ours)


def _made(what: str, given: Mapping[str, Any], kind: Any, ours: Mapping[str, Any]) -> Any:
    known = [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "seed")]
    for name in given:
        if name not in known:
            raise ConfigError(
                f"{NODE}.{what}_options.{name}: Optuna's {kind.__name__} has no such option."
                f"{did_you_mean(name, known)} It has {', '.join(known) or 'none'}."
            )
    try:
        return kind(**{**ours, **given})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{NODE}.{what}_options: Optuna's {kind.__name__} refuses them: {error}") from error


def _check_same(
    study: Any, options: SearchOptions, url: str, objectives: Sequence[Objective], space: Space, trials: Sequence[Any]
) -> None:
    """Refuse to go on with a study that optimises something else, or in other domains."""
    where = f"the study {options.study!r} in {url}"
    elsewhere = f"Give this search a study of its own: {NODE}.study=NAME."
    then = [direction.name.lower() for direction in study.directions]
    names = study.metric_names or [one.name for one in objectives]
    if then != [one.direction for one in objectives] or list(names) != [one.name for one in objectives]:
        old = ", ".join(f"{direction} {name}" for direction, name in zip(then, names, strict=False))
        new = ", ".join(f"{one.direction} {one.name}" for one in objectives)
        raise ConfigError(f"{where} is of another search: it is to {old}, and this one to {new}. {elsewhere}")
    now = {one.key: one.domain.values if isinstance(one.domain, Choices) else None for one in space}
    for trial in trials:
        for key, distribution in trial.distributions.items():
            before = getattr(distribution, "choices", None)
            if key in now and (None if before is None else tuple(before)) != now[key]:
                was, is_ = (", ".join(map(str, one)) if one else "a range of numbers" for one in (before, now[key]))
                raise ConfigError(
                    f"{where} is of another search: {key} was one of {was}, and is now one of {is_}. Optuna cannot "
                    f"change the choices of a study. {elsewhere}"
                )
