"""Jobs in processes of their own, which behave well, or end in every bad way there is."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from expkit.checkpoint import CheckpointFolder
from expkit.config import compose
from expkit.interrupts import Stopped
from expkit.past import check_resumable, read_past
from expkit.runs import read_record
from expkit.settings import SweepSettings
from expkit.sweeping.jobs import CRASHED, FAILED, FINISHED, KILLED, PRUNED, TIMEOUT, Job, Outcome, Report
from expkit.sweeping.needs import Width
from expkit.sweeping.pool import LocalPool
from expkit.sweeping.slots import Slot
from tests.forked import is_helper
from tests.integration.conftest import wait_for
from tests.integration.resuming import console, same
from tests.integration.sweeps import BY_HAND, MLP, ROOT, Jobs, acting, is_running, make_job

pytestmark = pytest.mark.skipif(os.name == "nt", reason="forks, and sends POSIX signals")

QUIET = ("tracking=none",)
ONE = [Slot("cpu", "cpu", (min(os.sched_getaffinity(0)),), 1)] if hasattr(os, "sched_getaffinity") else []


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the jobs' processes find the callbacks of the tests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "some" / "sweep-1"


def pool(slots: list[Slot] = ONE, **settings: Any) -> tuple[LocalPool, io.StringIO]:
    said = io.StringIO()
    return LocalPool(SweepSettings(**settings), Width(), Console(file=said, width=200), slots=slots), said


def run(jobs: Jobs, slots: list[Slot] = ONE, **settings: Any) -> str:
    made, said = pool(slots, **settings)
    made.run(jobs, jobs.watcher)
    return said.getvalue()


def record(job: Job) -> dict[str, Any]:
    return read_record(job.folder)


def output(job: Job) -> str:
    return (job.folder / "output.log").read_text(encoding="utf-8")


def mlflow_run(job: Job) -> Any:
    from expkit.tracking.store import import_mlflow

    client = import_mlflow().MlflowClient(f"sqlite:///{job.folder.parents[2] / 'mlflow.db'}")
    return client.get_run(record(job)["mlflow_run_id"])


class Mixed:
    """One sweep of good and bad jobs, which most tests look at."""

    def __init__(self, folder: Path) -> None:
        sweep = folder / "runs" / "some" / "sweep-1"
        ways = {
            "good": (*BY_HAND,),
            "raises": (*BY_HAND, *QUIET, acting("raise")),
            "exits": (*BY_HAND, *QUIET, acting("exit")),
            "leaves": (*BY_HAND, *QUIET, acting("leave")),
            "killed": (*MLP, acting("kill")),
            "crashes once": (*MLP, *QUIET, acting("segfault", once=True)),
            "loses its server": (*BY_HAND, *QUIET, acting("kill server")),
            "tells": (*BY_HAND, *QUIET, acting("tell")),
            "has variables": (*BY_HAND, *QUIET, acting("tell")),
            "starts": (*BY_HAND, *QUIET, acting("start")),
            "pruned": (*MLP,),
            "has no room for output": (*BY_HAND, *QUIET, acting("raise")),
            "refused": (*BY_HAND, *QUIET, "dataset.root=/nowhere"),
        }
        options: dict[str, dict[str, Any]] = {
            "has variables": {"environment": {"FLAGS_some": "1", "CUDA_VISIBLE_DEVICES": "7"}},
            "pruned": {"prunes": True},
        }
        made = [make_job(n, sweep, *given, **options.get(name, {})) for n, (name, given) in enumerate(ways.items())]
        self.by_name: dict[str, Job] = dict(zip(ways, made, strict=True))
        full = self.by_name["has no room for output"].folder
        full.mkdir(parents=True)
        (full / "output.log").symlink_to("/dev/full")
        self.jobs = Jobs(*made)
        self.jobs.stopping = lambda job, report: report.epoch == 2
        self.lasted = time.monotonic()
        run(self.jobs, [*ONE, Slot("cpu (2)", "cpu", None, 1)], retries=1)
        self.lasted = time.monotonic() - self.lasted

    def outcome(self, name: str) -> Outcome:
        return self.jobs.outcomes[self.by_name[name].number]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        patch.delenv("EXPKIT_DATA_DIR", raising=False)
        patch.setenv("EXPKIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield Mixed(tmp_path_factory.mktemp("mixed"))


def test_a_good_job_is_a_run_like_any_other(mixed: Mixed) -> None:
    job, outcome = mixed.by_name["good"], mixed.outcome("good")
    assert (outcome.status, outcome.reason, outcome.attempts) == (FINISHED, "", 1)
    assert outcome.metrics == record(job)["metrics"]
    assert outcome.value == outcome.metrics["valid/mse"]
    assert record(job)["status"] == "FINISHED"
    assert mlflow_run(job).info.status == "FINISHED"
    assert "best epoch 3 of 3" in output(job)


def test_a_job_tells_of_each_epoch(mixed: Mixed) -> None:
    job = mixed.by_name["good"]
    reports = mixed.jobs.reports[job.number]
    assert (reports[0].epoch, reports[0].step, reports[0].steps, dict(reports[0].metrics)) == (0, 0, 300, {})
    epochs = [report for report in reports if report.metrics]
    assert [report.epoch for report in epochs] == [1, 2, 3]
    assert [report.monitored for report in epochs] == [report.metrics["valid/mse"] for report in epochs]
    assert (epochs[0].monitor, epochs[0].higher_is_better) == ("valid/mse", False)


def test_an_error_costs_the_job_that_raised_it_alone(mixed: Mixed) -> None:
    outcome = mixed.outcome("raises")
    assert outcome.status == FAILED
    assert "RuntimeError: out of ideas" in outcome.reason
    assert 'raise RuntimeError("out of ideas")' in (mixed.by_name["raises"].folder / "run.log").read_text()
    assert record(mixed.by_name["raises"])["status"] == "FAILED"


def test_a_full_disk_does_not_hide_what_ended_a_job(mixed: Mixed) -> None:
    outcome = mixed.outcome("has no room for output")
    assert outcome.status == FAILED
    assert "RuntimeError: out of ideas" in outcome.reason


def test_a_refused_job_says_why(mixed: Mixed) -> None:
    outcome = mixed.outcome("refused")
    assert outcome.status == FAILED
    assert outcome.reason.startswith("DataError: ")
    assert "/nowhere" in outcome.reason
    assert "Traceback" not in output(mixed.by_name["refused"])
    assert not (mixed.by_name["refused"].folder / "run.json").exists()


def test_leaving_is_a_failure_with_its_exit_code(mixed: Mixed) -> None:
    assert (mixed.outcome("exits").status, mixed.outcome("exits").reason) == (FAILED, "SystemExit: 4")
    left = mixed.outcome("leaves")
    assert (left.status, left.attempts) == (FAILED, 1)
    assert left.reason == "its process ended with exit code 3 before the run was over"
    assert record(mixed.by_name["leaves"])["status"] == "FAILED"
    assert record(mixed.by_name["leaves"])["reason"] == left.reason


def test_a_killed_job_is_tried_again_and_set_right_in_its_folder_and_in_mlflow(mixed: Mixed) -> None:
    job, outcome = mixed.by_name["killed"], mixed.outcome("killed")
    assert (outcome.status, outcome.attempts) == (CRASHED, 2)
    assert outcome.reason.startswith("killed by SIGKILL (out of memory")
    assert outcome.value is not None  # of the epoch before
    assert (record(job)["status"], record(job)["reason"]) == ("FAILED", outcome.reason)
    stored = mlflow_run(job)
    assert (stored.info.status, stored.data.tags["status.reason"]) == ("FAILED", outcome.reason)
    assert "--- attempt 2; what ended the one before: killed by SIGKILL" in output(job)
    check_resumable(read_past(job.folder))  # as a failed run; it does not raise


def test_a_job_that_crashed_goes_on_from_its_checkpoint_and_is_the_one_that_did_not(mixed: Mixed) -> None:
    from expkit import experiment

    job, outcome = mixed.by_name["crashes once"], mixed.outcome("crashes once")
    assert (outcome.status, outcome.attempts) == (FINISHED, 2)
    assert "resumed     after step 12" in output(job)
    assert "Segmentation fault" in output(job)
    (cause,) = mixed.jobs.causes[job.number]
    native = r"\(a fault in native code; output\.log has the stack\)"
    assert re.fullmatch(rf"killed by SIGSEGV in callback/act, tests/integration/sweeps\.py:\d+ {native}", cause), cause
    undisturbed = job.folder.parents[1] / "undisturbed"
    experiment.run(
        compose([*MLP, *QUIET, acting("nothing"), f"runs_dir={job.folder.parents[2]}"]), undisturbed, console()
    )
    same(job.folder, undisturbed)


def test_a_server_that_dies_costs_its_job_alone(mixed: Mixed) -> None:
    outcome = mixed.outcome("loses its server")
    assert (outcome.status, outcome.attempts) == (CRASHED, 2)
    assert outcome.reason == "its server was killed by SIGKILL (out of memory?)"


def test_each_job_has_its_caps_its_cores_and_nothing_of_others(mixed: Mixed) -> None:
    facts = json.loads((mixed.by_name["tells"].folder / "told.json").read_text())
    assert {facts["environment"][f"{library}_NUM_THREADS"] for library in ("OMP", "MKL", "OPENBLAS")} == {"1"}
    assert facts["environment"]["CUDA_VISIBLE_DEVICES"] == ""
    (slot,) = [slot for number, slot, _ in mixed.jobs.starts if number == mixed.by_name["tells"].number]
    assert facts["cores"] == (list(ONE[0].cores or ()) if slot == "cpu" else sorted(os.sched_getaffinity(0)))
    assert facts["group"] == facts["pid"]  # the terminal's Ctrl-C is not meant for it
    assert facts["pipes"] == 2  # those to and from the sweep


def test_a_long_line_of_output_blocks_nothing(mixed: Mixed) -> None:
    assert mixed.outcome("tells").status == FINISHED
    assert len(output(mixed.by_name["tells"])) > 3_000_000


def test_a_job_with_variables_of_its_own_has_them_before_anything_is_imported(mixed: Mixed) -> None:
    facts = json.loads((mixed.by_name["has variables"].folder / "told.json").read_text())
    assert mixed.outcome("has variables").status == FINISHED
    assert facts["environment"]["FLAGS_some"] == "1"
    assert facts["environment"]["CUDA_VISIBLE_DEVICES"] == ""  # which GPU a job gets is not for it to say
    assert (facts["group"], facts["pipes"]) == (facts["pid"], 2)


def test_what_a_job_started_ends_with_it(mixed: Mixed) -> None:
    assert not is_running(int((mixed.by_name["starts"].folder / "started").read_text()))


def test_a_pruned_job_ends_after_its_epoch_with_a_checkpoint(mixed: Mixed) -> None:
    job, outcome = mixed.by_name["pruned"], mixed.outcome("pruned")
    assert (outcome.status, outcome.reason) == (PRUNED, "pruned after epoch 2 of 3")
    assert outcome.value == max(r.monitored for r in mixed.jobs.reports[job.number] if r.monitored is not None)
    assert (record(job)["status"], record(job)["reason"]) == ("KILLED", outcome.reason)
    assert CheckpointFolder(job.folder / "checkpoints").load("last").progress["epoch"] == 2
    stored = mlflow_run(job)
    assert (stored.info.status, stored.data.tags["status.reason"]) == ("KILLED", outcome.reason)


@pytest.mark.slow
def test_a_job_that_hangs_is_given_up_and_on_error_stop_begins_no_more(sweep: Path) -> None:
    hanging, never = make_job(0, sweep, *BY_HAND, *QUIET, acting("hang")), make_job(1, sweep, *BY_HAND, *QUIET)
    jobs = Jobs(hanging, never)
    said = run(jobs, timeout=5.0, grace=0.5, on_error="stop")
    outcome = jobs.outcomes[0]
    assert outcome.status == TIMEOUT
    assert outcome.reason.startswith("given up after 5 s (sweep.timeout)")
    if (hanging.folder / "run.json").exists():  # else this machine is very busy
        assert (record(hanging)["status"], record(hanging)["reason"]) == ("KILLED", outcome.reason)
    assert [number for number, *_ in jobs.starts] == [0]
    assert "job 0 failed: no more are begun (sweep.on_error=stop)" in said


def at_step(step: int, act: Callable[[], Any]) -> Callable[[Job, Report], None]:
    """Return what acts once, when a job has come so far."""
    done: list[int] = []

    def happening(job: Job, report: Report) -> None:
        if report.step >= step and not done:
            done.append(report.step)
            act()

    return happening


def test_ctrl_c_lets_the_jobs_save_and_the_sweep_goes_on_from_there(sweep: Path) -> None:
    slow = (*MLP, *QUIET, "dataset.limit=1000", "trainer.epochs=200")
    running, waiting = make_job(0, sweep, *slow), make_job(1, sweep, *slow)
    jobs = Jobs(running, waiting, happening=at_step(1, lambda: os.kill(os.getpid(), signal.SIGINT)))
    made, said = pool(grace=60.0)
    with pytest.raises(Stopped) as stopped:
        made.run(jobs, jobs.watcher)
    assert stopped.value.exit_code == 75
    assert (jobs.outcomes[0].status, jobs.outcomes[0].reason) == (KILLED, "stopped by SIGINT")
    assert [number for number, *_ in jobs.starts] == [0]
    assert record(running)["status"] == "KILLED"
    assert not CheckpointFolder(running.folder / "checkpoints").is_empty()
    assert "stopped by SIGINT. Still running: 1, with 60 s to save and end. Ctrl-C again kills" in said.getvalue()


def test_a_second_ctrl_c_kills_at_once(sweep: Path) -> None:
    job = make_job(0, sweep, *BY_HAND, *QUIET, acting("hang", step=10))
    jobs = Jobs(job)
    asked: list[float] = []

    def interrupt() -> None:
        if (job.folder / "acted").exists() and len(asked) < 2:
            asked.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    jobs.ticking = interrupt
    made, _ = pool(grace=600.0)
    with pytest.raises(Stopped) as stopped:
        made.run(jobs, jobs.watcher)
    assert stopped.value.exit_code == 128 + signal.SIGINT
    assert jobs.outcomes[0].reason == "stopped by SIGINT; killed before it had saved"
    assert jobs.outcomes[0].killed
    assert record(job)["status"] == "KILLED"


def test_ctrl_c_while_a_process_is_still_importing_ends_at_once_and_loses_nothing(sweep: Path) -> None:
    jobs = Jobs(make_job(0, sweep, *BY_HAND, *QUIET), make_job(1, sweep, *BY_HAND, *QUIET))
    jobs.starting = lambda: os.kill(os.getpid(), signal.SIGTERM)
    made, _ = pool(grace=600.0)
    with pytest.raises(Stopped) as stopped:
        made.run(jobs, jobs.watcher)
    assert stopped.value.exit_code == 75
    assert {number: (one.status, one.reason) for number, one in jobs.outcomes.items()} == {
        0: (KILLED, "stopped by SIGTERM")
    }


@pytest.mark.slow
def test_a_sweep_whose_own_code_fails_leaves_no_process_and_no_run_that_says_it_is_running(sweep: Path) -> None:
    def fail() -> None:
        raise OSError("no space left for the ledger")

    job = make_job(0, sweep, *BY_HAND, *QUIET, acting("hang"))
    jobs = Jobs(job, happening=at_step(1, fail))
    made, _ = pool()
    with pytest.raises(OSError, match="no space left"):
        made.run(jobs, jobs.watcher)
    assert descendants(os.getpid()) == []
    assert (record(job)["status"], record(job)["reason"]) == ("KILLED", "its sweep was broken off")


def test_a_process_that_cannot_be_prepared_says_why(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = sweep.parent / "broken"
    (broken / "paddle").mkdir(parents=True)
    (broken / "paddle" / "__init__.py").write_text("raise ImportError('libfoo.so.1: no such file')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(broken), os.environ["PYTHONPATH"]]))
    jobs = Jobs(make_job(0, sweep, *BY_HAND, *QUIET))
    run(jobs, retries=3)
    assert (jobs.outcomes[0].status, jobs.outcomes[0].attempts) == (FAILED, 1)
    assert jobs.outcomes[0].reason == "its process could not be prepared: ImportError: libfoo.so.1: no such file"


@pytest.mark.slow
def test_a_gpu_has_a_new_process_for_each_job(sweep: Path) -> None:
    here = Slot("gpu:1", "gpu", None, 1, "GPU-1")  # Paddle of the tests finds none, and takes the CPU
    jobs = [make_job(number, sweep, *BY_HAND, *QUIET, acting(do)) for number, do in enumerate(("tell", "kill"))]
    source = Jobs(*jobs)
    run(source, [here])
    facts = json.loads((jobs[0].folder / "told.json").read_text())
    assert source.outcomes[0].status == FINISHED
    assert facts["environment"]["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert (facts["group"], facts["pipes"]) == (facts["pid"], 2)
    assert source.outcomes[1].status == CRASHED
    assert record(jobs[1])["status"] == "FAILED"


PARENT = """
import sys
from pathlib import Path
from expkit.settings import SweepSettings
from expkit.sweeping.needs import Width
from expkit.sweeping.pool import LocalPool
from expkit.sweeping.slots import Slot
from tests.integration.sweeps import *

