"""What the verbs have in common that open a page of this machine: a free port, a browser, an end."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from expkit.errors import ConfigError

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Addresses that only this machine can reach."""
_PORTS_TRIED = 50


def port_number(text: str) -> int:
    """Return a port that a user typed.

    Raises:
        ArgumentTypeError: it is none.
    """
    value = int(text) if text.isdigit() else 0
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; use a number from 1 to 65535")
    return value


def choose_port(host: str, wanted: int | None, default: int, console: Console) -> int:
    """Return a port that is free: the wanted one, or the default one or one of those behind it.

    Args:
        host: address to listen on.
        wanted: by the user; None where any will do.
        default: to begin with.
        console: is told when it is another one.

    Raises:
        ConfigError: the port is taken, or the address is not one of this machine.
    """
    first = wanted or default
    if _is_free(host, first):
        return first
    free = next((p for p in range(first + 1, min(first + _PORTS_TRIED, 65536)) if _is_free(host, p)), None)
    if wanted is not None or free is None:
        hint = f" Try --port {free}." if free else " Name another with --port."
        raise ConfigError(f"port {first} on {host} is taken by another program.{hint}")
    console.print(f"Port {first} is taken; using {free}.")
    return free


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":  # as servers do: a port that was just closed counts as free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as error:
            raise ConfigError(f"--host {host}: {error.strerror}. Use 127.0.0.1.") from error
        except OverflowError:
            return False
        except OSError as error:
            if error.errno is not None and "assign" in os.strerror(error.errno).lower():
                raise ConfigError(f"--host {host} is not an address of this machine. Use 127.0.0.1.") from error
            return False
    return True


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that the server never outlives us."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def open_browser(page: str) -> None:
    """Open a page, if someone sits before a screen."""
    if _can_browse():
        webbrowser.open(page)


def _can_browse() -> bool:
    """Whether someone sits before a screen."""
    if not sys.stdout.isatty():
        return False
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
