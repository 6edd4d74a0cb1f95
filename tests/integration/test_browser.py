"""What people see of real runs in MLflow's pages: a real server, and a real browser."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from expkit import experiment
from expkit.config import compose
from tests.integration import browser
from tests.integration.test_resume import console
from tests.integration.test_ui import LAUNCH, free_port

pytestmark = pytest.mark.slow

QUICK = (
    *("+experiment=mnist_cnn", "dataset.download=false", "dataset.limit=200", "trainer.epochs=3", "model=linear"),
    "export=none",
)
WHERE = "workflowType=machine_learning&viewStateShareKey=expkit"


class Shown:
    """Runs, and a browser that shows them."""

    def __init__(self, page: browser.Browser, address: str, results: dict[str, Any], ids: dict[str, str]) -> None:
        self.page, self.address, self.results, self.ids = page, address, results, ids

    def table(self, more: str = "") -> None:
        self.page.open(f"{self.address}/#/experiments/1/runs?{WHERE}{more}")

    def run(self, name: str, tab: str = "") -> None:
        self.page.open(f"{self.address}/#/experiments/1/runs/{self.ids[name]}{tab}?{WHERE}")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    browser.find()
    folder = tmp_path_factory.mktemp("browser")
    runs = folder / "runs"
    results, ids = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EXPKIT_DATA_DIR", raising=False)
        patch.chdir(folder)
        for optimizer in ("sgd", "adam"):
            options = [*QUICK, f"optimizer={optimizer}", f"runs_dir={runs}", f"tracking.run_name=by-{optimizer}"]
            result = experiment.run(compose(options), runs / "mnist_cnn" / optimizer, console())
            results[optimizer] = result.metrics
            record = (result.folder / "run.json").read_text()
            ids[optimizer] = re.findall(r'"mlflow_run_id": "(\w+)"', record)[0]
    command = [sys.executable, "-c", LAUNCH, "--runs-dir", str(runs), "--port", str(free_port()), "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        address = re.findall(r"(http://[\d.:]+)/", server.stdout.readline())[0]
        with browser.started(folder / "profile") as page:
            yield Shown(page, address, results, ids)
    finally:
        server.terminate()
        server.communicate(timeout=30)


def test_the_table_begins_with_names_and_results(shown: Shown) -> None:
    shown.table()
    shown.page.wait_for("document.body.innerText.includes('by-adam')")
    heads = shown.page.wait_for(
        "(h => h.length > 8 && h)([...document.querySelectorAll('.ag-header-cell')]"
        ".sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x).map(e => e.innerText.trim())"
        ".filter(text => text))"
    )
    assert heads[:3] == ["Run Name", "Created", "Duration"]
    results = ["test/accuracy", "valid/best_accuracy", "test/loss", "valid/best_loss"]
    assert heads[3:9] == [*results, "model", "optimizer"]
    text = shown.page.text()
    for optimizer in ("sgd", "adam"):
        assert f"by-{optimizer}" in text
        assert f"{shown.results[optimizer]['test/accuracy']:.4f}".rstrip("0") in text


def test_the_charts_have_bars_and_curves_of_all_runs(shown: Shown) -> None:
    shown.table("&compareRunsMode=CHART")
    shown.page.wait_for("document.querySelectorAll('.barlayer .point').length >= 4")  # two runs, test and validation
    # Two runs with training and validation in each of two charts; a curve of three epochs has three points.
    shown.page.wait_for("document.querySelectorAll('.scatterlayer .js-line').length >= 8")
    text = shown.page.text()
    assert [name for name in ("train/loss vs valid/loss", "train/accuracy vs valid/accuracy") if name not in text] == []
    assert "by-sgd" in text
    assert "by-adam" in text


def test_the_page_of_a_run_begins_with_what_it_came_to(shown: Shown) -> None:
    shown.run("adam")
    result = f"test accuracy {shown.results['adam']['test/accuracy']:.4g}"
    shown.page.wait_for(f"document.body.innerText.includes('{result}')")
    text = shown.page.text()
    assert f"mnist_cnn: linear + adam on digits (stand-in for mnist): {result}" in text
    assert "NOT MNIST." in text
    assert "python -m expkit reproduce" in text
    wide = "document.documentElement.scrollWidth <= window.innerWidth"
    assert shown.page.ask(wide), "a line of it pushes the rest of the page out"


def test_a_picture_opens_in_its_place(shown: Shown) -> None:
    shown.run("adam", "/artifacts/plots/curves.png")
    shown.page.wait_for("[...document.querySelectorAll('img')].some(image => image.naturalWidth > 300)")
    text = shown.page.text()
    assert [name for name in ("plots", "curves.png", "confusion.png", "run.log") if name not in text] == []
