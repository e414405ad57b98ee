"""Decoding of pickled object arrays as data."""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict, defaultdict
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from case_files import objects
from lexor.io.pickles import decode

PLAIN = {
    "int": np.int64(700),
    "negative": -3,
    "small": np.uint8(1),
    "float": np.float32(1.5),
    "bool": np.bool_(True),
    "none": None,
    "text": np.str_("fg"),
    "bytes": b"\xff\x00",
    "tuple": (1, 2, 3, (4,)),
    "huge": 10**30,
    "array": np.arange(6, dtype=">i2").reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "objects": np.array([None, "x"], dtype=object),
}
PLAIN_DECODED = {
    **{key: value for key, value in PLAIN.items() if not isinstance(value, np.generic | np.ndarray)},
    "int": 700,
    "small": 1,
    "float": 1.5,
    "bool": True,
    "text": "fg",
    "array": [[0, 1, 2], [3, 4, 5]],
    "fortran": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
    "objects": [None, "x"],
}


@pytest.mark.parametrize("protocol", range(5))
def test_plain_data_are_decoded_from_every_protocol(protocol: int):
    assert decode(pickle.dumps(objects(PLAIN, [1, [2]]), protocol=protocol)) == [PLAIN_DECODED, [1, [2]]]


@pytest.mark.parametrize("protocol", range(5))
def test_an_ordered_dict_is_a_dict(protocol: int):
    (found,) = decode(pickle.dumps(objects(OrderedDict(b=1, a=[2])), protocol=protocol))
    assert type(found) is dict
    assert found == {"b": 1, "a": [2]}


def test_old_text_with_a_wrong_escape_is_no_warning():
    with pytest.raises(ValueError, match="not a numpy array"):
        decode(b"S'\\ '\n.")


def test_pickles_of_numpy_1_are_decoded():
    data = pickle.dumps(objects(PLAIN), protocol=2)
    assert b"numpy._core" in data
    assert decode(data.replace(b"numpy._core", b"numpy.core")) == [PLAIN_DECODED]


def test_shape_of_an_object_array_is_kept():
    assert decode(pickle.dumps(np.array([["fg", None], ["bg", "fg"]], dtype=object), protocol=4)) == [
        ["fg", None],
        ["bg", "fg"],
    ]
    zero_dimensional = np.empty((), dtype=object)
    zero_dimensional[()] = [{"z_min": 1}]
    assert decode(pickle.dumps(zero_dimensional, protocol=4)) == [{"z_min": 1}]
    assert decode(pickle.dumps(np.empty((0,), dtype=object), protocol=4)) == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    ),
    st.integers(0, 4),
)
def test_any_plain_value_survives(value: Any, protocol: int):
    assert decode(pickle.dumps(objects(value), protocol=protocol)) == [value]


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=300)
def test_a_spoilt_pickle_raises_an_error_that_is_caught(junk: bytes, start: int, cut: int):
    data = pickle.dumps(objects(PLAIN), protocol=4)
    spoilt = data[:start] + junk + data[start + cut :]
    with suppress(ValueError, IndexError, KeyError, TypeError, AttributeError):  # what decode may raise
        decode(spoilt)


@pytest.mark.parametrize(
    "value",
    [defaultdict(int, a=1), {1, 2}, bytearray(b"x"), complex(1, 2), {1: 2}, print, np.datetime64("2025")],
)
def test_what_is_not_plain_data_is_refused(value: Any):
    with pytest.raises(ValueError, match=r"not (allowed|plain data|text)|unknown way"):
        decode(pickle.dumps(objects(value), protocol=4))


def array_pickle(shape: str, content: str, dtype: str = "u1") -> bytes:
    """Protocol 0 program for an array whose state claims shape."""
    return (
        "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        f"(I1\n{shape}cnumpy\ndtype\n(S'{dtype}'\nI0\nI1\ntRI00\n{content}tb."
    ).encode()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (array_pickle("(I99999999999\ntp0\n", "(l", "O8"), "unfold"),
        (array_pickle("(I999999999\nI0\ntp0\n", "(l", "O8"), "unfold"),
        (array_pickle("(I-1\ntp0\n", "(l", "O8"), "impossible shape"),
        (array_pickle("(I2\ntp0\n", "(lI1\na", "O8"), "reshape"),
        (array_pickle("(I2\ntp0\n", "(lI1\na", "V8"), "not allowed"),
        # Sixty doublings of one list: cheap to hold, endless to hash or print.
        (
            b"(lp0\n" + b"".join(b"(g%d\ng%d\ntp%d\n" % (i, i, i + 1) for i in range(60)) + b"(dg60\nI1\ns.",
            "not text",
        ),
        (b"\x80\x02]r\xff\xff\xff\xff.", "not a numpy array"),  # a memo of four billion entries
        (
            b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
            "expected 1099511627776 bytes",
        ),  # a terabyte of bytes
        (b"", "exhausted"),
        (b".", "pop from empty list"),
        (b"K\x01\x94.", "not a numpy array"),
        (b"t.", "end before they begin"),
        (b"K\x01K\x02R.", "unknown way"),
        (b"K\x01K\x02b.", "state"),
    ],
)
def test_pickles_that_would_take_all_memory_or_time(program: bytes, reason: str):
    with pytest.raises((ValueError, IndexError), match=reason):
        decode(program)


def test_shared_content_does_not_multiply():
    big = np.zeros(1000, np.uint8)
    once = pickle.dumps(objects(*[big.copy() for _ in range(20)]), protocol=2)
    assert len(decode(once)) == 20
    text = b"X" + struct.pack("<I", 1000) + b"a" * 1000 + b"q\x00"
    encode = b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tR"
    with pytest.raises(ValueError, match="not a numpy array"):
        decode(b"(" + text + encode + b"t.")
    with pytest.raises(ValueError, match="unfold"):
        decode(b"(" + text + encode * 500 + b"t.")
