import numpy as np
import pytest
from expkit.api import ConfigError
from expkit.testing import check_transform, example_batch, example_specs

from plugin_name.mixup import Mixup


def test_it_keeps_the_promises_of_a_transform():
    check_transform(Mixup)


def test_inputs_and_targets_keep_their_mean():
    table = example_specs()[2]
    batch = example_batch(table)
    mixed = Mixup(table, alpha=1.0)(batch, np.random.default_rng(0))
    assert not np.array_equal(mixed.inputs, batch.inputs)
    np.testing.assert_allclose(mixed.inputs.mean(axis=0), batch.inputs.mean(axis=0))
    np.testing.assert_allclose(mixed.targets.mean(), batch.targets.mean(), atol=1e-6)


def test_an_alpha_of_zero_is_refused():
    with pytest.raises(ConfigError, match="alpha=0: must be above 0"):
        Mixup(example_specs()[0], alpha=0)
