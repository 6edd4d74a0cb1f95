"""A process that knows nothing of the model's code, in which exports are loaded by their own runtimes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np

from expkit import standalone
from expkit.api import Array
from expkit.errors import ExportError

_LIMIT = 900.0
"""Seconds that an export may take to answer."""


@dataclass(frozen=True)
class Answer:
    """What a runtime answered in the fresh process.

    Attributes:
        outputs: [N, K]; None where it failed.
        milliseconds: that a call takes, by batch size.
        error: why it failed.
    """

    outputs: Array | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    error: str = ""


class FreshProcess:
    """Runs what stands beside each export as `predict.py`; starts at once, so that Paddle is imported meanwhile."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="expkit-export-"))
        script = self._folder / "predict.py"
        shutil.copyfile(standalone.__file__, script)
        self._errors = (self._folder / "errors.txt").open("w+", encoding="utf-8", errors="replace")
        # What expkit sets to be faster is not set where the export will be used.
        environment = {name: value for name, value in os.environ.items() if name != "MKL_DEBUG_CPU_TYPE"}
        self._process = subprocess.Popen(
            [sys.executable, str(script), "--check", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            cwd=self._folder,
            env={**environment, "CUDA_VISIBLE_DEVICES": "", "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,  # Ctrl-C is for us to hear, who then end it
        )

    def __enter__(self) -> FreshProcess:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.close()

    def run(self, folder: Path, runtimes: Sequence[str], inputs: Array) -> dict[str, Answer]:
        """Return what each runtime answers for an export.

        Args:
            folder: of the export.
            runtimes: to load it with.
            inputs: normalised [N, ...].

        Raises:
            ExportError: the process broke down.
        """
        try:
            np.save(self._folder / "inputs.npy", inputs)
        except OSError as error:
            raise ExportError(
                f"the samples to check exports with cannot be written to {self._folder}: {error.strerror or error}. "
                "Free some space there, or set TMPDIR to another folder."
            ) from error
        asked = {
            "folder": str(folder.resolve()),
            "runtimes": list(runtimes),
            "inputs": str(self._folder / "inputs.npy"),
            "into": str(self._folder),
        }
        told = json.loads(self._ask(json.dumps(asked)))
        return {name: self._answer(name, told[name]) for name in runtimes}

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, line: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ExportError("the process that checks exports cannot be reached.")
        with contextlib.suppress(BrokenPipeError):
            stdin.write(line + "\n")
            stdin.flush()
        limit = threading.Timer(_LIMIT, self._process.kill)
        limit.daemon = True
        limit.start()
        try:
            answer = stdout.readline()
        finally:
            limit.cancel()
        if not answer:
            raise ExportError(f"the process that checks exports ended ({self._process.wait()}): {self._last_words()}")
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else "it said nothing. Too little memory is the usual cause."

    def _answer(self, runtime: str, told: dict[str, object]) -> Answer:
        if "error" in told:
            return Answer(error=str(told["error"]))
        taken = told["milliseconds"]
        outputs: Array = np.load(self._folder / f"{runtime}.npy")
        return Answer(outputs, dict(taken) if isinstance(taken, dict) else {})
