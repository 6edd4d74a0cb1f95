"""What a sweep asks of a cluster and its machines, and what it makes of a node that is gone; without a cluster."""

from __future__ import annotations

import importlib.util
import io
import math
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from expkit.cli.ray_launcher import RayLauncher
from expkit.config import from_yaml
from expkit.errors import ConfigError, DeviceLostError
from expkit.paths import conf_dir
from expkit.settings import SweepSettings, TrackingSettings
from expkit.sweeping.cluster.connection import connected
from expkit.sweeping.cluster.nodes import Nodes
from expkit.sweeping.cluster.place import FarPlace
from expkit.sweeping.cluster.placement import check_store, differences, facts_of_machine
from expkit.sweeping.cluster.settings import ClusterSettings, check, fitting
from expkit.sweeping.jobs import CRASHED, FINISHED, KILLED, Job, Outcome, Report
from expkit.sweeping.needs import Need, Width, widest
from expkit.sweeping.slots import Slot
from expkit.sweeping.wire import pack

JOB = Job(3, Path("/runs/x/sweep/3"), (), (), "", {}, "")


@pytest.mark.parametrize(
    ("there", "needs", "jobs"),
    [
        ({"CPU": 8.0}, {"CPU": 2.0}, 4),
        ({"CPU": 7.0}, {"CPU": 2.0}, 3),
        ({"CPU": 64.0, "GPU": 4.0}, {"CPU": 1.0, "GPU": 1.0}, 4),
        ({"CPU": 64.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.1}, 10),
        ({"CPU": 64.0}, {"CPU": 1.0, "GPU": 1.0}, 0),
        ({}, {"CPU": 1.0}, 0),
        ({"CPU": 4.0, "big": 1.0}, {"CPU": 1.0, "big": 1.0}, 1),
    ],
)
def test_as_many_jobs_fit_a_node_as_its_scarcest_resource_allows(
    there: dict[str, float], needs: dict[str, float], jobs: int
) -> None:
    assert fitting(there, needs) == jobs


def test_a_job_takes_as_many_cores_as_it_has_threads() -> None:
    four = Width(threads=4, cores=4)
    assert ClusterSettings().needs(four) == {"CPU": 4.0}
    chosen = ClusterSettings(num_cpus=0.5, num_gpus=1, resources={"big": 1})
    assert chosen.needs(four) == {"CPU": 0.5, "GPU": 1, "big": 1}


def test_a_job_of_several_devices_takes_cores_and_gpus_for_each() -> None:
    width = widest([Need(threads=4, devices=2)])
    assert ClusterSettings().needs(width) == {"CPU": 8.0}
    assert ClusterSettings(num_gpus=1).needs(width) == {"CPU": 8.0, "GPU": 2.0}
    assert ClusterSettings(num_gpus=2).needs(width) == {"CPU": 8.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("cluster", "sweep", "need", "match"),
    [
        (ClusterSettings(num_cpus=-1), SweepSettings(), Need(), r"num_cpus=-1: must be at least 0"),
        (ClusterSettings(num_cpus=0), SweepSettings(), Need(), r"num_cpus=0: a job needs something"),
        (ClusterSettings(num_gpus=2), SweepSettings(), Need(), r"num_gpus=2: a job trains on one GPU"),
        (ClusterSettings(num_gpus=3), SweepSettings(), Need(devices=2), r"num_gpus=3: .*on trainer.devices=2 GPUs"),
        (ClusterSettings(num_gpus=0.5), SweepSettings(), Need(devices=2), r"num_gpus=0.5: .*takes a whole GPU"),
        (ClusterSettings(resources={"a": math.nan}), SweepSettings(), Need(), r"resources.a=nan"),
        (ClusterSettings(), SweepSettings(devices="cpu"), Need(), r"sweep.devices=cpu: .*num_gpus=1"),
        (ClusterSettings(), SweepSettings(jobs_per_device=2), Need(), r"jobs_per_device=2: .*0.5 for two"),
        (
            ClusterSettings(),
            SweepSettings(),
            Need("gpu"),
            r"device=gpu: .*Add hydra.launcher.num_gpus=1",
        ),
        (ClusterSettings(num_gpus=1), SweepSettings(), Need(index=1), r"device.index=1: .*as number 0"),
    ],
)
def test_what_a_cluster_cannot_give_is_refused(
    cluster: ClusterSettings, sweep: SweepSettings, need: Need, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        check(cluster, sweep, [Need(), need])


def test_the_launcher_has_an_option_for_each_setting_and_refuses_values_of_other_types() -> None:
    file = conf_dir() / "hydra/launcher/expkit_ray.yaml"
    options = from_yaml(file.read_text(encoding="utf-8"))
    assert options.pop("_target_") == f"hydra_plugins.expkit.{RayLauncher.__name__}"
    assert options.pop("address") == "auto"
    assert ClusterSettings(**options) == ClusterSettings()
    RayLauncher(**options)
    with pytest.raises(ConfigError, match=r"hydra.launcher.num_gpus: .*'many'"):
        RayLauncher(num_gpus="many")


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'expkit[ray]'")
@pytest.mark.parametrize("address", ["ray://head:10001", "head", "http://head:6379"])
def test_an_address_that_is_none_is_refused_before_ray_waits_for_it(address: str) -> None:
    with (
        pytest.raises(ConfigError, match="must be HOST:PORT, auto"),
        connected(ClusterSettings(address=address), Width()),
    ):
        pass


def test_without_ray_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else find(name, *more))
    with pytest.raises(ConfigError, match=r"pip install 'expkit\[ray\]'"), connected(ClusterSettings(), Width()):
        pass


