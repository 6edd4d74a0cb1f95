"""What the doctor says of a machine: versions, devices, folders, environment."""

from __future__ import annotations

import errno
import importlib
import platform
import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest
from doctoring import distribution, paddle_child, scene, told
from fake_plugins import install

from expkit import registry
from expkit.doctor import devices, effect, folders, paddle_build, surroundings, tuning, versions
from expkit.doctor.children import Answer, Step
from expkit.doctor.examination import Topic, examine

GIB = 1 << 30
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def nothing_stays_installed():
    """Forget the distributions of a test when its path is what it was."""
    yield
    registry.clear_cache()


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    return folder


# One check cannot spoil another.


def test_a_check_that_fails_is_a_line_and_the_others_go_on(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(folders, "cache", lambda scene: 1 / 0)
    topics = [
        Topic("Later", {"paddle": "paddle_build:paddle"}, waits=True),
        Topic("Folders", {"gone": "no_such_module:x", "cache": "folders:cache", "runs": "folders:runs"}),
    ]
    found = examine(scene(tmp_path, children={}, trouble="no memory"), topics)
    assert [section.title for section in found.sections] == ["Later", "Folders"]
    lines = told(found.findings)
    assert lines["cache"][:2] == ("FAIL", "could not be looked at: ZeroDivisionError: division by zero")
    assert "doctor --markdown" in lines["cache"][2]
    assert "No module named 'expkit.doctor.no_such_module'" in lines["gone"][1]
    assert "no child process could be started (no memory)" in lines["paddle"][1]
    assert lines["runs"][0] == "ok"
    assert found.failed and found.count("FAIL") == 3


# Versions.


def test_packages_are_held_against_the_bounds_of_expkit(tmp_path, site) -> None:
    needs = ["fine>=1", "ancient>=2,<3", "fresh<2", "absent>=4", "extra-one>=1; extra == 'more'", "paddlepaddle>=3.3"]
    distribution(site, "expkit", "0.5", [*(("Requires-Dist", need) for need in needs), ("Provides-Extra", "more")])
    for name, version in (("fine", "1.4"), ("ancient", "1.9"), ("fresh", "2.1")):
        distribution(site, name, version)
    lines = told(versions.packages(scene(tmp_path)))
    assert lines["ancient"][:2] == ("FAIL", "1.9 is too old; needed is <3,>=2")
    assert lines["fresh"][0] == "warning" and "newer than what expkit was tried with" in lines["fresh"][1]
    assert lines["fresh"][2] == "python -m pip install 'fresh<2'"
    assert lines["packages"] == ("FAIL", "absent is not installed", "python -m pip install 'absent>=4'")
    extras = told(versions.extras(scene(tmp_path)))["extras"]
    assert extras[:2] == ("ok", "not installed: more (python -m pip install 'expkit[more]')")


def test_where_much_is_missing_all_is_installed_anew(tmp_path, site) -> None:
    distribution(site, "expkit", "0.5", [("Requires-Dist", f"absent{number}>=1") for number in range(5)])
    (line,) = versions.packages(scene(tmp_path))
    assert line.text == "absent0, absent1, absent2, absent3, absent4 are not installed"
    assert line.advice.startswith("python -m pip install -e /")


def test_a_python_that_is_too_old_fails(tmp_path, site) -> None:
    distribution(site, "expkit", "0.5", {"Requires-Python": ">=3.99"})
    level, text, advice = told(versions.python(scene(tmp_path)))["Python"]
    assert level == "FAIL" and platform.python_version() in text and ">=3.99" in advice


def test_an_expkit_that_is_not_the_installed_one_is_told(tmp_path, site) -> None:
    distribution(site, "expkit", "0.5")
    (site / "expkit-0.5.dist-info/direct_url.json").write_text(
        '{"dir_info": {"editable": true}, "url": "file:///home/else%20where"}'
    )
    level, text, advice = told(versions.own(scene(tmp_path)))["expkit"]
    assert level == "warning" and "the one that is installed is in /home/else where" in text
    assert "python -m pip install -e " in advice


def test_two_builds_of_paddle_fail_before_any_is_imported(tmp_path, site) -> None:
    distribution(site, "paddlepaddle-gpu", "3.2")
    level, text, advice = told(paddle_build.paddle(scene(tmp_path, children={})))["paddle"]
    assert level == "FAIL" and "paddlepaddle 3" in text and "paddlepaddle-gpu 3.2" in text
    assert advice.startswith("python -m pip uninstall -y paddlepaddle paddlepaddle-gpu; then")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("the process was killed by SIGILL", "lacks what Paddle's build needs (AVX)"),
        ("ImportError: libcudnn.so.9: cannot open shared object file", "or the CPU build: python -m pip install"),
        ("ModuleNotFoundError: No module named 'paddle'", "python -m pip install 'paddlepaddle>="),
        ("took longer than 60 s", "slow network disk"),
        ("RuntimeError: what is this?", "python -c 'import paddle'"),
    ],
)
def test_a_paddle_that_cannot_be_imported_is_told_with_what_helps(tmp_path, error, advice) -> None:
    lines = told(paddle_build.paddle(scene(tmp_path, children={"paddle": paddle_child(error)})))
    assert lines["paddle"][0] == "FAIL"
    assert error in lines["paddle"][1] and advice in lines["paddle"][2]


