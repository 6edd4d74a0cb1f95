"""Where jobs run. The GPUs are those of a made-up machine: nvidia-smi and the driver's files are ours."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from expkit.errors import ConfigError
from expkit.settings import SweepSettings
from expkit.sweeping.machine import Machine, cpu_quota, find_gpus, look_around
from expkit.sweeping.needs import Need, Width, widest
from expkit.sweeping.pool import LocalPool
from expkit.sweeping.slots import Slot, find_slots, refuse_unfit

EIGHT = Machine(cores=tuple(range(8)), cpus=8)
TWO_GPUS = Machine(cores=tuple(range(8)), cpus=8, gpus=("0", "1"))
LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5ad1c1c0-0001)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-5ad1c1c0-0002)
"""
CUT = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5ad1c1c0-0001)
  MIG 3g.40gb     Device  0: (UUID: MIG-aaaa)
  MIG 3g.40gb     Device  1: (UUID: MIG-bbbb)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-5ad1c1c0-0002)
"""


def wide(*, threads: int = 1, devices: int = 1, device: str = "auto") -> Width:
    return widest([Need(device=device, threads=threads, devices=devices)])


def names(slots: list[Slot]) -> list[str]:
    return [slot.name for slot in slots]


def settings(devices: object = "auto", **options: int) -> SweepSettings:
    return SweepSettings(devices=devices, **options)  # type: ignore[arg-type]


@pytest.fixture
def smi(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return an environment in which nvidia-smi lists something."""

    def write(listing: str, code: int = 0, **variables: str) -> dict[str, str]:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir()
        (tmp_path / "listing").write_text(listing)
        program.write_text(f'#!/bin/sh\n[ "$1" = -L ] || exit 9\n/bin/cat {tmp_path}/listing\nexit {code}\n')
        program.chmod(0o755)
        return {"PATH": str(program.parent), **variables}

    return write


def test_without_a_gpu_each_group_of_cores_is_a_slot() -> None:
    assert names(find_slots(settings(), wide(threads=2), EIGHT)) == ["cpu 0-1", "cpu 2-3", "cpu 4-5", "cpu 6-7"]


def test_the_cores_are_those_that_this_process_may_use() -> None:
    machine = Machine(cores=(1, 4, 5, 9), cpus=4)
    slots = find_slots(settings("cpu"), wide(threads=2), machine)
    assert [slot.cores for slot in slots] == [(1, 4), (5, 9)]
    assert names(slots) == ["cpu 1,4", "cpu 5,9"]


def test_fewer_slots_share_all_cores_so_that_two_sweeps_do_not_meet_on_the_first() -> None:
    assert names(find_slots(settings(jobs=2), wide(), EIGHT)) == ["cpu 0-3", "cpu 4-7"]


def test_more_threads_than_cores_make_one_slot() -> None:
    (slot,) = find_slots(settings("cpu"), wide(threads=16), EIGHT)
    assert slot.cores is None


def test_few_jobs_share_all_cores() -> None:
    pool = LocalPool(settings("cpu"), wide(), jobs=1)
    assert [slot.cores for slot in find_slots(settings("cpu", jobs=1), wide())] == [look_around().cores]
    assert len(pool.slots) == 1


def test_a_quota_limits_how_many_run_and_pins_none() -> None:
    slots = find_slots(settings(), wide(), Machine(cores=tuple(range(64)), cpus=3))
    assert names(slots) == ["cpu (1)", "cpu (2)", "cpu (3)"]
    assert {slot.cores for slot in slots} == {None}


def test_each_gpu_is_a_slot_and_a_job_sees_it_alone() -> None:
    slots = find_slots(settings(), wide(threads=2), TWO_GPUS)
    assert names(slots) == ["gpu:0", "gpu:1"]
    assert [slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "1"]
    assert slots[0].environment()["OMP_NUM_THREADS"] == "2"
    assert slots[0].cores is None


def test_several_jobs_on_a_gpu_begin_with_one_on_each() -> None:
    assert names(find_slots(settings("gpu", jobs_per_device=2), wide(), TWO_GPUS)) == [
        *("gpu:0", "gpu:1"),
        *("gpu:0 (2)", "gpu:1 (2)"),
    ]
    assert names(find_slots(settings("gpu", jobs_per_device=2, jobs=3), wide(), TWO_GPUS))[2:] == ["gpu:0 (2)"]


def test_beside_gpus_the_cpu_is_one_slot_with_cores_of_its_own() -> None:
    slots = find_slots(settings(["cpu", "gpu:0", "gpu:1"]), wide(threads=2), TWO_GPUS)
    assert names(slots) == ["gpu:0", "gpu:1", "cpu 0-1"]
    assert slots[2].environment()["CUDA_VISIBLE_DEVICES"] == ""
    assert slots[0].cores == (2, 3, 4, 5, 6, 7)


