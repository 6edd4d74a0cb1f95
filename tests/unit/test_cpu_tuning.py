from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from expkit import cpu_tuning
from expkit.callbacks import read_steps

AVX2 = "fpu sse4_2 fma avx f16c avx2"
AVX512 = f"{AVX2} avx512f avx512dq avx512cd avx512bw avx512vl"


def cpuinfo(folder, vendor, flags, cores=2):
    block = "processor\t: {0}\nvendor_id\t: {1}\ncpu family\t: 25\nmodel name\t: Some CPU\nflags\t\t: {2}\n\n"
    path = folder / "cpuinfo"
    path.write_text("".join(block.format(core, vendor, flags) for core in range(cores)))
    return path


@pytest.fixture(autouse=True)
def pc(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.mark.parametrize(
    ("vendor", "flags", "kind"),
    [
        ("AuthenticAMD", AVX512, "7"),
        ("AuthenticAMD", AVX2, "5"),
        ("HygonGenuine", AVX2, "5"),
        ("HygonGenuine", AVX512, "7"),
        ("AuthenticAMD", AVX512.replace(" avx512vl", ""), "5"),  # one flag short would be SIGILL
        ("AuthenticAMD", AVX512.replace(" avx512dq", ""), "5"),
        ("AuthenticAMD", "fpu sse4_2 avx avx2", None),  # no fma
        ("AuthenticAMD", "fpu sse4_2", None),
        ("AuthenticAMD", "fpu avx2x fmaddon", None),  # flags are whole words
        ("GenuineIntel", AVX512, None),
        ("CentaurHauls", AVX2, None),
    ],
)
def test_only_amd_with_all_the_flags_gets_a_faster_path(tmp_path, vendor, flags, kind):
    assert cpu_tuning.mkl_cpu_type(cpuinfo(tmp_path, vendor, flags)) == kind


def test_many_cores_make_no_difference(tmp_path):
    assert cpu_tuning.mkl_cpu_type(cpuinfo(tmp_path, "AuthenticAMD", AVX512, cores=256)) == "7"


def test_arm_an_empty_file_and_a_missing_one_are_left_alone(tmp_path, monkeypatch):
    arm = tmp_path / "arm"
    arm.write_text("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm\nCPU implementer\t: 0x41\n")
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for path in (arm, empty, tmp_path / "missing", tmp_path):
        assert cpu_tuning.mkl_cpu_type(path) is None
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert cpu_tuning.mkl_cpu_type(cpuinfo(tmp_path, "AuthenticAMD", AVX512)) is None


def test_a_users_own_setting_is_kept_and_recorded(monkeypatch):
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "3")
    assert cpu_tuning.apply()["tune.mkl_cpu_type"] == "3"
    assert os.environ["MKL_DEBUG_CPU_TYPE"] == "3"


def test_what_was_applied_is_in_the_environment(monkeypatch):
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "")  # so that it is put back after the test
    monkeypatch.delenv("MKL_DEBUG_CPU_TYPE")
    monkeypatch.setattr(cpu_tuning, "mkl_cpu_type", lambda path: "5")
    assert cpu_tuning.apply()["tune.mkl_cpu_type"] == os.environ["MKL_DEBUG_CPU_TYPE"] == "5"
    monkeypatch.delenv("MKL_DEBUG_CPU_TYPE")
    monkeypatch.setattr(cpu_tuning, "mkl_cpu_type", lambda path: None)
    assert "tune.mkl_cpu_type" not in cpu_tuning.apply()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_glibc_takes_the_hint():
    assert cpu_tuning.keep_freed_memory() == hasattr(__import__("ctypes").CDLL(None), "gnu_get_libc_version")


def test_importing_paddle_prints_nothing_and_leaves_the_root_logger_alone():
    code = (
        "import logging\n"
        "from expkit.cpu_tuning import apply\n"
        "from expkit.paddle_import import import_paddle\n"
        "apply()\n"
        "before = logging.getLogger().handlers[:], logging.getLogger().level\n"
        "paddle = import_paddle()\n"
        "paddle.base.core.set_num_threads(1)\n"
        "paddle.matmul(paddle.ones([9, 9]), paddle.ones([9, 9]))\n"
        "assert (logging.getLogger().handlers, logging.getLogger().level) == before\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("GLOG_minloglevel", "MKL_DEBUG_CPU_TYPE")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_with_the_settings_a_training_differs_by_rounding_at_most(tmp_path):
    # In processes of their own, as MKL reads its setting once. On Intel they are the same to the last bit; where MKL
    # takes another way, the losses drift apart from the rounding of the first step on.
    environment = {key: value for key, value in os.environ.items() if key != "MKL_DEBUG_CPU_TYPE"}
    losses = []
    for tune in ("true", "false"):
        folder = tmp_path / tune
        command = [sys.executable, "-m", "expkit", "+experiment=mnist_cnn", "dataset=digits", "tracking=none"]
        command += ["trainer.epochs=1", "export=none", f"device.tune={tune}", f"hydra.run.dir={folder}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        losses.append([loss for _, loss, _ in read_steps(folder)])
    tuned, stock = losses
    assert tuned[0] == pytest.approx(stock[0], rel=1e-5)
    assert len(tuned) > 30
    assert tuned == pytest.approx(stock, rel=5e-3)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_waits_until_paddle_is_imported(tmp_path):
    (tmp_path / "paddle.py").write_text(
        "import os, signal, types\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "base = types.SimpleNamespace(framework=types.SimpleNamespace(global_var=None))\n"
    )
    script = """
import sys
from expkit.paddle_import import import_paddle
try:
    import_paddle()
except KeyboardInterrupt:
    print(hasattr(sys.modules["paddle"], "base"))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")
