"""Packed arrays: what nnInteractive packs is read and the other way round, and damaged ones are one clear refusal."""

from __future__ import annotations

import struct
import warnings
from contextlib import suppress

import blosc2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lexor.serving.packed import Header, pack, unpack
from lexor.serving.refusal import Refusal

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from nnInteractive.inference.remote.serialization import pack_array, unpack_array

MOST = 1 << 20
DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "uint16",
    "int32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]
GOOD = pack_array(np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5))
# Header, dtype's name, shape and number of chunks; then the first chunk's two lengths, and its frame.
LENGTHS = 8 + len("int16") + 3 * 8 + 4
FRAME = LENGTHS + 16


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda name: arrays.arrays(name, arrays.array_shapes(min_dims=1, max_dims=4, max_side=6))
    ),
    st.sampled_from([None, [blosc2.Filter.NOFILTER], [blosc2.Filter.SHUFFLE], [blosc2.Filter.BITSHUFFLE]]),
    st.sampled_from([blosc2.Codec.ZSTD, blosc2.Codec.LZ4]),
)
def test_both_sides_read_what_the_other_packs(
    array: np.ndarray, filters: list[blosc2.Filter] | None, codec: blosc2.Codec
) -> None:
    for found in (unpack(pack_array(array, codec, filters=filters), MOST), unpack_array(pack(array))):
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("value", [0, 1, 255])
def test_constant_arrays_are_read(value: int) -> None:
    # blosc2 keeps them as a few bytes, whatever their size.
    packed = pack_array(np.full((50, 100, 100), value, np.uint8))
    assert len(packed) < 200
    assert (unpack(packed, MOST) == value).all()


def refusal(packed: bytes, most: int = MOST) -> Refusal:
    with pytest.raises(Refusal) as caught:
        unpack(packed, most)
    assert "\n" not in caught.value.detail
    assert len(caught.value.detail) < 300
    return caught.value


def test_a_bomb_is_refused_by_its_header() -> None:
    small = pack_array(np.zeros((64, 128, 128), np.uint8))
    assert len(small) < 200
    problem = refusal(small, MOST - 1)
    assert (problem.status, problem.detail) == (
        413,
        "the array has 1,048,576 bytes when unpacked; give at most 1,048,575",
    )
    shape = struct.pack("<3q", 1 << 40, 1 << 40, 1 << 40)
    assert refusal(GOOD[:13] + shape + GOOD[37:]).status == 413


def test_the_caller_may_refuse_what_the_header_says() -> None:
    def check(header: Header) -> None:
        assert header == Header(np.dtype(np.int16), (3, 4, 5))
        raise Refusal(400, "not that")

    with pytest.raises(Refusal, match="not that"):
        unpack(GOOD[:LENGTHS], MOST, check)


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        (b"", "it ends too early"),
        (GOOD[:6], "it ends too early"),
        (GOOD[:20], "it ends too early"),
        (b"PK\3\4" + GOOD[4:], "it begins with"),
        (GOOD[:4] + b"\2" + GOOD[5:], "it begins with"),
        (GOOD[:5] + b"\7" + GOOD[6:], "it begins with"),
        (GOOD[:6] + b"\0" + GOOD[7:], "0 axes"),
        (GOOD[:6] + b"\xff" + GOOD[7:], "255 axes"),
        (GOOD[:8] + b"objec" + GOOD[13:], "dtype"),
        (GOOD[:8] + b"int99" + GOOD[13:], "dtype"),
        (GOOD[:8] + b"\xff\0\n\r(" + GOOD[13:], "dtype"),
        (GOOD[:7] + b"\1O" + GOOD[13:], "dtype"),
        (GOOD[:7] + b"\6object" + GOOD[13:], "dtype"),
        (GOOD[:7] + b"\2i2" + GOOD[13:], "dtype"),
        (GOOD[:7] + b"\x12i2,i2,i2,i2,i2,i2," + GOOD[13:], "dtype"),
        (GOOD[:13] + struct.pack("<q", -3) + GOOD[21:], "at least one voxel"),
        (GOOD[:13] + struct.pack("<q", 0) + GOOD[21:], "at least one voxel"),
        (GOOD[:13] + struct.pack("<q", 2) + GOOD[21:], "longer or shorter"),
        (GOOD[:13] + struct.pack("<q", 4) + GOOD[21:], "its chunks hold"),
        (GOOD + b"more", "its chunks hold"),
        (GOOD[: LENGTHS - 4] + struct.pack("<I", 0) + GOOD[LENGTHS:], "its chunks hold"),
        (GOOD[: LENGTHS - 4] + struct.pack("<I", 2) + GOOD[LENGTHS:], "it ends too early"),
        (GOOD[: LENGTHS - 4] + struct.pack("<I", 0xFFFFFFFF) + GOOD[LENGTHS:], "it ends too early"),
        (GOOD[:LENGTHS] + struct.pack("<Q", 1 << 63) + GOOD[LENGTHS + 8 :], "longer or shorter"),
        (GOOD[:LENGTHS] + struct.pack("<Q", 0) + GOOD[LENGTHS + 8 :], "longer or shorter"),
        (GOOD[:LENGTHS] + struct.pack("<Q", 119) + GOOD[LENGTHS + 8 :], "a chunk of 119 bytes"),
        (GOOD[: LENGTHS + 8] + struct.pack("<Q", 1 << 60) + GOOD[FRAME:], "longer or shorter"),
        (GOOD[: LENGTHS + 8] + struct.pack("<Q", 4) + GOOD[FRAME:], "longer or shorter"),
        (GOOD[:-3], "longer or shorter"),
        # A blosc2 chunk of another size than is said of it.
        (GOOD[: FRAME + 4] + struct.pack("<i", 1 << 30) + GOOD[FRAME + 8 :], "a chunk of 120 bytes"),
        (GOOD[: FRAME + 4] + struct.pack("<i", -1) + GOOD[FRAME + 8 :], "a chunk of 120 bytes"),
        # Anybody's codec, anybody's filter, a lazy chunk, memory as it was.
        (GOOD[: FRAME + 2] + bytes([GOOD[FRAME + 2] & 31 | 6 << 5]) + GOOD[FRAME + 3 :], "not taken"),
        (GOOD[: FRAME + 16] + b"\x80" + GOOD[FRAME + 17 :], "not taken"),
        (GOOD[: FRAME + 31] + b"\x08" + GOOD[FRAME + 32 :], "not taken"),
        (GOOD[: FRAME + 31] + b"\x40" + GOOD[FRAME + 32 :], "not taken"),
    ],
)
def test_a_damaged_array_is_refused_in_words(damaged: bytes, why: str) -> None:
    problem = refusal(damaged)
    assert problem.status == 400
    assert why in problem.detail


@given(st.data())
def test_whatever_is_damaged_nothing_but_a_refusal_comes_of_it(data: st.DataObject) -> None:
    rng = np.random.default_rng(0)
    packed = bytearray(pack_array(rng.integers(0, 4, (6, 30, 30)).astype(np.uint8)))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    packed = packed[: data.draw(st.integers(len(packed) - 40, len(packed)))]
    with suppress(Refusal):
        assert unpack(packed, MOST).nbytes <= MOST


@given(st.binary(max_size=200))
def test_any_bytes_are_a_refusal(junk: bytes) -> None:
    refusal(junk)
    refusal(b"NNIA\1\1" + junk)
