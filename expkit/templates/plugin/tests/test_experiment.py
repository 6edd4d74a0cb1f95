import json
import subprocess
import sys


def test_the_experiment_runs(tmp_path):
    options = ["trainer.epochs=2", "tracking=none", "plots=none", "export=none"]
    command = [sys.executable, "-m", "expkit", "+experiment=plugin_name", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = tmp_path.glob("runs/*/*/run.json")
    assert json.loads(record.read_text())["status"] == "FINISHED"