# Machine.


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMORY = "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n"


def test_memory_is_what_the_container_allows(tmp_path) -> None:
    write(tmp_path, proc__meminfo=MEMORY, proc__self__cgroup="0::/job\n")
    write(tmp_path, groups__job__memoryDOTmax="max\n")
    assert told(devices.memory(scene(tmp_path)))["memory"] == ("ok", "16.0 GiB, 8.0 available", "")
    write(tmp_path, groups__job__memoryDOTmax=f"{GIB}\n", groups__job__memoryDOTcurrent=f"{GIB // 2}\n")
    level, text, advice = told(devices.memory(scene(tmp_path)))["memory"]
    assert level == "warning" and "the container may use 1.0 GiB, and uses 0.5" in text
    assert "--memory" in advice


def test_memory_of_an_older_kernels_container_is_read(tmp_path) -> None:
    write(tmp_path, proc__meminfo=MEMORY, proc__self__cgroup="4:memory:/docker/1\n")
    write(tmp_path, groups__memory__memoryDOTlimit_in_bytes=f"{4 * GIB}\n")
    write(tmp_path, groups__memory__memoryDOTusage_in_bytes=f"{GIB}\n")
    assert "the container may use 4.0 GiB, and uses 1.0" in told(devices.memory(scene(tmp_path)))["memory"][1]


