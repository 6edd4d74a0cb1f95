"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from expkit.api import DataSpec
from expkit.export.fresh import FreshProcess
from expkit.paddle_import import import_paddle
from expkit.testing import example_specs
from tests.forked import forking


def pytest_configure(config: pytest.Config) -> None:
    """Import Paddle once and here, where the noise of it is hushed: with warnings as errors, a test must not be first.

    The process that only hands tests to others does without.
    """
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        import_paddle()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's cache of downloaded data out of every test, and every test out of it."""
    folder = tmp_path_factory.getbasetemp() / "cache-of-no-test"
    monkeypatch.setenv("EXPKIT_CACHE_DIR", str(folder))
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_fresh_process() -> Iterator[None]:
    """Let one other process check the exports of all tests of this one: each takes two seconds to start."""
    started: list[FreshProcess] = []

    def fresh() -> FreshProcess:
        if not started or started[-1]._process.poll() is not None:
            process = FreshProcess()
            process.close = lambda: None  # type: ignore[method-assign]
            started.append(process)
        return started[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("expkit.export.writing.FreshProcess", fresh)
        yield
    for process in started:
        FreshProcess.close(process)


@pytest.fixture(scope="session", autouse=True)
def commands_are_forked() -> Iterator[None]:
    """Let `Command` fork."""
    with forking():
        yield


@pytest.fixture
def tiny_spec() -> DataSpec:
    """Grey 28 x 28 images of ten digits."""
    return example_specs()[0]


@pytest.fixture
def colour_spec() -> DataSpec:
    """Colour 32 x 32 images of five classes."""
    return example_specs()[1]


@pytest.fixture
def table_spec() -> DataSpec:
    """Thirteen columns and one value."""
    return example_specs()[2]


@pytest.fixture
def genuine_data() -> Path:
    """Folder with the genuine data sets, for tests that are about them."""
    folder = os.environ.get("EXPKIT_DATA_DIR", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("EXPKIT_DATA_DIR names no folder with genuine data")
    return Path(folder)
