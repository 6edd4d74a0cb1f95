from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from expkit.api import LearnerState
from expkit.checkpoint import CheckpointFolder, Snapshot, read_snapshot
from expkit.errors import CheckpointError

FILES = ("manifest.json", "model.safetensors", "optimizer.safetensors", "state.json")


def snapshot(step: int, epoch: int = 1, size: int = 4) -> Snapshot:
    learner = LearnerState(
        {"head.weight": np.full((size, size), step, np.float32)},
        {"head.weight/velocity_0": np.full((size, size), -step, np.float32)},
        {"schedule": {"last_epoch": step, "last_lr": 0.1}},
    )
    return Snapshot(learner, {"epoch": epoch, "step": step}, {"stop": {"wait": 2}}, {"python": [3, [1, 2], None]})


def weight(loaded: Snapshot) -> float:
    return float(loaded.learner.model["head.weight"][0, 0])


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "checkpoints")


def names(folder: CheckpointFolder) -> set[str]:
    return {child.name for child in folder.folder.iterdir()}


def test_arrays_of_all_kinds_come_back_bit_by_bit(folder):
    big = np.arange(24, dtype=np.float64).reshape(4, 6)
    arrays = {
        "scalar": np.array(3.25, np.float32),
        "counter": np.array(2**62 + 1, np.int64),
        "double": np.array([np.pi, -0.0, 1e-308, np.inf]),
        "half": np.array([1.5], np.float16),
        "flags": np.array([True, False]),
        "bytes": np.arange(5, dtype=np.uint8),
        "empty": np.zeros((0, 3), np.float32),
        "transposed": big.T,
        "every second": big[::2, ::-2],
        "fortran": np.asfortranarray(big),
        "nan": np.frombuffer(b"\x01\x00\xc0\x7f", np.float32),  # a NaN with a payload
    }
    folder.save(Snapshot(LearnerState(arrays, {}, {}), {"epoch": 1, "step": 1}), best=True)
    loaded = folder.load("last").learner
    assert set(loaded.model) == set(arrays)
    for name, array in arrays.items():
        back = loaded.model[name]
        assert (back.shape, back.dtype) == (array.shape, array.dtype), name
        assert back.tobytes() == np.ascontiguousarray(array).tobytes(), name
    assert loaded.optimizer == {}


def test_the_rest_comes_back_as_it_was(folder):
    given = snapshot(3)
    folder.save(given, best=False)
    loaded = folder.load("last")
    assert loaded.progress == given.progress
    assert loaded.callbacks == given.callbacks
    assert loaded.random == given.random
    assert loaded.learner.extra == given.learner.extra


def test_last_and_best_are_kept_and_the_others_go(folder):
    for step, best in ((1, True), (2, True), (3, False), (4, False)):
        path = folder.save(snapshot(step), best=best)
        assert path.name == f"epoch-0001-step-0000000{step}"
    assert names(folder) == {"epoch-0001-step-00000002", "epoch-0001-step-00000004", "index.json"}
    assert weight(folder.load("best")) == 2
    assert weight(folder.load("last")) == 4
    assert {path.name for path in folder.path("last").iterdir()} == set(FILES)


def test_saving_a_step_again_keeps_the_first_until_the_second_is_whole(folder, monkeypatch):
    folder.save(snapshot(1), best=True)
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(CheckpointError):
        folder.save(snapshot(1), best=False)
    assert weight(folder.load("last")) == weight(folder.load("best")) == 1
    monkeypatch.setattr(Path, "rename", rename)
    again = folder.save(snapshot(1), best=False)
    assert folder.path("last") == again != folder.path("best")
    folder.save(snapshot(2), best=True)
    assert names(folder) == {"epoch-0001-step-00000002", "index.json"}


def test_without_a_checkpoint_both_names_are_refused(folder):
    for which in ("last", "best"):
        with pytest.raises(CheckpointError, match=f"there is no {which} checkpoint in"):
            folder.load(which)
    folder.save(snapshot(1), best=False)
    with pytest.raises(CheckpointError, match="there is no best checkpoint"):
        folder.load("best")
    shutil.rmtree(folder.path("last"))
    with pytest.raises(CheckpointError, match="there is no last checkpoint"):
        folder.load("last")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    path = folder.save(snapshot(1), best=True)
    (path / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} cannot be read: No such file"):
        folder.load("last")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_truncated_file_is_named(folder, name, keep):
    path = folder.save(snapshot(1), best=True) / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        folder.load("last")


@pytest.mark.parametrize("name", FILES[1:])
def test_one_flipped_bit_anywhere_is_noticed_and_the_file_named(folder, name):
    path = folder.save(snapshot(1), best=True) / name
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with pytest.raises(CheckpointError, match=rf"{name} is damaged: it has {len(content):,} bytes"):
            folder.load("last")