def test_part_of_a_core_is_little(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(devices, "_load", lambda: 0.0)
    write(tmp_path, proc__self__cgroup="0::/\n", groups__cpuDOTmax="50000 100000\n")
    level, text, _ = told(devices.cores(scene(tmp_path)))["cores"]
    assert level == "warning" and "the container may keep 0.5 busy" in text


def test_a_busy_machine_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(devices, "_load", lambda: 900.0)
    level, text, _ = told(devices.cores(scene(tmp_path)))["cores"]
    assert level == "warning" and "load 900.0: others compute here" in text


@pytest.mark.parametrize(
    ("built", "seen", "level", "text"),
    [
        (False, 0, "warning", "the Paddle that is installed is for CPUs, so that runs do not use them"),
        (True, 2, "ok", "Paddle uses them"),
        (True, 0, "FAIL", "Paddle sees 0 of 2"),
    ],
)
def test_gpus_are_held_against_what_paddle_can_use(tmp_path, monkeypatch, built, seen, level, text) -> None:
    for number in range(2):
        (tmp_path / f"proc/driver/nvidia/gpus/{number}").mkdir(parents=True)
    monkeypatch.setattr(devices, "paddle_has_gpu", lambda: built)
    found = devices.gpus(scene(tmp_path, children={"paddle": paddle_child(cuda="12.6", gpus=seen)}))
    assert told(found)["GPU"][0] == level
    assert text in told(found)["GPU"][1] and told(found)["GPU"][1].startswith("2: 0, 1 (")


def test_hidden_gpus_are_told_as_such(tmp_path) -> None:
    hidden = scene(tmp_path, environment={"PATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""})
    assert told(devices.gpus(hidden))["GPU"][1] == "hidden by CUDA_VISIBLE_DEVICES; runs use the CPU"
    assert told(devices.gpus(scene(tmp_path)))["GPU"][1].startswith("none: neither nvidia-smi")


@pytest.fixture
def smi(tmp_path):
    """Return an environment whose nvidia-smi says something."""

    def make(text: str, code: int = 0, **variables: str) -> dict[str, str]:
        program = tmp_path / "bin/nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ncase $1 in -L) echo 'GPU 0: X'; echo 'GPU 1: X';; *) echo '{text}';; esac\n")
        if code:
            program.write_text(f"#!/bin/sh\necho '{text}'\nexit {code}\n")
        program.chmod(0o755)
        return {"PATH": f"{program.parent}:/usr/bin:/bin", **variables}

    return make


def test_gpus_are_described_those_that_this_process_may_use(tmp_path, smi, monkeypatch) -> None:
    monkeypatch.setattr(devices, "paddle_has_gpu", lambda: False)
    environment = smi("0, H100, 80 GB, 550.1\n1, A100, 40 GB, 550.1")
    text = told(devices.gpus(scene(tmp_path, environment=environment)))["GPU"][1]
    assert text.startswith("2: 0 H100, 80 GB, driver 550.1; 1 A100, 40 GB, driver 550.1 (nvidia-smi)")
    one = {**environment, "CUDA_VISIBLE_DEVICES": "1"}
    text = told(devices.gpus(scene(tmp_path, environment=one)))["GPU"][1]
    assert text.startswith("1: 1 A100, 40 GB, driver 550.1 (CUDA_VISIBLE_DEVICES=1)")


def test_a_driver_that_does_not_answer_is_told(tmp_path, smi) -> None:
    environment = smi("NVIDIA-SMI has failed because it could not talk to the driver.", 9)
    level, text, advice = told(devices.gpus(scene(tmp_path, environment=environment)))["GPU"]
    assert level == "warning" and "and says: NVIDIA-SMI has failed because" in text and "--gpus all" in advice


def test_the_jobs_of_a_sweep_are_counted(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("expkit.sweeping.machine.usable_cores", lambda: (0, 1, 2))
    assert told(devices.sweeps(scene(tmp_path)))["sweeps"][1] == "3 jobs at a time (cpu 0, cpu 1, cpu 2)"


# CPU settings.


@pytest.mark.parametrize(
    ("vendor", "flags", "text"),
    [
        ("AuthenticAMD", "avx2 fma", "MKL_DEBUG_CPU_TYPE=5, its fast path: AuthenticAMD with AVX2, without all of"),
        ("AuthenticAMD", "sse4_2", "left alone: AuthenticAMD without AVX2 and FMA"),
        ("GenuineIntel", "avx2 fma", "left alone: on a processor of GenuineIntel MKL takes its fast path by itself"),
        ("CentaurHauls", "avx2 fma", "left alone: on a processor of CentaurHauls MKL is left alone"),
    ],
)
def test_what_becomes_of_mkl_is_told_with_the_reason(tmp_path, monkeypatch, vendor, flags, text) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    write(tmp_path, proc__cpuinfo=f"vendor_id\t: {vendor}\nflags\t\t: {flags}\n")
    assert told(tuning.mkl(scene(tmp_path)))["MKL"][1].startswith(text)


def test_a_users_own_mkl_setting_that_does_not_fit_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    write(tmp_path, proc__cpuinfo="vendor_id\t: AuthenticAMD\nflags\t\t: avx2 fma\n")
    own = scene(tmp_path, environment={"MKL_DEBUG_CPU_TYPE": "7"})
    level, text, advice = told(tuning.mkl(own))["MKL"]
    assert level == "warning" and "expkit would choose 5" in text and "unset MKL_DEBUG_CPU_TYPE" in advice


def test_what_was_measured_is_a_rough_figure_and_a_loss_is_a_warning() -> None:
    gain = effect.finding_of([60.0, 50.0, 70.0], [30.0, 26.0, 33.0])
    assert gain.level == "ok"
    assert "takes 30 ms with all of this, 60 ms without: 2.00x, a rough figure (3 rounds in turn: 1.92x to 2.12x)" in (
        gain.text
    )
    assert effect.finding_of([60.0, 70.0], [66.0, 69.0]).level == "ok"  # one round says so, the other not
    loss = effect.finding_of([60.0, 70.0], [66.0, 77.0])
    assert loss.level == "warning" and "device.tune=false" in loss.advice


# Folders.


def test_a_folder_that_is_there_or_can_be_made_is_fit_and_stays_as_it_was(tmp_path) -> None:
    line = told(folders.runs(scene(tmp_path)))["runs"]
    assert line[0] == "ok" and line[1].startswith(f"{tmp_path}/runs, made when it is needed; ")
    (tmp_path / "runs").mkdir()
    assert told(folders.runs(scene(tmp_path)))["runs"][1].startswith(f"{tmp_path}/runs; ")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_file_in_the_way_fails(tmp_path) -> None:
    (tmp_path / "runs").write_text("")
    level, text, advice = told(folders.runs(scene(tmp_path)))["runs"]
    assert level == "FAIL" and text.endswith(f"cannot be made: {tmp_path}/runs is a file")
    assert "runs_dir=FOLDER" in advice


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_readonly_folder_fails(tmp_path, monkeypatch, code) -> None:
    def refuse(**options):
        raise OSError(code, "the system says no")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    level, text, advice = told(folders.runs(scene(tmp_path)))["runs"]
    assert level == "FAIL"
    assert text == f"{tmp_path}/runs cannot be written, since {tmp_path} cannot be written: the system says no"
    assert f"ls -ld {tmp_path}; df -h {tmp_path}" in advice


def test_a_disk_without_locks_fails(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(folders, "why_no_lock", lambda file: "No locks available")
    assert "files there cannot be locked (No locks available)" in told(folders.runs(scene(tmp_path)))["runs"][1]
    assert told(folders.temporary(scene(tmp_path)))["temporary"][0] == "ok"  # nobody locks there


def test_a_network_disk_and_little_room_are_warned_of(tmp_path, monkeypatch) -> None:
    mounts = "1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / {0} rw shared:1 - nfs4 server:/home rw\n"
    write(tmp_path, proc__self__mountinfo=mounts.format(str(tmp_path).replace(" ", "\\040")))
    level, text, advice = told(folders.runs(scene(tmp_path)))["runs"]
    assert level == "warning" and "nfs4: a network disk, whose locks often do not hold" in text
    assert "tracking.uri=http" in advice
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**10, 10**10, 5 * 10**6))
    level, text, advice = told(folders.runs(scene(tmp_path)))["runs"]
    assert level == "warning" and "5 MB free, nfs4, which is little" in text and "du -sh" in advice


def test_the_nearest_mount_counts(tmp_path) -> None:
    write(
        tmp_path,
        proc__self__mountinfo=f"1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / {tmp_path}/run rw - nfs x:/y rw\n",
    )
    assert folders.file_system(tmp_path / "runs", tmp_path / "proc") == "ext4"
    assert folders.file_system(tmp_path, tmp_path / "nowhere") == ""


@pytest.mark.parametrize(("total", "free", "level"), [(64, 64, "warning"), (2000, 1000, "ok"), (2000, 0, "warning")])
def test_shared_memory_is_little_for_those_who_need_it(tmp_path, monkeypatch, total, free, level) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(total * 10**6, 0, free * 10**6))
    monkeypatch.setattr(folders, "find_gpus", lambda environment, proc: (("0", "1"), "nvidia-smi"))
    (line,) = folders.shared_memory(scene(tmp_path), tmp_path)
    assert line.level == level
    assert (level == "ok") != bool(line.advice)


def test_shared_memory_is_no_trouble_where_nobody_needs_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(64 * 10**6, 0, 64 * 10**6))
    monkeypatch.setattr(folders, "find_spec", lambda name: None)
    (line,) = folders.shared_memory(scene(tmp_path), tmp_path)
    assert (line.level, line.text) == ("ok", "64 MB, 64 MB free")
    (gone,) = folders.shared_memory(scene(tmp_path), tmp_path / "none")
    assert gone.text == "not on this system"


