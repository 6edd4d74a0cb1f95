"""The nodes of a cluster and the places on them, kept up to date while nodes come and go."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from expkit.errors import ConfigError, DeviceLostError
from expkit.files import why_unwritable
from expkit.settings import SweepSettings, TrackingSettings
from expkit.sweeping.cluster.connection import Node, answers, facts_of_nodes, nodes_of, pinned
from expkit.sweeping.cluster.place import FarPlace
from expkit.sweeping.cluster.placement import check_store, differences, facts_of_machine
from expkit.sweeping.cluster.seat import Seat
from expkit.sweeping.cluster.settings import fitting
from expkit.sweeping.slots import Slot

_LOOK = 1.0
"""Seconds from one look at the cluster's nodes to the next."""
_WAIT = 2.0
"""Longest time in seconds that a node waits before it says that there is nothing to tell."""
_HEAD_SECONDS = 15.0
"""Seconds that the head may be away: after a minute Ray ends this process without a word."""
_CHECK_SECONDS = 90.0
"""Longest wait for the nodes to say what they have; the first task of a node starts a Python there."""
_PASSED_ON = ("EXPKIT_", "MLFLOW_")


class Nodes:
    """The nodes that jobs fit on, and the places there.

    Args:
        ray: the module, connected.
        needs: of a job, as Ray names them.
        threads: most `device.threads` of the jobs.
        settings: the node `sweep` of the config.
        runs_dir: where the folders of runs are, for all machines; absolute.
        console: where it tells of nodes that come.

    Attributes:
        heard: what the places tell: (actor, message).
    """

    def __init__(
        self,
        ray: Any,
        needs: Mapping[str, float],
        threads: int,
        settings: SweepSettings,
        runs_dir: Path,
        console: Console,
    ) -> None:
        self._ray, self._needs, self._threads, self._settings = ray, needs, threads, settings
        self._runs_dir, self._console = runs_dir, console
        self.heard: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._here = facts_of_machine()
        self._token, self._text = runs_dir / f".ray-{secrets.token_hex(4)}", secrets.token_hex(8)
        self._asked: dict[str, Any] = {}
        self._fit: dict[str, bool] = {}
        self._names: dict[str, str] = {}
        self._places: list[FarPlace] = []
        self._next_look = 0.0
        self._listens = False
        self._listener: threading.Thread | None = None
        self._told_of_waiting = False
        self._room = 0
        self._head = str(ray.get_runtime_context().gcs_address)
        self._gone_since: float | None = None

    def check(self, tracking: TrackingSettings) -> None:
        """Ask all nodes that have room for a job whether it can run there.

        Raises:
            ConfigError: no node has room, or one of them is not as this machine is.
        """
        there = nodes_of(self._ray)
        nodes = [node for node in there if fitting(node.resources, self._needs)]
        if not nodes:
            raise ConfigError(self._no_room(there))
        problems, others = [], []
        with self._shown_to_all():
            asked = facts_of_nodes(self._ray, nodes, self._token, self._text)
            for node in nodes:
                facts = self._answer(asked[node.id], _CHECK_SECONDS)
                problems += [f"  {node.name}: {one}" for one in self._problems(facts)]
                if facts.get("machine") != self._here["machine"]:
                    others.append(node.name)
                self._fit[node.id], self._names[node.id] = True, node.name
        if problems:
            raise ConfigError(
                "the cluster's nodes need what this machine has: the same Python, expkit and plugins, and this "
                "runs_dir on a file system that all of them share.\n" + "\n".join(problems)
            )
        check_store(tracking, self._runs_dir, others)
        self._look()
        names = ", ".join(node.name for node in nodes[:8]) + (f" and {len(nodes) - 8} more" if len(nodes) > 8 else "")
        self._say(f"{'cluster':<11} {len(self._places)} jobs at a time on {names}")

    def places(self) -> list[FarPlace]:
        """Return the places of the nodes that live, and those whose job has not ended yet.

        Raises:
            DeviceLostError: the head of the cluster is gone, and with it all jobs.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK
            if self._has_head():
                self._look()
        return self._places

    def listen(self) -> None:
        """Begin to hear of the places."""
        self._listens = True
        self._listener = threading.Thread(target=self._listen, name="expkit-ray", daemon=True)
        self._listener.start()

    def close(self) -> None:
        """End all places."""
        self._listens = False
        if self._listener is not None:  # a call after Ray was left would make it connect anew
            self._listener.join()
        for place in self._places:
            place.close()

    def _has_head(self) -> bool:
        """Whether the head answers; a call of Ray's would wait for it.

        Raises:
            DeviceLostError: it has not for long.
        """
        if answers(self._head):
            self._gone_since = None
            return True
        self._gone_since = self._gone_since or time.monotonic()
        if time.monotonic() - self._gone_since > _HEAD_SECONDS:
            self._listens = False
            for place in self._places:
                place.process = None  # nobody is there who could end it; it ends with the cluster
            raise DeviceLostError(
                f"the head of the Ray cluster at {self._head} does not answer any more, and the jobs end with it. "
                "Start a cluster again, then go on with the sweep."
            )
        return False

    def _look(self) -> None:
        """Take in nodes that came, once they are known to be fit, and leave out those that went."""
        nodes = [node for node in nodes_of(self._ray) if fitting(node.resources, self._needs)]
        new = [node for node in nodes if node.id not in self._fit and node.id not in self._asked]
        if new:
            with contextlib.suppress(OSError):
                self._token.write_text(self._text, encoding="utf-8")
            self._asked.update(facts_of_nodes(self._ray, new, self._token, self._text))
        for node in nodes:
            if node.id in self._asked and self._ray.wait([self._asked[node.id]], timeout=0)[0]:
                self._take_in(node)
        alive = {node.id for node in nodes if self._fit.get(node.id)}
        wanted = [(node, number) for node in nodes if node.id in alive for number in range(self._count(node))]
        wanted = wanted[: self._settings.jobs]
        self._tell_of_those_gone(alive, len(wanted))
        there = {(place.node, place.slot.name): place for place in self._places}
        kept = [place for place in self._places if place.running is not None or place.node in alive]
        for node, number in wanted:
            name = self._names[node.id] + (f" ({number + 1})" if self._count(node) > 1 else "")
            if (node.id, name) not in there:
                kept.append(self._make(node, name))
        for place in self._places:
            if place not in kept:
                place.close()
        self._places = kept
        self._tell_of_waiting()

    def _count(self, node: Node) -> int:
        return fitting(node.resources, self._needs)

    def _take_in(self, node: Node) -> None:
        problems = self._problems(self._answer(self._asked.pop(node.id), 0))
        self._fit[node.id], self._names[node.id] = not problems, node.name
        if problems:
            self._say(f"{node.name} came to the cluster and gets no jobs: {'; '.join(problems)}")
        else:
            self._say(f"{node.name} came to the cluster")
        if not self._asked:
            self._token.unlink(missing_ok=True)

    def _make(self, node: Node, name: str) -> FarPlace:
        slot = Slot(name, "gpu" if self._needs.get("GPU") else "cpu", None, self._threads)
        return FarPlace(slot, node.id, self._open_seat, lambda who, message: self.heard.put((who, message)))

    def _open_seat(self, place: FarPlace) -> Any:
        needs = dict(self._needs)
        actor = self._ray.remote(Seat).options(
            num_cpus=needs.pop("CPU", 0),
            num_gpus=needs.pop("GPU", 0),
            resources=needs,
            scheduling_strategy=pinned(place.node),
            max_restarts=0,
            max_task_retries=0,  # who tries a job again is the sweep, by sweep.retries
            max_concurrency=4,
        )
        limits = {"timeout": self._settings.timeout, "grace": self._settings.grace}
        passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        return actor.remote(place.slot.name, self._threads, limits, passed, os.getcwd())  # noqa: PTH109

    def _listen(self) -> None:
        """Hear all actors, each by one call at a time that waits for what there is to tell."""
        calls: dict[Any, tuple[FarPlace, Any]] = {}
        while self._listens:
            listening = [actor for _, actor in calls.values()]
            for place in list(self._places):
                actor = place.process  # read once: the main thread may let go of it
                if actor is not None and not any(actor is one for one in listening):
                    calls[actor.tell.remote(place.known, _WAIT)] = (place, actor)
            if not calls:
                time.sleep(0.05)
                continue
            for call in self._ray.wait(list(calls), timeout=0.1)[0]:
                self._hear(*calls.pop(call), call)

    def _hear(self, place: FarPlace, actor: Any, call: Any) -> None:
        errors = self._ray.exceptions
        try:
            messages = self._ray.get(call)
        except errors.ActorUnavailableError:  # the network; it answers again, or is given up by Ray
            time.sleep(0.2)
            return
        except errors.RayError as error:
            if place.process is actor:
                self._next_look = 0.0  # before the job is given to anybody else
                self.heard.put((actor, self._how_it_died(place, error)))
            return
        if place.process is actor:
            place.known += len(messages)
        for message in messages:
            self.heard.put((actor, message))

    def _how_it_died(self, place: FarPlace, error: Exception) -> dict[str, Any]:
        name = self._names[place.node]
        if place.node not in {node.id for node in nodes_of(self._ray)}:
            return {"gone": f"the node {name} died", "node": True}
        return {"gone": f"its process on {name} died: {' '.join(str(error).split())[-300:]}"}

    def _problems(self, facts: Mapping[str, Any]) -> list[str]:
        found = differences(self._here, facts, self._runs_dir)
        if not found and self._needs.get("GPU") and not facts["gpu"]:
            found.append("its Paddle is the CPU build, and num_gpus asks for GPUs")
        return found

    def _answer(self, asked: Any, seconds: float) -> dict[str, Any]:
        try:
            return dict(self._ray.get(asked, timeout=seconds))
        except self._ray.exceptions.GetTimeoutError:
            return {"missing": f"no answer within {seconds:g} s"}
        except self._ray.exceptions.RayError as error:
            return {"missing": " ".join(str(error).split())[:300]}

    @contextlib.contextmanager
    def _shown_to_all(self) -> Iterator[None]:
        made = [one for one in (self._runs_dir, *self._runs_dir.parents) if not one.exists()]
        try:
            self._runs_dir.mkdir(parents=True, exist_ok=True)
            self._token.write_text(self._text, encoding="utf-8")
        except OSError as error:
            why = why_unwritable(self._token, error)
            raise ConfigError(f"runs_dir={self._runs_dir} cannot be written: {why}.") from error
        try:
            yield
        finally:
            self._token.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                for folder in made:
                    folder.rmdir()

    def _no_room(self, there: list[Node]) -> str:
        needs = ", ".join(f"{amount:g} {name}" for name, amount in self._needs.items())
        have = "; ".join(
            f"{node.name} has " + ", ".join(f"{node.resources.get(name, 0):g} {name}" for name in self._needs)
            for node in there
        )
        return (
            f"no node of the cluster has room for a job, which needs {needs}: {have or 'there are no nodes'}. Ask for "
            "less with hydra.launcher.num_cpus and num_gpus, device.threads or trainer.devices, or add a node."
        )

    def _tell_of_those_gone(self, alive: set[str], left: int) -> None:
        """Name the nodes that are gone, and what was on them."""
        for node in [one for one, fit in self._fit.items() if fit and one not in alive]:
            del self._fit[node]
            there = [place for place in self._places if place.node == node]
            on_it = [one.running.job.number if one.running else one.lost for one in there]
            on_it = [number for number in on_it if number is not None]
            jobs = f", with job{'s' * (len(on_it) > 1)} {', '.join(map(str, on_it))}" if on_it else ""
            room = f": room for {left} at a time from now on, {self._room} before" if left != self._room else ""
            self._say(f"the node {self._names[node]} is gone{jobs}{room}")
        self._room = left

    def _tell_of_waiting(self) -> None:
        if not self._places and self._names and not self._told_of_waiting:
            self._say("no node of the cluster has room for a job: waiting for one. Ctrl-C ends the sweep.")
        self._told_of_waiting = not self._places

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)
