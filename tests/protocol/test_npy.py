"""Arrays as .npy bytes: what goes through, and the bombs that do not."""

import io
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.npy import MAX_HEADER_SIZE, npy_header, read_npy, read_npy_header, write_npy

NUMBERS = (
    hypothesis_numpy.integer_dtypes()
    | hypothesis_numpy.unsigned_integer_dtypes()
    | hypothesis_numpy.floating_dtypes(sizes=(16, 32, 64))
)
SHAPES = hypothesis_numpy.array_shapes(min_dims=1, max_dims=4, max_side=4)


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def with_header(text: str, data: bytes = b"", version: int = 1) -> bytes:
    header = text.encode("latin1")
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def refusal(data: bytes, max_elements: int = 1000) -> str:
    with pytest.raises(VistokError) as caught:
        read_npy(data, max_elements=max_elements)
    assert caught.value.code == ErrorCode.INVALID_ARRAY
    return caught.value.detail


@given(array=hypothesis_numpy.arrays(NUMBERS, SHAPES))
@settings(deadline=None)
def test_arrays_come_back_in_native_byte_order(array: np.ndarray) -> None:
    read = read_npy(write_npy(array), max_elements=array.size)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype.newbyteorder("=")
    assert read.dtype.isnative
    assert read.flags.writeable


def test_fortran_order_is_understood() -> None:
    array = np.asfortranarray(np.arange(12).reshape(3, 4))
    read = read_npy(saved(array), max_elements=12)
    np.testing.assert_array_equal(read, array)
    assert read.flags.c_contiguous


def test_numpy_reads_what_is_written() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(np.load(io.BytesIO(write_npy(array))), array)


def test_a_pickle_never_runs() -> None:
    class Harmful:
        def __reduce__(self) -> tuple[type[SystemExit], tuple[str]]:
            return SystemExit, ("the pickle ran",)

    array = np.empty(1, dtype=object)
    array[0] = Harmful()
    assert "object" in refusal(saved(array))
    refusal(pickle.dumps(array))


REFUSED = {
    "structured": np.zeros(2, dtype=[("a", "i4"), ("b", "f4")]),
    "text": np.array(["ab"]),
    "bytes": np.array([b"ab"]),
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "complex": np.zeros(2, dtype=complex),
    "booleans": np.zeros(2, dtype=bool),
    "empty": np.zeros((0, 3), dtype=np.float32),
    "a scalar": np.array(1.0),
    "nine dimensions": np.zeros((1,) * 9, dtype=np.uint8),
    "too many elements": np.zeros(1001, dtype=np.uint8),
}


@pytest.mark.parametrize("array", REFUSED.values(), ids=REFUSED.keys())
def test_arrays_that_nobody_needs_are_refused(array: np.ndarray) -> None:
    refusal(saved(array))


@pytest.mark.parametrize("length", range(len(saved(np.zeros(3)))))
def test_every_truncation_is_refused(length: int) -> None:
    refusal(saved(np.zeros(3))[:length])


def test_trailing_bytes_are_refused() -> None:
    assert "expected 24 bytes" in refusal(saved(np.zeros(3)) + b"\0")


BOMBS = {
    "shape": "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }",
    "shape that overflows": "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
    "shape with a zero": "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 4611686018427387904), }",
    "negative shape": "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1), }",
    "wide item": "{'descr': '|V2000000000', 'fortran_order': False, 'shape': (1,), }",
    "wide text": "{'descr': '<U500000000', 'fortran_order': False, 'shape': (1,), }",
    "subarray": "{'descr': ('<f8', (1000000,)), 'fortran_order': False, 'shape': (1,), }",
    "nesting": "(" * 900,
    "long": "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }" + " " * 10 * MAX_HEADER_SIZE,
    "code": "__import__('os').system('true')",
    "missing key": "{'descr': '<f8', 'shape': (1,), }",
    "open bracket": "{'descr': '<f8', 'fortran_order': False, 'shape': (1L,",
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("header", BOMBS.values(), ids=BOMBS.keys())
def test_a_header_that_claims_much_allocates_little(header: str, version: int) -> None:
    data = with_header(header, version=version)
    tracemalloc.start()
    try:
        refusal(data)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_header_length_beyond_the_end_is_refused() -> None:
    refusal(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}")
    assert "3.0" in refusal(b"\x93NUMPY\x03\x00\x02\x00\x00\x00{}")


@given(
    noise=st.binary(max_size=60), opening=st.sampled_from([b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00"])
)
@settings(deadline=None)
def test_noise_is_refused_with_our_error(noise: bytes, opening: bytes) -> None:
    refusal(opening + noise)


def test_objects_are_not_written() -> None:
    with pytest.raises(VistokError, match="object"):
        write_npy(np.array([None]))


def test_a_header_is_read_up_to_its_end_and_no_further() -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    stream = io.BytesIO(npy_header(array.shape, array.dtype) + array.tobytes())
    header = read_npy_header(stream)
    assert (header.shape, header.dtype, header.fortran_order) == ((2, 3), np.int16, False)
    assert stream.read() == array.tobytes()
    np.testing.assert_array_equal(np.load(io.BytesIO(stream.getvalue())), array)


@pytest.mark.parametrize("version", [1, 2])
def test_of_a_header_without_end_little_is_read(version: int) -> None:
    length = 60_000 if version == 1 else 2**32 - 1
    opening = b"\x93NUMPY" + bytes([version, 0]) + length.to_bytes(2 * version, "little")
    stream = io.BytesIO(opening + b" " * 10**6)
    with pytest.raises(VistokError) as refused:
        read_npy_header(stream)
    assert refused.value.code is ErrorCode.INVALID_ARRAY
    assert stream.tell() <= MAX_HEADER_SIZE + 12
