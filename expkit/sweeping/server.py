"""A process that has imported what runs need, and forks a child for each job: a fresh process without the wait.

`python -m expkit.sweeping.server` reads one order after the other as JSON from its stdin. Nothing is computed before
the fork, and no store is opened: a child is what a new process would be.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from expkit.line import Line
from expkit.processes import die_with_parent, kill_group
from expkit.sweeping import worker

_ALWAYS = ("expkit.experiment", "expkit.sweeping.reporter", "sklearn.datasets")
_FOR_PLOTS = ("expkit.pictures", "matplotlib.backends.backend_agg", "matplotlib.figure", "matplotlib.font_manager")


def main() -> None:
    """Do one order after the other until there will be none any more."""
    worker.parse()
    line = Line.take()
    order = line.receive()
    if order is None:
        return
    tuned = _warm_up(order["job"])
    while order is not None:
        if "job" in order:  # else an answer to a job that died before it came
            _run(order, line, tuned)
        order = line.receive()


def _warm_up(job: Mapping[str, Any]) -> bool:
    """Import everything, as the first job wants it; returns whether the CPU was tuned."""
    from expkit import config
    from expkit.cpu_tuning import tune
    from expkit.paddle_import import import_paddle
    from expkit.tracking.store import import_all_of_mlflow

    folder = Path(job["folder"])
    made = config.stored(job["config"], choices=job["choices"], overrides=job["overrides"], folder=folder)
    tune(made.device.tune)
    import_paddle()
    if made.tracking.kind != "none":
        import_all_of_mlflow()
    for module in (*_ALWAYS, *(_FOR_PLOTS if made.plots.enabled else ()), *_plugins(made)):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    return made.device.tune


def _plugins(made: Any) -> list[str]:
    """Modules of the chosen components that come with expkit; those of others may start threads, or worse."""
    chosen = [made.dataset, made.model, made.loss, made.optimizer, made.schedule, made.regularizer, made.learner]
    chosen += [*made.metrics.values(), *made.transforms.values(), *made.callbacks.values()]
    modules = [one.target.rpartition(".")[0] for one in chosen if one is not None]
    return [module for module in modules if module.startswith("expkit_")]


def _run(order: Mapping[str, Any], line: Line, tuned: bool) -> None:
    """Do a job in a child, and tell who it is and how it ended."""
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, such as of a BLAS
        child = os.fork()
    if not child:
        _be_child(order, line, parent, tuned)
    _lead_group(child)
    line.send({"started": child})
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    kill_group(child)  # what it may have left behind; its own number is kept until it is waited for
    line.break_off()
    by_signal = ended.si_code != os.CLD_EXITED
    line.send({"ended": -ended.si_status if by_signal else ended.si_status})
    os.waitpid(child, 0)


def _be_child(order: Mapping[str, Any], line: Line, parent: int, tuned: bool) -> NoReturn:
    try:
        _lead_group(os.getpid())
        die_with_parent(parent)
        job = order["job"]
        if job["environment"] or _wants_tuning(job, tuned) != tuned:
            _become_worker(order, line, parent)
        worker.live(order, line)
    except BaseException:  # noqa: BLE001 - a child must never go on as its parent
        traceback.print_exc()
    finally:
        os._exit(1)


def _wants_tuning(job: Mapping[str, Any], otherwise: bool) -> bool:
    from expkit import config

    try:
        return bool(config.from_yaml(job["config"])["device"]["tune"])
    except (KeyError, TypeError, ValueError):  # it is said when the job is begun
        return otherwise


def _become_worker(order: Mapping[str, Any], line: Line, parent: int) -> None:
    """Begin anew as another program, for a job whose settings have to be there before Paddle is imported."""
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(order).encode())
        file.seek(0)
        os.set_inheritable(file.fileno(), True)
        line.give_to_program()
        options = ["--parent", str(parent), "--order", str(file.fileno())]
        environment = {**os.environ, **order["job"]["environment"]}
        environment["CUDA_VISIBLE_DEVICES"] = os.environ["CUDA_VISIBLE_DEVICES"]  # the slot's
        os.execve(sys.executable, [sys.executable, "-m", worker.__name__, *options], environment)


def _lead_group(child: int) -> None:
    """Give a child a group of its own; the child and its parent both do, so that none needs to wait."""
    with contextlib.suppress(OSError):  # the child has begun another program, or has ended
        os.setpgid(child, child)


if __name__ == "__main__":
    main()
