"""What `growth.py` measures: each function takes a size and returns values by name; it has a process of its own.

Names end in their unit: "ms", "us" (microseconds) and "s" are processor time of all threads of the process (and for a
command of its children); "MB" is physical memory or disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

SHORT = (
    *("+experiment=mnist_cnn", "model=mlp", "dataset.download=false", "dataset.limit=640", "trainer.epochs=1"),
    *("export=none", "plots=none", "trainer.progress=off"),
)
SQL_TABLES = {"runs": "run_uuid", "latest_metrics": "run_uuid", "metrics": "run_uuid", "params": "run_uuid"}
Values = dict[str, float]


@contextlib.contextmanager
def timed(values: Values, name: str, per: float = 1.0) -> Iterator[None]:
    """Note the processor time of what is done within, in the unit that the name ends in, divided by `per`."""
    scale = {"us": 1e6, "ms": 1e3, "s": 1.0}[name.rpartition(" ")[2]]
    began = time.process_time()
    yield
    values[name] = scale * (time.process_time() - began) / per


def memory() -> tuple[float, float]:
    """Return physical memory in MB: now, and at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {
        line.partition(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))
    }
    return found["VmRSS"], found["VmHWM"]


def samples(count: int) -> Values:
    """Images in memory, an epoch of batches of 64; and a CSV file of as many rows and 13 columns."""
    from expkit.api import ArraySplit, Classes, DataSource, DataSpec, ImageInput
    from expkit.data import Batches

    values: Values = {}
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    spec = DataSpec(
        "growth", ImageInput(28, 28, 1, (0.13,), (0.31,)), Classes(tuple("0123456789")), DataSource("generated", ""), ""
    )
    batches = Batches(ArraySplit(pixels, draw.integers(0, 10, count)), spec, batch_size=64, shuffle=True)
    before = memory()[0]
    with timed(values, "order of an epoch, for a sample us", count):
        batches.order(1)
    with timed(values, "batches of an epoch, for a sample us", count):
        for _ in batches.epoch(1):
            pass
    values["memory beside the images MB"] = memory()[1] - before
    values["images MB"] = pixels.nbytes / 2**20
    del pixels, batches
    with tempfile.TemporaryDirectory() as place:
        read = {rows: table(Path(place) / f"{rows}.csv", rows) for rows in (100, count)}
        read[100]()  # imports what reads it
        before = memory()[0]
        with timed(values, "CSV read, for a row us", count):
            read[count]()
        values["memory to read the CSV MB"] = max(0.0, memory()[1] - before)
    return values


def table(file: Path, count: int) -> Any:
    """Write a table, and return what reads it."""
    from expkit.config import compose

    draw = np.random.default_rng(0)
    with file.open("w") as rows:
        rows.write(",".join(f"c{n}" for n in range(13)) + ",y\n")
        for start in range(0, count, 10_000):
            np.savetxt(rows, draw.normal(size=(min(10_000, count - start), 14)), fmt="%.5f", delimiter=",")
    return compose(["dataset=csv", f"dataset.path={file}", "dataset.target=[y]", "model=linear"]).dataset.build


def parameters(count: int) -> Values:
    """An MLP with one hidden layer as wide as it takes, Adam, batch of 64."""
    from expkit import cpu_tuning, device
    from expkit.api import Classes, DataSource, DataSpec, ImageInput
    from expkit.checkpoint import CheckpointFolder, Snapshot
    from expkit.config import compose
    from expkit.parts import ConfiguredParts

    values: Values = {}
    cpu_tuning.tune(True)
    device.select("cpu", 0, 1)
    config = compose(["dataset=digits", "model=mlp", f"model.hidden=[{max(1, round((count - 10) / 795))}]"])
    image, source = ImageInput(28, 28, 1, (0.13,), (0.31,)), DataSource("generated", "")
    spec = DataSpec("growth", image, Classes(tuple("0123456789")), source, "")
    before = memory()[0]
    learner = config.learner.build(parts=ConfiguredParts(config, spec, steps_per_epoch=100, device="cpu"))
    draw = np.random.default_rng(0)
    inputs, targets = draw.normal(size=(64, 1, 28, 28)).astype(np.float32), draw.integers(0, 10, 64)
    learner.train_step(inputs, targets)
    times = []
    for _ in range(10):
        began = time.process_time()
        learner.train_step(inputs, targets)
        times.append(1000 * (time.process_time() - began))
    values["a training step ms"] = min(times)
    values["memory of training MB"] = memory()[1] - before
    with tempfile.TemporaryDirectory() as folder:
        progress = {"epoch": 1, "step": 10, "best_epoch": 1, "validated": 1}
        with timed(values, "a checkpoint ms"):
            snapshot = Snapshot(learner=learner.state_dict(), progress=progress)
            CheckpointFolder(Path(folder)).save(snapshot, best=True)
        values["checkpoint on disk MB"] = sum(one.stat().st_size for one in Path(folder).rglob("*")) / 2**20
        values["memory with a checkpoint MB"] = memory()[1] - before
    return values


