"""Sweeps on a Ray cluster of two nodes, which are processes of this machine; one of them dies in the middle."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from expkit.errors import ConfigError
from expkit.interrupts import SAVED, Stopped
from expkit.settings import SweepSettings, TrackingSettings
from expkit.sweeping.cluster.pool import RayPool
from expkit.sweeping.cluster.settings import ClusterSettings
from expkit.sweeping.jobs import CRASHED, FAILED, FINISHED, KILLED, PRUNED, Job, Report
from expkit.sweeping.needs import Width
from expkit.sweeping.pool import LocalPool
from tests.integration.ray_cluster import ENVIRONMENT, RayCluster, RayNode, ray_cluster
from tests.integration.sweeps import MLP, Jobs, make_job

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'expkit[ray]'"
    ),
    # Ray leaves its sockets and log files to the interpreter when it is told to leave a cluster.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
LONG = ("trainer.epochs=400", "tracking=none")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray-") as folder:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with ray_cluster(Path(folder)) as made:  # in a short path: sockets lie in it
            yield made


@pytest.fixture(scope="module")
def second(cluster: RayCluster) -> RayNode:
    return cluster.add()


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mnist_cnn" / "sweep-1"


def pool(cluster: RayCluster, sweep: Path, said: io.StringIO | None = None, **settings: float) -> RayPool:
    made = SweepSettings(**settings)  # type: ignore[arg-type]
    cluster_settings, tracking = ClusterSettings(address=cluster.address), TrackingSettings(kind="none")
    console = Console(file=said or io.StringIO(), width=200, highlight=False)
    return RayPool(cluster_settings, made, Width(), sweep.parents[1], tracking, console)


def run(made: RayPool, jobs: Jobs) -> None:
    try:
        made.run(jobs, jobs.watcher)
    finally:
        made.close()


def test_the_jobs_of_two_nodes_learn_what_those_of_one_machine_do(
    cluster: RayCluster, second: RayNode, sweep: Path, tmp_path: Path
) -> None:
    def jobs(folder: Path) -> Jobs:
        good = [make_job(n, folder, *MLP, f"seed={n}", "tracking=none") for n in range(3)]
        return Jobs(*good, make_job(3, folder, *MLP, "dataset.root=/nowhere", "tracking=none"))

    far, near = jobs(sweep), jobs(tmp_path / "local" / "mnist_cnn" / "sweep-1")
    run(pool(cluster, sweep), far)
    LocalPool(SweepSettings(), Width()).run(near, near.watcher)
    assert len({slot for _, slot, _ in far.starts}) == 2
    for number in range(3):
        one, other = far.outcomes[number], near.outcomes[number]
        assert (one.status, one.value, one.metrics) == (FINISHED, other.value, other.metrics)
        assert len([report for report in far.reports[number] if report.metrics]) == 3
    assert far.outcomes[3].status == FAILED
    assert far.outcomes[3].reason == near.outcomes[3].reason
    assert "/nowhere" in (sweep / "3" / "output.log").read_text()


def test_ctrl_c_lets_jobs_on_all_nodes_save(cluster: RayCluster, second: RayNode, sweep: Path) -> None:
    def happening(job: Job, report: Report) -> None:
        if not pressed and all(any(one.step > 20 for one in told) for told in jobs.reports.values()):
            pressed.append(True)  # once: the second time would kill
            os.kill(os.getpid(), signal.SIGINT)

    pressed: list[bool] = []
    both = [make_job(n, sweep, *MLP, *LONG, f"seed={n}") for n in range(2)]
    jobs = Jobs(*both, make_job(2, sweep, *MLP, *LONG), happening=happening)
    del jobs.reports[2]  # no place is free for it
    with pytest.raises(Stopped) as stopped:
        run(pool(cluster, sweep), jobs)
    assert stopped.value.exit_code == SAVED
    assert {one.status for one in jobs.outcomes.values()} == {KILLED}
    assert sorted(jobs.outcomes) == [0, 1]
    for number in range(2):
        record = json.loads((sweep / str(number) / "run.json").read_text())
        assert (record["status"], record["reason"]) == ("KILLED", "stopped by SIGTERM")
        assert list((sweep / str(number) / "checkpoints").glob("*/manifest.json"))


def test_a_job_is_pruned_and_a_killed_one_is_not_run_again_unasked(
    cluster: RayCluster, second: RayNode, sweep: Path
) -> None:
    def happening(job: Job, report: Report) -> None:
        if job.number == 1 and report.step > 20 and (sweep / "1" / ".lock").exists():
            os.kill(json.loads((sweep / "1" / ".lock").read_text())["pid"], signal.SIGKILL)

    jobs = Jobs(
        make_job(0, sweep, *MLP, *LONG, prunes=True), make_job(1, sweep, *MLP, *LONG, "seed=1"), happening=happening
    )
    jobs.stopping = lambda job, report: job.number == 0 and report.epoch == 2
    run(pool(cluster, sweep), jobs)
    assert (jobs.outcomes[0].status, jobs.outcomes[0].reason) == (PRUNED, "pruned after epoch 2 of 400")
    assert (jobs.outcomes[1].status, jobs.outcomes[1].attempts) == (CRASHED, 1)
    assert "killed by SIGKILL" in jobs.outcomes[1].reason
    assert [number for number, _, _ in jobs.starts] == [0, 1]


def test_what_no_node_has_is_refused(cluster: RayCluster, sweep: Path) -> None:
    wanted = ClusterSettings(address=cluster.address, num_gpus=1)
    with pytest.raises(ConfigError, match=r"no node .* needs 1 CPU, 1 GPU: .* has 1 CPU, 0 GPU"):
        RayPool(wanted, SweepSettings(), Width(), sweep.parents[1], TrackingSettings(kind="none"))
    with pytest.raises(ConfigError, match="nothing answers there"):
        RayPool(ClusterSettings(address="127.0.0.1:1"), SweepSettings(), Width(), sweep, TrackingSettings(kind="none"))
    assert not sweep.parents[1].exists()


def test_when_a_node_dies_its_job_goes_on_from_its_checkpoint_on_another(
    cluster: RayCluster, second: RayNode, sweep: Path, tmp_path: Path
) -> None:
    """The last of this file, as it needs a node of its own."""
    epochs = ("trainer.epochs=40", "tracking=none")
    said = io.StringIO()
    made = pool(cluster, sweep, said, retries=1)
    mortal = second
    if node_of(made, second) == made.ray.get_runtime_context().get_node_id():
        made.close()  # a program dies with the node that it is connected to, which of two on a machine is Ray's choice
        mortal = cluster.add()
        made = pool(cluster, sweep, said, retries=1)
    doomed = next(place.slot.name for place in made.places() if place.node == node_of(made, mortal))
    count = len(made.slots)
    died: list[str] = []

    def happening(job: Job, report: Report) -> None:
        slots = {number: slot for number, slot, _ in jobs.starts}
        if not died and report.epoch >= 4 and slots[job.number] == doomed:
            died.append(doomed)
            mortal.die()

    jobs = Jobs(*(make_job(n, sweep, *MLP, *epochs, f"seed={n}") for n in range(count)), happening=happening)
    run(made, jobs)
    assert died
    (lost,) = [number for number, slot, attempt in jobs.starts if slot == doomed and attempt == 1]
    assert {number: one.attempts for number, one in jobs.outcomes.items()} == {
        number: 1 + (number == lost) for number in range(count)
    }
    assert f"the node {doomed} died" in (sweep / str(lost) / "output.log").read_text()

    room = f"room for {count - 1} at a time from now on, {count} before"
    assert f"the node {doomed} is gone, with job {lost}: {room}" in said.getvalue()
    assert jobs.causes[lost] == [f"the node {doomed} died"]

    folder = tmp_path / "local" / "mnist_cnn" / "sweep-1"
    whole = Jobs(*(make_job(n, folder, *MLP, *epochs, f"seed={n}") for n in range(count)))
    LocalPool(SweepSettings(), Width()).run(whole, whole.watcher)
    for number in range(count):
        assert jobs.outcomes[number].status == FINISHED
        assert jobs.outcomes[number].metrics == whole.outcomes[number].metrics
        mine, theirs = sweep / str(number), folder / str(number)
        assert (mine / "steps.csv").read_bytes() == (theirs / "steps.csv").read_bytes()

    made = pool(cluster, sweep)
    try:
        before = len(made.slots)
        assert before == count - 1
        cluster.add()
        until = time.monotonic() + 60
        while len(made.slots) == before and time.monotonic() < until:
            time.sleep(0.2)
        assert len(made.slots) == count
    finally:
        made.close()


def node_of(made: RayPool, node: RayNode) -> str:
    """Return Ray's id of a node."""
    return next(one["NodeID"] for one in made.ray.nodes() if f"{node.folder}/" in one["RayletSocketName"])
