"""The options by which verbs choose a model that answers, and that model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from expkit.checkpoint import CheckpointFolder
from expkit.cli.choosing import add_place
from expkit.errors import ConfigError, ExportError, RunNotFoundError
from expkit.export.formats import FORMATS
from expkit.export.places import exports, find_export
from expkit.predict import Predictor
from expkit.report import quote_path
from expkit.runs import find_run
from expkit.standalone import FILES
from expkit.tracking.registered import SCHEME, export_of_model, is_registered, registered_export

EPILOG = f"""\
MODEL is one of
  last                        the newest run; or a run's folder, its id, its MLflow run id
  runs/.../checkpoints/...    the folder of a checkpoint: its weights, without an export
  some/export                 a folder with an export (model.yaml), wherever it was copied
  {SCHEME}digits@champion     a registered model of MLflow by alias, in short digits@champion
  {SCHEME}digits/3            by version; {SCHEME}digits is the newest one
"""


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a model and how it is run; `predictor_of` reads them."""
    parser.add_argument("model", metavar="MODEL", help="a run, a folder or a registered model; see below")
    add_place(parser)
    parser.add_argument(
        "--checkpoint",
        choices=("best", "last"),
        help="of a run: the weights of this checkpoint (default: its export; without one, the best checkpoint)",
    )
    parser.add_argument(
        "--format", default="", choices=list(FORMATS), help="which export (default: the fastest exact one)"
    )
    parser.add_argument(
        "--runtime", default="", choices=list(FILES), help="what runs the export (default: the fastest)"
    )


def predictor_of(options: argparse.Namespace) -> Predictor:
    """Load the model that the options of a verb ask for; see `add_model`.

    Raises:
        ConfigError: options that exclude each other.
        RunNotFoundError: there is no such run or model.
        ExportError: it has no export that can be loaded.
        TrackingError: the store does not answer.
    """
    reference, folder = options.model, Path(options.model)
    of_export = next((f"--{name}" for name in ("format", "runtime") if getattr(options, name)), "")
    if options.checkpoint and of_export:
        raise ConfigError(f"--checkpoint takes the weights themselves, {of_export} is for an export: leave one away.")
    if is_registered(reference) and not folder.exists():
        _only_of_a_run(options, "a registered model")
        with registered_export(reference, options.uri, Path(options.runs_dir)) as export:
            return _of_export(export, options)
    if folder.is_file():
        raise ConfigError(f"{reference} is a file, and no model: the model comes first, such as `last`.")
    if (folder / "manifest.json").is_file():
        if of_export:
            raise ConfigError(f"{reference} is a checkpoint, {of_export} is for an export: give the run's folder.")
        return Predictor.of_checkpoint(folder.absolute())
    if _is_export(folder):
        _only_of_a_run(options, "an export")
        return _of_export(folder, options)
    if (folder / "MLmodel").is_file():
        _only_of_a_run(options, "a model of MLflow")
        return _of_export(export_of_model(folder), options)
    return _of_run(options)


def _of_export(folder: Path, options: argparse.Namespace) -> Predictor:
    """Load an export that is in no run, so that there is nothing to make another format of."""
    there = exports(folder)
    if options.format and options.format not in there:
        raise ExportError(
            f"{options.model} has no export of the format {options.format!r}; it has {', '.join(there)}. Of a run, "
            "`python -m expkit export` makes others."
        )
    return Predictor.of_export(find_export(folder, options.format, options.runtime), options.runtime)


def _of_run(options: argparse.Namespace) -> Predictor:
    which = options.checkpoint
    having = "checkpoints" if which else "export"
    folder = _found(options, having).absolute()
    _tell_older(options, folder, having)
    checkpoints = CheckpointFolder(folder / "checkpoints")
    exported = folder / "export"
    if which is None and not exported.is_dir() and checkpoints.folder.is_dir() and not options.format:
        sys.stderr.write("This run has no export; its best checkpoint answers.\n")
        which = "best"
    if which is not None:
        return Predictor.of_checkpoint(checkpoints.path(which))
    return Predictor.of_export(find_export(exported, options.format, options.runtime), options.runtime)


def _tell_older(options: argparse.Namespace, folder: Path, having: str) -> None:
    """Say that `last` is not the newest run, where that has nothing that answers."""
    if options.model != "last":
        return
    newest = find_run("last", Path(options.runs_dir)).absolute()
    if newest != folder:
        sys.stderr.write(f"The newest run, {quote_path(newest)}, has no {having}; {quote_path(folder)} answers.\n")


def _found(options: argparse.Namespace, having: str) -> Path:
    try:
        return find_run(options.model, Path(options.runs_dir), having=having)
    except RunNotFoundError as error:
        if Path(options.model).is_dir() and "/" not in options.model:
            what = "it holds no run (run.json), no checkpoint (manifest.json) and no export (model.yaml)"
            raise RunNotFoundError(f"the folder {options.model} is no model: {what}.") from error
        if Path(options.model).suffix or "/" in options.model:
            raise
        raise RunNotFoundError(f"{error} A registered model is written {options.model}@ALIAS.") from error


def _is_export(folder: Path) -> bool:
    return any((folder / name / "model.yaml").is_file() for name in ("", *FORMATS))


def _only_of_a_run(options: argparse.Namespace, what: str) -> None:
    if options.checkpoint:
        raise ConfigError(f"--checkpoint: {options.model} is {what}, which has no checkpoints; give a run.")
