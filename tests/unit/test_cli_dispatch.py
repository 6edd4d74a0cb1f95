from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_plugins import install

import expkit.cli
from expkit.cli import VERBS, main, report
from expkit.errors import ConfigError, TrainingStoppedError


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Take the place of running an experiment, and note what it was asked for."""
    from expkit.cli import run

    calls: list[list[str]] = []
    monkeypatch.setattr(run, "main", lambda arguments: calls.append(arguments) or 0)
    monkeypatch.delenv("EXPKIT_DEBUG", raising=False)
    return calls


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    from expkit.cli import run

    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(run, "main", fail)


def expkit_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**{k: v for k, v in os.environ.items() if k != "EXPKIT_DEBUG"}, **environment}
    command = [sys.executable, "-m", "expkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["model=cnn", "--help"]])
def test_help_lists_every_verb_and_is_no_error(ran, capsys, arguments) -> None:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {verb} " in out for verb in VERBS)
    assert "+experiment=mnist_cnn" in out and "--cfg job" in out and "--hydra-help" in out
    assert ran == [] and max(map(len, out.splitlines())) <= 80


def test_no_arguments_show_the_help_too(ran, capsys) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out == expkit.cli.help_text()


def test_overrides_and_flags_of_hydra_go_to_hydra(ran) -> None:
    for arguments in (["+experiment=mnist_cnn", "-m"], ["~schedule"], ["--cfg", "job"], ["--hydra-help"]):
        assert main(arguments) == 0
    assert ran == [["+experiment=mnist_cnn", "-m"], ["~schedule"], ["--cfg", "job"], ["--hydra-help"]]


def test_verb_gets_what_stands_behind_it(monkeypatch, capsys) -> None:
    assert main(["list", "models"]) == 0
    assert "cnn" in capsys.readouterr().out


def test_verb_has_its_own_help(capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(["show", "-h"])
    assert left.value.code == 0
    assert "python -m expkit show" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "there is no verb 'lst'. Did you mean 'list'?"),
        (["mnist_cnn"], "'mnist_cnn' is an experiment. Run it: python -m expkit +experiment=mnist_cnn"),
        (["experiment=mnist_cnn"], "Write +experiment=mnist_cnn."),
        (["--epochs=3"], "there is no flag '--epochs'"),
        (["show", "model/cnnn"], "no model is called 'cnnn'. Did you mean 'cnn'?"),
    ],
)
def test_mistake_is_one_line_on_stderr_and_exit_code_2(ran, capsys, arguments, message) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and message in captured.err
    assert "Traceback" not in captured.err and ran == []


def test_exit_code_is_that_of_the_error(ran, monkeypatch, capsys) -> None:
    raising(monkeypatch, TrainingStoppedError("the loss is nan"))
    assert main(["a=1"]) == 1
    assert capsys.readouterr().err == "error: the loss is nan\n"


def test_unforeseen_error_names_the_plugins_line_not_ours(ran, monkeypatch, capsys, tmp_path) -> None:
    install(
        tmp_path,
        monkeypatch,
        files={"crashing_parts.py": "import json\n\ndef crash():\n    json.loads('{')\n"},
        entry_points={"models": {"crash": "crashing_parts:crash"}},
    )
    from crashing_parts import crash

    from expkit.cli import run

    monkeypatch.setattr(run, "main", lambda arguments: crash())
    assert main(["a=1"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: JSONDecodeError: Expecting property name")
    assert lines[1] == f"  at {tmp_path}/crashing_parts.py:4, in crash (model 'crash' of fake-plugins 1.2)"
    assert lines[2] == "EXPKIT_DEBUG=1 shows the whole traceback."


def test_failure_of_a_component_is_reported_without_hydra_around_it(monkeypatch, capsys, tmp_path) -> None:
    from hydra.utils import instantiate

    install(
        tmp_path,
        monkeypatch,
        files={"cold_parts.py": "def cold():\n    raise RuntimeError('brr')\n"},
        entry_points={},
    )
    with pytest.raises(Exception, match="brr") as caught:
        instantiate({"_target_": "cold_parts.cold"})
    assert report(caught.value) == 1
    assert capsys.readouterr().err.startswith(f"error: RuntimeError: brr\n  at {tmp_path}/cold_parts.py:2, in cold\n")


def test_debug_shows_the_whole_traceback(ran, monkeypatch, capsys) -> None:
    monkeypatch.setenv("EXPKIT_DEBUG", "1")
    raising(monkeypatch, ConfigError("wrong"))
    assert main(["a=1"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback") and err.endswith("error: wrong\n")


def test_error_of_a_connection_is_not_taken_for_a_closed_pipe(ran, monkeypatch, capsys) -> None:
    raising(monkeypatch, BrokenPipeError(32, "server gone"))
    assert main(["a=1"]) == 1
    assert "server gone" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
@pytest.mark.parametrize(
    "prints",
    [
        'sys.stdout.write("a line\\n" * 100_000) and 0',
        '__import__("rich.console").console.Console().print("a line\\n" * 1_000)',  # leaves by itself
    ],
)
def test_who_reads_no_further_is_told_nothing(prints: str) -> None:
    script = f"""
