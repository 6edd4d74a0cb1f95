"""One job in one process: trains it, and tells how far it is.

`python -m expkit.sweeping.worker` reads one order as a line of JSON from stdin, and answers with lines of JSON on
stdout; what the run prints goes to `output.log` in the job's folder.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import queue
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from expkit.line import Line
from expkit.masked_output import MaskedOutput
from expkit.masking import masked
from expkit.processes import die_with_parent, kill_group, pin
from expkit.sweeping.jobs import FAILED, FINISHED, KILLED, OUTPUT, PRUNED, Job, Outcome, Report
from expkit.sweeping.wire import pack, unpack_job

if TYPE_CHECKING:
    from expkit.config import ExperimentConfig
    from expkit.sweeping.reporter import Reporter

_EVERY = 0.5
"""Seconds from one report within an epoch to the next."""


def work(job: Job, report: Callable[[Report], bool]) -> Outcome:
    """Train one job in this process; what a user sees of a run goes to stdout, its errors to stderr.

    Args:
        job: to train; it goes on where it left off, if `job.resume` says so and its folder holds a run.
        report: called with each report, in this thread; of an epoch's, a true answer ends a job that has `prunes`.

    Returns:
        How it ended; nothing is raised, whatever happened.
    """
    from expkit import config
    from expkit.sweeping.reporter import Reporter
    from expkit.trainer import Pruned

    started, reporter = time.monotonic(), None
    try:
        made = config.stored(job.config, choices=job.choices, overrides=job.overrides, folder=job.folder)
        reporter = Reporter(made, report, prunes=job.prunes, every=_EVERY)
        reason, value, metrics = _train(job, made, reporter)
        return Outcome(FINISHED, reason, value, metrics, time.monotonic() - started)
    except Pruned as pruned:
        status, reason = PRUNED, str(pruned)
    except KeyboardInterrupt as stopped:
        status, reason = KILLED, str(stopped) or "stopped by SIGINT"
    except BaseException as error:  # noqa: BLE001 - whatever a plugin raises ends this job only
        status, reason = FAILED, _explained(error)
    best, metrics = (reporter.best, reporter.best_metrics) if reporter else (None, {})
    return Outcome(status, reason, best, metrics, time.monotonic() - started)


def live(order: Mapping[str, Any], line: Line) -> NoReturn:
    """Be the process of one job, from its order to its end."""
    code = 1
    try:
        job = unpack_job(order["job"])
        line.send(pack(_heard(job, line, order.get("note", ""))))
        code = 0
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # nothing of the parent's is done again, and no thread of a library's keeps it from ending


def _heard(job: Job, line: Line, note: str) -> Outcome:
    """Train a job with its output in its folder, below a note if there is one, and its reports on the line."""
    try:
        _write_to(job.folder / OUTPUT)
        if note:
            sys.stdout.write(f"\n{note}\n")
    except OSError as error:
        return Outcome(FAILED, f"{job.folder / OUTPUT} cannot be written: {error.strerror}")
    random.seed()  # forked processes would all have the same state before a run seeds them
    answers: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(line, answers), name="expkit-line", daemon=True).start()

    def report(message: Report) -> bool:
        line.send(pack(message))
        return bool(message.metrics and job.prunes and _answer(answers))

    return work(job, report)


def _listen(line: Line, answers: queue.Queue[Any]) -> None:
    """Take in answers; when the other end is gone, this process and what it started must not stay behind."""
    while (message := line.receive()) is not None:
        answers.put(message)
    kill_group(os.getpid())


def _answer(answers: queue.Queue[Any]) -> bool:
    while True:
        with contextlib.suppress(queue.Empty):
            return bool(answers.get(timeout=0.5).get("stop"))  # with a timeout, or Windows would not see a Ctrl-C


def _train(job: Job, made: ExperimentConfig, reporter: Reporter) -> tuple[str, float | None, Mapping[str, float]]:
    """Run or resume; returns why it is not over, if so, the value that says how good it is, and its metrics."""
    from expkit import experiment
    from expkit.errors import RunNotFoundError
    from expkit.runs import monitored, read_record

    record: dict[str, Any] = {}
    if job.resume:
        with contextlib.suppress(RunNotFoundError):  # it had not begun
            record = read_record(job.folder)
    if record.get("status") == "FINISHED":  # its process died after that
        return "", monitored(record), record["metrics"]
    if record:
        result = experiment.resume(job.folder, further=[reporter], now=made)
    else:
        result = experiment.run(made, job.folder, further=[reporter])
    return result.paused, result.monitored, result.metrics


def _explained(error: BaseException) -> str:
    """Print an error and return it in one sentence."""
    from expkit.errors import ExpkitError

    cause: BaseException | None = error
    while cause is not None and type(cause).__module__.partition(".")[0] in ("hydra", "omegaconf"):
        cause = cause.__cause__ or cause.__context__  # what they wrap is what happened
    error = cause or error
    if isinstance(error, ExpkitError):
        sys.stderr.write(f"error: {error}\n")
    else:
        sys.stderr.write("".join(traceback.format_exception(error)))
    return masked(f"{type(error).__name__}: {error}".rstrip(": "))


def _write_to(file: Path) -> None:
    """Let all that this process prints, libraries in C too, go to a file, as soon as a line is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(handle, number)
        raw = open(number, "wb", closefd=False)  # noqa: SIM115
        setattr(sys, name, _Output(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True))
    os.close(handle)
    faulthandler.enable()


class _Output(MaskedOutput):
    """The output of a job: a full disk costs lines of it, and neither the job nor the word of what ended that."""

    def write(self, text: str) -> int:
        """Write, where there is room."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, where there is room."""
        with contextlib.suppress(OSError):
            super().flush()


def parse(arguments: Sequence[str] | None = None) -> int | None:
    """Do what the command line of a process of a sweep says: whom it goes with, and which cores are its own.

    Returns:
        Number of the open file that holds its order, if there is one.
    """
    parser = argparse.ArgumentParser(description="A process of a sweep, which starts it.")
    parser.add_argument("--parent", type=int, required=True, help="process id; when that ends, this one does")
    parser.add_argument("--cores", default="", help="such as 0,1; all by default")
    parser.add_argument("--order", type=int, help="number of an open file with the order; stdin by default")
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    pin([int(core) for core in options.cores.split(",") if core])
    return None if options.order is None else int(options.order)


def main() -> None:
    """Wait for an order, and do it."""
    number = parse()
    line = Line.take()
    if number is None:
        order = line.receive()
    else:
        with os.fdopen(number, encoding="utf-8") as file:
            order = json.load(file)
    if order is not None:
        live(order, line)


if __name__ == "__main__":
    main()
