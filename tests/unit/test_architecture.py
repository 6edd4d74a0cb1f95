"""What may import what, and how long a file or a function may be. Read from the source; nothing is imported."""

from __future__ import annotations

import ast
import graphlib
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A module imports from its own layer and from those below. Every module has to be in the table; `*` stands for the
# modules of a package.
LAYERS: dict[int, tuple[str, ...]] = {
    1: (
        "expkit",
        "expkit.api_version",
        "expkit.errors",
        "expkit.masked_output",
        "expkit.masking",  # reads the environment, too
        "expkit.paths",  # where things are; reads the environment
        "expkit.secret_names",
        "expkit.preprocess",  # is copied beside an export, so that it imports nothing of expkit
        "expkit.standalone",  # likewise
    ),
    2: (
        "expkit.api",
        "expkit.events",
        "expkit.inspection",  # plugins look inside models with it, and the verb `check`
        "expkit.inspection.*",
        "expkit.spec",
    ),
    # Components and the config that chooses them; how a run computes.
    3: (
        "expkit.component",
        "expkit.components",
        "expkit.conf_folders",
        "expkit.config",
        "expkit.config_source",
        "expkit.cpu_tuning",
        "expkit.data",
        "expkit.data_checks",
        "expkit.device",
        "expkit.distributions",
        "expkit.docstring",
        "expkit.files",
        "expkit.findings",
        "expkit.identity",
        "expkit.interrupts",
        "expkit.line",
        "expkit.line_process",
        "expkit.loading",
        "expkit.metrics",
        "expkit.option_types",
        "expkit.own_code",
        "expkit.paddle_import",
        "expkit.parts",
        "expkit.processes",
        "expkit.registry",
        "expkit.scaffold",
        "expkit.seeding",
        "expkit.settings",
        "expkit.signature",
        "expkit.source",
        "expkit.tensor_file",
    ),
    # The services of a run: training, and everything that watches, keeps or shows it.
    4: (
        "expkit.answer_picture",
        "expkit.auto_resume",
        "expkit.bundles",
        "expkit.callbacks",
        "expkit.capsule",
        "expkit.checkpoint",
        "expkit.checkpoint_index",
        "expkit.diagnosis",
        "expkit.evaluation",
        "expkit.export",
        "expkit.export_record",
        "expkit.exporting",
        "expkit.export.*",
        "expkit.figures",
        "expkit.file_kinds",
        "expkit.fonts",
        "expkit.found_files",
        "expkit.inputs",
        "expkit.isolation",
        "expkit.last_step",
        "expkit.lock",
        "expkit.model_card",
        "expkit.nonfinite",
        "expkit.parallel",
        "expkit.parallel.*",
        "expkit.past",
        "expkit.pictures",
        "expkit.plotting",
        "expkit.predict",
        "expkit.preparation",
        "expkit.progress",
        "expkit.provenance",
        "expkit.raw_arrays",
        "expkit.record",
        "expkit.record_files",
        "expkit.record_store",
        "expkit.recovery",
        "expkit.replay",
        "expkit.registration",
        "expkit.report",
        "expkit.result",
        "expkit.run_card",
        "expkit.runlog",
        "expkit.runs",
        "expkit.scoring",
        "expkit.serving",
        "expkit.serving.*",
        "expkit.serving_model",
        "expkit.snapshot",
        "expkit.state",
        "expkit.tracking",
        "expkit.tracking.*",
        "expkit.trainer",
    ),
    5: (
        *("expkit.checkup", "expkit.checkup.*", "expkit.comparison", "expkit.comparison.*"),
        *("expkit.doctor", "expkit.doctor.*"),
        "expkit.plugin_health",
        *("expkit.experiment", "expkit.reproduction", "expkit.reproduction.*"),
        *("expkit.sweeping", "expkit.sweeping.*", "expkit.verification", "expkit.verification.*"),
        *("expkit.testing", "expkit.testing.*"),  # the conformance kit: for plugin authors, and for `plugins check`
    ),
    6: ("expkit.cli", "expkit.cli.*"),
    7: ("expkit.__main__",),  # the entrance, which nothing imports
}

