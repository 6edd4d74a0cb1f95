"""Finds experiments and presets, which are YAML files, and reads what they say about themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expkit.conf_folders import conf_folders
from expkit.registry import Kind

EXPERIMENT = "experiment"


@dataclass(frozen=True)
class ConfFile:
    """One file of a config group: an experiment, or a preset of a component.

    Attributes:
        group: "experiment", or the group of a kind, such as "model".
        name: what is typed behind `+experiment=` or `model=`.
        path: the file.
        owner: who brings it: "./conf", "expkit", or a distribution with its version.
        comment: the comment that opens the file, without `#` and without `@package`.
    """

    group: str
    name: str
    path: Path
    owner: str
    comment: str

    @property
    def summary(self) -> str:
        """First line of the comment that is not a command; of a preset without one, what it is a preset of."""
        lines = (line.strip() for line in self.comment.splitlines())
        said = next((line for line in lines if line and not _is_command(line)), "")
        parents = bases(self) if not said and self.group != EXPERIMENT else []
        return f"preset of {', '.join(parents)}" if parents else said


def experiments() -> list[ConfFile]:
    """Return all experiments by name; of those of one name, the one that Hydra would find."""
    return _files(EXPERIMENT)


def experiment_names() -> list[str]:
    """Return the names of all experiments."""
    return [experiment.name for experiment in experiments()]


def presets(kind: Kind) -> list[ConfFile]:
    """Return the files that can be chosen in the place of a component of a kind, by name."""
    return _files(kind.config_group)


def bases(preset: ConfFile) -> list[str]:
    """Return the names that a preset builds on: ["tiny"]."""
    defaults = _content(preset.path).get("defaults") or ()
    return [name.rpartition("/")[2] for name in defaults if isinstance(name, str) and name != "_self_"]


def choices(file: ConfFile) -> dict[str, Any]:
    """Return what a file chooses and sets, as typed: {"model": "cnn", "trainer.epochs": 5}."""
    content = _content(file.path)
    found: dict[str, Any] = {}
    for default in content.pop("defaults", None) or ():
        if isinstance(default, dict):
            found.update({str(key).rpartition(" ")[2].lstrip("/"): value for key, value in default.items()})
    for key, value in content.items():
        _flatten(str(key) if file.group == EXPERIMENT else f"{file.group}.{key}", value, found)
    return found


def _files(group: str) -> list[ConfFile]:
    found: dict[str, ConfFile] = {}
    for folder in conf_folders():
        root = folder.path / group
        for path in sorted(root.rglob("*.yaml")):
            name = path.relative_to(root).with_suffix("").as_posix()
            if name not in found:
                found[name] = ConfFile(group, name, path, folder.owner, _comment(path))
    return [found[name] for name in sorted(found)]


def _content(path: Path) -> dict[str, Any]:
    """Read a file; one that is damaged, which is reported when it is chosen, says nothing."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


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
