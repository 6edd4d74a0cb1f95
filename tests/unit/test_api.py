"""What plugins may rely on changes only on purpose, and with a new version."""

from __future__ import annotations

import pytest

from expkit import api
from tests.unit import api_listing

THEN = "expkit.api 1.3\n\nclass Loss\n  def Loss.__call__(self, outputs, targets)\n"


def test_the_api_is_what_its_list_says() -> None:
    then = api_listing.recorded().read_text(encoding="utf-8")
    told = api_listing.advice(then, api_listing.listing())
    assert not told, told
    assert then.startswith(f"expkit.api {api.VERSION}\n"), f"run `{api_listing.COMMAND}`: the version was raised"


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        (f"{THEN}def helper()\n", r"\+ def helper\(\)\n.*was added.*VERSION = \"1\.4\""),
        (THEN.replace("outputs, targets", "outputs"), r"- def Loss.*\n.*\+ def Loss.*\n.*breaks.*VERSION = \"2\.0\""),
        ("expkit.api 1.3\n", r"- class Loss\n.*breaks"),
    ],
)
def test_a_change_is_named_with_the_version_that_it_asks_for(now: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){wanted}"):
        raise ValueError(api_listing.advice(THEN, now))


def test_another_version_of_the_same_is_no_change() -> None:
    assert api_listing.advice(THEN, THEN.replace("1.3", "1.4")) == ""


def test_every_name_is_listed_once_and_exists() -> None:
    assert sorted(set(api.__all__)) == sorted(api.__all__)
    assert all(hasattr(api, name) for name in api.__all__)


def test_the_list_is_not_written_where_the_version_was_not_raised(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(api_listing, "FOLDER", tmp_path)
    assert api_listing.write() == 0
    api_listing.recorded().write_text(f"expkit.api {api.VERSION}\n\nclass Gone\n")
    assert api_listing.write() == 1
    assert "the version is still" in capsys.readouterr().err
    assert "Gone" in api_listing.recorded().read_text()
