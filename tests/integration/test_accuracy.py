"""What the default experiment reaches on the genuine data; the longest test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.conftest import CommandLine


@pytest.mark.slow
def test_genuine_mnist_reaches_98_8_percent_in_five_epochs(expkit: CommandLine):
    data = os.environ.get("EXPKIT_DATA_DIR")
    if not data or not (Path(data) / "mnist").is_dir():
        pytest.skip("EXPKIT_DATA_DIR names no folder with mnist/")
    expkit.environment["EXPKIT_DATA_DIR"] = data
    done = expkit("+experiment=mnist_cnn", seconds=900)
    assert "NOT mnist" not in done.stdout
    record = expkit.record()
    assert record["data"]["name"] == "mnist"
    assert record["metrics"]["test/accuracy"] >= 0.988
