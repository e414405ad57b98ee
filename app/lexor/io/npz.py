"""Reading of .npz files that may be damaged or hostile, and atomic writing of them.

Nothing in a file is trusted: sizes are checked against the array's header before memory is taken for them,
no more is decompressed than the header accounts for, and object arrays are decoded as data (`_objects`).
Only the keys asked for are opened.

Source: the .npy format is numpy's NEP 1; an .npz is a zip file of them.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np
from numpy.lib import format as npy

from lexor.errors import CaseError, shown
from lexor.io.pickles import decode
from lexor.io.whole import whole

MAX_ARRAY_BYTES: Final = 4 << 30
MAX_VALUES_BYTES: Final = 4 << 20  # about 10,000 classes with their boxes
_MAX_HEADER: Final = 2048
_CHUNK: Final = 1 << 20
_SHOWN_KEYS: Final = 8
# What else people call it.
_ALSO_CALLED: Final = {
    "imgs": ("img", "image", "images", "data", "volume", "vol", "scan", "arr_0"),
    "gts": ("gt", "label", "labels", "mask", "masks", "seg", "segs", "truth"),
}

Check = Callable[[tuple[int, ...]], None]


class NpzReader:
    """An open .npz file; `key in reader` says what it has, and two methods read it.

    path: the file. Everything that can be wrong with it raises CaseError, from opening to reading.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():  # a pipe or a device would block
            raise CaseError(f"{self.path}: no such file; give the path of a .npz file")
        with self._readable("the file"):
            self._zip = zipfile.ZipFile(self.path)
        self._members = Counter(self._zip.namelist())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def __contains__(self, key: str) -> bool:
        return f"{key}.npy" in self._members

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of an array, of which only the header is read; raises CaseError as `array` does."""
        with self._member(key) as (stream, _):
            return _read_header(stream)[0]

    def array(self, key: str, max_bytes: int = MAX_ARRAY_BYTES, check: Check | None = None) -> np.ndarray:
        """Read an array of numbers or text.

        check: is given the array's shape before anything of it is decompressed, and raises what it likes.
        Returns a C-contiguous array as stored. Raises CaseError for a missing key, an object array, more
        than max_bytes, and any damage.
        """
        with self._member(key) as (stream, size):
            shape, fortran_order, dtype, head = _read_header(stream)
            if check is not None:
                check(shape)
            if dtype.kind not in "biufcSU" or not dtype.itemsize:
                raise ValueError(f"an array of dtype {str(dtype)[:60]} is not one of numbers")
            # An empty array can still claim astronomical lengths along its other axes.
            extent = math.prod(max(length, 1) for length in shape) * dtype.itemsize
            if extent > max_bytes:
                raise ValueError(f"its {extent:,} bytes are more than the {max_bytes:,} allowed")
            count = math.prod(shape)
            if size != head.tell() + count * dtype.itemsize:
                raise ValueError(f"its {size:,} bytes do not fit shape {shape} of {dtype}")
            array = np.empty(count, dtype)
            _read_exactly(head, stream, array.view(np.uint8).data)
        if fortran_order:
            return np.ascontiguousarray(array.reshape(shape[::-1]).T)
        return array.reshape(shape)

    def values(self, key: str, max_bytes: int = MAX_VALUES_BYTES) -> Any:
        """Read an array, of objects or not, as nested lists of plain Python values.

        Returns lists nested as the array's shape says, or the one element of a 0-d array; see
        `_objects.decode` for what an object array may hold. Raises CaseError as `array` does.
        """
        with self._member(key) as (stream, size):
            if size > max_bytes:
                raise ValueError(f"its {size:,} bytes are more than the {max_bytes:,} allowed")
            _, _, dtype, head = _read_header(stream)
            if dtype.hasobject:
                content = bytearray(size - head.tell())
                _read_exactly(head, stream, memoryview(content))
                return decode(bytes(content))
        return self.array(key, max_bytes).tolist()

    @contextmanager
    def _member(self, key: str) -> Iterator[tuple[IO[bytes], int]]:
        """Open one key's stream, with its declared size once decompressed."""
        if key not in self:
            raise CaseError(f"{self.path.name}: {key} is missing; {self._instead_of(key)}")
        with self._readable(key):
            if self._members[f"{key}.npy"] > 1:
                raise ValueError("it is there more than once")
            info = self._zip.getinfo(f"{key}.npy")
            if info.flag_bits & 1:
                raise ValueError("it is encrypted")
            # bzip2 and lzma are never written by numpy, and lzma may ask for gigabytes to start with.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("it is compressed in a way that numpy does not use")
            with self._zip.open(info) as stream:
                yield stream, info.file_size

    def _instead_of(self, key: str) -> str:
        """What the file has in place of a key, and what to do about it."""
        keys = [name.removesuffix(".npy") for name in self._members]
        if not keys:
            return "the file has no key at all, write it again with numpy.savez_compressed"
        likely = [name for name in keys if name.lower() in (key, *_ALSO_CALLED.get(key, ()))]
        found = ", ".join(map(shown, keys[:_SHOWN_KEYS])) + ", ..." * (len(keys) > _SHOWN_KEYS)
        return f"the file has {found}, save {shown(likely[0]) if likely else 'it'} under the key {key}"

    @contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        try:
            yield
        except CaseError:
            raise
        except Exception as error:
            # zipfile, zlib and numpy's header parser raise a dozen unrelated types on damaged input.
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise CaseError(
                f"{self.path.name}: {what} cannot be read ({reason}); "
                "write it again with numpy.savez_compressed"
            ) from error


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], io.BytesIO]:
    """Shape, order and dtype, and the bytes read so far, positioned where the array's data begin."""
    # numpy reads as many bytes as the header claims to have before it looks at its limit: give it few.
    head = io.BytesIO(stream.read(_MAX_HEADER))
    match npy.read_magic(head):
        case (1, 0):
            shape, fortran_order, dtype = npy.read_array_header_1_0(head, max_header_size=_MAX_HEADER)
        case (2, 0):
            shape, fortran_order, dtype = npy.read_array_header_2_0(head, max_header_size=_MAX_HEADER)
        case version:
            raise ValueError(f"its .npy version {version} is unknown")
    if len(shape) > 8 or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError("its header has an impossible shape")
    return shape, fortran_order, dtype, head


