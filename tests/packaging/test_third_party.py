"""A stranger's distribution: its components are chosen by name, exactly as the built-in ones are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.packaging.conftest import Installation


def test_list_shows_a_component_with_its_distribution(acme: Installation) -> None:
    models = acme.table("models")
    assert models["tiny of acme-expkit"]["origin"] == "acme-expkit 1.2.0"
    assert models["tiny of acme-expkit"]["summary"] == "One hidden layer of tanh units on flattened inputs."
    assert models["cnn of expkit"]["broken"] is None
    assert re.search(r"tiny +One hidden layer .* acme-expkit 1\.2\.0", acme.expkit("list", "models").stdout)


def test_list_shows_every_kind_that_acme_brings(acme: Installation) -> None:
    rows = json.loads(acme.expkit("list", "--json").stdout)
    assert {f"{row['group']}={row['name']}" for row in rows if row["origin"].startswith("acme")} == {
        "dataset=waves",
        "model=tiny",
        "model=tiny_wide",
        "loss=log_cosh",
        "optimizer=lion",
        "regularizer=l1_heads",
        "metrics=within",
        "+experiment=acme_waves",
    }


def test_show_explains_options_from_the_signature(acme: Installation) -> None:
    shown = acme.expkit("show", "model/tiny").stdout
    assert re.search(r"hidden +int +32 +units of the hidden layer\.", shown)
    assert re.search(r"dropout +float +0\.0 +share of them", shown)
    assert "acme-expkit 1.2.0" in shown
    assert "acme_expkit/tiny.py:8" in re.sub(r"\s", "", shown)
    assert "spec " not in shown


def test_a_preset_is_listed_and_shown_with_its_distribution(acme: Installation) -> None:
    row = acme.table("models")["tiny_wide of acme-expkit"]
    assert row["origin"] == "acme-expkit 1.2.0"
    assert row["summary"].startswith("Tiny with a wide hidden layer")
    found = json.loads(acme.expkit("show", "model/tiny_wide", "--json").stdout)
    assert (found["preset_of"], found["sets"]) == (["tiny"], {"model.hidden": 128})
    assert acme.table("experiments")["acme_waves of acme-expkit"]["origin"] == "acme-expkit 1.2.0"


def test_options_and_preset_of_a_third_party_compose(acme: Installation) -> None:
    overrides = (
        "+experiment=acme_waves",
        "model=tiny_wide",
        "model.dropout=0.25",
        "regularizer.pattern=body.*",
    )
    config = yaml.safe_load(acme.expkit("--cfg", "job", *overrides).stdout)
    assert config["model"] == {"_target_": "acme_expkit.tiny.Tiny", "hidden": 128, "dropout": 0.25}
    assert config["regularizer"]["pattern"] == "body.*"
    assert config["optimizer"]["_target_"] == "acme_expkit.lion.lion"
    assert config["metrics"] == {"within": {"_target_": "acme_expkit.within.Within", "tolerance": 5.0}}


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("model=tinny", r"no model is called 'tinny'\. Did you mean 'tiny'"),
        ("model.hiden=3", r"model 'tiny' has no option 'hiden'\. Did you mean 'model\.hidden'"),
        ("model.hidden=many", r"model\.hidden=many .*int"),
        ("model.hidden=0", r"model\.hidden=0: must be at least 1"),
        ("regularizer.pattern=tail.*", r"pattern='tail\.\*' fits no parameter\. The model has body\.weight"),
    ],
)
def test_a_mistake_is_explained_as_for_a_built_in_component(acme: Installation, mistake: str, message: str) -> None:
    done = acme.expkit("+experiment=acme_waves", mistake, code=2)
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert not (acme.folder / "runs").exists()


@pytest.mark.slow
def test_a_third_partys_components_train_and_answer_in_their_own_unit(acme: Installation) -> None:
    acme.expkit("+experiment=acme_waves", "tracking=none", "plots=none")
    record = json.loads((acme.last_run() / "run.json").read_text())
    assert record["metrics"]["test/within"] > 0.9
    (acme.folder / "rows.csv").write_text("c,a,b\n0,0,0\n0,1.5708,0\n")
    (answer,) = acme.expkit("predict", "last", "rows.csv", "--json").stdout.splitlines()
    heights = [row["values"]["height"] for row in json.loads(answer)["answers"]]
    # 100 + 20 sin(a) + 10 sin(b) + 5 sin(c)
    assert heights == pytest.approx([100, 120], abs=5)


def test_a_third_partys_own_tests_with_the_conformance_kit_pass(acme: Installation, acme_project: Path) -> None:
    done = acme.run("-m", "pytest", "-p", "no:cacheprovider", str(acme_project / "tests"))
    assert re.search(r"[1-9]\d+ passed", done.stdout)  # a test for each promise of each component
