"""Models of MLflow's registry: which one a user means, and its export."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expkit.errors import ExpkitError, ExportError, RunNotFoundError, TrackingError, did_you_mean
from expkit.tracking.reading import open_reader
from expkit.tracking.store import import_mlflow, own_call, remedy
from expkit.tracking.text import explain, masked

SCHEME = "models:/"
_LATEST = "latest"


def is_registered(reference: str) -> bool:
    """Say whether a user's word is the address of a model in MLflow: "models:/NAME/3", "NAME@ALIAS"."""
    name, at, alias = reference.partition("@")
    return reference.startswith(SCHEME) or bool(at and name and alias and "/" not in reference)


@contextmanager
def registered_export(reference: str, uri: str | None, runs_dir: Path) -> Iterator[Path]:
    """Within this context the export of a model in MLflow is a folder on this machine.

    Args:
        reference: "models:/NAME/VERSION", "models:/NAME@ALIAS", "models:/NAME" (the newest version), "NAME@ALIAS", or
            "models:/MODEL_ID" for a model of a run that is not registered.
        uri: of the store; None means `runs_dir`/mlflow.db.
        runs_dir: folder of all runs.

    Raises:
        RunNotFoundError: there is no such model.
        ExportError: it is none that expkit recorded.
        TrackingError: the store does not answer.
    """
    reader = open_reader(uri, runs_dir)
    with tempfile.TemporaryDirectory(prefix="expkit-model-") as temporary:
        try:
            with own_call():
                location = _location(reader.client, reference.removeprefix(SCHEME).strip("/"), masked(reader.uri))
                folder = _fetched(location, reader.uri, temporary)
        except ExpkitError:
            raise
        except Exception as error:
            raise TrackingError(
                f"tracking store {masked(reader.uri)}: the model {reference} cannot be read ({explain(error)}). "
                f"{remedy(error, 'Is the folder or the server with its files still there?')}"
            ) from error
        yield export_of_model(folder)


def export_of_model(folder: Path) -> Path:
    """Return the export inside of a model in MLflow's layout.

    Raises:
        ExportError: there is none: the model is not expkit's.
    """
    found = sorted(folder.glob("artifacts/*/model.yaml"))
    if not found:
        raise ExportError(
            f"{folder} is a model of MLflow, but none that expkit recorded: it holds no export "
            "(artifacts/*/model.yaml). Load it with mlflow.pyfunc.load_model."
        )
    return found[0].parent


def _location(client: Any, reference: str, store: str) -> str:
    """Return the address of a model's files."""
    if reference.startswith("m-") and not set("/@") & set(reference):
        return str(client.get_logged_model(reference).artifact_location)
    at = reference.rpartition("@") if "@" in reference else None
    name, _, which = at if at else reference.partition("/")
    versions = {int(one.version): one for one in client.search_model_versions(_named(name))}
    if not versions:
        raise _without_versions(client, name, store)
    if at:
        known = client.get_registered_model(name).aliases
        if which not in known:
            there = ", ".join(f"{alias} (version {known[alias]})" for alias in sorted(known)) or "none"
            raise RunNotFoundError(
                f"the model {name!r} in {store} has no alias {which!r}.{did_you_mean(which, known)} Its aliases: "
                f"{there}; its versions: {_numbers(versions)} (models:/{name}/{max(versions)})."
            )
        which = str(known[which])
    number = max(versions) if which in ("", _LATEST) else int(which) if which.isdigit() else 0
    if number not in versions:
        raise RunNotFoundError(
            f"the model {name!r} in {store} has no version {which!r}. Its versions: {_numbers(versions)}; "
            f"models:/{name}/{_LATEST} is the newest, an alias is written models:/{name}@ALIAS."
        )
    source = str(client.get_model_version_download_uri(name, str(number)))
    if source.startswith(f"{SCHEME}m-"):  # which MLflow would look for in the store of its own settings
        return str(client.get_logged_model(source.removeprefix(SCHEME)).artifact_location)
    return source


def _named(name: str) -> str:
    quote = '"' if "'" in name else "'"
    return f"name = {quote}{name}{quote}"


def _numbers(versions: dict[int, Any]) -> str:
    return ", ".join(str(number) for number in sorted(versions))


def _without_versions(client: Any, name: str, store: str) -> RunNotFoundError:
    names = sorted(one.name for one in client.search_registered_models())
    if name in names:
        return RunNotFoundError(f"the model {name!r} in {store} has no version yet.")
    there = f"Registered are {', '.join(names)}." if names else "None is registered there."
    asked = f"no model {name!r} is registered" if name else "an address models:/NAME@ALIAS names a model registered"
    return RunNotFoundError(f"{asked} in {store}.{did_you_mean(name, names)} {there} Another store is named by --uri.")


def _fetched(location: str, uri: str, into: str) -> Path:
    artifacts = import_mlflow().artifacts
    return Path(artifacts.download_artifacts(artifact_uri=location, tracking_uri=uri, dst_path=into))
