"""A process of its own for MLflow: 200 MB, seconds of import and its work stay out of the training's process."""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from expkit.errors import TrackingError
from expkit.line_process import LineProcess
from expkit.processes import killed_by
from expkit.tracking.carrier import Carrier
from expkit.tracking.sender import NOT_WAITED_FOR
from expkit.tracking.sent import Sent
from expkit.tracking.store import StoreSettings, logger
from expkit.tracking.waiting import Opening

_LOOK = 0.1
"""Seconds between two looks whether a signal has come."""
_SILENT = 60.0
"""Seconds without a sign of life, after which the process is taken to be frozen."""
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv.pop(1).split('\\n'); from expkit.tracking.courier_process import main; main()"
)
"""Imports from where this process does, whatever program that is; its path is handed over."""


class Courier(LineProcess):
    """Starts the process at once, so that it imports MLflow while this one imports Paddle; ends it with its context.

    It dies with this process, in whatever way that ends. What it logs and prints is logged and printed here.

    Args:
        uri: of the store, as far as it is known.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, uri: str | None) -> None:
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._asked = 0
        self._closing = False
        self._heard, self._end = 0, ""
        remote = uri is not None and uri.startswith(("http://", "https://"))
        program = ["-c", _PROGRAM, "\n".join(_path()), *(["--server"] if remote else [])]
        # A BLAS would set memory aside for each core.
        super().__init__(program, {"OPENBLAS_NUM_THREADS": "1"})

    def __enter__(self) -> Courier:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, whatever it does."""
        self._closing = True
        if self._asked == 0:  # it may still import
            self.kill()
        self.close()

    def ask(self, what: str, wait: Callable[[], bool] = lambda: True, **facts: Any) -> dict[str, Any] | None:
        """Have the process do something, and wait for its answer; None where the process is dead.

        Args:
            what: a method of `Carrier`.
            wait: asked often; False ends the process.
            facts: its arguments.
        """
        self._asked += 1
        if not self.send({"number": self._asked, "do": what, "with": facts}):
            return None
        while (answer := self._next(wait)) is not None:
            if answer["number"] == self._asked:  # else an answer to a question that a signal broke off
                return answer
        self._answers.put(None)  # for whoever asks next
        return None

    def _next(self, wait: Callable[[], bool]) -> dict[str, Any] | None:
        heard, looks = self._heard, 0
        while True:
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=_LOOK)  # which lets Ctrl-C through, wherever the system brings it
            # Counted and not timed: while this process is stopped itself, it hears nothing.
            heard, looks = self._heard, looks + 1 if self._heard == heard else 0
            if looks * _LOOK > _SILENT:
                self._end = f"no sign of life for {_SILENT:.0f} s"
                self.kill()
            if not self._closing and not wait():
                self._closing = True
                self.kill()

    @property
    def is_given_up(self) -> bool:
        """Whether the process was ended since somebody did not want to wait for it."""
        return self._closing

    def _hear(self, message: dict[str, Any] | None) -> None:
        self._heard += 1
        if message is None or "number" in message:
            self._answers.put(message)
        elif "log" in message:
            name, level, text = message["log"]
            logging.getLogger(name).log(level, "%s", text)
        elif "print" in message:
            with contextlib.suppress(Exception):  # a full disk, nobody who reads, or no stderr at all
                sys.stderr.write(message["print"])
        if message is None and not self._closing:
            logger.warning(
                "The process that sends to the tracking store has ended (%s). The run goes on without it; what it "
                "records is in its folder, and is sent from here in the end.",
                self._ending(),
            )

    def _ending(self) -> str:
        """Say how the process ended: "killed by SIGKILL"."""
        code = self._popen.wait()
        return self._end or (killed_by(-code) if code < 0 else f"exit code {code}")


class RemoteCarrier(Carrier):
    """Has a courier do what a `Carrier` does here; where that has died, it is done here.

    Args:
        courier: that is running.
        folder: of the run.
        settings: of the store.
    """

    def __init__(self, courier: Courier, folder: Path, settings: StoreSettings) -> None:
        super().__init__(folder, settings)
        self._courier, self._is_connected = courier, False
        self._here: Carrier | None = None

    @property
    def sent(self) -> Sent:
        """How far it came."""
        if not self._delivery.sent.run_id:  # the store may have come back since
            self._delivery.sent = Sent.read(self.folder, self._delivery.sent.store)
        return self._delivery.sent

    @property
    def is_connected(self) -> bool:
        """Whether the store was opened."""
        return self._is_connected

    def connect(self) -> None:
        """Open the store there."""
        self._do("connect")
        self._is_connected = True

    def find_run(self) -> None:
        """As of `Carrier`, there."""
        self._do("find_run")

    def begin(self) -> None:
        """As of `Carrier`, there."""
        self._do("begin")

    def give_up(self, identity: str, status: str) -> None:
        """As of `Carrier`, there."""
        self._do("give_up", identity=identity, status=status)

    def start(self) -> None:
        """As of `Carrier`, there."""
        self._do("start")

    def close(self, wait: Callable[[], bool] = lambda: True) -> bool:
        """As of `Carrier`, there."""
        answer = None if self._here is not None else self._courier.ask("close", wait)
        if answer is not None:
            self._take(answer)
            return bool(answer["value"])
        if self._courier.is_given_up:
            self._delivery.sent = Sent.read(self.folder, self._delivery.sent.store)
            self.last_error = NOT_WAITED_FOR
            return not self._delivery.is_behind()
        if self._here is None:  # it died in the meantime
            self._from_here().start()
        here = self._from_here()
        whole = here.close(wait)
        self.last_error = here.last_error
        return whole

    def _do(self, what: str, **facts: Any) -> None:
        """Have it done.

        Raises:
            TrackingError: as it was raised there.
            OSError: likewise.
        """
        answer = None
        if self._here is None:
            paths = {"runs_dir": str(self.settings.runs_dir), "artifact_root": str(self.settings.artifact_root)}
            whose = {"folder": str(self.folder), "settings": {**asdict(self.settings), **paths}}
            answer = self._courier.ask(what, Opening(self.uri), **(whose if what == "connect" else facts))
        if answer is None:
            getattr(self._from_here(), what)(**facts)
            return
        self._take(answer)
        error = answer.get("error")
        if error is not None:
            raise TrackingError(error) if isinstance(error, str) else OSError(*error)

    def _from_here(self) -> Carrier:
        if self._here is None:
            self._here = Carrier(self.folder, self.settings)
            self._delivery = self._here._delivery
        return self._here

    def _take(self, answer: dict[str, Any]) -> None:
        self._delivery.sent = Sent(**answer["sent"])
        self._delivery.told, self.last_error = answer["told"], answer["last_error"]


def _path() -> list[str]:
    """Return where to import from; last from the current folder, which may hold anything, such as a `queue.py`."""
    here, known = ("", str(Path.cwd())), [one for one in sys.path if isinstance(one, str)]  # others Python leaves out
    return [one for one in known if one not in here] + [one for one in known if one in here]


@contextlib.contextmanager
def courier_for(uri: str | None, *, wanted: bool) -> Iterator[Courier | None]:
    """Start a courier, but where MLflow is in this process already, as in one that a sweep has forked: None.

    Args:
        uri: of the store; None for the one in the runs folder.
        wanted: False gives None.
    """
    if not wanted or "mlflow" in sys.modules:
        yield None
        return
    try:
        started = Courier(uri)
    except OSError as error:  # no memory, too many processes, or a Python within another program
        logger.warning("MLflow is imported here, since no process of its own can be started (%s).", error)
        yield None
        return
    with started as courier:
        yield courier
