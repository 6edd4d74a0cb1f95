"""Which checks there are, and doing them one by one, so that none can spoil another."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from expkit.doctor.children import Child, start_children
from expkit.errors import first_line
from expkit.findings import Finding, Section


@dataclass(frozen=True)
class Scene:
    """What there is to look at, as the checks are given it.

    Attributes:
        runs_dir: folder of the runs.
        uri: of the tracking store that the user names, or None.
        measure: whether the effect of the CPU settings is measured.
        environment: variables of this process.
        proc: where the kernel tells of processes and hardware.
        cgroups: where it tells of a container's limits.
        children: processes that import what may be broken, by name; see `children`.
        trouble: why there are none.
    """

    runs_dir: Path = Path("runs")
    uri: str | None = None
    measure: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    proc: Path = Path("/proc")
    cgroups: Path = Path("/sys/fs/cgroup")
    children: Mapping[str, Child] | None = None
    trouble: str = ""

    def child(self, name: str) -> Child:
        """Return a child process.

        Raises:
            RuntimeError: it could not be started.
        """
        if self.children is None or name not in self.children:
            raise RuntimeError(f"no child process could be started ({self.trouble})")
        return self.children[name]


Check = Callable[[Scene], Sequence[Finding]]


@dataclass(frozen=True)
class Topic:
    """A section of the report.

    Attributes:
        title: of the section.
        checks: their names, and "module:function" below this package.
        waits: whether its checks need a child's answers, and are therefore done when everything else is.
    """

    title: str
    checks: Mapping[str, str]
    waits: bool = False


TOPICS = (
    Topic(
        "Versions",
        {
            "Python": "versions:python",
            "expkit": "versions:own",
            "packages": "versions:packages",
            "extras": "versions:extras",
            "paddle": "paddle_build:paddle",
        },
        waits=True,
    ),
    Topic(
        "Machine",
        {
            "CPU": "devices:processor",
            "cores": "devices:cores",
            "memory": "devices:memory",
            "GPU": "devices:gpus",
            "sweeps": "devices:sweeps",
        },
        waits=True,
    ),
    Topic("CPU settings", {"MKL": "tuning:mkl", "malloc": "tuning:malloc", "layers": "tuning:layers"}),
    Topic(
        "Folders",
        {
            "runs": "folders:runs",
            "cache": "folders:cache",
            "temporary": "folders:temporary",
            "/dev/shm": "folders:shared_memory",
        },
    ),
    Topic("Data", {"data folder": "data_sets:folder", "data sets": "data_sets:data_sets"}, waits=True),
    Topic("Plugins", {"plugins": "plugins:plugins", "configs": "plugins:configs"}, waits=True),
    Topic("Tracking", {"store": "stores:stores", "unsent": "stores:unsent"}),
    Topic(
        "Environment",
        {
            "variables": "surroundings:variables",
            "names": "surroundings:shadowed",
            "git": "surroundings:git",
            "encoding": "surroundings:encoding",
            "fonts": "surroundings:fonts",
        },
        waits=True,
    ),
)
MEASURED = ("CPU settings", {"effect": "effect:effect"})


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
        sections: in order.
        seconds: that it took.
    """

    sections: Sequence[Section]
    seconds: float

    @property
    def findings(self) -> list[Finding]:
        """All of them."""
        return [finding for section in self.sections for finding in section.findings]

    def count(self, level: str) -> int:
        """Return how many findings have a level."""
        return sum(finding.level == level for finding in self.findings)

    @property
    def failed(self) -> bool:
        """Whether something cannot work."""
        return self.count("FAIL") > 0


def examine(scene: Scene, topics: Sequence[Topic] = TOPICS) -> Examination:
    """Do all checks.

    Args:
        scene: what to look at; where it has no children, they are started, and ended.
        topics: what to check.
    """
    began = time.perf_counter()
    started: Mapping[str, Child] = {}
    if scene.children is None:
        try:
            started = start_children()
        except Exception as error:  # noqa: BLE001 - no memory for a process, or a distribution with damaged metadata
            scene = replace(scene, trouble=f"{type(error).__name__}: {first_line(error)}")
        scene = replace(scene, children=started)
    try:
        found: dict[str, Section] = {}
        for topic in sorted(topics, key=lambda one: one.waits):  # children work meanwhile
            found[topic.title] = Section(topic.title, findings=_check(scene, topic.checks))
        if scene.measure:  # alone, since it takes the time
            title, checks = MEASURED
            more = _check(scene, checks)
            found[title] = Section(title, findings=[*(found[title].findings if title in found else ()), *more])
    finally:
        for child in started.values():
            child.close()
    order = [topic.title for topic in topics]
    sections = sorted(found.values(), key=lambda section: order.index(section.title) if section.title in order else 99)
    return Examination(sections, time.perf_counter() - began)


def _check(scene: Scene, checks: Mapping[str, str]) -> list[Finding]:
    found: list[Finding] = []
    for name, place in checks.items():
        module, _, function = place.partition(":")
        try:
            check: Check = getattr(importlib.import_module(f"expkit.doctor.{module}"), function)
            found += check(scene)
        except Exception as error:  # noqa: BLE001 - one that fails must not hide what the others find
            told = f"could not be looked at: {type(error).__name__}: {first_line(error)}"
            found.append(Finding("FAIL", name, told, _remedy(error)))
    return found


def _remedy(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return "Install what is missing with all that expkit needs: python -m pip install expkit (of a checkout: -e .)"
    return "If nothing above explains it, please tell us: python -m expkit doctor --markdown"
