"""The HTTP server: uvicorn, with an end to what a slow client may take."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from expkit.serving.limits import Limits

_STOP_SECONDS = 3


def make_server(app: ASGIApp, limits: Limits) -> uvicorn.Server:
    """Return a server that `run(sockets=[...])` runs until it is told to stop.

    Args:
        app: answers.
        limits: of connections and time.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a bad request is the client's news, not the user's
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=type("Protocol", (PatientProtocol,), {"head_seconds": limits.head_seconds}),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.connections,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, for `make_server(...).run`.

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once only for a socket that is said to be TCP's; others wait 40 ms for the client.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(128)
    except OSError:
        made.close()
        raise
    return made


class PatientProtocol(H11Protocol):
    """uvicorn waits for the head of a request as long as a client likes; this one does not.

    Attributes:
        head_seconds: until a head has come.
    """

    head_seconds = 10.0
    _until: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Wait no longer, if that was the rest of a head."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._until is None:
            self._until = self.loop.call_later(self.head_seconds, self.transport.close)

    def _forget(self) -> None:
        if self._until is not None:
            self._until.cancel()
            self._until = None
