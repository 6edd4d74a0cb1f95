"""The conformance kit notices each broken promise, says where and how, and has its list in the docs."""

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

import pytest

os.environ.setdefault("GLOG_minloglevel", "2")

from expkit.api import ConfigError
from expkit.errors import PluginError
from expkit.registry import KINDS, Entry, kind_named
from expkit.testing import (
    CHECKS,
    ConformanceError,
    check_dataset,
    check_options,
    conformance_cases,
    examine,
    examine_entry,
    example_specs,
    promises,
    trial_specs,
)
from tests.plugins import broken

pytestmark = pytest.mark.filterwarnings("ignore:No ccache found:UserWarning")

TABLE, CLASSES = trial_specs()[2], trial_specs()[5]
PAIR = {broken.Halved, broken.ClassMetric, broken.Sharing, broken.Halves, broken.Renames}  # these need classes


@pytest.mark.parametrize(
    ("kind", "promise", "component", "says"),
    broken.BROKEN,
    ids=[f"{kind}-{promise}-{component.__name__}" for kind, promise, component, _ in broken.BROKEN],
)
def test_a_broken_promise_is_named_with_what_was_found(kind, promise, component, says):
    others = {each.name: "this test is about another" for each in promises(kind) if each.name != promise}
    report = examine(kind, component, specs=[CLASSES if component in PAIR else TABLE], skip=others)
    found = {outcome.promise.name: str(outcome) for outcome in report.broken}
    assert promise in found, str(report)
    assert re.search(says, found[promise]), found[promise]
    assert re.search(r"broken\.py:\d+", report.where)
    assert f"  {promise}: " in str(report)


def test_each_promise_of_each_kind_has_a_component_that_breaks_it():
    general = {"loads"}  # see below
    common = {promise.name for promise in promises("schedule")} & {promise.name for promise in promises("model")}
    tried = {(kind, promise) for kind, promise, _, _ in broken.BROKEN}
    tried_anywhere = {promise for _, promise in tried}
    missing = [
        f"{kind.name}/{promise.name}"
        for kind in KINDS
        for promise in promises(kind.name)
        if promise.name not in general
        and (kind.name, promise.name) not in tried
        and not (promise.needs != "build" or promise.name in ("builds", "refuses"))
    ]
    assert missing == []
    assert {"described", "named", "typed", "documented", "schema", "builds", "refuses"} <= tried_anywhere & common


def entry(target):
    return Entry(kind_named("model"), "lost", target, "acme", "1.0")


def test_an_entry_point_that_leads_nowhere_is_one_broken_promise_and_the_rest_is_not_tried():
    report = examine_entry(entry("tests.plugins.broken:Lost"))
    assert [outcome.promise.name for outcome in report.broken] == ["loads"]
    assert "cannot" not in report.broken[0].problems[0].expected
    assert "has no attribute 'Lost'" in str(report)
    assert report.counted() == f"1 broken, {len(promises('model')) - 1} not tried"
    assert str(report).count("the promise 'loads' is broken") == 1
    assert report.title == "model 'lost' of acme 1.0, tests.plugins.broken:Lost"


def test_a_report_lists_all_broken_promises_and_a_check_raises_it():
    with pytest.raises(ConformanceError) as caught:
        CHECKS["metric"](broken.Zero, specs=[TABLE])
    report = caught.value.report
    assert {outcome.promise.name for outcome in report.broken} == {"empty", "reset", "separate"}
    assert str(caught.value) == str(report)


def test_what_breaks_by_one_cause_is_told_once():
    report = examine("model", broken.Trips)
    assert {"shape", "pure", "learns"} <= {outcome.promise.name for outcome in report.broken}
    text = str(report)
    assert text.count("ValueError: (InvalidArgument)") == 1, text
    assert re.search(r"the same breaks: .*pure.*learns", text)
    assert "likewise on example table, " in text
    assert "mend     refuse such data in the constructor, with a ConfigError" in text
    assert "[Hint:" not in text


def test_an_entry_point_that_leads_to_no_class_is_one_broken_promise():
    report = examine_entry(entry("tests.plugins.broken:BROKEN"))
    assert [outcome.promise.name for outcome in report.broken] == ["loads"]
    assert "expected a class or function" in str(report)


