"""A headless Chromium that a test can ask what its page shows, by the DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-proxy-server", "about:blank"),
)
# The browser reads its commands from 3 and answers on 4.
_LAUNCH = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])"""
_QUIET = "try { localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true') } catch {}"
"""MLflow opens a panel over a quarter of the page when it is seen for the first time."""


class Browser:
    """One page of a browser.

    Args:
        commands: where it reads.
        answers: where it writes.
    """

    def __init__(self, commands: int, answers: BinaryIO) -> None:
        self._commands, self._answers = commands, answers
        self._last = 0
        self._session: str | None = None
        (target,) = [one for one in self._do("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        attached = self._do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        self._do("Page.enable")
        size = {"width": 2400, "height": 2400, "deviceScaleFactor": 1, "mobile": False}
        self._do("Emulation.setDeviceMetricsOverride", **size)
        self._do("Page.addScriptToEvaluateOnNewDocument", source=_QUIET)

    def open(self, address: str) -> None:
        """Go to a page, afresh even where only the part behind # is another."""
        self._do("Page.navigate", url="about:blank")
        self._do("Page.navigate", url=address)

    def ask(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        return self._do("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def text(self) -> str:
        """Return all that can be read on the page."""
        return str(self.ask("document.body.innerText"))

    def wait_for(self, script: str, seconds: float = 60) -> Any:
        """Return the value of an expression as soon as it is true of the page."""
        deadline = time.monotonic() + seconds
        while not (value := self.ask(script)):
            assert time.monotonic() < deadline, f"never true: {script}\n{self.text()}"
            time.sleep(0.2)
        return value

    def picture(self, file: Path) -> None:
        """Write what the page looks like."""
        file.write_bytes(base64.b64decode(self._do("Page.captureScreenshot")["data"]))

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        """Be a window of this size, or a phone, which is touched."""
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self._do("Emulation.setDeviceMetricsOverride", **size)
        self._do("Emulation.setTouchEmulationEnabled", enabled=phone)

    def prefer(self, scheme: str) -> None:
        """Prefer "dark" or "light" pages."""
        self._do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def drag(self, points: Sequence[tuple[float, float]]) -> None:
        """Press the left button at the first point, move through the others, and let go at the last."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            self._do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def swipe(self, points: Sequence[tuple[float, float]]) -> None:
        """Do the same with a finger."""
        kinds = ["touchStart", *["touchMove"] * (len(points) - 1)]
        for kind, (x, y) in zip(kinds, points, strict=True):
            self._do("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self._do("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def choose(self, selector: str, *files: Path) -> None:
        """Choose files in an input of the page."""
        root = self._do("DOM.getDocument")["root"]["nodeId"]
        node = self._do("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._do("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        command = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _read(self) -> bytes:
        parts = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser has ended"
            parts += byte
        return bytes(parts)


def find() -> str:
    """Return the path of a browser; skips the test where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)} is installed")
    return found


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile; it ends with the context."""
    program = find()
    read_commands, commands = os.pipe()
    answers, write_answers = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _LAUNCH, str(read_commands), str(write_answers)),
            *(program, *FLAGS, f"--user-data-dir={folder}"),
        ],
        pass_fds=(read_commands, write_answers),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(read_commands)
    os.close(write_answers)
    try:
        with os.fdopen(answers, "rb") as heard:
            yield Browser(commands, heard)
    finally:
        os.close(commands)  # it ends when nobody commands it
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
