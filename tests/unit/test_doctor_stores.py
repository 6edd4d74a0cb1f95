"""What the doctor says of data, plugins and stores, and how it writes what it found."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from doctoring import FakeChild, data_child, paddle_child, scene, told
from fake_plugins import install

from expkit import own_code, registry
from expkit.cli import main
from expkit.doctor import children, data_sets, plugins, probe, stores, writing
from expkit.doctor.children import Answer, Child, Step
from expkit.doctor.examination import Examination
from expkit.findings import Finding, Section
from expkit.tracking import health
from expkit.tracking.left_behind import Marker


@pytest.fixture(autouse=True)
def nothing_stays_installed():
    """Forget the distributions of a test when its path is what it was."""
    yield
    registry.clear_cache()


# Data.

SET = {"name": "mnist", "kind": "env", "location": "/data/mnist", "stand_in": False, "note": "", "sizes": [6, 2, 1]}
MISSING = {**SET, "name": "digits (stand-in for mnist)", "stand_in": True, "downloads": True, "stands_in": True}


def test_data_sets_are_here_or_damaged_or_replaced(tmp_path) -> None:
    child = data_child(
        mnist=Answer(value=SET),
        own=Answer(value={**MISSING, "note": "EXPKIT_DATA_DIR=/x has no folder 'own'; download is switched off"}),
        offline=Answer(value={**MISSING, "note": "no file", "downloads": False, "stands_in": False}),
        torn=Answer(error="DataError: dataset 'torn': x.gz ends after 3 bytes. Delete it."),
        csv=Answer(value=None),
        late=Answer(error="was not looked at", started=False),
    )
    lines = told(data_sets.data_sets(scene(tmp_path, children={"data": child})))
    assert lines["mnist"] == ("ok", "/data/mnist (EXPKIT_DATA_DIR); 6 train, 2 valid, 1 test", "")
    level, text, advice = lines["own"]
    assert level == "warning" and text.startswith(
        "not here: EXPKIT_DATA_DIR=/x has no folder 'own'. A run downloads it"
    )
    assert text.endswith("or, offline, trains on digits (stand-in for mnist)")
    assert "export EXPKIT_DATA_DIR=FOLDER" in advice
    assert lines["offline"][1] == "not here: no file. A run is refused"
    assert lines["torn"][:2] == ("FAIL", "x.gz ends after 3 bytes. Delete it.")
    assert lines["late"][0] == "warning"
    assert "csv" not in lines


def test_a_folder_of_data_that_is_none_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EXPKIT_DATA_DIR", str(tmp_path / "gone"))
    assert told(data_sets.folder(scene(tmp_path)))["data folder"][:2] == (
        "warning",
        f"EXPKIT_DATA_DIR={tmp_path}/gone is no folder",
    )
    (tmp_path / "gone/mnist").mkdir(parents=True)
    assert told(data_sets.folder(scene(tmp_path)))["data folder"][1].endswith("gone, with mnist")


SETS = """
from expkit.api import ConfigError

class Part:
    def __init__(self, count): self.count = count
    def __len__(self): return self.count

class Data:
    class spec:
        name = "here"
        class source: kind, location, stand_in_for, note = "cache", "/c", "", ""
    train, valid, test = Part(3), Part(2), Part(1)

def here(*, on_missing: str = "stand-in", download: bool = True):
    assert not download and on_missing == "stand-in", "must look without the network"
    return Data