def _read_exactly(head: IO[bytes], stream: IO[bytes], target: memoryview) -> None:
    """Fill target from head, then stream; reading to the end makes zipfile verify the checksum."""
    done = 0
    for source in (head, stream):
        while chunk := source.read(min(_CHUNK, len(target) - done) or 1):
            if done + len(chunk) > len(target):
                raise ValueError("it is longer than its header says")
            target[done : done + len(chunk)] = chunk
            done += len(chunk)
    if done < len(target):
        raise ValueError(f"it ends after {done:,} of {len(target):,} bytes")


@dataclass(frozen=True)
class Pieces:
    """An array to be written that is never in memory as a whole: its items along the first axis, in order."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    items: Iterable[np.ndarray]

    def write(self, stream: IO[bytes]) -> None:
        """Write it in the .npy format. Raises ValueError where the items do not make up the shape."""
        head = {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        npy.write_array_header_1_0(stream, head)
        written = sum(stream.write(np.ascontiguousarray(item, self.dtype).data) for item in self.items)
        if written != math.prod(self.shape) * self.dtype.itemsize:
            raise ValueError(f"the items of an array {self.shape} of {self.dtype} have {written} bytes")


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray | Pieces]) -> None:
    """Write arrays as a compressed .npz that appears complete or not at all.

    path: where to; a file that is there is replaced in one step, and stays as it is if anything fails.
    arrays: by key; object arrays are pickled. The same arrays give the same bytes.
    Raises OSError where the directory cannot be written.
    """
    # Like any new file, and unlike tempfile's, it is readable as the umask says.
    # Level 1: labels shrink a hundredfold at any level, and time is what a case is short of.
    with (
        whole(Path(path)) as temporary,
        zipfile.ZipFile(temporary, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for key, array in arrays.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                if isinstance(array, Pieces):
                    array.write(member)
                else:
                    npy.write_array(member, array)