# Environment.


def test_variables_that_matter_are_told_without_secrets(tmp_path) -> None:
    environment = {
        "HOME": "/home/anna",
        "FLAGS_cudnn_deterministic": "1",
        "MLFLOW_TRACKING_URI": "http://anna:hunter22@host:5000",
        "MLFLOW_TRACKING_TOKEN": "abcdefgh123",
        "OMP_NUM_THREADS": "4096",
        "PYTHONOPTIMIZE": "1",
        "https_proxy": "http://me:swordfish@proxy:3128",
    }
    found = surroundings.variables(scene(tmp_path, environment=environment))
    lines = told(found)
    assert "HOME" not in lines["variables"][1]
    assert "MLFLOW_TRACKING_URI=http://anna:***@host:5000" in lines["variables"][1]
    assert not any(secret in str(found) for secret in ("hunter22", "abcdefgh123", "swordfish"))
    assert lines["threads"] == (
        "warning",
        lines["threads"][1],
        "unset OMP_NUM_THREADS",
    )
    texts = [one.text for one in found if one.what == "flags"]
    assert "FLAGS_cudnn_deterministic: Paddle obeys, and a run does not record it" in texts[0]
    assert "PYTHONOPTIMIZE" in texts[1]


def test_none_of_them_is_said_as_such(tmp_path) -> None:
    (line,) = surroundings.variables(scene(tmp_path))
    assert line.text == "none that changes results or speed"


