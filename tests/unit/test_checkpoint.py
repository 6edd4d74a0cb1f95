from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expkit.api import LearnerState
from expkit.checkpoint import CheckpointFolder, read_snapshot
from expkit.errors import CheckpointError
from expkit.snapshot import Snapshot

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
    assert names(folder) == {*(f"epoch-0001-step-0000000{step}" for step in (2, 3, 4)), "index.json"}
    assert folder.history() == [f"epoch-0001-step-0000000{step}" for step in (4, 3, 2)]
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
    folder.save(snapshot(3), best=True)
    assert names(folder) == {"epoch-0001-step-00000002", "epoch-0001-step-00000003", "index.json"}


def epoch_end(epoch: int, value: float, best_epoch: int, higher_is_better: bool = True) -> Snapshot:
    """Make the end of an epoch of ten steps, with the value that is monitored."""
    progress = {"epoch": epoch, "step": 10 * epoch, "validated": epoch, "best_epoch": best_epoch}
    monitored = {"name": "valid/accuracy", "value": value, "higher_is_better": higher_is_better}
    return replace(snapshot(10 * epoch, epoch), progress=progress, run={"monitored": monitored})


def index(folder: CheckpointFolder) -> dict:
    return json.loads((folder.folder / "index.json").read_text())


def save_epochs(folder: CheckpointFolder, values: list[float], higher_is_better: bool = True) -> None:
    best, best_epoch = None, 0
    for epoch, value in enumerate(values, start=1):
        sign = 1 if higher_is_better else -1
        if is_best := value == value and (best is None or sign * value > sign * best):
            best, best_epoch = value, epoch
        folder.save(epoch_end(epoch, value, best_epoch, higher_is_better), best=is_best)


def epochs(found: list[str]) -> list[int]:
    return [int(name[6:10]) for name in found]


@pytest.mark.parametrize(
    ("keep", "values", "higher", "kept"),
    [
        (1, [0.1, 0.4, 0.3, 0.2, 0.0], True, [2]),
        (3, [0.1, 0.4, 0.3, 0.2, 0.0], True, [2, 3, 4]),
        (3, [0.1, 0.4, 0.3, 0.2, 0.0], False, [5, 1, 4]),
        (2, [0.5, 0.5, 0.5, 0.1], True, [1, 2]),  # of equal ones those that came first
        (2, [math.nan, 0.5, math.nan, 0.1], True, [2, 4]),
        (9, [0.1, 0.2], True, [2, 1]),
    ],
)
def test_the_best_k_are_kept_beside_the_last_and_the_one_before(tmp_path, keep, values, higher, kept):
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=keep)
    save_epochs(folder, values, higher)
    assert epochs(list(index(folder)["kept"])) == kept
    assert epochs([index(folder)["best"]]) == kept[:1]
    last = len(values)
    assert set(epochs(folder.history())) == {*kept, last, last - 1}


def test_the_best_of_the_one_before_is_kept_so_that_it_can_be_gone_back_to(folder):
    save_epochs(folder, [0.5, 0.1, 0.2, 0.9])
    assert epochs(folder.history()) == [4, 3, 1]
    assert epochs([index(folder)[key] for key in ("last", "best", "previous", "previous_best")]) == [4, 4, 3, 1]


def test_steps_within_an_epoch_leave_the_best_alone(folder):
    save_epochs(folder, [0.5])
    for step in (12, 14, 16):
        folder.save(snapshot(step, epoch=2), best=False)
    assert [int(name[-2:]) for name in folder.history()] == [16, 14, 10]
    assert epochs([index(folder)["best"]]) == [1]


@pytest.mark.parametrize("lost", [1, 3])
def test_a_lost_index_loses_no_checkpoint_and_is_written_anew(tmp_path, lost):
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=2)
    save_epochs(folder, [0.5, 0.3, 0.4][:lost])
    before = index(folder)
    (folder.folder / "index.json").unlink()
    assert folder.load("last").progress["epoch"] == lost
    assert folder.load("best").progress["epoch"] == 1
    folder.save(snapshot(35, epoch=4), best=False)
    assert index(folder)["kept"] == before["kept"]
    assert index(folder)["best"] == before["best"]


