from __future__ import annotations

import numpy as np
import pytest

from expkit.spec import ArraySplit


def test_a_spec_answers_for_its_input_and_target(tiny_spec, table_spec):
    assert tiny_spec.input_shape == (1, 28, 28)
    assert tiny_spec.input_dtype == "float32"
    assert tiny_spec.outputs == 10
    assert tiny_spec.labels == tuple("0123456789")
    assert tiny_spec.is_classification
    assert table_spec.input_shape == (13,)
    assert table_spec.labels == ()
    assert table_spec.outputs == 1
    assert not table_spec.is_classification


def test_gathering_copies_so_that_nobody_can_write_into_the_split():
    split = ArraySplit(np.arange(4, dtype=np.uint8), np.arange(4))
    inputs, targets = split.gather(np.array([3, 1, 1]))
    assert inputs.tolist() == targets.tolist() == [3, 1, 1]
    inputs[:], targets[:] = 9, 9
    assert split.inputs.tolist() == split.targets.tolist() == [0, 1, 2, 3]


def test_inputs_and_targets_of_different_length_are_refused():
    with pytest.raises(ValueError, match="3 inputs but 2 targets"):
        ArraySplit(np.zeros(3), np.zeros(2))
