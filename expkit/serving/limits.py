"""What a request may cost, and whose requests are answered at all."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from expkit.preprocess import MAX_PIXELS

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]?#\\,]+)(?::\d{1,5})?", re.IGNORECASE)
EVERYWHERE = ("0.0.0.0", "::")
"""Addresses to listen on that stand for all of this machine."""


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        bytes: of its body.
        items: images or rows, each of which gets an answer.
        pixels: of one image.
        seconds: until its body has come, and again until it is answered.
        waiting: requests that may wait for the one that is being answered; more are sent away.
        connections: that are open at the same time.
        head_seconds: until a connection has sent the head of a request.
    """

    bytes: int = 16 * 1024 * 1024
    items: int = 1000
    pixels: int = MAX_PIXELS
    seconds: float = 30.0
    waiting: int = 16
    connections: int = 100
    head_seconds: float = 10.0


class Hosts:
    """The names under which the server may be asked.

    A page of somebody else can let its own name point to this machine (DNS rebinding); its requests then carry that
    name. An address cannot be made to point elsewhere, so that all addresses will do where all are listened on.

    Args:
        listening: the address that is listened on.
        further: names that are as good, such as that of a proxy.
    """

    def __init__(self, listening: str, further: Iterable[str] = ()) -> None:
        self._any_address = listening in EVERYWHERE
        own = [socket.gethostname()] if self._any_address else [listening]
        self._names = {name.lower().strip("[]").rstrip(".") for name in ("localhost", *own, *further)}

    def allow(self, header: str) -> bool:
        """Whether a request with this `Host` is for us."""
        found = _HOST.fullmatch(header)
        if found is None:
            return False
        name = found[1].lower().strip("[]").rstrip(".")
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address or address.is_loopback


def refusal(method: str, headers: Mapping[str, str], hosts: Hosts, limits: Limits) -> tuple[int, str] | None:
    """Return the status and the reason for which a request is not even read; None for one that is.

    Args:
        method: of the request.
        headers: their names in lower case.
        hosts: the names that are ours.
        limits: what a request may cost.
    """
    host = headers.get("host", "")
    if not hosts.allow(host):
        return 421, (
            f"this server is not called {host[:100]!r}. Ask it by 127.0.0.1 or localhost; a further name is allowed "
            "with --allow-host NAME."
        )
    if method not in ("GET", "HEAD") and not _same_origin(headers, host):
        return 403, "this request comes from the page of another site, which may not ask this server."
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 18:
        return 400, "Content-Length is no number of bytes."
    if int(length) > limits.bytes:
        return 413, too_large(limits, int(length))
    return None


def too_large(limits: Limits, size: int | None = None) -> str:
    """Say that a body is too large."""
    found = f"{size:,} bytes are" if size else "the body's bytes are"
    may = f"a request may have {limits.bytes:,}"
    return f"{found} too many; {may}. Send less at a time, or start the server with --max-bytes."


def _same_origin(headers: Mapping[str, str], host: str) -> bool:
    """Browsers send where a request comes from; programs send nothing."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
