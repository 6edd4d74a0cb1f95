"""How rank 0 starts the other ranks of a run, takes the lead, and ends them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from expkit.config import ExperimentConfig, to_yaml
from expkit.parallel.learner import TeamLearner, check_mean
from expkit.parallel.member import Member
from expkit.parallel.messages import Order
from expkit.parallel.places import check_shares, cores_of_each
from expkit.parallel.team import Leader
from expkit.preparation import Prepared
from expkit.processes import usable_cores


@contextmanager
def started(config: ExperimentConfig) -> Iterator[Leader | None]:
    """Within this context the other devices of a run have processes; None where it has one device.

    They end with the context. On the CPU, each device keeps to cores of its
    own; the calling thread may use all of its again afterwards.

    Raises:
        ConfigError: the run cannot be shared out.
        DeviceError: there are fewer devices than it asks for.
    """
    devices = config.trainer.devices
    if devices == 1:
        yield None
        return
    check_shares(config)
    if devices * config.device.threads > len(usable_cores()):
        cores_of_each(config)  # that many can only be GPUs; else this says so before anything is started
    with ExitStack() as held:
        # Started first of all, since each takes as long to import Paddle as this process does.
        members = []
        for rank in range(1, devices):
            members.append(Member(_order(config, rank)))
            held.callback(members[-1].close)
        leader = Leader(members, config.trainer.devices_timeout)
        held.callback(leader.close)
        cores = cores_of_each(config)
        leader.set_out(cores)
        if cores is not None:
            held.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
            os.sched_setaffinity(0, cores[0])
        yield leader


def lead(prepared: Prepared, team: Leader | None) -> Prepared:
    """Let all devices build what was built here, connect them, and return it with a learner that steps on all of them.

    Args:
        prepared: in this process.
        team: what `started` gave.

    Raises:
        ConfigError: the loss is no mean over samples.
        DeviceLostError: a device could not build it.
    """
    if team is None:
        return prepared
    team.tell("build")
    check_mean(prepared.learner, prepared.batches["train"], team.size)
    team.join(prepared.device)
    learner = TeamLearner(prepared.learner, team, prepared.batches["train"])
    return replace(prepared, learner=learner, feed=learner.feed, device=f"{prepared.device} x {team.size}")


def _order(config: ExperimentConfig, rank: int) -> Order:
    return Order(
        rank=rank,
        size=config.trainer.devices,
        config=to_yaml(config.resolved),
        choices=dict(config.choices),
        overrides=tuple(config.overrides),
        path=tuple(sys.path),
    )
