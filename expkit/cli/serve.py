"""`python -m expkit serve MODEL`: a page on which a trained model can be tried, and a JSON API, on this machine."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
import socket
from typing import Any

from rich.console import Console
from rich.markup import escape

from expkit.cli.answering import EPILOG, add_model, predictor_of
from expkit.cli.local_page import LOCAL, choose_port, open_browser, port_number, stop_on_sigterm
from expkit.errors import ConfigError
from expkit.predict import Predictor
from expkit.serving.about import about, warm_up
from expkit.serving.limits import EVERYWHERE, Hosts, Limits
from expkit.serving.worker import Worker

DEFAULT_PORT = 8000
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SMALLEST = 64 * 1024
_EXAMPLES = """\
examples:
  python -m expkit serve last
  python -m expkit serve models:/digits@champion --port 9000
"""


def main(arguments: list[str]) -> int:
    """Serve a model until Ctrl-C.

    Args:
        arguments: behind the verb.

    Returns:
        Exit code: 0 after Ctrl-C.

    Raises:
        ConfigError: the port is taken, or the address is not one of this machine.
        RunNotFoundError: there is no such run or model.
        ExportError: it has no whole exported model.
    """
    chosen = _parser().parse_args(arguments)
    limits = Limits(bytes=chosen.max_bytes, items=chosen.max_items, seconds=chosen.timeout, waiting=chosen.queue)
    console = Console(highlight=False, soft_wrap=True)
    port = choose_port(chosen.host, chosen.port, DEFAULT_PORT, console)
    worker = Worker(limits.waiting)
    try:
        model, description = worker.submit(lambda: _load(chosen, limits)).result()
        _serve(model, description, worker, limits, port, chosen, console)
    finally:
        worker.close()
    return 0


def _load(chosen: argparse.Namespace, limits: Limits) -> tuple[Predictor, dict[str, Any]]:
    model = predictor_of(chosen)
    warm_up(model)
    return model, about(model, chosen.model, limits)


def _serve(
    model: Predictor,
    description: dict[str, Any],
    worker: Worker,
    limits: Limits,
    port: int,
    chosen: argparse.Namespace,
    console: Console,
) -> None:
    from expkit.serving.app import make_app
    from expkit.serving.server import listen, make_server

    app = make_app(model, description, worker, Hosts(chosen.host, chosen.allow_host), limits)
    address = _address(chosen.host, port)
    with contextlib.suppress(KeyboardInterrupt), stop_on_sigterm():
        try:
            listening = listen(chosen.host, port)
        except OSError as error:
            raise ConfigError(f"port {port} on {chosen.host} cannot be had: {error.strerror}.") from error
        with listening:
            _announce(description, address, chosen.host, console)
            if not chosen.no_browser:
                open_browser(address)
            make_server(app, limits).run(sockets=[listening])
    console.print("The page is closed; the model stays where it is.")


def _announce(description: dict[str, Any], address: str, host: str, console: Console) -> None:
    if host not in LOCAL:
        console.print(
            f"[bold yellow]Anyone who reaches {host} can ask this model: there is no password, and nothing is "
            "encrypted.[/]"
        )
    data = description["data"]
    if data["stand_in_for"]:
        console.print(f"[yellow]This model was trained on {escape(data['name'])}.[/yellow]")
    console.print(f"Model {escape(description['name'])}: [bold]{address}/[/] (Ctrl-C ends it)")
    if host in EVERYWHERE:
        console.print(f"From other machines: http://{_outward()}:{address.rpartition(':')[2]}/")
    console.print(f"For programs: POST {address}/api/predict; GET {address}/api/model says what it takes")


def _outward() -> str:
    """The address that this machine shows to others; its name where it has none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation, which is nobody's
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _address(host: str, port: int) -> str:
    if host in EVERYWHERE:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m expkit serve",
        description="Serve a trained model on this machine: a page on which to draw a digit or drop files and see the "
        "answers, and a JSON API on the same port.",
        epilog=f"{EPILOG}\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model(parser)
    parser.add_argument("--port", type=port_number, help=f"default: {DEFAULT_PORT}, or the next one that is free")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="answer to this name, too, such as a proxy's"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    limits = parser.add_argument_group("limits of one request")
    limits.add_argument("--max-bytes", type=_size, default="16M", help="of its body (default: %(default)s)")
    limits.add_argument("--max-items", type=_count, default=1000, metavar="N", help="images or rows (default: 1000)")
    limits.add_argument("--timeout", type=_seconds, default=30.0, metavar="SECONDS", help="default: 30")
    limits.add_argument(
        "--queue", type=_count, default=16, metavar="N", help="requests that may wait for another (default: 16)"
    )
    return parser


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d{1,12})([kmg]?)(?:i?b)?", text.strip().lower())
    size = int(found[1]) * _UNITS[found[2]] if found else 0
    if not _SMALLEST <= size <= 1024**3:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size from 64K to 1G; write 16M or 16777216")
    return size


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000000")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 3600")
    return value
