"""Names that Matplotlib's own font cannot write. No font has to be installed for these tests."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest
from matplotlib import font_manager, get_data_path

from expkit import fonts
from expkit.figures import figure_of, save


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_told", set())
    fonts._font_for.cache_clear()


def test_a_font_that_is_missing_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        for name in ("a", "b"):
            save(figure_of(1, "实验-甲")[0], tmp_path / f"{name}.png")
    assert [one.getMessage().partition(":")[0] for one in caplog.records] == ["pictures show boxes for 实甲验"]
    assert "fonts-noto-cjk" in caplog.text


def test_an_installed_font_is_used_where_a_text_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mathematical = Path(get_data_path(), "fonts/ttf/STIXNonUni.ttf")  # stands for one of the system
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(tmp_path / "damaged.ttf"), str(mathematical)])
    (tmp_path / "damaged.ttf").write_bytes(b"none")
    figure, (axis,) = figure_of(1, "a private one: \ue000")
    axis.set_xlabel("plain")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(figure, tmp_path / "a.png")
    (title,) = figure.texts
    assert title.get_fontfamily() == ["sans-serif", "STIXNonUnicode"]
    assert axis.xaxis.label.get_fontfamily() == ["sans-serif"]
