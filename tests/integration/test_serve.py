"""The verb `serve`: a real process with a model that was trained, and a page on which is drawn."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration import browser
from tests.integration.conftest import QUICK, CommandLine
from tests.integration.test_ui import free_port

pytestmark = pytest.mark.slow

SEVEN = [(60.0, 60.0), (140.0, 60.0), (220.0, 60.0), (190.0, 120.0), (160.0, 180.0), (130.0, 240.0)]
BARS = """[...document.querySelectorAll('.bar')].map((bar) => [bar.firstChild.textContent, bar.lastChild.textContent,
    bar.classList.contains('best'), parseFloat(bar.querySelector('.fill').style.width)])"""
CORNER = "(({ left, top }) => [left, top])(document.getElementById('canvas').getBoundingClientRect())"


@contextmanager
def serving(line: CommandLine, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running verb, and the address of its page."""
    process = line.start("serve", *arguments, "--no-browser", "--port", str(free_port()))
    assert process.stdout is not None
    try:
        told = ""
        while "http://" not in told:
            text = process.stdout.readline()
            assert text, process.communicate()[1]
            told += text
        yield process, re.findall(r"http://\S+", told)[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def probabilities(address: str, picture: bytes) -> dict[str, float]:
    """What the API says of a picture, in percent."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"{address}api/predict", picture, {"Content-Type": "image/png"})
    with opener.open(request, timeout=20) as answer:
        (item,) = json.load(answer)["items"]
    return {label: 100 * p for label, p in item["answers"][0]["probabilities"].items()}


def draw(page: browser.Browser, *, finger: bool = False) -> tuple[dict[str, float], bytes]:
    """Draw a seven, and return what the page then says of it, in percent, and what the network saw."""
    page.ask("document.getElementById('clear').click()")
    page.wait_for("!document.querySelector('.bar.best')")
    left, top = page.ask(CORNER)
    points = [(left + x, top + y) for x, y in SEVEN]
    page.swipe(points) if finger else page.drag(points)
    page.wait_for("!!document.querySelector('.bar.best')")
    before = None
    while (bars := page.ask(BARS)) != before:  # the last stroke's answer may still come
        before = bars
        time.sleep(0.5)
    assert [label for label, _, _, _ in bars] == list("0123456789")
    (best,) = [label for label, _, best, _ in bars if best]
    assert page.ask("document.getElementById('best').innerText").startswith(best)
    seen = page.ask("document.getElementById('seen').src")
    return {label: width for label, _, _, width in bars}, base64.b64decode(seen.partition(",")[2])


def test_a_digit_is_drawn_and_its_bars_are_those_of_the_api(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    line(*QUICK, "tracking=none", "plots=none")
    with serving(line, "last") as (process, address), browser.started(tmp_path / "profile") as page:
        page.resize(1100, 900)
        page.open(address)
        page.wait_for("document.querySelectorAll('.bar').length === 10")
        text = page.text()
        assert "mnist_cnn" in text
        assert "Not mnist: this model was trained on digits" in text
        shown, picture = draw(page)
        assert shown == pytest.approx(probabilities(address, picture), abs=0.01)

        (tmp_path / "seen.png").write_bytes(picture)
        (tmp_path / "text.png").write_text("no image")
        page.choose("#chooser", tmp_path / "seen.png", tmp_path / "text.png")
        page.wait_for("document.querySelectorAll('#table tbody tr').length === 2")
        assert "not a readable image" in page.text()

        page.resize(390, 844, phone=True)
        page.open(address)
        page.wait_for("document.querySelectorAll('.bar').length === 10")
        assert page.ask("document.documentElement.scrollWidth <= innerWidth"), "nothing is cut off on a phone"
        shown, picture = draw(page, finger=True)
        assert shown == pytest.approx(probabilities(address, picture), abs=0.01)

        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")
        assert "The page is closed" in out


def test_a_row_is_changed_and_its_value_follows(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    line("+experiment=housing_linear", "trainer.epochs=1", "dataset.download=false", "tracking=none")
    with serving(line, "last", "--checkpoint", "best") as (process, address), browser.started(tmp_path / "p") as page:
        page.open(address)
        before = page.wait_for("document.querySelector('#best strong')?.textContent")
        page.ask(
            "const field = document.querySelector('#columns input[name=bmi]'); field.value = 0.2;"
            "field.dispatchEvent(new Event('input'))"
        )
        page.wait_for(f"document.querySelector('#best strong').textContent !== {before!r}")
        page.ask("field.value = ''; field.dispatchEvent(new Event('input'))")
        assert page.wait_for("document.getElementById('message').textContent") == "No number in bmi."

        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")
        assert "The page is closed" in out
        page.ask("field.value = 0.1; field.dispatchEvent(new Event('input'))")
        page.wait_for("document.getElementById('message').textContent.includes('does not answer')")
