from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

from expkit import preprocess
from expkit.api import ArraySplit, Data, ExportError
from expkit.export import Certificate, export_model
from expkit.settings import ExportSettings
from expkit.testing import example_batch

ROOT = Path(__file__).parents[2]


class FakeLearner:
    """Answers pixel sums; what it wrote answers with an error that a test chooses."""

    def __init__(self, error=0.0, shape=None, own=None):
        self.error, self.shape, self.own = error, shape, own

    def predict(self, inputs):
        outputs = np.repeat(inputs.reshape(len(inputs), -1)[:, :1], 10, axis=1) + np.arange(10, dtype=np.float32)
        if self.own is not None:
            outputs[0, 3] = self.own
        return outputs

    def export(self, folder):
        (folder / "model.json").write_text("{}")

        def predict(inputs):
            outputs = self.predict(inputs)
            outputs[-1, 2] += self.error
            return outputs[:, : self.shape]

        return predict


@pytest.fixture
def data(tiny_spec):
    batch = example_batch(tiny_spec, samples=7)
    split = ArraySplit(batch.inputs, batch.targets)
    return Data(tiny_spec, split, split, split)


def test_a_faithful_export_is_certified_and_described(data, tmp_path):
    target = tmp_path / "export"
    facts = {"name": "mnist_cnn", "metrics": {"test/accuracy": 0.99}}
    certificate = export_model(FakeLearner(), data, target, ExportSettings(), facts)
    assert certificate == Certificate(7, 0.0, 1.0, 1e-4)
    assert json.loads((target / "certificate.json").read_text())["samples"] == 7
    about = yaml.safe_load((target / "model.yaml").read_text())
    assert about["name"] == "mnist_cnn"
    assert about["input_shape"] == [None, 1, 28, 28]
    assert about["output_shape"] == [None, 10]
    assert about["data"]["fingerprint"] == data.spec.fingerprint
    assert preprocess.from_description(about["input"]) == data.spec.input
    assert preprocess.from_description(about["target"]) == data.spec.target
    assert (target / "preprocess.py").read_bytes() == Path(preprocess.__file__).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_only_so_many_samples_are_compared(data, tmp_path):
    certificate = export_model(FakeLearner(), data, tmp_path / "export", ExportSettings(samples=3), {})
    assert certificate.samples == 3


def test_a_difference_within_the_tolerance_is_measured(data, tmp_path):
    certificate = export_model(FakeLearner(error=0.25), data, tmp_path / "e", ExportSettings(tolerance=0.5), {})
    assert certificate.largest_difference == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (FakeLearner(error=0.5), r"by up to 0\.5 on 7 samples \(export\.tolerance=0\.0001\)"),
        (FakeLearner(error=-0.5), r"differs from the trained one by up to 0\.5"),
        (FakeLearner(error=np.nan), "differs from the trained one by up to nan"),
        (FakeLearner(error=np.inf), "differs from the trained one by up to inf"),
        (FakeLearner(own=np.nan), "the trained model answers NaN or infinity"),
        (FakeLearner(own=-np.inf), "the trained model answers NaN or infinity"),
        (FakeLearner(shape=9), r"the export answers \(7, 9\) where the model answers \(7, 10\)"),
    ],
)
def test_an_export_that_answers_otherwise_is_refused_and_leaves_no_folder(data, tmp_path, learner, message):
    with pytest.raises(ExportError, match=message):
        export_model(learner, data, tmp_path / "export", ExportSettings(), {})
    assert list(tmp_path.iterdir()) == []


def test_a_refused_export_keeps_the_one_before(data, tmp_path):
    export_model(FakeLearner(), data, tmp_path / "export", ExportSettings(), {"name": "first"})
    with pytest.raises(ExportError):
        export_model(FakeLearner(error=1), data, tmp_path / "export", ExportSettings(), {"name": "second"})
    assert yaml.safe_load((tmp_path / "export" / "model.yaml").read_text())["name"] == "first"
    export_model(FakeLearner(), data, tmp_path / "export", ExportSettings(), {"name": "third"})
    assert yaml.safe_load((tmp_path / "export" / "model.yaml").read_text())["name"] == "third"


def test_a_folder_that_cannot_be_written_is_an_export_error(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"the export cannot be written to .*file/export: Not a directory"):
        export_model(FakeLearner(), data, tmp_path / "file" / "export", ExportSettings(), {})


def test_an_error_of_the_system_while_exporting_leaves_no_folder(data, tmp_path):
    class Full(FakeLearner):
        def export(self, folder):
            (folder / "model.json").write_text("{")
            raise OSError(28, "No space left on device")

    with pytest.raises(ExportError, match="No space left on device"):
        export_model(Full(), data, tmp_path / "export", ExportSettings(), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
@pytest.mark.parametrize("limit", [5_000, 100_000])
def test_a_full_disk_that_paddle_does_not_notice_is_noticed(tmp_path, limit):
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.test_export import *\n"
        "from tests.unit.small_learner import SPEC, Net, learner\n"
        "trained = learner(model=lambda: Net(channels=400))\n"
        "batch = example_batch(SPEC)\n"
        "split = ArraySplit(batch.inputs, batch.targets)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "target = Path(sys.argv[1]) / 'export'\n"
        "try:\n"
        "    export_model(trained, Data(SPEC, split, split, split), target, ExportSettings(), {})\n"
        "except ExportError as error:\n"
        "    print('refused:', error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert "refused:" in done.stdout, done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


def test_a_real_export_predicts_outside_by_the_recipe_in_its_own_file(tmp_path):
    from PIL import Image

    from tests.unit.small_learner import SPEC, learner

    trained, batch = learner(), example_batch(SPEC)
    split = ArraySplit(batch.inputs, batch.targets)
    export_model(trained, Data(SPEC, split, split, split), tmp_path / "export", ExportSettings(), {})
    Image.fromarray(batch.inputs[0]).save(tmp_path / "digit.png")
    # What follows is the comment at the top of model.yaml.
    module = importlib.util.spec_from_file_location("copied", tmp_path / "export" / "preprocess.py")
    copied = importlib.util.module_from_spec(module)
    sys.modules["copied"] = copied
    module.loader.exec_module(copied)
    about = yaml.safe_load((tmp_path / "export" / "model.yaml").read_text())
    reader = copied.from_description(about["input"])
    network = paddle.jit.load(str(tmp_path / "export" / "model"))
    outputs = network(paddle.to_tensor(reader.normalise(reader.read(tmp_path / "digit.png")))).numpy()
    (answer,) = copied.from_description(about["target"]).decode(outputs)
    del sys.modules["copied"]
    (wanted,) = SPEC.target.decode(trained.predict(SPEC.input.normalise(batch.inputs[:1])))
    assert answer["label"] == wanted["label"]
    assert answer["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