def needy(path, *, on_missing="stand-in", download=True): raise AssertionError
def other(*, limit=3): raise AssertionError
"""


def test_only_sets_whose_files_may_be_missing_are_read_and_nothing_is_downloaded(tmp_path, monkeypatch) -> None:
    install(tmp_path, monkeypatch, entry_points={}, files={"set_parts.py": SETS})
    found = probe.data_set("dataset", "here", "set_parts", "here")
    assert found is not None and found["sizes"] == [3, 2, 1] and found["downloads"]
    assert probe.data_set("dataset", "needy", "set_parts", "needy") is None
    assert probe.data_set("dataset", "other", "set_parts", "other") is None
    assert probe.data_set("dataset", "gone", "no_such_module", "x") is None  # the check of plugins tells


# Plugins.


def component(kind: str, name: str, target: str, **how) -> tuple[Step, Answer]:
    module, _, attribute = target.partition(":")
    values = {"kind": kind, "name": name, "module": module, "attribute": attribute}
    return Step("component", values), Answer(**how)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    good = "class Cube: 'A cube.'\nclass Ball: 'A ball.'\nclass Slow: 'A snail.'\n"
    points = {
        "cube": "solid_parts:Cube",
        "ball": "solid_parts:Ball",
        "slow": "solid_parts:Slow",
        "torn": "torn_parts:x",
        "gone": "no_such_module:x",
    }
    files = {"solid_parts.py": good, "torn_parts.py": "def x(:\n"}
    install(tmp_path / "one", monkeypatch, entry_points={"models": points}, files=files)
    install(tmp_path / "two", monkeypatch, entry_points={"models": {"cube": "solid_parts:Ball"}}, name="rival")
    return tmp_path


def test_what_is_broken_of_a_plugin_is_told_with_its_owner(parts) -> None:
    child = FakeChild(
        *paddle_child()._answers,
        component("model", "cube", "solid_parts:Cube", seconds=0.25),
        component("model", "ball", "solid_parts:Ball", error="RuntimeError: no key"),
        component("model", "slow", "solid_parts:Slow", seconds=9.0),
    )
    found = plugins.plugins(scene(parts, children={"paddle": child}))
    lines = told(found)
    summary = next(one.text for one in found if one.text.startswith("fake-plugins 1.2: "))
    assert summary == "fake-plugins 1.2: 5 models; imported in 9.2 s; 3 broken"
    assert lines["model/ball"][:2] == ("FAIL", "cannot be imported: RuntimeError: no key")
    assert "python -m expkit plugins fake-plugins" in lines["model/ball"][2]
    assert lines["model/slow"][:2] == ("warning", "takes 9 s to import, in every run")
    assert "syntax error in" in lines["model/torn"][1]
    assert "there is no module 'no_such_module'" in lines["model/gone"][1]
    (clash,) = [one for one in found if "is announced by" in one.text]
    assert clash.level == "FAIL" and "'cube' is announced by " in clash.text and "rival 1.2" in clash.text


def test_a_file_of_the_users_own_that_cannot_be_read_is_a_failure(tmp_path, monkeypatch) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "losses.py").write_text("def broken(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(own_code.VARIABLE, ".")
    found = plugins.plugins(scene(tmp_path, children={"paddle": paddle_child()}))
    (broken,) = [one for one in found if "losses.py" in one.text]
    assert broken.level == "FAIL" and "./plugins/losses.py (not packaged): it cannot be read: line 1" in broken.text


def test_the_same_trouble_of_many_components_is_one_line(parts) -> None:
    names = ("cube", "ball", "slow")
    answers = [component("model", one, f"solid_parts:{one.title()}", error="ImportError: libx") for one in names]
    child = FakeChild(*paddle_child()._answers, *answers)
    texts = [one.text for one in plugins.plugins(scene(parts, children={"paddle": child}))]
    assert sum("ImportError: libx" in text for text in texts) == 1


def test_without_paddle_components_are_judged_by_their_source(parts) -> None:
    child = FakeChild((Step("paddle"), Answer(error="ImportError: libcudnn")))
    found = plugins.plugins(scene(parts, children={"paddle": child}))
    assert any(one.text.endswith("not imported, since Paddle cannot be; 2 broken") for one in found)
    assert "model/torn" in told(found) and "model/ball" not in told(found)


# Stores.


def database(file: Path, *statements: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(file) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return file


def mlflow_tables(file: Path, revision: str) -> Path:
    return database(
        file,
        "CREATE TABLE alembic_version (version_num TEXT)",
        f"INSERT INTO alembic_version VALUES ('{revision}')",
        "CREATE TABLE experiments (lifecycle_stage TEXT, artifact_location TEXT)",
        "CREATE TABLE runs (lifecycle_stage TEXT)",
        "INSERT INTO experiments VALUES ('active', ''), ('deleted', '')",
        "INSERT INTO runs VALUES ('active'), ('active'), ('deleted')",
    )


def half_made(file: Path, revision: str = "") -> Path:
    """What a process leaves that is killed while it makes the tables."""
    noted = ("CREATE TABLE alembic_version (version_num TEXT)", f"INSERT INTO alembic_version VALUES ('{revision}')")
    tables = ("CREATE TABLE experiments (lifecycle_stage TEXT)", "CREATE TABLE runs (lifecycle_stage TEXT)")
    return database(file, *tables, *(noted if revision else ()))


def line_of(where) -> tuple[str, str, str]:
    return told(stores.stores(where))["store"]


def test_the_installed_mlflow_has_one_newest_revision() -> None:
    known, newest = health.schema_revisions()
    assert newest in known and len(known) > 20


def test_a_store_is_counted_and_nothing_is_made(tmp_path) -> None:
    where = scene(tmp_path)
    assert line_of(where) == ("ok", f"{tmp_path}/runs/mlflow.db: not there yet, made by the first run", "")
    assert not (tmp_path / "runs").exists()
    mlflow_tables(tmp_path / "runs/mlflow.db", health.schema_revisions()[1])
    assert line_of(where) == ("ok", f"{tmp_path}/runs/mlflow.db, 1 experiment, 2 runs", "")


@pytest.mark.parametrize(
    ("make", "text", "advice"),
    [
        (lambda file: file.write_bytes(b"no database at all, but text" * 99), "not a database", "Move it away"),
        (lambda file: database(file, "CREATE TABLE mine (x)"), "is a database, but none of MLflow's", "--uri URI"),
        (lambda file: mlflow_tables(file, "90e64c465722"), "of an older MLflow", "mlflow db upgrade sqlite:///"),
        (lambda file: half_made(file), "half made, or of an older MLflow (schema none)", "sync all --runs-dir"),
        (
            lambda file: half_made(file, "90e64c465722"),
            "(schema 90e64c465722), and no run is in it",
            "Move it away (mv",
        ),
        (lambda file: mlflow_tables(file, "ffffffffffff"), "of a newer MLflow", "pip install -U"),
        (lambda file: file.mkdir(), "is a folder", "Move it away"),
    ],
    ids=["text", "foreign", "old", "begun", "half", "new", "folder"],
)
def test_a_store_that_cannot_be_used_fails(tmp_path, make, text, advice) -> None:
    (tmp_path / "runs").mkdir()
    make(tmp_path / "runs/mlflow.db")
    level, found, help_ = line_of(scene(tmp_path))
    assert level == "FAIL" and text in found and advice in help_


def test_an_empty_file_is_no_store_yet(tmp_path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/mlflow.db").write_bytes(b"")
    assert line_of(scene(tmp_path))[0] == "ok"


def test_a_store_whose_user_was_killed_while_it_wrote_is_well(tmp_path) -> None:
    made = mlflow_tables(tmp_path / "made.db", health.schema_revisions()[1])
    with contextlib.closing(sqlite3.connect(made)) as killed:
        killed.execute("PRAGMA cache_size = 1")
        killed.executemany("INSERT INTO runs VALUES (?)", [["x" * 9999]] * 99)  # too much to keep in memory
        (tmp_path / "runs").mkdir()
        for end in ("", "-journal"):
            shutil.copyfile(f"{made}{end}", tmp_path / f"runs/mlflow.db{end}")
    level, found, _ = line_of(scene(tmp_path))
    assert (level, found) == ("ok", f"{tmp_path}/runs/mlflow.db, 1 experiment, 2 runs")


class Server(BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, bytes]] = {}  # noqa: RUF012 - of the one test that runs
    asked: list[str | None] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.headers["Authorization"])
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        code, body = self.answers.get(self.path, (404, b""))
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *values: object) -> None: ...


SEARCH = "/api/2.0/mlflow/experiments/search"


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Server.answers, Server.asked = {}, []
    made = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()
    thread.join()


def test_a_server_that_answers_is_asked_as_its_user(tmp_path, server) -> None:
    Server.answers = {SEARCH: (200, b'{"experiments": [{}, {}]}'), "/version": (200, b"3.17.2")}
    line = line_of(scene(tmp_path, uri=f"http://anna:hunter22@{server}/"))
    assert line == ("ok", f"http://anna:***@{server}/ (--tracking-uri), MLflow 3.17.2, 2 experiments", "")
    assert Server.asked == ["Basic YW5uYTpodW50ZXIyMg=="]


@pytest.mark.parametrize(
    ("answer", "text", "advice"),
    [
        ((401, b""), "it answers 401", "MLFLOW_TRACKING_USERNAME"),
        ((404, b""), "it answers 404", "missing"),
        ((500, b""), "it answers 500", "log of that server"),
        ((200, b"<html>hello</html>"), "no MLflow server", "right"),
    ],
)
def test_a_server_that_refuses_fails(tmp_path, server, answer, text, advice) -> None:
    Server.answers = {SEARCH: answer}
    level, found, help_ = line_of(scene(tmp_path, uri=f"http://{server}"))
    assert level == "FAIL" and text in found and advice in help_


def test_a_server_that_is_gone_or_silent_does_not_hold_up(tmp_path) -> None:
    level, text, _ = line_of(scene(tmp_path, uri="http://127.0.0.1:1"))
    assert level == "FAIL" and text.endswith("Connection refused")
    over = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 s"):
        health._within(0.01, lambda: over.wait() and health.Health(""))
    over.set()


def test_a_store_that_no_run_uses_by_itself_is_a_warning_only(tmp_path) -> None:
    environment = {"PATH": "", "MLFLOW_TRACKING_URI": "./mlruns"}
    found = stores.stores(scene(tmp_path, environment=environment))
    assert [one.level for one in found] == ["ok", "warning"]
    assert "MLFLOW_TRACKING_URI; a run goes there with tracking.uri=" in found[1].text
    assert "is not a tracking store" in found[1].text and found[1].advice.startswith("Allowed: sqlite:///file.db")


def test_runs_that_were_not_sent_are_told_with_the_command(tmp_path) -> None:
    assert told(stores.unsent(scene(tmp_path)))["unsent"] == ("ok", "nothing", "")
    for name in ("a", "b"):
        run = tmp_path / "runs/mnist" / name
        run.mkdir(parents=True)
        (run / "tracking.jsonl").write_text("")
        Marker(tmp_path / "runs", run)
    level, text, advice = told(stores.unsent(scene(tmp_path)))["unsent"]
    assert level == "warning" and text.startswith("2 runs are not wholly in their store: ")
    assert advice == f"python -m expkit sync all --runs-dir {tmp_path}/runs"


# Writing.


def example(home: Path) -> Examination:
    findings = [
        Finding("ok", "cache", f"{home}/.cache; {home}-other"),
        Finding("FAIL", "store", "http://me:hunter22@host `x`", "do `this`"),
        Finding("warning", "names", "paddle.py", "Rename it"),
    ]
    return Examination([Section("Things", findings=findings)], 1.5)


def test_markdown_can_be_pasted_without_secrets_and_home(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    text = writing.as_markdown(example(Path("/home/anna")))
    assert text.startswith("**expkit doctor**: 1 ok, 1 warning, 1 failure\n")
    assert "- **FAIL** store: `http://me:***@host 'x'`\n  -> `do 'this'`\n" in text
    assert "cache       ~/.cache; /home/anna-other\n" in text
    assert "/home/anna/" not in text and "hunter22" not in text


def test_json_is_one_object_without_secrets() -> None:
    text = writing.as_json(example(Path("/home/anna")))
    found = json.loads(text)
    assert found["failed"] is True and found["counts"] == {"ok": 1, "warning": 1, "FAIL": 1}
    assert found["sections"][0]["findings"][0]["text"].startswith("/home/anna/.cache")
    assert "hunter22" not in text


@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_the_exit_code_says_whether_something_cannot_work(monkeypatch, capsys, form) -> None:
    from expkit.cli import doctor

    sections = [Section("Things", findings=[Finding("warning", "x", "doubtful", "do this")])]
    monkeypatch.setattr(doctor, "examine", lambda scene: Examination(sections, 1.0))
    assert main(["doctor", *form]) == 0
    assert "doubtful" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "examine", lambda scene: example(Path("/home/anna")))
    assert main(["doctor", *form]) == 1
    captured = capsys.readouterr()
    assert "http://me:***@host" in captured.out and captured.err == ""


def test_it_is_printed_even_where_what_prints_is_not_installed(monkeypatch, capsys) -> None:
    import sys

    from expkit.cli import doctor

    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delitem(sys.modules, "expkit.cli.finding_view", raising=False)
    monkeypatch.setattr(doctor, "examine", lambda scene: example(Path("/home/anna")))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "  FAIL    store       http://me:***@host" in out and "-> do `this`" in out
    assert out.endswith("1 ok, 1 warning, 1 failure\n")


# Child processes.


@pytest.mark.slow
def test_a_module_that_kills_its_process_is_named_and_the_rest_is_not_lost(tmp_path, monkeypatch) -> None:
    files = {
        "deadly_parts.py": "import os, sys\nprint('last words', file=sys.stderr)\nos.abort()\n",
        "rude_parts.py": "import sys\nprint('noise')\nsys.exit('bye')\n",
        "fine_parts.py": "x = 1\n",
    }
    install(tmp_path, monkeypatch, entry_points={}, files=files)
    steps = [
        Step("component", {"kind": "model", "name": name, "module": f"{name}_parts", "attribute": "x"})
        for name in ("fine", "rude", "deadly", "fine")
    ]
    child = Child(steps)
    fine, rude, deadly, rest = (answer for _, answer in child.answers("component"))
    child.close()
    assert fine.error == "" and rude.error == "SystemExit: bye"
    assert deadly.error.startswith("the process was killed by SIGABRT") and deadly.started
    assert not rest.started


@pytest.mark.slow
def test_a_module_that_never_comes_back_is_given_up(tmp_path, monkeypatch) -> None:
    install(tmp_path, monkeypatch, entry_points={}, files={"endless_parts.py": "import time\ntime.sleep(600)\n"})
    values = {"kind": "model", "name": "x", "module": "endless_parts", "attribute": "x"}
    child = Child([Step("component", values)], seconds=3.0)
    assert child.answer("component").error == "took longer than 3 s"
    with pytest.raises(ProcessLookupError):
        os.killpg(child._popen.pid, 0)


def test_children_look_at_every_component(monkeypatch) -> None:
    made = []
    monkeypatch.setattr(children, "Child", lambda steps: made.append(steps))
    children.start_children()
    first, second = made
    assert first[0].name == "paddle" and {step.name for step in first[1:]} == {"component"}
    assert {step.values["name"] for step in second if step.name == "data_set"} >= {"mnist", "housing"}
