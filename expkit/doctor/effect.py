"""How much the CPU settings are worth here: steps of the textbook's CNN with them and without, in turn."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence

from expkit.doctor.examination import Scene
from expkit.findings import Finding
from expkit.processes import kill_group

ROUNDS, STEPS = 6, 5
WITH, WITHOUT = "with", "without"


class Side:
    """A fresh process that trains with the settings or without them, when it is asked to.

    Args:
        name: WITH or WITHOUT.
    """

    def __init__(self, name: str) -> None:
        environment = dict(os.environ)
        if name == WITHOUT:
            environment.pop("MKL_DEBUG_CPU_TYPE", None)
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "expkit.doctor.pace", name, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def ask(self, steps: int) -> float:
        """Let it train some steps, and return the median time of one, in milliseconds.

        Raises:
            RuntimeError: it has ended; says why.
        """
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.write(f"{steps}\n")
            self._popen.stdin.flush()
        line = self._popen.stdout.readline()
        if not line:
            _, err = self._popen.communicate()
            last = next((one for one in reversed(err.splitlines()) if one.strip()), "")
            raise RuntimeError(f"the process that trains ended with {self._popen.returncode}: {last.strip()}")
        return float(json.loads(line))

    def close(self) -> None:
        """End the process."""
        if self._popen.poll() is None:
            kill_group(self._popen.pid)
            with contextlib.suppress(ValueError, OSError):
                self._popen.communicate()


def effect(scene: Scene) -> Sequence[Finding]:
    """Measure, for some seconds."""
    del scene
    sides = {name: Side(name) for name in (WITHOUT, WITH)}
    times: dict[str, list[float]] = {name: [] for name in sides}
    try:
        for side in sides.values():
            side.ask(STEPS)  # they are slower at first
        for _ in range(ROUNDS):
            for name, side in sides.items():
                times[name].append(side.ask(STEPS))
    finally:
        for side in sides.values():
            side.close()
    return [finding_of(times[WITHOUT], times[WITH])]


def finding_of(without: Sequence[float], tuned: Sequence[float]) -> Finding:
    """Say what came out.

    Args:
        without: milliseconds of a step in each round, without the settings.
        tuned: with them, in the same rounds.
    """
    ratios = [one / other for one, other in zip(without, tuned, strict=True)]
    ratio = statistics.median(ratios)
    told = (
        f"a step of the textbook's CNN takes {statistics.median(tuned):.0f} ms with all of this, "
        f"{statistics.median(without):.0f} ms without: {ratio:.2f}x, a rough figure ({len(ratios)} rounds in turn: "
        f"{min(ratios):.2f}x to {max(ratios):.2f}x)"
    )
    if max(ratios) < 1:
        return Finding("warning", "effect", told, "It is slower here. Switch it off: device.tune=false")
    return Finding("ok", "effect", told)