def test_a_whole_checkpoint_that_the_index_does_not_name_yet_is_the_last_and_the_best_if_it_is(folder):
    save_epochs(folder, [0.5])
    before = (folder.folder / "index.json").read_bytes()
    save_epochs(folder, [0.5, 0.6])
    (folder.folder / "index.json").write_bytes(before)
    assert folder.load("last").progress["epoch"] == folder.load("best").progress["epoch"] == 2


def test_files_of_another_checkpoint_are_noticed(folder):
    save_epochs(folder, [0.5, 0.6])
    first, second = (folder.folder / name for name in reversed(folder.history()))
    shutil.rmtree(second)
    shutil.copytree(first, second)
    with pytest.raises(CheckpointError, match=r"00000020 is damaged: .* of another checkpoint \(epoch 1, step 10\)"):
        folder.load("last")


def test_a_checkpoint_is_loaded_by_its_name_or_the_names_are_told(folder):
    save_epochs(folder, [0.5, 0.6])
    assert folder.load("epoch-0001-step-00000010").progress["epoch"] == 1
    with pytest.raises(CheckpointError, match=r"no checkpoint 'best-2' in .* There are epoch-0002\S+, epoch-0001"):
        folder.load("best-2")


def test_going_back_makes_an_earlier_one_the_last_and_removes_the_later_ones(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=3)
    save_epochs(folder, [0.5, 0.3, 0.9])
    first, second = (f"epoch-000{epoch}-step-000000{epoch}0" for epoch in (1, 2))
    folder.go_back(second, best=first)
    assert folder.history() == [second, first]
    assert folder.load("last").progress["epoch"] == 2
    assert folder.load("best").progress["epoch"] == 1
    assert index(folder)["kept"] == {first: 0.5, second: 0.3}


def test_without_a_checkpoint_both_names_are_refused(folder):
    for which in ("last", "best"):
        with pytest.raises(CheckpointError, match=f"there is no {which} checkpoint in"):
            folder.load(which)
    folder.save(snapshot(1), best=False)
    with pytest.raises(CheckpointError, match="there is no best checkpoint"):
        folder.load("best")
    shutil.rmtree(folder.path("last"))
    with pytest.raises(CheckpointError, match=r"there is no last checkpoint in .*: epoch-\S*1, which index"):
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


@pytest.mark.parametrize(("method", "last"), [("rename", 1), ("replace", 2)])
def test_an_error_leaves_the_earlier_checkpoint_and_a_whole_new_one(folder, monkeypatch, method, last):
    folder.save(snapshot(1), best=True)
    with monkeypatch.context() as patch:
        patch.setattr(Path, method, crash)
        with pytest.raises(CheckpointError, match=r"Input/output error\. The earlier checkpoints are untouched"):
            folder.save(snapshot(2), best=True)
    assert weight(folder.load("last")) == last
    assert weight(folder.load("best")) == 1
    assert not [name for name in names(folder) if name.startswith(".")]
    folder.save(snapshot(3), best=True)
    assert weight(folder.load("best")) == weight(folder.load("last")) == 3


SAVE = """
import os, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from expkit import checkpoint, snapshot as snapshots
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


@pytest.mark.parametrize(
    ("where", "last"), [("snapshots.sync_folder", 1), ("checkpoint.sync_folder", 2), ("checkpoint.write_whole", 2)]
)
def test_a_killed_process_leaves_all_that_was_whole_and_the_next_save_cleans_up(folder, where, last):
    folder.save(snapshot(1), best=True)
    done = run(f"{where} = lambda *_: os._exit(9)\nfolder.save(snapshot(2), best=False)\n", folder)
    assert done.returncode == 9, done.stderr
    assert len(names(folder)) == 3  # the earlier one, the index, and what the dead process left
    assert weight(folder.load("best")) == 1
    assert weight(folder.load("last")) == last  # one that was renamed, which comes last, is whole
    (folder.folder / ".index.json.tmp-99").write_text("{")
    folder.save(snapshot(3), best=False)
    wanted = {f"epoch-0001-step-0000000{step}" for step in {1, last, 3}}
    assert names(folder) == {*wanted, "index.json"}


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
