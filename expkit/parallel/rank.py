"""`python -m expkit.parallel.rank`: the process of a device other than the first, which does what rank 0 tells it.

It is started by `expkit.parallel.member`, with a pipe. It writes nothing, and ends when rank 0 does.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Generator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import numpy as np

from expkit import config, cpu_tuning
from expkit.config import ExperimentConfig
from expkit.errors import DeviceLostError, NotFiniteError, first_line
from expkit.interrupts import SIGNALS
from expkit.paddle_import import import_paddle
from expkit.parallel.group import Group, connect
from expkit.parallel.messages import DONE, NOT_FINITE, Failed, Order, Part
from expkit.parallel.shares import rows_of, share
from expkit.parallel.team import Follower
from expkit.preparation import Prepared, prepare
from expkit.processes import die_with_parent
from expkit.seeding import seed_everything
from expkit.spec import Array

_RANDOM = 5015
"""Keeps the random numbers of ranks apart from others that are made of the seed."""


def main(arguments: Sequence[str]) -> int:
    """Be a rank until rank 0 is done with it or gone.

    Args:
        arguments: number of the pipe's file, and the process of rank 0.
    """
    _belong_to(int(arguments[1]))
    faulthandler.enable(all_threads=False)  # rank 0 shows what this process wrote last, and keeps all of it
    pipe = Connection(int(arguments[0]))
    try:
        order = pipe.recv()
        sys.path[:] = order.path
        made = config.stored(order.config, choices=order.choices, overrides=order.overrides)
        cpu_tuning.tune(made.device.tune)
        import_paddle()
        _serve(pipe, Rank(order, made, pipe))
    except (EOFError, BrokenPipeError):  # rank 0 is gone
        return 1
    except Exception as error:  # noqa: BLE001 - whatever it is, rank 0 is to say it
        pipe.send(Failed(f"{type(error).__name__}: {first_line(error)}", traceback.format_exc()))
        return 1


def _belong_to(parent: int) -> None:
    # Who asks a run to stop asks rank 0, which ends this process when it has saved.
    for name in SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    die_with_parent(parent)


def _serve(pipe: Connection, rank: Rank) -> NoReturn:
    while True:
        verb, arguments = pipe.recv()
        getattr(rank, verb)(*arguments)


class Rank:
    """What a rank can do; each method is a verb of rank 0's.

    Args:
        order: which rank it is.
        made: the config of the run.
        pipe: for answers.
    """

    prepared: Prepared

    def __init__(self, order: Order, made: ExperimentConfig, pipe: Connection) -> None:
        device = replace(made.device, index=made.device.index + order.rank)
        self._config, self._pipe = replace(made, device=device), pipe
        self._team = Follower(order.rank, order.size, pipe)
        self._batches: Generator[tuple[int, tuple[Array, Array]], None, None] | None = None
        self._next: tuple[Array, Array] | None = None
        self._epoch = 0

    def set_out(self, cores: Sequence[int] | None) -> None:
        """Keep to these cores."""
        if cores is not None:
            os.sched_setaffinity(0, cores)

    def build(self) -> None:
        """Load the data and build the learner."""
        self.prepared = prepare(self._config, team=self._team)
        self._answer(DONE)

    def join(self, port: int, number: int) -> None:
        """Connect to the others."""
        team = self._team
        device = self.prepared.device
        team.group = Group(connect(port), rank=team.rank, size=team.size, number=number, device=device)
        self._answer(DONE)

    def load(self, state: Any) -> None:
        """Take the state of rank 0."""
        self.prepared.learner.load_state_dict(state)

    def call(self, name: str, arguments: Sequence[Any]) -> None:
        """Do what rank 0's learner does."""
        getattr(self.prepared.learner, name)(*arguments)

    def begin(self, epoch: int, skip: int, digest: str | None) -> None:
        """Begin an epoch, or go on with it.

        Raises:
            DeviceLostError: the weights are not those of rank 0.
        """
        learner: Any = self.prepared.learner
        if digest is not None and learner.digest() != digest:
            raise DeviceLostError(
                f"its weights are not those of rank 0 at the start of epoch {epoch}. Does a model or a callback change "
                "weights by itself, or draw random numbers for that?"
            )
        if self._batches is not None:
            self._batches.close()
        self._epoch, self._batches = epoch, self._numbered(epoch, skip)
        self._fetch()

    def step(self) -> None:
        """Make a step with this rank's share of the next batch, and get the one after it ready."""
        assert self._next is not None
        inputs, targets = self._next
        try:
            result = self.prepared.learner.train_step(inputs, targets)
        except NotFiniteError:
            self._answer(NOT_FINITE)
        else:
            own = self._team.counts
            self._answer(DONE, Part(result.outputs if own else None, targets if own else None))
        self._fetch()

    def _numbered(self, epoch: int, skip: int) -> Generator[tuple[int, tuple[Array, Array]], None, None]:
        batches, team = self.prepared.batches["train"], self._team
        made = batches.epoch(epoch, skip, rows_of(team.rank, team.size))
        try:
            yield from enumerate(made, skip)
        finally:
            made.close()

    def _fetch(self) -> None:
        """Get the next batch; what the model draws for it is a function of seed, epoch, batch and rank alone."""
        assert self._batches is not None
        found = next(self._batches, None)
        if found is None:
            self._next = None
            return
        number, self._next = found
        team, batches = self._team, self.prepared.batches["train"]
        team.counts = share(batches.size_of(number), team.rank, team.size).counts
        entropy = (self._config.seed, self._epoch, number, team.rank, _RANDOM)
        seed_everything(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def _answer(self, kind: str, content: Any = None) -> None:
        self._pipe.send((kind, content))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