@pytest.mark.parametrize("bit", [0x01, 0x10, 0x80])
def test_a_flipped_bit_of_the_manifest_is_an_error_or_does_no_harm(folder, bit):
    path = folder.save(snapshot(1), best=True) / "manifest.json"
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        try:
            loaded = folder.load("last")
        except CheckpointError:
            continue
        assert weight(loaded) == 1


def test_a_checkpoint_of_another_format_is_refused(folder):
    path = folder.save(snapshot(1), best=True) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(CheckpointError, match="has format 2; this expkit reads format 1"):
        read_snapshot(path.parent)


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", "7", "null", '{"last": 7}', '{"last": "../secret"}', '{"last": null}', "\x00"]
)
def test_a_damaged_index_is_named_when_loading_and_when_saving(folder, text):
    folder.save(snapshot(1), best=True)
    (folder.folder / "index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"index\.json is damaged"):
        folder.load("last")
    with pytest.raises(CheckpointError, match=r"index\.json is damaged"):
        folder.save(snapshot(2), best=False)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for folder in (CheckpointFolder(tmp_path / "file"), CheckpointFolder(tmp_path / "file" / "checkpoints")):
        with pytest.raises(CheckpointError, match="epoch-0001-step-00000001 cannot be written to"):
            folder.save(snapshot(1), best=True)
        with pytest.raises(CheckpointError, match="there is no last checkpoint"):
            folder.load("last")
    assert (tmp_path / "file").read_text() == "not a folder"


def crash(*_: object) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("method", ["rename", "replace"])
def test_a_crash_before_a_rename_leaves_the_earlier_checkpoint(folder, monkeypatch, method):
    folder.save(snapshot(1), best=True)
    with monkeypatch.context() as patch:
        patch.setattr(Path, method, crash)
        with pytest.raises(CheckpointError, match=r"Input/output error\. The earlier checkpoints are untouched"):
            folder.save(snapshot(2), best=True)
    assert weight(folder.load("last")) == weight(folder.load("best")) == 1
    assert not [name for name in names(folder) if name.startswith(".")]
    folder.save(snapshot(3), best=True)
    assert names(folder) == {"epoch-0001-step-00000003", "index.json"}


SAVE = """
import os, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from expkit import checkpoint
from expkit.errors import CheckpointError
from tests.unit.test_checkpoint import snapshot
folder = checkpoint.CheckpointFolder(Path(sys.argv[1]))
"""


def run(code: str, folder: CheckpointFolder) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", SAVE + code, str(folder.folder), str(root)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder.folder.parent,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
def test_a_full_disk_keeps_the_earlier_checkpoint(folder):
    folder.save(snapshot(1), best=True)
    done = run(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        "    folder.save(snapshot(2, size=200), best=True)\n"
        "except CheckpointError as error:\n"
        "    print(error)\n",
        folder,
    )
    assert "cannot be written to" in done.stdout, done.stderr
    assert "File too large. The earlier checkpoints are untouched. Free some space" in done.stdout
    assert names(folder) == {"epoch-0001-step-00000001", "index.json"}
    assert weight(folder.load("last")) == 1


@pytest.mark.parametrize("where", ["_sync", "_write_text"])
def test_a_killed_process_leaves_the_earlier_checkpoint_and_the_next_save_cleans_up(folder, where):
    folder.save(snapshot(1), best=True)
    done = run(f"checkpoint.{where} = lambda *_: os._exit(9)\nfolder.save(snapshot(2), best=True)\n", folder)
    assert done.returncode == 9, done.stderr
    assert len(names(folder)) == 3  # the earlier one, the index, and what the dead process left
    assert weight(folder.load("last")) == weight(folder.load("best")) == 1
    (folder.folder / ".index.json.tmp-99").write_text("{")
    folder.save(snapshot(3), best=False)
    assert names(folder) == {"epoch-0001-step-00000001", "epoch-0001-step-00000003", "index.json"}


def test_loading_unpickles_nothing(folder):
    folder.save(snapshot(1), best=True)
    done = run(
        "import pickle\n"
        "def refuse(*_, **__): raise SystemExit('unpickled')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "folder.load('last')\n"
        "print('loaded')\n",
        folder,
    )
    assert done.stdout.splitlines()[-1:] == ["loaded"], done.stderr
    for path in folder.path("last").iterdir():
        assert not path.read_bytes().startswith(b"\x80"), path  # how a pickle begins


def test_state_that_json_cannot_hold_leaves_nothing_behind(folder):
    folder.save(snapshot(1), best=True)
    bad = Snapshot(snapshot(2).learner, {"epoch": 1, "step": 2}, {"mine": {"value": np.float32(1)}})
    with pytest.raises(CheckpointError, match="state of callback 'mine' is no plain JSON"):
        folder.save(bad, best=True)
    assert names(folder) == {"epoch-0001-step-00000001", "index.json"}
