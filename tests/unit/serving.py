"""A server in a thread of the test, with a model that is made by hand, and what asks it."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from expkit.predict import Predictor
from expkit.preprocess import Classes, ImageInput, TableInput, Values
from expkit.serving.about import about
from expkit.serving.app import make_app
from expkit.serving.limits import Hosts, Limits
from expkit.serving.server import listen, make_server
from expkit.serving.worker import Worker

GREY = ImageInput(28, 28, 1, (0.0,), (1.0,), "auto")
COLOUR = ImageInput(8, 6, 3, (0.0,) * 3, (1.0,) * 3)
FACTS = {
    "name": "tiny",
    "run": "20260101-120000-ab12cd",
    "data": {"name": "digits", "source": {"stand_in_for": "mnist"}},
}


def halves(inputs: np.ndarray) -> np.ndarray:
    """Scores for "left" and "right": where the light is."""
    left, right = np.split(inputs.mean(axis=(1, 2)), 2, axis=1)
    return 10 * np.stack([left.mean(axis=1), right.mean(axis=1)], axis=1)


def images(reader: ImageInput = GREY, outputs: Callable[..., Any] = halves) -> Predictor:
    """A model of images with two classes."""
    return Predictor(reader, Classes(("left", "right")), outputs, FACTS)


def table() -> Predictor:
    """A model of rows a, b: 100 + 2 a + 3 b, in millimetres."""
    outputs = lambda rows: rows @ np.array([[2.0], [3.0]])  # noqa: E731
    reader = TableInput(("a", "b"), (0.0, 0.0), (1.0, 1.0), "float64")
    made = Predictor(reader, Values(("height",), (100.0,), (1.0,), "mm"), outputs, {"name": "heights"})
    made.examples = np.array([[1.0, 2.0], [3.0, 6.0]])
    return made


def png(side: str = "left", size: tuple[int, int] = (28, 28), form: str = "PNG") -> bytes:
    """A picture with light on one side, on black."""
    pixels = np.zeros(size, dtype=np.uint8)
    rows, columns = (slice(n // 4, n // 2) for n in size)
    pixels[rows, columns] = 255
    if side == "right":
        pixels = pixels[:, ::-1]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


class Client:
    """Asks a server as a program would.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, dict(headers or {}), **options)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def predict(
        self, body: Any, kind: str = "image/png", path: str = "/api/predict", **headers: str
    ) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        status, _, content = self("POST", path, body, {"Content-Type": kind, **headers})
        return status, json.loads(content)

    def json(self, value: Any) -> tuple[int, Any]:
        return self.predict(value if isinstance(value, (str, bytes)) else json.dumps(value), "application/json")

    def files(self, *files: tuple[str, bytes]) -> tuple[int, Any]:
        parts = b"".join(
            f'--xx\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'.encode() + content + b"\r\n"
            for name, content in files
        )
        return self.predict(parts + b"--xx--\r\n", "multipart/form-data; boundary=xx")


@contextmanager
def served(model: Predictor, **limits: Any) -> Iterator[Client]:
    """Run a server, and end it."""
    chosen = Limits(**limits)
    worker = Worker(chosen.waiting)
    listening = listen("127.0.0.1", 0)
    app = make_app(model, about(model, "tiny", chosen), worker, Hosts("127.0.0.1", ["proxy.example"]), chosen)
    server = make_server(app, chosen)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield Client(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        worker.close()
        listening.close()