def points(count: int) -> Values:
    """Points of a run's three step metrics in a fresh SQLite store, as training logs them."""
    from expkit.tracking import StoreSettings, open_tracker
    from expkit.tracking.journal import is_open, recorded_points
    from expkit.tracking.query import open_query

    values: Values = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = StoreSettings(None, "growth", "run", folder, folder / "mlartifacts")
        tracker = open_tracker(settings, folder / "growth" / "run", params={}, tags={})
        time.sleep(1)
        before = memory()[0]
        with timed(values, "stored, for a point us", count):
            began = time.thread_time()
            for step in range(count // 3):
                tracker.log_metrics(
                    {"step/loss": 1 / (step + 1), "step/accuracy": 0.5, "step/learning_rate": 0.1}, step
                )
            values["logged by the training thread, for a point us"] = 1e6 * (time.thread_time() - began) / count
            while tracker.is_behind():
                time.sleep(0.05)
        values["memory for them MB"] = memory()[1] - before
        tracker.finish()
        with timed(values, "is_open ms"):
            is_open(folder / "growth" / "run")
        with timed(values, "journal read ms"):
            recorded_points(folder / "growth" / "run")
        query = open_query(None, folder)
        assert query is not None
        run = query.runs(query.experiments())[0]
        with timed(values, "a curve read ms"):
            query.points([run.id], ["step/loss"])
        values["store on disk MB"] = (folder / "mlflow.db").stat().st_size / 2**20
    return values


def command(folder: Path, *arguments: str) -> tuple[float, float]:
    """Run one; return seconds of processor with its children, and of its main process alone."""
    code = (
        "import atexit, time; from pathlib import Path\n"
        "atexit.register(lambda: Path('own.time').write_text(str(time.process_time())))\n"
        "import sys; from expkit.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "EXPKIT_DATA_DIR"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{arguments}: {done.stdout[-500:]}\n{done.stderr[-1500:]}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return processor, float((folder / "own.time").read_text())


def copied(folder: Path, count: int) -> None:
    """Make so many runs out of the only one there is: its folder, without checkpoints, and its rows in the store."""
    record = next((folder / "runs").glob("*/*/run.json"))
    run = json.loads(record.read_text())
    old_id, old_run, source = run["id"], run["mlflow_run_id"], record.parent
    files = [one for one in source.iterdir() if one.is_file()]
    with contextlib.closing(sqlite3.connect(folder / "runs" / "mlflow.db")) as database, database:
        columns = {t: [row[1] for row in database.execute(f"PRAGMA table_info({t})")] for t in (*SQL_TABLES, "tags")}
        for number in range(1, count):
            new_id, new_run = f"{old_id[:-6]}{number:06x}", uuid.UUID(int=number).hex
            (source.parent / new_id).mkdir()
            for file in files:
                text = file.read_text().replace(old_id, new_id).replace(old_run, new_run)
                (source.parent / new_id / file.name).write_text(text)
            for table, names in columns.items():
                taken = [
                    f"replace({n}, '{old_id}', '{new_id}')" if n == "value" and table == "tags" else n for n in names
                ]
                taken = [f"'{new_run}'" if n == "run_uuid" else n for n in taken]
                database.execute(
                    f"INSERT INTO {table} SELECT {', '.join(taken)} FROM {table} WHERE run_uuid = ?", (old_run,)
                )
    shutil.rmtree(source / "checkpoints")


def runs(count: int) -> Values:
    """A runs folder and a store with so many runs."""
    import io

    from expkit.cli.compare import main as compare
    from expkit.cli.runs import main as list_runs
    from expkit.runs import find_run
    from expkit.tracking import StoreSettings, open_tracker

    values: Values = {}
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(place)
        command(folder, *SHORT)
        copied(folder, count)
        runs_dir = folder / "runs"
        where = ["--runs-dir", str(runs_dir)]
        list_runs(where)  # imports all
        with timed(values, "runs ms"):
            list_runs(where)
        with timed(values, "compare ms"):
            compare(where)
        with timed(values, "last found ms"):
            find_run("last", runs_dir)
        settings = StoreSettings(None, "mnist_cnn", "run", runs_dir, runs_dir / "mlartifacts")
        for number in range(2):  # the first one imports MLflow
            with timed(values, "a run begun and ended in the store ms"):
                open_tracker(settings, runs_dir / "mnist_cnn" / f"further-{number}", params={}, tags={}).finish()
        values["store on disk MB"] = (runs_dir / "mlflow.db").stat().st_size / 2**20
        values["memory at its peak MB"] = memory()[1]
    return values


def jobs(count: int) -> Values:
    """A sweep over so many seeds of a short run without tracking, on all cores; then what reads its ledger."""
    from expkit.sweeping.ledger import read_ledger

    values: Values = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        seeds = ",".join(map(str, range(count)))
        processor, own = command(folder, "-m", *SHORT, "tracking=none", f"seed={seeds}")
        values["all processes, for a job s"] = processor / count
        values["the sweep's own process, for a job ms"] = 1000 * own / count
        sweep = next((folder / "runs").glob("*/sweep-*"))
        with timed(values, "the ledger read ms"):
            read_ledger(sweep)
        again = command(folder, "-m", *SHORT, "tracking=none", f"seed={seeds}", f"sweep.resume={sweep}")
        values["resumed with nothing to do s"] = again[0]
    return values


CASES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "samples": (samples, (1_000, 10_000, 100_000, 1_000_000)),
    "parameters": (parameters, (10_000, 100_000, 1_000_000, 10_000_000, 50_000_000)),
    "points": (points, (100, 1_000, 10_000, 100_000, 1_000_000)),
    "runs": (runs, (10, 100, 1_000, 3_000, 10_000)),
    "jobs": (jobs, (4, 16, 64, 256)),
}