def test_a_cpu_that_is_named_twice_is_two_slots() -> None:
    assert names(find_slots(settings(["cpu", "cpu"]), wide(), EIGHT)) == ["cpu 0-3", "cpu 4-7"]


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (["gpu:2"], r"there is no gpu:2\. Here are 8 cores and gpu:0 to gpu:1 \(nvidia-smi\)\. Allowed are auto"),
        ("tpu", r"sweep\.devices=tpu: 'tpu' is no device\. Here are"),
        (["auto", "cpu"], r"sweep\.devices=\[auto,cpu\]: 'auto' is no device"),
        ([], r"Allowed are auto, cpu, gpu, or a list"),
        (["gpu:0", "gpu:0"], r"names gpu:0 twice.*sweep\.jobs_per_device=2"),
        ([0], r"\[0\]: 0 is no device"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_what_is(devices: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_slots(settings(devices), wide(), TWO_GPUS)


def test_a_gpu_on_a_machine_without_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no GPU was found\. Here are 8 cores, no GPU"):
        find_slots(settings("gpu"), wide(), EIGHT)


def test_a_paddle_without_gpus_uses_the_cores_and_says_so_when_asked_for_more() -> None:
    machine = Machine(cores=(0,), cpus=1, gpus=("0",), paddle_has_gpu=False)
    assert names(find_slots(settings(), wide(), machine)) == ["cpu 0"]
    with pytest.raises(ConfigError, match="this Paddle is the CPU build"):
        find_slots(settings("gpu"), wide(), machine)


def test_a_job_that_asks_for_a_gpu_is_refused_where_a_slot_has_none() -> None:
    mixed = find_slots(settings(["cpu", "gpu:0"]), wide(), TWO_GPUS)
    with pytest.raises(ConfigError, match=r"device=gpu: cpu 0 of this sweep has no GPU\. Use device=auto"):
        refuse_unfit(mixed, Need("gpu"), 8)
    refuse_unfit(mixed, Need("auto"), 8)
    refuse_unfit(mixed[:1], Need("gpu"), 8)


def test_a_job_may_not_choose_a_gpu_by_number() -> None:
    with pytest.raises(ConfigError, match=r"device\.index=1: .*sweep\.devices=\[gpu:1\]"):
        refuse_unfit(find_slots(settings(), wide(), TWO_GPUS), Need(index=1), 8)


def test_a_job_of_several_devices_has_cores_for_each() -> None:
    assert names(find_slots(settings(), wide(devices=2), EIGHT)) == ["cpu 0-1", "cpu 2-3", "cpu 4-5", "cpu 6-7"]
    slots = find_slots(settings(), wide(devices=2, threads=2), EIGHT)
    assert names(slots) == ["cpu 0-3", "cpu 4-7"]
    assert slots[0].environment()["OMP_NUM_THREADS"] == "2"  # of each of its processes


def test_a_job_of_several_devices_has_gpus_for_each_and_sees_them_alone() -> None:
    four = Machine(cores=tuple(range(8)), cpus=8, gpus=("0", "1", "2", "GPU-x", "4"))
    slots = find_slots(settings(jobs_per_device=2), wide(devices=2), four)
    assert names(slots) == ["gpu:0-1", "gpu:2-3", "gpu:0-1 (2)", "gpu:2-3 (2)"]  # gpu:4 is left over
    assert [slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in slots[:2]] == ["0,1", "2,GPU-x"]
    assert names(find_slots(settings(["gpu:0", "gpu:2", "cpu"]), wide(devices=2), four)) == ["gpu:0,2", "cpu 0-1"]


def test_numbers_of_several_gpus_are_those_of_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    (slot,) = find_slots(settings(), wide(devices=2), TWO_GPUS)
    assert slot.environment()["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_the_widest_job_makes_all_places_as_wide() -> None:
    jobs = [Need(threads=4), Need(devices=2), Need("cpu", devices=3)]
    assert widest(jobs) == Width(threads=4, cores=4, gpus=2)
    assert names(find_slots(settings("cpu"), widest(jobs), EIGHT)) == ["cpu 0-3", "cpu 4-7"]


def test_jobs_that_use_no_gpu_are_spread_over_the_cores() -> None:
    assert names(find_slots(settings(), wide(threads=4, device="cpu"), TWO_GPUS)) == ["cpu 0-3", "cpu 4-7"]


def test_more_devices_than_there_are_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"trainer\.devices=3: a job needs 3 GPUs, and this sweep has 2 \(gpu:0, gpu:1\)"
    ):
        find_slots(settings(), wide(devices=3), TWO_GPUS)
    with pytest.raises(ConfigError, match=r"has 1 \(gpu:1\)\. Use trainer\.devices=1, or more GPUs by sweep\.devices"):
        find_slots(settings(["cpu", "gpu:1"]), wide(devices=2), TWO_GPUS)
    need = Need(devices=3, threads=4)
    with pytest.raises(
        ConfigError,
        match=r"trainer\.devices=3: a job needs 12 cores, device\.threads=4 for each device, and can have 8 here\. "
        r"Use trainer\.devices=2\.",
    ):
        refuse_unfit(find_slots(settings(), widest([need]), EIGHT), need, 8)


def test_parts_of_a_gpu_train_no_run_together() -> None:
    parts = Machine(cores=(0, 1), cpus=2, gpus=("MIG-aaaa", "MIG-bbbb"))
    with pytest.raises(ConfigError, match=r"gpu:0, gpu:1 are parts of a GPU \(MIG\)"):
        find_slots(settings(), wide(devices=2), parts)
    assert names(find_slots(settings(), wide(), parts)) == ["gpu:0", "gpu:1"]


def test_nvidia_smi_tells_which_gpus_there_are(smi: Callable[..., dict[str, str]]) -> None:
    assert find_gpus(smi(LISTING)) == (("0", "1"), "nvidia-smi")


def test_a_gpu_that_is_cut_into_parts_is_as_many(smi: Callable[..., dict[str, str]]) -> None:
    assert find_gpus(smi(CUT))[0] == ("MIG-aaaa", "MIG-bbbb", "1")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("1", ("1",)),
        ("1,0", ("1", "0")),
        ("GPU-5ad1c1c0-0002", ("GPU-5ad1c1c0-0002",)),
        ("MIG-bbbb", ("MIG-bbbb",)),
        ("", ()),
        ("-1", ()),
        ("0,-1,1", ("0",)),  # as CUDA reads it
        ("0,7,1", ("0",)),
    ],
)
def test_what_this_process_was_given_is_what_there_is(
    smi: Callable[..., dict[str, str]], given: str, found: tuple[str, ...]
) -> None:
    assert find_gpus(smi(LISTING, CUDA_VISIBLE_DEVICES=given)) == (found, f"CUDA_VISIBLE_DEVICES={given}")