def test_machines_must_have_the_same_code_and_the_same_files(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("abc", encoding="utf-8")
    here = facts_of_machine(token, "abc")
    assert differences(here, here, tmp_path) == []
    other: dict[str, Any] = {**here, "python": "3.9", "sees": False, "versions": {**here["versions"], "acme": "1.0"}}
    del other["versions"]["Paddle"]
    found = differences(here, other, tmp_path)
    assert found[0] == f"Python 3.9, here {here['python']}"
    assert any(one.startswith("Paddle is not installed, here 3.") for one in found)
    assert "acme 1.0, here it is not" in found
    assert found[-1] == f"it does not have what is written to {tmp_path} here"
    assert differences(here, {"missing": "No module named 'expkit'"}, tmp_path) == [
        "expkit cannot be imported there: No module named 'expkit'"
    ]


@pytest.mark.parametrize(
    "uri", [None, "sqlite:////nfs/runs/mlflow.db", "file:///nfs/mlruns", "sqlite+pysqlite:///x.db"]
)
def test_a_file_is_no_store_for_several_machines(uri: str | None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tracking.uri=.*jobs on b1, b2 would write to this file .*mlflow server"):
        check_store(TrackingSettings(uri=uri), tmp_path, ["b1", "b2"])


def test_a_server_has_to_be_named_as_other_machines_know_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="b1 would look for this server on itself"):
        check_store(TrackingSettings(uri="http://localhost:5000"), tmp_path, ["b1"])
    check_store(TrackingSettings(uri="http://head:5000"), tmp_path, ["b1"])
    check_store(TrackingSettings(kind="none"), tmp_path, ["b1"])
    check_store(TrackingSettings(), tmp_path, [])  # all nodes are on this machine


def test_a_head_that_is_gone_ends_the_sweep_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ray:
        def get_runtime_context(self) -> Ray:
            return self

        gcs_address = "127.0.0.1:1"

    monkeypatch.setattr("expkit.sweeping.cluster.nodes._HEAD_SECONDS", -1.0)
    made = Nodes(Ray(), {"CPU": 1}, 1, SweepSettings(), tmp_path, Console(file=io.StringIO()))
    with pytest.raises(DeviceLostError, match=r"the head of the Ray cluster at 127.0.0.1:1 does not answer any more"):
        made.places()


class Actor:
    """Takes down what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    @property
    def do(self) -> Actor:
        return self

    def remote(self, *what: Any) -> None:
        self.asked.append(what)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> tuple[FarPlace, Actor, list[Any]]:
    actor, posted = Actor(), []
    place = FarPlace(Slot("b1", "cpu", None, 1), "id", lambda _: actor, lambda who, what: posted.append((who, what)))
    monkeypatch.setattr(place, "_let_go", lambda: setattr(place, "process", None))
    return place, actor, posted


def test_a_node_that_died_leaves_what_its_job_had_told(far: tuple[FarPlace, Actor, list[Any]]) -> None:
    place, _, _ = far
    place.begin(JOB)
    place.hear({"here": True})
    place.hear(pack(Report(1, 9, 10, 90, {"valid/loss": 0.5}, 0.5, "valid/loss", False)))
    ended = place.hear({"gone": "the node b1 died", "node": True})
    assert isinstance(ended, Outcome)
    assert (ended.status, ended.reason, ended.value, ended.attempts) == (CRASHED, "the node b1 died", 0.5, 1)
    assert place.running is None
    assert place.lost == JOB.number
    assert not place.is_warm


def test_a_job_that_had_not_begun_when_its_node_died_loses_no_attempt(far: tuple[FarPlace, Actor, list[Any]]) -> None:
    place, _, _ = far
    place.begin(JOB)
    ended = place.hear({"gone": "the node b1 died", "node": True})
    assert isinstance(ended, Outcome)
    assert ended.attempts == 0


def test_a_job_that_waits_for_its_node_is_stopped_at_once(far: tuple[FarPlace, Actor, list[Any]]) -> None:
    place, actor, posted = far
    place.begin(JOB)
    place.ask(KILLED, "stopped by SIGINT", 30.0)
    assert [what[0] for what in actor.asked] == ["begin"]
    ended = place.hear(posted[0][1])
    assert isinstance(ended, Outcome)
    assert (ended.status, ended.reason) == (KILLED, "stopped by SIGINT; it had not begun")


def test_a_node_that_does_not_say_that_a_job_has_ended_is_given_up(far: tuple[FarPlace, Actor, list[Any]]) -> None:
    place, actor, posted = far
    place.begin(JOB)
    place.hear({"here": True})
    place.ask(KILLED, "stopped by SIGINT", 5.0)
    assert actor.asked[-1] == ("ask", KILLED, "stopped by SIGINT", 5.0)
    place.look(time.monotonic() + 5.0)
    assert posted == []
    place.look(time.monotonic() + 60.0)
    ended = place.hear(posted[0][1])
    assert isinstance(ended, Outcome)
    assert ended.status == KILLED
    assert "b1 did not say that it has ended" in ended.reason


def test_what_a_node_tells_of_an_end_is_taken_over(far: tuple[FarPlace, Actor, list[Any]]) -> None:
    place, _, _ = far
    place.begin(JOB, attempt=2)
    running = place.running
    assert running is not None
    ended = place.hear({**pack(Outcome(FINISHED, value=0.9)), "died": False, "killed": False})
    assert isinstance(ended, Outcome)
    assert (ended.status, ended.value, ended.attempts) == (FINISHED, 0.9, 2)
    assert running.outcome is not None
    place.begin(JOB)
    ended = place.hear({**pack(Outcome(FINISHED, seconds=2.5)), "died": False, "killed": False})
    assert isinstance(ended, Outcome)
    assert ended.seconds == 2.5