def test_a_script_that_hides_a_library_fails(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert surroundings.shadowed(scene(tmp_path)) == []
    (tmp_path / "paddle.py").write_text("")
    (tmp_path / "my_model.py").write_text("")
    (tmp_path / "random.py").write_text("")
    level, text, advice = told(surroundings.shadowed(scene(tmp_path)))["names"]
    assert level == "FAIL" and text.startswith("paddle.py, random.py in this folder")
    assert advice == "Rename them: mv paddle.py my_paddle.py"


def test_without_git_code_is_not_recorded(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    level, text, _ = told(surroundings.git(scene(tmp_path)))["git"]
    assert level == "warning" and "no run can record the code" in text


def test_a_terminal_that_is_not_utf8_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(surroundings.locale, "getpreferredencoding", lambda ask: "UTF-8")
    assert told(surroundings.encoding(scene(tmp_path)))["encoding"][0] == "ok"
    monkeypatch.setattr(surroundings.locale, "getpreferredencoding", lambda ask: "ANSI_X3.4-1968")
    level, text, advice = told(surroundings.encoding(scene(tmp_path)))["encoding"]
    assert level == "warning" and "files: ANSI_X3.4-1968" in text and "UTF-8" in advice


@pytest.mark.parametrize(
    ("answer", "level", "text"),
    [
        (Answer(value={"font": "Noto Sans CJK", "missing": ""}), "ok", "Noto Sans CJK for Chinese"),
        (Answer(value={"font": "", "missing": "中"}), "warning", "names in pictures become boxes"),
        (Answer(error="ImportError: no matplotlib"), "FAIL", "ImportError: no matplotlib"),
    ],
)
def test_fonts_for_other_scripts_are_told(tmp_path, answer, level, text) -> None:
    from doctoring import FakeChild

    there = scene(tmp_path, children={"data": FakeChild((Step("fonts"), answer))})
    line = told(surroundings.fonts(there))["fonts"]
    assert line[0] == level and text in line[1]


def test_components_of_another_copy_are_told(tmp_path, monkeypatch) -> None:
    files = {"copied_parts/__init__.py": "class Cube: ...\n"}
    install(
        tmp_path / "site",
        monkeypatch,
        entry_points={"models": {"cube": "copied_parts:Cube"}},
        files=files,
        name="expkit",
        version="0.5",
    )
    texts = [line.text for line in versions.own(scene(tmp_path))]
    assert f"its components are those of another copy, in {tmp_path}/site" in texts
