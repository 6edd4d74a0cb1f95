from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from expkit import lock
from expkit.errors import ConfigError, RunLockedError
from expkit.lock import RunLock

HOLD = """
import sys, time
from pathlib import Path
from expkit.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    {then}
"""


def holder(folder: Path, then: str = "time.sleep(60)") -> subprocess.Popen[str]:
    """Start a process that holds the lock of a folder, and wait until it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(then=then), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path):
    process = holder(tmp_path)
    try:
        refusal = (
            rf"{tmp_path.name} is being trained by process {process.pid} on this machine \(.*\) since 20\S+\. Wait"
        )
        with pytest.raises(RunLockedError, match=refusal), RunLock(tmp_path):
            pass
    finally:
        process.kill()
        process.communicate()
    with RunLock(tmp_path):  # the system has let go of a killed process's lock
        facts = json.loads((tmp_path / ".lock").read_text())
    assert facts["pid"] == os.getpid()


@pytest.mark.skipif(os.name == "nt", reason="file descriptors are not inherited there")
def test_what_a_killed_process_was_just_starting_is_waited_for(tmp_path):
    # Between fork and exec, a child has its parent's open files for an instant, made longer here.
    then = "import os, subprocess; from expkit.lock import _held; "
    then += "subprocess.Popen(['sleep', '0.5'], pass_fds=[next(iter(_held)).fileno()]); os.kill(os.getpid(), 9)"
    process = holder(tmp_path, then)
    process.wait()
    process.stdout.close()
    with RunLock(tmp_path):
        facts = json.loads((tmp_path / ".lock").read_text())
    assert facts["pid"] == os.getpid()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_that_outlives_its_killed_parent_does_not_keep_the_lock(tmp_path):
    then = "import os; child = os.fork(); print(end='' if child else f'{os.getpid()}\\n', flush=True); time.sleep(60)"
    process = holder(tmp_path, then)
    child = int(process.stdout.readline())
    try:
        process.kill()
        process.wait()
        with RunLock(tmp_path):
            os.kill(child, 0)  # it lives
    finally:
        os.kill(child, 9)
        process.communicate()


def test_within_one_process_a_run_is_locked_too_and_free_afterwards(tmp_path):
    with RunLock(tmp_path), pytest.raises(RunLockedError, match=f"process {os.getpid()} on this machine"):
        RunLock(tmp_path).__enter__()
    with RunLock(tmp_path):
        pass


def test_nothing_is_left_behind_but_a_run(tmp_path):
    with RunLock(tmp_path / "never began"):
        pass
    assert not (tmp_path / "never began").exists()
    with RunLock(tmp_path / "run"):
        (tmp_path / "run" / "run.json").write_text("{}")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def test_the_file_of_a_dead_process_of_another_machine_is_no_lock(tmp_path):
    (tmp_path / ".lock").write_text('{"pid": 1, "host": "elsewhere", "since": "then"}')
    with RunLock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["host"] == socket.gethostname()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"pid": 7, "host": "elsewhere", "since": "then"}', r"process 7 on elsewhere .*: ssh elsewhere kill 7$"),
        ("", r"another process\. Wait for its end, or stop it\.$"),
    ],
)
def test_the_holder_is_told_as_far_as_it_is_known(tmp_path, monkeypatch, text, said):
    monkeypatch.setattr(lock, "try_lock", lambda file: False)
    (tmp_path / ".lock").write_text(text)
    with pytest.raises(RunLockedError, match=said), RunLock(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"the run folder .*file/run cannot be written: Not a directory"):
        RunLock(tmp_path / "file" / "run").__enter__()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_where_a_file_system_has_no_locks_a_warning_says_so(tmp_path, monkeypatch, caplog):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with RunLock(tmp_path):
        assert "cannot be locked (No locks available): see to it yourself" in caplog.text


def test_many_who_take_and_leave_a_lock_never_hold_it_together(tmp_path):
    """The file is removed at each leave: one who has opened the former file must not take it for the lock."""
    code = (
        "import sys, os\nfrom pathlib import Path\nfrom expkit.lock import RunLock\n"
        "from expkit.errors import RunLockedError\n"
        "folder, done = Path(sys.argv[1]), 0\n"
        "while done < 50:\n"
        "    try:\n"
        "        with RunLock(folder):\n"
        "            os.close(os.open(folder / 'inside', os.O_CREAT | os.O_EXCL))\n"
        "            os.unlink(folder / 'inside')\n"
        "            done += 1\n"
        "    except RunLockedError:\n"
        "        pass\n"
    )
    (tmp_path / "keep").write_text("")
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_keeps_nobody_from_the_lock(tmp_path):
    (tmp_path / ".lock").symlink_to("/dev/full")
    with RunLock(tmp_path):
        pass
    assert not (tmp_path / ".lock").is_symlink()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes none")
def test_a_folder_that_cannot_be_made_is_not_said_to_be_missing():
    wanted = r"nothing can be created in /proc\. Choose another: runs_dir"
    with pytest.raises(ConfigError, match=wanted), RunLock(Path("/proc/x/run")):
        pass
