"""Packed arrays of nnInteractive's protocol ("NNIA"): blosc2 behind a header, read as what an enemy may have sent.

    4 B "NNIA" | version 1 | codec (1 ZSTD, 2 LZ4) | number of axes | length of the dtype's name
    the name, ASCII | a little-endian int64 for each axis | uint32: number of chunks
    for each chunk: uint64 bytes when unpacked | uint64 bytes as packed | a blosc2 chunk

All sizes are compared with each other, and with what the caller allows, before memory is taken for them. A blosc2
chunk may name codecs and filters of its own, for which the library would look for plug-ins, or leave memory as it
is; such chunks are refused.

Source: nnInteractive 2.6, client/nnInteractive/inference/remote/serialization.py; blosc2's README_CHUNK_FORMAT.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from lexor.errors import shown
from lexor.serving.refusal import Refusal

_MAGIC: Final = b"NNIA"
_CODECS: Final = (1, 2)
_MOST_AXES: Final = 4
_KINDS: Final = "biuf"
# What blosc2 takes at a time is counted in an int32.
_CHUNK: Final = 1 << 30
_FRAME: Final = 32
# Formats of compressed data: blosclz, lz4, zlib, zstd. 6 is anybody's.
_FORMATS: Final = (0, 1, 3, 4)
_EXTENDED: Final = 0b101
# None, shuffle and bitshuffle.
_FILTERS: Final = (0, 1, 2)
# No special chunk, zeros, NaNs, one value repeated; 4 is memory as it was.
_SPECIAL: Final = (0, 1, 2, 3)

Check = Callable[["Header"], None]


@dataclass(frozen=True)
class Header:
    """What a packed array says of itself."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """When unpacked."""
        return math.prod(self.shape) * self.dtype.itemsize


def unpack(packed: bytes | bytearray, most: int, check: Check = lambda header: None) -> np.ndarray:
    """The array.

    Args:
        packed: as it came.
        most: bytes that it may have when unpacked.
        check: is called with its header before anything is unpacked; raises Refusal where it is not wanted.

    Raises:
        Refusal: it is too large (413), or no such array (400).
    """
    try:
        header, at = _read_header(packed)
        if header.nbytes > most:
            raise Refusal(413, f"the array has {header.nbytes:,} bytes when unpacked; give at most {most:,}")
        check(header)
        chunks = _chunks(packed, at, header)
    except struct.error:
        raise _bad("it ends too early") from None
    return _decompressed(packed, chunks, header)


def pack(array: np.ndarray) -> bytes:
    """A packed array, for the client."""
    import blosc2  # type: ignore[import-untyped]

    array = np.ascontiguousarray(array)
    name = array.dtype.name.encode("ascii")
    raw = array.reshape(-1).view(np.uint8)
    parts = [raw[start : start + _CHUNK] for start in range(0, raw.size, _CHUNK)]
    out = [struct.pack("<4sBBBB", _MAGIC, 1, 2, array.ndim, len(name)), name]
    out += [struct.pack(f"<{array.ndim}q", *array.shape), struct.pack("<I", len(parts))]
    for part in parts:
        chunk = blosc2.compress2(
            part,
            typesize=array.dtype.itemsize,
            codec=blosc2.Codec.LZ4,
            clevel=5,
            filters=[blosc2.Filter.NOFILTER],
        )
        out += [struct.pack("<QQ", part.size, len(chunk)), chunk]
    return b"".join(out)


def _bad(why: str) -> Refusal:
    return Refusal(400, f"the packed array cannot be read: {why}")


def _read_header(packed: bytes | bytearray) -> tuple[Header, int]:
    """The header, and where the number of chunks stands."""
    magic, version, codec, axes, length = struct.unpack_from("<4sBBBB", packed)
    if magic != _MAGIC or version != 1 or codec not in _CODECS:
        raise _bad(f"it begins with {shown(bytes(packed[:6]))}; give NNIA, version 1, codec 1 or 2")
    if not 0 < axes <= _MOST_AXES:
        raise _bad(f"it has {axes} axes; give 1 to {_MOST_AXES}")
    at = struct.calcsize("<4sBBBB") + length
    name = bytes(packed[at - length : at])
    shape = struct.unpack_from(f"<{axes}q", packed, at)
    if min(shape) < 1:
        raise _bad(f"it has the shape {shape}; give at least one voxel on each axis")
    return Header(_dtype(name), shape), at + 8 * axes


def _dtype(name: bytes) -> np.dtype[Any]:
    try:
        dtype = np.dtype(name.decode("ascii"))
    except (TypeError, ValueError, SyntaxError):
        dtype = np.dtype(object)
    # "i4" or ">f8" would be understood as well, but nobody sends it.
    if dtype.kind not in _KINDS or dtype.itemsize > 8 or dtype.name.encode("ascii") != name:
        raise _bad(
            f"its dtype is {shown(name)}; give bool, int8 to int64, uint8 to uint64 or float16 to float64"
        )
    return dtype


def _chunks(packed: bytes | bytearray, at: int, header: Header) -> list[tuple[int, int, int]]:
    """Of each chunk the bytes when unpacked, where it begins, and where it ends."""
    (count,) = struct.unpack_from("<I", packed, at)
    at += 4
    found: list[tuple[int, int, int]] = []
    total = 0
    for _ in range(count):
        unpacked, length = struct.unpack_from("<QQ", packed, at)
        at += 16
        if not 0 < unpacked <= header.nbytes - total or not _FRAME <= length <= len(packed) - at:
            raise _bad("a chunk is longer or shorter than it should be")
        _check_frame(packed[at : at + _FRAME], unpacked, length)
        found.append((unpacked, at, at + length))
        total += unpacked
        at += length
    if total != header.nbytes or at != len(packed):
        raise _bad(f"its chunks hold {total:,} bytes, its shape {header.nbytes:,}")
    return found


def _check_frame(frame: bytes | bytearray, unpacked: int, length: int) -> None:
    flags = frame[2]
    nbytes, _, cbytes = struct.unpack_from("<iii", frame, 4)
    if (nbytes, cbytes) != (unpacked, length):
        raise _bad(f"a chunk of {unpacked:,} bytes, {length:,} packed, says {nbytes:,} and {cbytes:,}")
    plain = (
        flags & _EXTENDED == _EXTENDED
        and flags >> 5 in _FORMATS
        and all(code in _FILTERS for code in frame[16:22])
        and frame[31] >> 4 & 0b111 in _SPECIAL
        and not frame[31] & 0b1111
    )
    if not plain:
        raise _bad("a chunk wants a codec, a filter or a flag that is not taken")


def _decompressed(
    packed: bytes | bytearray, chunks: list[tuple[int, int, int]], header: Header
) -> np.ndarray:
    import blosc2

    try:
        # Zeros: should the library write less than it says, nobody else's memory shows.
        raw = np.zeros(header.nbytes, np.uint8)
    except MemoryError:
        raise Refusal(413, f"the server has no memory for {header.nbytes:,} bytes") from None
    source = memoryview(packed)
    done = 0
    for unpacked, start, end in chunks:
        try:
            blosc2.decompress2(source[start:end], dst=raw[done : done + unpacked])
        except (RuntimeError, ValueError, TypeError) as problem:
            raise _bad(f"blosc2 cannot unpack it ({problem})") from None
        done += unpacked
    # Bytes beyond 0 and 1 are no booleans.
    values = raw != 0 if header.dtype.kind == "b" else raw.view(header.dtype)
    return values.reshape(header.shape)
