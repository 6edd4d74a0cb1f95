"""Finds experiment files and reads what they say about themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit.conf_folders import conf_folders


@dataclass(frozen=True)
class Experiment:
    """One file of the config group "experiment".

    Attributes:
        name: what follows `+experiment=`.
        path: the file.
        owner: who brings it: "expkit", "./conf", or the name of a distribution's config folder.
        comment: the comment that opens the file, without `#` and without `@package`.
    """

    name: str
    path: Path
    owner: str
    comment: str

    @property
    def summary(self) -> str:
        """First line of the comment that is not a command."""
        lines = (line.strip() for line in self.comment.splitlines())
        return next((line for line in lines if line and not _is_command(line)), "")


def experiments() -> list[Experiment]:
    """Return all experiments by name; of those of one name, the one that Hydra would find."""
    found: dict[str, Experiment] = {}
    for folder in conf_folders():
        root = folder.path / "experiment"
        for path in sorted(root.rglob("*.yaml")):
            name = path.relative_to(root).with_suffix("").as_posix()
            if name not in found:
                found[name] = Experiment(name, path, folder.owner, _comment(path))
    return [found[name] for name in sorted(found)]


def experiment_names() -> list[str]:
    """Return the names of all experiments."""
    return [experiment.name for experiment in experiments()]


def choices(experiment: Experiment) -> dict[str, Any]:
    """Return what an experiment chooses and sets: {"model": "cnn", "trainer.epochs": 5}."""
    import yaml

    try:
        content = yaml.safe_load(experiment.path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if not isinstance(content, dict):
        return {}
    found: dict[str, Any] = {}
    for default in content.pop("defaults", None) or ():
        if isinstance(default, dict):
            found.update({str(key).rpartition(" ")[2].lstrip("/"): value for key, value in default.items()})
    for key, value in content.items():
        _flatten(str(key), value, found)
    return found


def _flatten(prefix: str, value: Any, into: dict[str, Any]) -> None:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            _flatten(f"{prefix}.{key}", inner, into)
    else:
        into[prefix] = value


def _is_command(line: str) -> bool:
    return "python -m expkit" in line or line.startswith("expkit ")


def _comment(path: Path) -> str:
    lines = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):  # a broken file is reported when it is chosen
        return ""
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        bare = line[1:].removeprefix(" ").rstrip()
        if not bare.strip().startswith("@"):
            lines.append(bare)
    return "\n".join(lines).strip()
