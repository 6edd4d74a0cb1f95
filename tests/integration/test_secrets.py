"""Secrets in every place where a user may put one, and then every byte that a run leaves behind."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import QUICK, CommandLine

SHORT = (*QUICK, "plots=none", "export=none", "model=mlp", "model.hidden=[8]")
IN_ENVIRONMENT = {
    "MLFLOW_TRACKING_TOKEN": "tok-aaa111",
    "AWS_SECRET_ACCESS_KEY": "aws/bbb+222=",
    "DB_PASSWORD": "p@ss ccc'333",
}
TYPED = ("typed-ddd444", "typed-eee555", "typed-fff666", "typed-ggg777", "typed-hhh888", "typed-iii999", "typed-jjj000")
SECRETS = (*IN_ENVIRONMENT.values(), *TYPED, "p%40ss%20ccc%27333", "code-kkk111")

LEAKY = """
import logging, sys
from expkit.api import Callback

PASSWORD = "code-kkk111"

class Leaky(Callback):
    role = "essential"

    def __init__(self, password: str = "", url: str = "", options: dict | None = None, at: int = 5) -> None:
        self.password, self.url, self.at = password, url, at

    def on_step_end(self, event) -> None:
        logging.getLogger("expkit").warning("logging in with %s at %s", self.password, self.url)
        if event.step == self.at:
            print("printed", self.password, flush=True)
            raise RuntimeError(f"{self.url} refused {self.password}")
"""


@pytest.fixture
def line(expkit: CommandLine) -> CommandLine:
    """A folder in a git checkout with code that is not committed and does all that it should not."""
    folder = expkit.folder
    (folder / "conf/callbacks").mkdir(parents=True)
    (folder / "conf/callbacks/leaky.yaml").write_text(
        "# @package callbacks.leaky\n_target_: leaky.Leaky\npassword: ''\n"
    )
    (folder / "old.py").write_text("x = 1\n")
    (folder / ".gitignore").write_text("runs\ncache\n")
    git = ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@host"]
    for command in (["init", "-q"], ["add", "old.py", ".gitignore"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    (folder / "old.py").write_text(f"x = 1\n# {IN_ENVIRONMENT['MLFLOW_TRACKING_TOKEN']}\nsecret = 'typed-iii999'\n")
    (folder / "leaky.py").write_text(LEAKY)
    expkit.environment.update(IN_ENVIRONMENT)
    return expkit


def in_all_places(at: int) -> tuple[str, ...]:
    return (
        "callbacks=[leaky]",
        "callbacks.leaky.password=typed-ddd444",
        "+callbacks.leaky.url='https://me:typed-eee555@host/data?page=1&token=typed-fff666'",
        "+callbacks.leaky.options={api_key:typed-ggg777,store:'${oc.env:DB_PASSWORD}',hidden_size:5}",
        f"+callbacks.leaky.at={at}",
        "+tracking.tags.api_key=typed-hhh888",
        "+tracking.tags.note='by tok-aaa111, aws/bbb+222= and ${oc.env:DB_PASSWORD}'",
        "+tracking.tags.password=typed-iii999",
        "+tracking.tags.where='http://me:typed-jjj000@host'",
        "tracking.run_name='with tok-aaa111'",
    )


def leaks(folder: Path, *shown: str) -> list[str]:
    """Return where secrets are found, in any file or in what was printed."""
    texts = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    texts |= {f"shown {number}": text.encode() for number, text in enumerate(shown)}
    assert texts
    forms = {secret: (secret.encode(), json.dumps(secret)[1:-1].encode()) for secret in SECRETS}
    return [
        f"{secret} in {name}"
        for secret, wanted in forms.items()
        for name, text in texts.items()
        if any(one in text for one in wanted)
    ]


@pytest.mark.slow
def test_no_secret_is_left_behind_by_a_run_that_fails_and_goes_on(line: CommandLine) -> None:
    failed = line(*SHORT, "checkpoint.every_steps=2", *in_all_places(5), code=1)
    assert "refused ***" in failed.stderr
    (run,) = line.runs()
    again = line("resume", "last", code=2)
    assert "callbacks.leaky.password" in again.stderr
    assert "secrets are not recorded" in again.stderr
    done = line(
        *("resume", "last", "callbacks.leaky.password=typed-ddd444", "callbacks.leaky.options.api_key=typed-ggg777"),
        *("callbacks.leaky.url='https://me:typed-eee555@host/data?page=1&token=typed-fff666'",),
        code=1,
    )
    record = json.loads((run / "run.json").read_text())
    assert len(record["resumed"]) == 1
    shown = (failed.stdout, failed.stderr, again.stdout, again.stderr, done.stdout, done.stderr)
    assert leaks(line.folder / "runs", *shown) == []
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["callbacks"]["leaky"]["options"] == {
        "api_key": "***",
        "store": "${oc.env:DB_PASSWORD}",
        "hidden_size": 5,
    }
    assert (run / "untracked/leaky.py").is_file()
    assert "+secret = '***'" in (run / "git.diff").read_text()
    (stored,) = line.mlflow_runs()
    assert stored.data.params["callbacks.leaky.password"] == "***"
    assert stored.data.tags["api_key"] == stored.data.tags["password"] == "***"
    assert stored.data.tags["note"] == "by ***, *** and ***"
    assert stored.data.tags["where"] == "http://me:***@host"
    assert "'+callbacks.leaky.options={api_key:***" in stored.data.tags["command"]


@pytest.mark.slow  # four runs in processes of their own
def test_a_sweep_keeps_secrets_for_its_jobs_and_from_its_files(line: CommandLine) -> None:
    sweep = line("-m", *SHORT, *in_all_places(99), "seed=0,1", "sweep.jobs=2")
    assert len(line.runs()) == 2
    assert leaks(line.folder / "runs", sweep.stdout, sweep.stderr) == []
    refused = line("resume-sweep", "last", "seed=0,1,2", code=2)
    assert "secrets are not recorded" in refused.stderr
    given = [
        one
        for one in in_all_places(99)
        if one.startswith(("callbacks.leaky.p", "+callbacks.leaky.u", "+callbacks.leaky.o"))
    ]
    longer = line("resume-sweep", "last", "seed=0,1,2", *given)
    assert len(line.runs()) == 3
    assert leaks(line.folder / "runs", refused.stderr, longer.stdout, longer.stderr) == []
