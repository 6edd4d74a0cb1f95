from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load, save

from expkit.api import LearnerState
from expkit.checkpoint import CheckpointFolder, Snapshot
from expkit.errors import CheckpointError
from expkit.tensor_file import read_tensors, write_tensors

KINDS = ("uint64", "int64", "float64", "complex64", "float32", "uint32", "int32", "float16", "uint16", "int16")
ARRAYS = {
    **{f"of {kind}": np.arange(6).reshape(2, 3).astype(kind) for kind in (*KINDS, "int8", "uint8", "bool")},
    "scalar": np.array(3.25, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "größe": np.array([1.5], np.float16),
    'quoted "name"\n': np.array([-1], np.int8),
}


def written(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    write_tensors(file, arrays)
    return file.getvalue()


@pytest.mark.parametrize("arrays", [ARRAYS, {}, {"b": np.ones(3, np.float32), "a": np.zeros(5, np.float32)}])
def test_a_file_is_that_of_safetensors_byte_by_byte_and_each_reads_the_others(arrays):
    content = written(arrays)
    assert content == save(arrays)
    for read in (load(content), read_tensors(np.frombuffer(save(arrays), np.uint8))):
        assert set(read) == set(arrays)
        for name, array in arrays.items():
            assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
            assert read[name].tobytes() == array.tobytes()


def test_metadata_that_another_program_has_written_is_passed_over():
    content = np.frombuffer(save({"a": np.ones(2)}, metadata={"format": "np"}), np.uint8)
    assert list(read_tensors(content)) == ["a"]


def test_other_byte_orders_and_memory_layouts_are_put_in_order():
    array = np.arange(24, dtype=np.float64).reshape(4, 6)
    for given in (array.T, array[::2, ::-2], np.asfortranarray(array), array.astype(">f8")):
        back = read_tensors(np.frombuffer(written({"a": given}), np.uint8))["a"]
        np.testing.assert_array_equal(back, given)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda content: content[:20], "header of the arrays is cut short"),
        (lambda content: content[:-1], "'a' does not lie in bytes 0 to 16 of 15"),
        (lambda content: content.replace(b"[0,16]", b"[0,15]"), "'a' does not lie in bytes 0 to 15 of 16"),
        (lambda content: b"", "cut short|Expecting value"),
    ],
)
def test_what_is_no_such_file_is_refused_with_the_reason(damage, why):
    with pytest.raises(ValueError, match=why):
        read_tensors(np.frombuffer(damage(written({"a": np.ones(2)})), np.uint8))


def test_a_dtype_that_cannot_be_kept_is_named_with_its_array():
    with pytest.raises(CheckpointError, match=r"array 'mine' is complex128, which no checkpoint can hold\. It may be "):
        written({"mine": np.ones(2, np.complex128)})


def test_a_checkpoint_is_written_without_a_copy_of_its_arrays_and_read_with_one(tmp_path):
    size = 1 << 24
    arrays = {"w": np.zeros(size, np.uint8)}
    snapshot = Snapshot(LearnerState(arrays, {"w/moment1_0": arrays["w"]}), {"epoch": 1, "step": 1})
    folder = CheckpointFolder(tmp_path)
    tracemalloc.start()
    try:
        folder.save(snapshot, best=True)
        assert tracemalloc.get_traced_memory()[1] < size / 8
        tracemalloc.reset_peak()
        folder.load("best")
        assert tracemalloc.get_traced_memory()[1] < 2.25 * size
    finally:
        tracemalloc.stop()
