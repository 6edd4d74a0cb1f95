from __future__ import annotations

import numpy as np
import pytest

from expkit.api import Array, ArraySplit, Data, DataSource, DataSpec, TableInput, Values
from expkit.data_checks import check_data
from expkit.errors import PluginError


def table(targets: Array, precision: str = "float32") -> Data:
    inputs = TableInput(("x",), (0.0,), (1.0,), precision)
    values = Values(("y",), (0.0,), (1.0,), precision=precision)
    spec = DataSpec("tiny", inputs, values, DataSource("generated", "a test"), "0" * 64)
    split = ArraySplit(np.zeros((len(targets), 1)), targets)
    return Data(spec, split, split, split)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_values_are_held_against_the_precision_of_their_target(precision):
    right = table(np.zeros((3, 1), precision), precision)
    assert check_data(right, "tiny") is right
    other = {"float32": "float64", "float64": "float32"}[precision]
    with pytest.raises(PluginError, match=rf"gives targets \[3, 1\] {other}; 1 values are \[N, 1\] {precision}"):
        check_data(table(np.zeros((3, 1), other), precision), "tiny")


def test_samples_of_another_shape_than_the_specs_are_named():
    split = ArraySplit(np.zeros((3, 4)), np.zeros((3, 1), np.float32))
    spec = DataSpec("tiny", TableInput(("x", "y", "z"), (0.0,) * 3, (1.0,) * 3), *_REST)
    with pytest.raises(PluginError, match=r"'tiny': its train split gives samples \[2, 4\], which .* inputs \[2, 3\]"):
        check_data(Data(spec, split, split, split), "tiny")


_REST = (Values(("y",), (0.0,), (1.0,)), DataSource("generated", "a test"), "0" * 64)


def test_a_dataset_as_paddle_has_it_is_led_to_the_adapter():
    with pytest.raises(PluginError, match=r"of\._target_=my_data\.Digits$"):
        check_data([1, 2], "my_data.Digits")  # type: ignore[arg-type]


@pytest.mark.parametrize(("in_memory", "most"), [(True, 1000), (False, 16)])
def test_few_samples_are_looked_at_where_each_is_read_from_a_file(in_memory, most):
    asked = []

    class Noted(ArraySplit):
        def gather(self, indices):
            asked.append(len(indices))
            return super().gather(indices)

    Noted.in_memory = in_memory
    split = Noted(np.zeros((2000, 1)), np.zeros((2000, 1), np.float32))
    check_data(Data(table(np.zeros((3, 1), np.float32)).spec, split, split, split), "tiny")
    assert asked == [most] * 3