slots = [Slot("cpu (1)", "cpu", None, 1), Slot("gpu:0", "gpu", None, 1, "")]
loaders = ("dataset.loading=workers", "dataset.workers=1")
made = [make_job(n, Path(sys.argv[1]), *MLP, *loaders, "tracking=none", acting("hang", 5)) for n in range(2)]
jobs = Jobs(*made)
LocalPool(SweepSettings(), Width(), slots=slots).run(jobs, jobs.watcher)
"""


def test_nothing_is_left_of_a_sweep_that_is_killed(sweep: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(sweep)], cwd=ROOT, text=True)
    try:
        marks = [sweep / str(number) / "acted" for number in range(2)]
        wait_for(lambda: all(mark.exists() for mark in marks), 120, parent)
        family = descendants(parent.pid)
        assert len(family) >= 5  # a server and its job, a job, and a loader of each
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 60
    while any(is_running(pid) for pid in family):
        assert time.monotonic() < deadline, [pid for pid in family if is_running(pid)]
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have; but for who helps the tests."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text, command = entry.read_text(), entry.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if not is_helper(command):
            parents[int(text.split()[0])] = int(text.rpartition(")")[2].split()[1])
    found, new = [], [pid]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def test_a_sweep_of_a_library_caller_imports_nothing_heavy() -> None:
    code = "import sys; import expkit.sweeping.pool; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert {"paddle", "mlflow", "matplotlib", "sqlalchemy"}.isdisjoint(loaded.split())
