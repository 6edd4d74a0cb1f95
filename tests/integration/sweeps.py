"""What the tests of sweeps share: jobs, where they come from, and who looks on."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from expkit.api import Callback, FitStart, StepEnd
from expkit.config import compose, to_yaml
from expkit.identity import config_hash
from expkit.sweeping.jobs import Job, Outcome, Report

ROOT = Path(__file__).parents[2]

BY_HAND = ("+experiment=housing_numpy_gd", "dataset.download=false", "trainer.epochs=3", "export=none", "plots=none")
MLP = (
    *("+experiment=mnist_cnn", "model=mlp", "model.hidden=[8]", "model.dropout=0.2", "dataset.limit=160"),
    *("dataset.batch_size=16", "dataset.download=false", "trainer.epochs=3", "trainer.stop_after=null"),
    *("plots=none", "export=none", "checkpoint.every_steps=3"),
)


def make_job(number: int, sweep: Path, *overrides: str, **options: Any) -> Job:
    """Make a job as the conductor does."""
    made = compose([*overrides, f"runs_dir={sweep.parents[1]}"])
    return Job(
        number=number,
        folder=sweep / str(number),
        overrides=tuple(overrides),
        varies=(),
        config=to_yaml(made.resolved),
        choices=made.choices,
        identity=config_hash(made.resolved),
        epochs=made.trainer.epochs,
        **options,
    )


class Act(Callback):
    """Does what a bad job, or a curious one, does.

    Args:
        do: "raise", "exit", "leave", "kill", "kill server", "segfault", "hang", "start", "tell", or "nothing".
        step: after which.
        once: only where the folder has no mark of an earlier attempt.
    """

    role = "essential"

    def __init__(self, do: str, step: int = 15, once: bool = False) -> None:
        self._do, self._step, self._once = do, step, once
        self._mark = Path()

    def on_fit_start(self, event: FitStart) -> None:
        self._mark = event.folder / "acted"

    def on_step_end(self, event: StepEnd) -> None:
        if event.step != self._step or (self._once and self._mark.exists()):
            return
        self._mark.touch()
        getattr(self, "_" + self._do.replace(" ", "_"))()

    def _nothing(self) -> None:
        pass

    def _raise(self) -> None:
        raise RuntimeError("out of ideas")

    def _exit(self) -> None:
        sys.exit(4)

    def _leave(self) -> None:
        os._exit(3)

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _kill_server(self) -> None:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)

    def _segfault(self) -> None:
        ctypes.string_at(0)

    def _hang(self) -> None:
        while True:
            time.sleep(60)

    def _start(self) -> None:
        """Start a program that outlives its job unless somebody sees to it."""
        program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (self._mark.parent / "started").write_text(str(program.pid))

    def _tell(self) -> None:
        """Write down what this process is like."""
        pipes = [one for one in Path("/proc/self/fd").iterdir() if os.path.lexists(one)]
        targets = []
        for one in pipes:
            with contextlib.suppress(OSError):
                targets.append(str(one.readlink()))
        facts = {
            "environment": dict(os.environ),
            "cores": sorted(os.sched_getaffinity(0)),
            "group": os.getpgid(0),
            "pid": os.getpid(),
            "pipes": sum(target.startswith("pipe:") for target in targets),
            "terminal": os.isatty(0),
            "paddle": "paddle" in sys.modules,
        }
        (self._mark.parent / "told.json").write_text(json.dumps(facts))
        sys.stdout.write("x" * 3_000_000 + "\n")


def acting(do: str, step: int = 15, *, once: bool = False) -> str:
    """Return the override that makes a job do something."""
    target = f"{Act.__module__}.{Act.__name__}"
    return f"+callbacks.act={{_target_:{target},do:{do},step:{step},once:{str(once).lower()}}}"


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie, which a container without an init may keep."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


class Jobs:
    """A source of given jobs, and a watcher that remembers.

    Attributes:
        outcomes: of the jobs that ended, by number.
        starts: (number, slot, attempt) in order.
        causes: why attempts of each job died that were tried again.
        reports: of each job.
        happening: called with each report.
        starting: called at each start.
        ticking: called again and again.
        stopping: says whether a job is to be pruned.
    """

    def __init__(self, *jobs: Job, happening: Callable[[Job, Report], Any] = lambda job, report: None) -> None:
        self._jobs = list(jobs)
        self.happening = happening
        self.outcomes: dict[int, Outcome] = {}
        self.starts: list[tuple[int, str, int]] = []
        self.causes: dict[int, list[str]] = {job.number: [] for job in jobs}
        self.reports: dict[int, list[Report]] = {job.number: [] for job in jobs}
        self.starting: Callable[[], Any] = lambda: None
        self.ticking: Callable[[], Any] = lambda: None
        self.stopping: Callable[[Job, Report], bool] = lambda job, report: False

    def next(self) -> Job | None:
        return self._jobs.pop(0) if self._jobs else None

    def reported(self, job: Job, report: Report) -> bool:
        return self.stopping(job, report)

    def ended(self, job: Job, outcome: Outcome) -> None:
        self.outcomes[job.number] = outcome

    @property
    def watcher(self) -> Watching:
        return Watching(self)


class Watching:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def started(self, job: Job, slot: str, attempt: int, after: str = "") -> None:
        self._jobs.starts.append((job.number, slot, attempt))
        self._jobs.causes[job.number] += [after] if after else []
        self._jobs.starting()

    def reported(self, job: Job, report: Report) -> None:
        self._jobs.reports[job.number].append(report)
        self._jobs.happening(job, report)

    def ended(self, job: Job, outcome: Outcome) -> None:
        pass

    def tick(self) -> None:
        self._jobs.ticking()