def test_a_module_that_leaves_python_when_it_is_imported_breaks_a_promise(tmp_path, monkeypatch):
    (tmp_path / "acme_leaving.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "SystemExit: 3" in str(examine_entry(entry("acme_leaving:Net")))


@pytest.mark.parametrize("target", ["tests.plugins.brokn:Model", "tests.plugins.broken:Modell"])
def test_a_typo_in_an_entry_point_is_told_with_what_was_meant(target):
    assert re.search(r"correct the entry point\. Did you mean '.*'", str(examine_entry(entry(target))))


def test_options_are_built_in_and_shown():
    from acme_style import Sized

    report = examine("schedule", Sized, size=3)
    assert report.broken == ()
    assert report.title.startswith("schedule 'Sized' (size=3), ")


@pytest.fixture(autouse=True)
def acme_style(tmp_path, monkeypatch):
    """A module beside the user's own tests."""
    (tmp_path / "acme_style.py").write_text(
        '"""A plugin."""\n\n\ndef Sized(learning_rate, *, size: int = 1):\n    """Keep the rate.\n\n    Args:\n'
        '        size: of it.\n    """\n    return learning_rate\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("acme_style", None)


def test_a_promise_is_skipped_with_a_reason():
    report = CHECKS["metric"](
        broken.Zero, specs=[TABLE], skip=dict.fromkeys(("empty", "reset", "separate"), "0 is what its readers expect")
    )
    skipped = [outcome for outcome in report.outcomes if outcome.status == "skipped"]
    assert [(outcome.promise.name, outcome.reason) for outcome in skipped] == [
        (name, "0 is what its readers expect") for name in ("empty", "reset", "separate")
    ]


def test_a_component_can_say_itself_what_does_not_apply(monkeypatch):
    monkeypatch.setattr(broken.Centres, "exempt", {"alone": "it compares the samples of a batch"}, raising=False)
    assert CHECKS["model"](broken.Centres, specs=[TABLE], skip={"shape": "tried elsewhere"}).broken == ()


@pytest.mark.parametrize(
    ("skip", "message"),
    [
        ({"alne": "x"}, r"no promise of a model is called 'alne'\. Did you mean 'alone'\? Promises of a model: loads,"),
        ({"alone": " "}, "the promise 'alone' is skipped without a reason"),
    ],
)
def test_a_skip_has_to_name_a_promise_and_a_reason(skip, message):
    with pytest.raises(ConfigError, match=message):
        CHECKS["model"](broken.Model, skip=skip)


class TestCases:
    def test_a_case_is_one_promise_of_one_component(self):
        cases = conformance_cases("expkit", kinds=["regularizer"], options={"regularizer/l2": [{}, {"pattern": "*"}]})
        names = [str(case) for case in cases]
        assert "regularizer/none-usable" in names
        assert {"regularizer/l2-loads", "regularizer/l2(pattern=*)-loads"} <= set(names)
        assert len(set(names)) == len(names) == 6 * len(promises("regularizer"))
        next(case for case in cases if str(case) == "regularizer/l2(pattern=*)-usable").run()

    def test_what_does_not_apply_is_a_skipped_test(self):
        skip = {"schedule/constant": {"state": "it has none"}, "schedule/noam": "its author is away"}
        cases = conformance_cases("expkit", kinds=["schedules"], skip=skip)
        chosen = {str(case): case for case in cases}
        for name, reason in (
            ("schedule/constant-state", "skipped: it has none"),
            ("schedule/constant-metric", "not applicable: it follows no metric"),
            ("schedule/noam-sound", "skipped: its author is away"),
        ):
            with pytest.raises(unittest.SkipTest, match=reason):
                chosen[name].run()

    def test_a_component_that_needs_options_fails_until_it_has_some(self):
        cases = conformance_cases("expkit", kinds=["dataset"])
        case = next(case for case in cases if str(case) == "dataset/csv-gather")
        with pytest.raises(ConformanceError, match="not tried: gather\n    it needs a value for path, target"):
            case.run()

    def test_a_distribution_or_component_that_is_not_there_is_an_error(self):
        with pytest.raises(PluginError, match=r"no distribution 'expkitt' announces .* Did you mean 'expkit'"):
            conformance_cases("expkitt")
        with pytest.raises(ConfigError, match=r"skip: there is no component 'model/cn'\. Did you mean 'model/cnn'"):
            conformance_cases("expkit", kinds=["model"], skip={"model/cn": "x"})


def test_a_component_that_refuses_every_spec_does_not_conform():
    report = examine("model", broken.Fails, specs=[TABLE, CLASSES])
    assert "ZeroDivisionError" in str(report)

    def picky(spec):
        """Refuse all."""
        raise ConfigError(f"{spec.name} is not for me")

    with pytest.raises(ConformanceError, match=r"at least one of the specs\n.*example table: example table is not for"):
        CHECKS["loss"](picky, specs=[TABLE])


def test_the_global_generators_are_left_as_they_were():
    from expkit.seeding import random_state

    before = random_state()
    examine("model", broken.Draws, specs=[TABLE])
    assert random_state() == before


def test_data_can_be_given_in_place_of_the_function():
    report = check_dataset(broken.data())
    assert {outcome.status for outcome in report.outcomes} == {"kept", "not applicable"}
    with pytest.raises(ConformanceError, match="dataset 'table', a Data that was given: "):
        check_dataset(broken.data(fingerprint="abc"))


def test_options_can_be_checked_without_building():
    check_options("model", broken.Fails)
    with pytest.raises(ConformanceError, match="option   size"):
        check_options("schedule", broken.undocumented)


def test_kit_shows_no_noise_of_paddles_import():
    code = "from expkit.testing import check_schedule\ndef keep(): 'Keep the rate.'; return 0.1\ncheck_schedule(keep)"
    done = subprocess.run([sys.executable, "-W", "default::UserWarning", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_example_specs_are_the_first_of_those_that_are_tried():
    assert trial_specs()[:3] == example_specs()
    assert len({spec.name for spec in trial_specs()}) == len(trial_specs())


def test_docs_list_every_promise():
    text = (Path(__file__).parents[2] / "docs/conformance.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.M)
    general = {"loads", "described", "named", "typed", "documented", "schema", "builds", "refuses"}
    wanted = [(p.name, p.text) for p in promises("model") if p.name in general]
    wanted += [(p.name, p.text) for kind in KINDS for p in promises(kind.name) if p.name not in general]
    assert rows == wanted