def test_the_second_gpu_is_the_second_of_those_that_were_given() -> None:
    slots = find_slots(settings(["gpu:1"]), wide(), Machine(cores=(0,), cpus=1, gpus=("3", "GPU-x")))
    assert slots[0].environment()["CUDA_VISIBLE_DEVICES"] == "GPU-x"


@pytest.mark.parametrize("broken", [True, False], ids=["nvidia-smi fails", "no nvidia-smi"])
def test_without_nvidia_smi_the_driver_tells(smi: Callable[..., dict[str, str]], tmp_path: Path, broken: bool) -> None:
    for number in range(3):
        (tmp_path / f"proc/driver/nvidia/gpus/0000:0{number}:00.0").mkdir(parents=True)
    environment = smi("NVIDIA-SMI has failed", 9) if broken else {"PATH": str(tmp_path)}
    assert find_gpus(environment, tmp_path / "proc")[0] == ("0", "1", "2")


def test_a_machine_without_any_says_so(tmp_path: Path) -> None:
    assert find_gpus({"PATH": str(tmp_path)}, tmp_path) == ((), "neither nvidia-smi nor the driver is here")


@pytest.mark.parametrize(
    ("text", "quota"),
    [("150000 100000\n", 1.5), ("max 100000\n", None)],
)
def test_the_quota_of_a_container_is_read(tmp_path: Path, text: str, quota: float | None) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("0::/pod/job\n")
    (tmp_path / "groups/pod/job").mkdir(parents=True)
    (tmp_path / "groups/pod/cpu.max").write_text(text)
    (tmp_path / "groups/pod/job/cpu.max").write_text("max 100000\n")
    assert cpu_quota(tmp_path, tmp_path / "groups") == quota


def test_the_quota_of_an_older_kernel_is_read_where_the_group_is_the_root(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("5:devices:/x\n3:cpu,cpuacct:/docker/123\n")
    (tmp_path / "groups/cpu").mkdir(parents=True)
    (tmp_path / "groups/cpu/cpu.cfs_quota_us").write_text("200000\n")
    (tmp_path / "groups/cpu/cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path, tmp_path / "groups") == 2.0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_this_machine_has_the_cores_that_this_process_may_use() -> None:
    found = look_around()
    assert set(found.cores) == os.sched_getaffinity(0)
    assert 1 <= found.cpus <= len(found.cores)