import sys
from expkit.cli import main, run
run.main = lambda arguments: {prints}
sys.exit(main(["a=1"]))
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full and a POSIX shell")
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("list losses >/dev/full", 1, "error: what this command prints cannot be written: No space left on device.\n"),
        ("runs -h >/dev/full", 1, "error: what this command prints cannot be written: No space left on device.\n"),
        ("list losses >&- <&-", 0, ""),
        ("list losses 2>&- >/dev/null", 0, ""),
        ("nonsense 2>/dev/full", 2, ""),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_traceback(command: str, code: int, said: str) -> None:
    done = subprocess.run(f"{sys.executable} -m expkit {command}", shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locales")
def test_a_folder_may_have_any_letters_in_any_locale(tmp_path: Path) -> None:
    folder = tmp_path / "数据"
    (folder / "runs").mkdir(parents=True)
    command = [sys.executable, "-m", "expkit", "runs", "--runs-dir", str(folder / "runs")]
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    assert f"there are no runs in {folder / 'runs'}" in done.stderr.decode()


def test_ctrl_c_is_exit_code_130_without_a_traceback(tmp_path: Path) -> None:
    started = tmp_path / "started"
    script = f"""
import sys, time, pathlib
from expkit.cli import main, run
def slow(arguments):
    pathlib.Path({str(started)!r}).touch()
    time.sleep(60)
run.main = slow
sys.exit(main(["a=1"]))
"""
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err


@pytest.mark.parametrize("arguments", ["list --json", "+experiment=mnist_cnn --info defaults"])
def test_closed_pipe_is_quiet(arguments) -> None:
    command = f"{sys.executable} -m expkit {arguments} | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and len(done.stdout) == 10


def test_a_run_goes_on_when_the_reader_of_its_output_goes(tmp_path: Path) -> None:
    quick = "+experiment=housing_numpy_gd dataset.download=false trainer.epochs=2 tracking=none plots=none export=none"
    command = f"{sys.executable} -m expkit {quick} runs_dir={tmp_path} 2>&1 | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stderr == "" and done.stdout.split("\n")[1] == "0"
    (record,) = tmp_path.glob("*/*/run.json")
    assert json.loads(record.read_text())["status"] == "FINISHED"
    assert "done in" in (record.parent / "run.log").read_text()


def test_version() -> None:
    done = expkit_process("--version")
    assert done.returncode == 0 and done.stdout.split()[0] == "expkit"


def test_mistake_in_a_real_process_is_exit_code_2(tmp_path) -> None:
    done = expkit_process("+experiment=mnist_cnn", "model.kernl=3", f"runs_dir={tmp_path}/runs")
    assert done.returncode == 2 and done.stdout == ""
    assert "Did you mean 'model.kernel'?" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("expkit li", "list"),
        ("expkit model=cn", "model=cnn"),
        ("expkit +experiment=mn", "+experiment=mnist_cnn"),
    ],
)
def test_completion_offers_verbs_and_names(line, offered) -> None:
    done = expkit_process("-sc", "query=bash", COMP_LINE=line)
    assert done.returncode == 0 and offered in done.stdout.split() and done.stderr == ""


def test_completion_says_nothing_when_it_fails(ran, monkeypatch, capsys) -> None:
    raising(monkeypatch, ConfigError("broken"))
    assert main(["-sc", "query=bash"]) == 1
    assert capsys.readouterr().err == ""


def test_who_runs_no_sweep_imports_nothing_of_sweeps(tmp_path: Path) -> None:
    code = (
        "import sys; from expkit.cli import main; main(['--cfg', 'job', '+experiment=mnist_cnn'])\n"
        "slow = ('expkit.sweeping', 'expkit.cli.launcher', 'expkit.cli.search', 'numpy', 'paddle', 'optuna')\n"
        "print([name for name in sys.modules if name.startswith(slow)])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