# Only these know Hydra and OmegaConf: the command line, which starts Hydra and explains its errors, and the
# modules in which a config is composed from components and turned into plain values.
HYDRA = ("expkit.cli", "expkit.cli.*", "expkit.components", "expkit.config", "expkit.config_source", "hydra_plugins.*")
# The model that MLflow itself loads and serves is written in its terms.
MLFLOW = ("expkit.tracking", "expkit.tracking.*", "expkit.serving_model")

# What a dependency is imported as, where that is not its own name.
IMPORTED_AS = {
    "hydra-core": "hydra",
    "paddlepaddle": "paddle",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
# Brought by MLflow, and used by what talks to MLflow in its terms, and by what looks at an installation;
# scipy reads .mat files.
WITH_MLFLOW = {"sqlalchemy", "packaging", "scipy"}
FIXED = {"hydra-core", "omegaconf", "paddlepaddle", "numpy", "mlflow", "matplotlib", "pillow"}

# Slow to import, hence imported where they are used: `list`, `show` and completion answer without them.
SLOW = (
    *("paddle", "mlflow", "matplotlib", "sklearn", "pandas", "sqlalchemy", "optuna", "ray"),
    *("starlette", "fastapi", "uvicorn", "h11"),
)
SLOW_AT_TOP = {
    "expkit.serving_model",  # is run by MLflow, which has imported them by then
    "expkit.serving.app",  # is imported by the verb `serve` alone, as its server starts
    "expkit.serving.server",
}

LONGEST_FILE = 350
LONGEST_FUNCTION = 40  # lines of code, without its docstring


@dataclass(frozen=True)
class Import:
    """One import: by whom, of what, and whether it happens when the importing module is imported."""

    importer: str
    imported: str
    at_top: bool


@dataclass(frozen=True)
class Module:
    """A source file."""

    name: str
    path: Path

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"))

    def imports(self) -> Iterator[Import]:
        yield from self._imports(self.tree(), at_top=True)

    def _imports(self, node: ast.AST, *, at_top: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(self.name, alias.name, at_top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield from (Import(self.name, name, at_top) for name in self._from(child))
            later = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_type_checking(child)
            yield from self._imports(child, at_top=at_top and not later)

    def _from(self, node: ast.ImportFrom) -> Iterator[str]:
        base = node.module or ""
        if node.level:
            parents = self.package.split(".")
            base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            yield inner if inner in NAMES else base


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def modules(folder: Path) -> list[Module]:
    """Return all modules below a folder of packages."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found.append(Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


TEMPLATES = "expkit.templates."  # what `new plugin` writes
FRAMEWORK = [m for m in modules(ROOT) if m.name.partition(".")[0] == "expkit" and not m.name.startswith(TEMPLATES)]
PLUGINS = modules(ROOT / "plugins")
STRANGERS = modules(ROOT / "tests/fixtures/acme/src")
NAMES = {m.name for m in (*FRAMEWORK, *PLUGINS, *STRANGERS)}


@cache
def imports_of_framework() -> list[Import]:
    return [found for module in FRAMEWORK for found in module.imports()]


def layer(module: str) -> int | None:
    fitting = [n for n, names in LAYERS.items() if any(fnmatchcase(module, name) for name in names)]
    assert len(fitting) < 2, f"{module} is in layers {fitting}"
    return fitting[0] if fitting else None


def within(name: str, packages: tuple[str, ...]) -> bool:
    return name.partition(".")[0] in packages


def may(module: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in patterns)


def test_every_module_has_a_layer() -> None:
    assert [m.name for m in FRAMEWORK if layer(m.name) is None] == []


def test_every_line_of_the_table_stands_for_a_module() -> None:
    patterns = [name for names in LAYERS.values() for name in names] + list(MLFLOW)
    assert [p for p in patterns if not any(fnmatchcase(m.name, p) for m in FRAMEWORK)] == []


def test_imports_go_down() -> None:
    up = [
        f"{i.importer} imports {i.imported}"
        for i in imports_of_framework()
        if within(i.imported, ("expkit",)) and (layer(i.imported) or 99) > (layer(i.importer) or 0)
    ]
    assert up == []


def test_there_is_no_circle() -> None:
    graph: dict[str, set[str]] = {m.name: set() for m in FRAMEWORK}
    for found in imports_of_framework():
        if found.at_top and found.imported in graph:
            graph[found.importer].add(found.imported)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_preprocess_stands_alone() -> None:
    assert not [
        i for i in imports_of_framework() if i.importer == "expkit.preprocess" and within(i.imported, ("expkit",))
    ]


def test_the_framework_imports_no_plugin() -> None:
    plugins = {m.name.partition(".")[0] for m in PLUGINS}
    assert "expkit_models" in plugins
    assert [i for i in imports_of_framework() if i.imported.partition(".")[0] in plugins] == []


@pytest.mark.parametrize("module", [*PLUGINS, *STRANGERS], ids=lambda m: m.name)
def test_a_plugin_imports_the_api_and_its_own_package_only(module: Module) -> None:
    own = module.name.partition(".")[0]
    foreign = [
        i.imported
        for i in module.imports()
        if i.imported.startswith(("expkit", "acme_")) and i.imported != "expkit.api" and not within(i.imported, (own,))
    ]
    assert foreign == []


def test_hydra_stays_at_the_edge() -> None:
    users = {i.importer for i in imports_of_framework() if within(i.imported, ("hydra", "omegaconf"))}
    assert {user for user in users if not may(user, HYDRA)} == set()


def test_mlflow_stays_in_tracking() -> None:
    users = {i.importer for i in imports_of_framework() if within(i.imported, ("mlflow",))}
    assert {user for user in users if not may(user, MLFLOW)} == set()


def test_slow_packages_are_imported_where_they_are_used() -> None:
    early = [
        i for i in imports_of_framework() if i.at_top and within(i.imported, SLOW) and i.importer not in SLOW_AT_TOP
    ]
    assert early == []


def test_importing_the_framework_loads_nothing_slow() -> None:
    names = [m.name for m in FRAMEWORK if m.name not in SLOW_AT_TOP | {"expkit.__main__"}]
    code = f"import importlib, sys\nfor n in {names}: importlib.import_module(n)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(SLOW).isdisjoint(done.stdout.split())


def required(*, extra: str | None = None) -> set[str]:
    """Return the names of the distributions that ours, or an extra of it, depends on."""
    found = importlib.metadata.requires("expkit") or []
    marker = f"extra == '{extra}'"
    chosen = [r for r in found if (marker in r.replace('"', "'") if extra else "extra ==" not in r)]
    return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in chosen}


def test_what_is_imported_is_declared() -> None:
    extras = (
        required(extra="visualdl")
        | required(extra="system")
        | required(extra="optuna")
        | required(extra="ray")
        | required(extra="onnx")
    )
    declared = {IMPORTED_AS.get(name, name) for name in required() | extras} | WITH_MLFLOW
    imported = {i.imported.partition(".")[0] for m in (*FRAMEWORK, *PLUGINS) for i in m.imports()}
    own = {m.name.partition(".")[0] for m in (*FRAMEWORK, *PLUGINS)}
    assert imported - own - sys.stdlib_module_names - declared == set()


def test_every_dependency_beyond_the_fixed_ones_has_its_reason() -> None:
    text = (ROOT / "docs/design/dependencies.md").read_text(encoding="utf-8")
    reasons = set(re.findall(r"^\| ([\w-]+) \|", text, re.M)) - {"package"}
    assert (required() | required(extra="dev")) - FIXED == reasons


@pytest.mark.parametrize("module", [*FRAMEWORK, *PLUGINS, *STRANGERS], ids=lambda m: m.name)
def test_files_and_functions_are_short(module: Module) -> None:
    assert len(module.path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    long = {
        f"{module.name}.{node.name}": lines
        for node in ast.walk(module.tree())
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (lines := code_lines(node)) > LONGEST_FUNCTION
    }
    assert long == {}


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring."""
    doc = node.body[0] if ast.get_docstring(node) is not None else None
    first, last = node.lineno, node.end_lineno or node.lineno
    return last - first + 1 - (0 if doc is None else (doc.end_lineno or doc.lineno) - doc.lineno + 1)
