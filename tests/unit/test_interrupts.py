from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from expkit.interrupts import Stopped, StopRequests

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_becomes_a_wish(number):
    with StopRequests() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
        assert asked.signal == number


@pytest.mark.parametrize(("saved", "code"), [(True, 75), (False, 128 + 10)])
def test_the_exit_code_tells_whether_all_is_saved(saved, code):
    stopped = Stopped(signal.SIGUSR1, saved=saved)
    assert (stopped.exit_code, str(stopped)) == (code, "stopped by SIGUSR1")


def test_the_former_handlers_come_back_even_after_an_error():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(RuntimeError), StopRequests():
        raise RuntimeError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_after_a_first_signal_stops_at_once(first):
    with StopRequests():
        os.kill(os.getpid(), first)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_must_not_be_torn_is_told_of_ctrl_c_alone():
    with StopRequests() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        with asked.shielded() as hurried:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not hurried()
            os.kill(os.getpid(), signal.SIGINT)
            assert hurried()


def test_a_second_sigterm_is_only_the_same_wish():
    with StopRequests() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()


def test_outside_the_main_thread_it_watches_nothing():
    found = []

    def work():
        with StopRequests() as asked:
            found.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_real_process_ends_its_loop_by_its_own_will():
    code = (
        "import time\n"
        "from expkit.interrupts import StopRequests\n"
        "with StopRequests() as asked:\n"
        "    print('ready', flush=True)\n"
        "    while not asked():\n"
        "        time.sleep(0.01)\n"
        "print('stopped by', asked.signal)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert out == "stopped by 15\n"
    assert process.returncode == 0
