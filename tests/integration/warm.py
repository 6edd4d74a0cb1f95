"""Runs in forked children of a warm parent, which has imported everything and computed nothing, and ways to kill them.

`python -m tests.integration.warm` is the parent: it reads one order as JSON from each line of its input, and answers
with the exit code of the child, negative for a signal.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from expkit import standalone
from expkit.checkpoint import CheckpointFolder
from expkit.export import writing
from expkit.export.fresh import Answer
from expkit.reproduction.comparing import compare
from expkit.reproduction.recorded import read_recorded
from expkit.verification.states import compare_states

ROOT = Path(__file__).parents[2]

# Places in which a child can be killed, at the n-th call there: owner, attribute.
PLACES = {
    "fsync": ("os", "fsync"),
    "rename": ("pathlib.Path", "rename"),
    "replace": ("pathlib.Path", "replace"),
    "log_batch": ("mlflow.MlflowClient", "log_batch"),
    "log_artifact": ("mlflow.MlflowClient", "log_artifact"),
    "set_terminated": ("mlflow.MlflowClient", "set_terminated"),
    "export": ("paddle.jit", "save"),
}


class Warm:
    """The parent process, as seen from a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("EXPKIT_", "MLFLOW_"))}
        environment.update(EXPKIT_CACHE_DIR=str(folder / "cache"), PYTHONPATH=str(ROOT))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.warm"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, run: str, *overrides: str, resume: bool = False, **kill: Any) -> int:
        """Start or resume a run, and return its exit code.

        Args:
            run: name of its folder.
            overrides: of the experiment.
            resume: go on with it.
            kill: `seconds` after which it is killed, or `place`, `count` and `after` of the call in which it dies,
                or the `step` after which it does.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"folder": str(self.path(run)), "overrides": overrides, "resume": resume, **kill}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def path(self, run: str) -> Path:
        return self.folder / "runs" / "warm" / run

    def said(self, run: str) -> str:
        return self.path(run).with_suffix(".log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def close(self) -> None:
        self._process.communicate()


def same(one: Path, other: Path) -> None:
    """Hold steps, epochs, results and both checkpoints of two runs to be identical."""
    found = compare(read_recorded(one), read_recorded(other))
    assert found.identical, found
    for which in ("last", "best"):
        states = [CheckpointFolder(folder / "checkpoints").load(which) for folder in (one, other)]
        found = [str(difference) for difference in compare_states(*states)]
        assert found == [], f"{which}: {found}"


@contextmanager
def warm(folder: Path) -> Iterator[Warm]:
    parent = Warm(folder)
    try:
        yield parent
    finally:
        parent.close()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    _warm_up()
    for line in sys.stdin:
        order = json.loads(line)
        if not order["resume"]:
            _composed(tuple(order["overrides"]))
        child = os.fork()
        if not child:
            _live(order)
        answers.write(f"{_wait(child, order.get('seconds'))}\n")
        answers.flush()


def _warm_up() -> None:
    """Import all that a run imports, some of it deep inside of MLflow; nothing is computed with Paddle."""
    from expkit.config import compose
    from expkit.cpu_tuning import tune
    from expkit.paddle_import import import_paddle
    from expkit.tracking.store import import_mlflow

    tune(True)
    import_paddle()
    for module in (
        "mlflow.pyfunc",
        "mlflow.store.artifact.local_artifact_repo",
        "expkit.experiment",
        "sklearn.datasets",
    ):
        importlib.import_module(module)
    import_mlflow().MlflowClient(f"sqlite:///{Path('warm.db').absolute()}").search_registered_models()
    importlib.import_module("sqlalchemy.orm").configure_mappers()
    importlib.import_module("mlflow.utils.requirements_utils")._init_modules_to_packages_map()
    compose(["+experiment=mnist_cnn"])
    gc.collect()
    gc.freeze()


def _wait(child: int, seconds: float | None) -> int:
    """Wait for a child, and kill it when its time has come."""
    end = time.monotonic() + (3600 if seconds is None else seconds)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            end = float("inf")
        time.sleep(0.002)


def _live(order: dict[str, Any]) -> None:
    """Be the child."""
    folder, code = Path(order["folder"]), 1
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(log, number)
        if "place" in order:
            _die_in(order["place"], order["count"], after=order["after"])
        writing.FreshProcess = SameProcess  # type: ignore[assignment, misc]
        code = _run(folder, order["overrides"], resume=order["resume"], step=order.get("step"))
    except BaseException as error:  # noqa: BLE001 - a child must never go on as its parent
        from expkit.cli.report import report

        code = report(error)
    finally:
        sys.stdout.flush()
        os._exit(code)


class SameProcess:
    """Stands in for the process that checks exports, which takes longer to start than these runs take."""

    def run(self, folder: Path, runtimes: Sequence[str], inputs: Any) -> dict[str, Answer]:
        return {"jit": Answer(outputs=standalone.connect(folder, "jit")(inputs))}

    def close(self) -> None:
        pass


def _run(folder: Path, overrides: Sequence[str], *, resume: bool, step: int | None) -> int:
    from expkit import experiment
    from expkit.verification.trial import Killed

    if resume:
        experiment.resume(folder)
    else:
        experiment.run(_composed(tuple(overrides)), folder, further=[] if step is None else [Killed(step)])
    return 0


@cache
def _composed(overrides: tuple[str, ...]) -> Any:
    from expkit.config import compose

    return compose(overrides)


def _die_in(place: str, count: int, *, after: bool) -> None:
    """Make the n-th call of a function kill this process, before or after it does its work."""
    module, attribute = PLACES[place]
    owner: Any = None
    try:
        owner = importlib.import_module(module)
    except ImportError:
        parent, _, name = module.rpartition(".")
        owner = getattr(importlib.import_module(parent), name)
    original: Callable[..., Any] = getattr(owner, attribute)
    calls = 0

    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(*arguments, **options)
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, attribute, deadly)


if __name__ == "__main__":
    main()
