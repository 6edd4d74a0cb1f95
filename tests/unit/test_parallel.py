"""How batches, cores and weights are shared out among devices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import paddle
import pytest

from expkit.api import ArraySplit, Batch
from expkit.config import compose
from expkit.data import Batches
from expkit.errors import ConfigError, DeviceError
from expkit.identity import config_hash
from expkit.parallel.places import shared_out
from expkit.parallel.shares import rows_of, share
from expkit.past import check_change
from expkit.testing import example_specs
from expkit_losses.cross_entropy import CrossEntropy
from expkit_losses.nll import NegativeLogLikelihood

SPEC = example_specs()[0]


@pytest.mark.parametrize(("samples", "size"), [(64, 2), (9, 2), (10, 4), (3, 3), (1, 1)])
def test_shares_are_all_of_a_batch_in_its_order(samples: int, size: int) -> None:
    rows = [index for rank in range(size) for index in range(samples)[share(samples, rank, size).rows]]
    assert rows == list(range(samples))
    lengths = [len(range(samples)[share(samples, rank, size).rows]) for rank in range(size)]
    assert max(lengths) - min(lengths) <= 1


def test_a_device_without_a_sample_computes_the_first_one_which_does_not_count() -> None:
    assert [share(2, rank, 4).counts for rank in range(4)] == [True, True, False, False]
    assert range(2)[share(2, 3, 4).rows] == range(1)


class Doubled:
    """A transform that needs the whole batch: adds the sum of its targets."""

    def __call__(self, batch: Batch, generator: np.random.Generator) -> Batch:
        return replace(batch, targets=batch.targets + batch.targets.sum())


@pytest.mark.parametrize("transforms", [(), (Doubled(),)])
def test_rows_of_a_batch_are_those_of_the_whole_one(transforms: tuple[Doubled, ...]) -> None:
    split = ArraySplit(np.arange(10 * 784, dtype=np.uint8).reshape(10, 28, 28), np.arange(10))
    batches = Batches(split, SPEC, batch_size=4, shuffle=True, repeat=2, seed=3, transforms=transforms)
    for number in range(len(batches)):
        inputs, targets = batches.batch(2, number)
        assert batches.size_of(number) == len(targets)
        parts = [batches.batch(2, number, rows_of(rank, 2)) for rank in range(2)]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), inputs)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), targets)


def test_only_the_rows_that_are_wanted_are_read() -> None:
    class Counting(ArraySplit):
        read = 0

        def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            Counting.read += len(indices)
            return super().gather(indices)

    split = Counting(np.zeros((10, 28, 28), np.uint8), np.arange(10))
    Batches(split, SPEC, batch_size=10).batch(1, 0, rows_of(1, 2))
    assert Counting.read == 5


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_weighted_loss_is_put_together_by_what_its_mean_divides_by(smoothing: float) -> None:
    weights = [float(number) for number in range(1, 11)]
    random = np.random.default_rng(0)
    outputs, classes = random.normal(size=(12, 10)).astype(np.float32), random.integers(0, 10, 12)
    shares = np.eye(10, dtype=np.float32)[classes]
    loss = CrossEntropy(SPEC, label_smoothing=smoothing, class_weights=weights)
    for targets in (classes, shares):
        whole = loss(paddle.to_tensor(outputs), paddle.to_tensor(targets)).item()
        parts = [slice(0, 5), slice(5, 12)]
        sums = [
            loss.divisor(targets[p]) * loss(paddle.to_tensor(outputs[p]), paddle.to_tensor(targets[p])).item()
            for p in parts
        ]
        assert sum(sums) / sum(loss.divisor(targets[p]) for p in parts) == pytest.approx(whole, rel=1e-5)
    assert CrossEntropy(SPEC).divisor(classes) == 12
    assert NegativeLogLikelihood(SPEC, class_weights=weights).divisor(classes) == pytest.approx((classes + 1).sum())


def test_cores_are_shared_out_evenly() -> None:
    assert shared_out([4, 5, 6, 7, 8], 2, 2) == [[4, 5], [6, 7]]
    with pytest.raises(DeviceError, match=r"3 devices of device.threads=2 need 6 CPU cores.* Use trainer.devices=2\."):
        shared_out([4, 5, 6, 7], 3, 2)
    with pytest.raises(DeviceError, match=r"Use trainer.devices=1 device.threads=1\."):
        shared_out([4], 2, 2)


@pytest.mark.parametrize("override", ["trainer.devices=0", "trainer.devices_timeout=0"])
def test_numbers_out_of_range_are_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=override):
        compose(["+experiment=mnist_mlp", override])


def test_another_number_of_devices_is_another_run_but_may_be_gone_on_with() -> None:
    one, two, patient = (
        compose(["+experiment=mnist_mlp", f"trainer.{option}"]).resolved
        for option in ("devices=1", "devices=2", "devices_timeout=5")
    )
    assert config_hash(one) != config_hash(two)
    assert config_hash(one) == config_hash(patient)
    check_change("trainer.devices=2")
