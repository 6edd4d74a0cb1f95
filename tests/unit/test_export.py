from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml
from paddle import inference

from expkit import preprocess, standalone
from expkit.api import ArraySplit, Data, ExportError
from expkit.export import Exported, Exporter, certificates_of
from expkit.export.fresh import FreshProcess
from expkit.export.places import find_export
from expkit.settings import ExportSettings
from expkit.testing import example_batch
from tests.unit.small_learner import SPEC, learner

ROOT = Path(__file__).parents[2]


class FakeLearner:
    """Answers pixel sums; what it wrote answers with an error that a test chooses."""

    def __init__(self, error=0.0, shape=None, own=None, where=0):
        self.error, self.shape, self.own, self.where = error, shape, own, where

    def predict(self, inputs):
        outputs = np.repeat(inputs.reshape(len(inputs), -1)[:, :1], 10, axis=1) + np.arange(10, dtype=np.float32)
        if self.own is not None:
            outputs[self.where, 3] = self.own
        return outputs

    def export(self, folder):
        (folder / "model.json").write_text("{}")

        def predict(inputs):
            outputs = self.predict(inputs)
            outputs[-1, 2] += self.error
            return outputs[:, : self.shape]

        return predict


class Averaged(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv, self.head = paddle.nn.Conv2D(1, 4, 3, padding=1), paddle.nn.Linear(4, 10)

    def forward(self, x):
        return self.head(paddle.nn.functional.relu(self.conv(x)).mean([2, 3]))


@pytest.fixture(scope="module")
def process():
    """One process to check in for all tests of this file: it takes two seconds to start."""
    with Exporter(ExportSettings()) as exporter:
        yield exporter


@pytest.fixture
def export(process):
    """Export into a folder, with options of the export and facts by name."""

    def run(learner, data, folder, facts=None, **options):
        process.settings = ExportSettings(**options)
        return process.export(learner, data, folder, facts or {})

    return run


def split_of(spec, samples):
    batch = example_batch(spec, samples=samples)
    return ArraySplit(batch.inputs, batch.targets)


@pytest.fixture
def data(tiny_spec):
    split = split_of(tiny_spec, 7)
    return Data(tiny_spec, split, split, split)


@pytest.fixture(scope="module")
def real():
    """A learner of Paddle's, and its data."""
    split = split_of(SPEC, 300)
    return learner(), Data(SPEC, split, split, split)


def test_a_faithful_export_is_certified_and_described(export, data, tmp_path):
    target = tmp_path / "export"
    exported = export(FakeLearner(), data, target, {"name": "mnist_cnn", "metrics": {"test/accuracy": 0.99}})
    certificate = exported.certificates["paddle"]
    assert (certificate.samples, certificate.best.largest_difference, certificate.best.same_answer) == (7, 0.0, 1.0)
    assert certificate.best.score == certificate.model_score
    assert json.loads((target / "paddle/certificate.json").read_text())["samples"] == 7
    about = yaml.safe_load((target / "paddle/model.yaml").read_text())
    assert about["name"] == "mnist_cnn"
    assert about["input_shape"] == [None, 1, 28, 28]
    assert about["output_shape"] == [None, 10]
    assert about["data"]["fingerprint"] == data.spec.fingerprint
    assert preprocess.from_description(about["input"]) == data.spec.input
    assert preprocess.from_description(about["target"]) == data.spec.target
    assert (target / "paddle/preprocess.py").read_bytes() == Path(preprocess.__file__).read_bytes()
    assert (target / "paddle/predict.py").read_bytes() == Path(standalone.__file__).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_only_so_many_samples_are_compared_and_they_are_spread(export, data, tmp_path):
    seen = []

    class Watched(FakeLearner):
        def predict(self, inputs):
            seen.append(inputs)
            return super().predict(inputs)

    assert export(Watched(), data, tmp_path / "export", samples=3).certificates["paddle"].samples == 3
    assert np.array_equal(seen[0], data.spec.input.normalise(data.valid.gather(np.array([0, 3, 6]))[0]))


def test_a_difference_within_the_tolerance_is_measured(export, data, tmp_path):
    certificate = export(FakeLearner(error=0.25), data, tmp_path / "e", tolerance=0.5).certificates["paddle"]
    assert certificate.best.largest_difference == pytest.approx(0.25)
    assert 0 < certificate.best.largest_relative <= 0.25


def test_large_outputs_may_differ_by_as_much_as_their_own_digits(export, data, tmp_path):
    exported = export(FakeLearner(error=0.5, own=1e5, where=-1), data, tmp_path / "e")
    assert exported.certificates["paddle"].best.largest_relative < 1e-5


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
def test_an_export_that_answers_otherwise_is_refused_and_leaves_no_folder(export, data, tmp_path, learner, message):
    exported = export(learner, data, tmp_path / "export")
    assert exported.certificates == {}
    with pytest.raises(ExportError, match=message):
        exported.check()
    assert list(tmp_path.iterdir()) == []


def test_a_refused_export_keeps_the_one_before(export, data, tmp_path):
    export(FakeLearner(), data, tmp_path / "export", {"name": "first"}).check()
    with pytest.raises(ExportError):
        export(FakeLearner(error=1), data, tmp_path / "export", {"name": "second"}).check()
    about = tmp_path / "export/paddle/model.yaml"
    assert yaml.safe_load(about.read_text())["name"] == "first"
    export(FakeLearner(), data, tmp_path / "export", {"name": "third"}).check()
    assert yaml.safe_load(about.read_text())["name"] == "third"


def test_a_folder_that_cannot_be_written_is_an_export_error(export, data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"the export cannot be written to .*file/export: Not a directory"):
        export(FakeLearner(), data, tmp_path / "file" / "export").check()


def test_an_error_of_the_system_while_exporting_leaves_no_folder(export, data, tmp_path):
    class Full(FakeLearner):
        def export(self, folder):
            (folder / "model.json").write_text("{")
            raise OSError(28, "No space left on device")

    with pytest.raises(ExportError, match="No space left on device"):
        export(Full(), data, tmp_path / "export").check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
@pytest.mark.parametrize("limit", [5_000, 20_000, 100_000])
def test_a_full_disk_that_paddle_does_not_notice_is_noticed(tmp_path, limit):
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.test_export import *\n"
        "from tests.unit.small_learner import SPEC, Net, learner\n"
        "trained = learner(model=lambda: Net(channels=400))\n"
        "split = split_of(SPEC, 8)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "target = Path(sys.argv[1]) / 'export'\n"
        "with Exporter(ExportSettings()) as exporter:\n"
        "    print('refused:', exporter.export(trained, Data(SPEC, split, split, split), target, {}).refused)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert "refused: {'" in done.stdout, done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_checked_by_both_of_paddles_runtimes(export, real, tmp_path):
    trained, data = real
    certificate = export(trained, data, tmp_path / "export").certificates["paddle"]
    assert set(certificate.runtimes) == {"jit", "inference"}
    assert certificate.samples == 256
    for check in certificate.runtimes.values():
        assert check.error == ""
        assert check.largest_difference < 1e-4
        assert check.same_answer == 1.0
        assert check.score == certificate.model_score
        assert set(check.milliseconds) == {"1", "32"}
    about = yaml.safe_load((tmp_path / "export/paddle/model.yaml").read_text())
    assert about["runtimes"] == certificate.passed
    graph = str(tmp_path / "export/paddle/model")
    predictor = inference.create_predictor(inference.Config(f"{graph}.json", f"{graph}.pdiparams"))
    assert predictor.get_input_names() == [about["input_name"]]
    assert predictor.get_output_names() == [about["output_name"]]
    assert find_export(tmp_path / "export") == tmp_path / "export/paddle"
    assert certificates_of({"export": {"paddle": asdict(certificate)}}) == {"paddle": certificate}
    shutil.copytree(tmp_path / "export/paddle", tmp_path / "old")  # where it was before there were formats
    assert find_export(tmp_path / "old") == tmp_path / "old"
    shutil.copytree(tmp_path / "export/paddle", tmp_path / "old/onnx")
    assert find_export(tmp_path / "old", "paddle") == tmp_path / "old"
    with pytest.raises(ExportError, match=r"has no export of the format 'onnx'; it has paddle\. Make one: python -m"):
        find_export(tmp_path / "export", "onnx")


def test_a_runtime_that_answers_otherwise_is_not_used(export, real, tmp_path, monkeypatch):
    trained, data = real
    faithful = FreshProcess.run

    def run(self, folder, runtimes, inputs):
        answers = faithful(self, folder, runtimes, inputs)
        answers["inference"].outputs[:] += 1
        return answers

    monkeypatch.setattr(FreshProcess, "run", run)
    certificate = export(trained, data, tmp_path / "export").certificates["paddle"]
    assert certificate.runtime == "jit"
    assert certificate.passed == ["jit"]
    assert "differs from the trained one by up to 1" in certificate.runtimes["inference"].error


def test_what_a_runtime_prints_is_no_answer(export, tmp_path):
    # Where a graph has a mean, oneDNN writes a line to the standard output of whoever runs it.
    split = split_of(SPEC, 20)
    exported = export(learner(model=Averaged), Data(SPEC, split, split, split), tmp_path / "export")
    exported.check()
    assert exported.certificates["paddle"].passed[-1] in ("jit", "inference")
    assert len(exported.certificates["paddle"].passed) == 2


def test_whatever_is_raised_on_the_way_is_a_refusal(export, data, tmp_path):
    class Odd(FakeLearner):
        def predict(self, inputs):
            raise KeyError("head")

    exported = export(Odd(), data, tmp_path / "export")
    assert "the model cannot be exported: KeyError: 'head'" in str(exported.refused["paddle"])
    assert list(tmp_path.iterdir()) == []


def test_one_cause_is_told_once_for_all_formats():
    error = "the ONNX formats need onnx."
    with pytest.raises(ExportError) as raised:
        Exported(refused={"onnx": ExportError(error), "onnx-int8": ExportError(error)}).check()
    assert str(raised.value) == error


def test_rounding_is_told_apart_from_a_model_that_answers_otherwise(export, data, tmp_path):
    exported = export(FakeLearner(error=1e-5), data, tmp_path / "export", tolerance=1e-9)
    assert "So much is rounding, which each runtime does in its own way: allow more." in str(exported.refused["paddle"])


@pytest.mark.slow
def test_what_a_runtime_prints_is_kept_from_a_programs_output(export, tmp_path):
    split = split_of(SPEC, 20)
    export(learner(model=Averaged), Data(SPEC, split, split, split), tmp_path / "export").check()
    code = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[1]); import predict\n"
        "network = predict.connect(sys.argv[1], 'inference'); print(network(np.zeros((2, 1, 28, 28), 'float32')).shape)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "export/paddle")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.stdout == "(2, 10)\n", done.stderr


@pytest.mark.slow
def test_the_process_leaves_nothing_when_who_started_it_has_died():
    process = FreshProcess()
    folder = process._folder
    process._process.stdin.close()
    process._process.wait(timeout=60)
    assert not folder.exists()
    process.close()


def test_a_process_that_dies_is_told_with_its_last_words(real, tmp_path, monkeypatch):
    monkeypatch.setattr("expkit.export.writing.FreshProcess", FreshProcess)  # one of its own
    with Exporter(ExportSettings()) as exporter:
        exporter._fresh._process.kill()
        exported = exporter.export(*real, tmp_path / "export", {})
    assert "the process that checks exports ended (-9)" in str(exported.refused["paddle"])
    assert list(tmp_path.iterdir()) == []


def test_the_certificate_of_an_older_run_is_understood():
    old = {"samples": 256, "largest_difference": 1e-6, "same_answer": 1.0, "tolerance": 1e-4}
    (certificate,) = certificates_of({"export": old}).values()
    assert str(certificate) == "differs by up to 1.0e-06 from the model on 256 samples"
    assert certificates_of({}) == {}


@pytest.mark.slow
def test_a_stranger_predicts_with_what_stands_in_the_folder(export, real, tmp_path):
    from PIL import Image

    trained, data = real
    export(trained, data, tmp_path / "export").check()
    pixels = data.valid.inputs[0]
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    (tmp_path / "text.png").write_text("no image")
    folder = shutil.copytree(tmp_path / "export/paddle", tmp_path / "copy")
    (wanted,) = SPEC.target.decode(trained.predict(SPEC.input.normalise(pixels[None])))
    command = [sys.executable, str(folder / "predict.py"), "digit.png", "text.png", "--runtime", "jit"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    good, bad = (json.loads(line) for line in done.stdout.splitlines())
    assert good["answers"][0]["label"] == wanted["label"]
    assert good["answers"][0]["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
    assert "not a readable image" in bad["error"]


@pytest.mark.parametrize("runtime", ["jit", "inference"])
def test_a_network_takes_what_it_was_made_for_only(export, real, tmp_path, runtime):
    trained, data = real
    export(trained, data, tmp_path / "export").check()
    network = standalone.connect(tmp_path / "export/paddle", runtime)
    inputs = SPEC.input.normalise(data.valid.inputs[:3])
    assert network(inputs) == pytest.approx(trained.predict(inputs), abs=1e-4)
    for wrong in (inputs.astype(np.float64), inputs[:, :, :27], data.valid.inputs[:3]):
        with pytest.raises(ValueError, match=r"the model takes float32 \[N, 1, 28, 28\], not"):
            network(wrong)


def test_an_export_that_is_not_whole_is_refused_by_what_is_wrong(export, real, tmp_path):
    export(*real, tmp_path / "export").check()
    folder = tmp_path / "export/paddle"
    with pytest.raises(standalone.UnusableExportError, match=r"there is no runtime 'tensorrt'; known: jit, inference"):
        standalone.connect(folder, "tensorrt")
    with pytest.raises(standalone.UnusableExportError, match=r"no model\.onnx, .* of this export: jit, inference"):
        standalone.connect(folder, "onnxruntime")
    (folder / "model.pdiparams").write_bytes((folder / "model.pdiparams").read_bytes()[:-1])
    with pytest.raises(standalone.UnusableExportError, match=r"model\.pdiparams is damaged"):
        standalone.connect(folder)
    (folder / "model.yaml").write_text("input: {")
    with pytest.raises(standalone.UnusableExportError, match=r"model\.yaml is damaged"):
        standalone.connect(folder)
    with pytest.raises(standalone.UnusableExportError, match=r"holds no exported model: it has no model\.yaml"):
        standalone.connect(tmp_path)
