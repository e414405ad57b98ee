"""Reading of damaged and hostile .npz files, and atomic writing."""

from __future__ import annotations

import io
import os
import pickle
import stat
import struct
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from case_files import Hostile, objects
from lexor.errors import CaseError
from lexor.io.npz import NpzReader, Pieces, write_npz

MIXED = {"a": [1, 2.5, None, "text", b"bytes", (True,)], "b": {"c": 10**30}}


def npy_bytes(header: dict[str, Any], data: bytes) -> bytes:
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, header)
    return stream.getvalue() + data


def numbers_header(shape: tuple[int, ...], descr: Any = "|u1") -> dict[str, Any]:
    return {"descr": descr, "fortran_order": False, "shape": shape}


def write_members(path: Path, *members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def read(path: Path, key: str = "a", **limits: int) -> np.ndarray:
    with NpzReader(path) as file:
        return file.array(key, **limits)


def read_values(path: Path, key: str = "a", **limits: int) -> Any:
    with NpzReader(path) as file:
        return file.values(key, **limits)


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "f4", "f8", "?", "U3"])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4), (0, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path, dtype: str, shape: tuple[int, ...], order: Any):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype, order=order)
    np.savez_compressed(tmp_path / "c.npz", a=array)
    found = read(tmp_path / "c.npz")
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.flags.c_contiguous
    assert np.array_equal(found, array)
    assert read_values(tmp_path / "c.npz") == array.tolist()


def test_an_array_longer_than_a_chunk_and_not_compressed(tmp_path: Path):
    array = np.random.default_rng(0).integers(0, 256, (3, 1000, 1001), dtype=np.uint8)
    np.savez(tmp_path / "c.npz", a=array)
    assert np.array_equal(read(tmp_path / "c.npz"), array)


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("place", ["item", "in a dict", "whole array"])
def test_a_pickle_never_runs(tmp_path: Path, protocol: int, place: str):
    trace = tmp_path / "ran"
    hostile = Hostile(trace)
    content = {"item": objects(hostile), "in a dict": objects({"z_min": hostile}), "whole array": hostile}[
        place
    ]
    data = pickle.dumps(content, protocol=protocol)
    write_members(tmp_path / "c.npz", ("a.npy", npy_bytes(numbers_header((1,), "|O"), data)))
    with pytest.raises(CaseError, match=r"^c\.npz: a cannot be read \(it asks for '\w+\.system'"):
        read_values(tmp_path / "c.npz")
    assert not trace.exists()
    pickle.loads(data)  # noqa: S301 - the test is worth something only if the pickle does run elsewhere
    assert trace.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read"),
        (b"not a zip", "cannot be read"),
        (b"PK\x03\x04" + bytes(100), "cannot be read"),
        (b"PK\x05\x06" + bytes(18), "a is missing"),
    ],
)
def test_what_is_not_a_zip(tmp_path: Path, content: bytes, reason: str):
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(CaseError, match=rf"^c\.npz: .*{reason}"):
        read(tmp_path / "c.npz")


def test_what_is_not_a_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("nowhere.npz", "pipe.npz", "."):
        with pytest.raises(CaseError, match="no such file"):
            NpzReader(tmp_path / name)


def test_every_truncation_is_a_case_error(tmp_path: Path):
    np.savez_compressed(tmp_path / "whole.npz", a=np.arange(300), b=objects(MIXED))
    whole = (tmp_path / "whole.npz").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(CaseError, match=r"^cut\.npz: the file cannot be read"):
            NpzReader(tmp_path / "cut.npz")


@given(st.data())
@settings(max_examples=300)
def test_a_flipped_byte_is_noticed_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    path = tmp_path_factory.mktemp("flip") / "c.npz"
    array = np.arange(300)
    np.savez_compressed(path, a=array, b=objects(MIXED))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        with NpzReader(path) as file:
            found, values = file.array("a"), file.values("b")
    except CaseError:
        return  # noticed; any other error fails here
    assert np.array_equal(found, array)
    assert values == [MIXED]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (npy_bytes(numbers_header((10**9,)), b""), "do not fit shape"),
        (npy_bytes(numbers_header((1 << 40,)), b""), "more than the .* allowed"),
        (npy_bytes(numbers_header((1 << 40, 0)), b""), "more than the .* allowed"),
        (npy_bytes(numbers_header((3,)), b"12"), "do not fit shape"),
        (npy_bytes(numbers_header((3,)), b"1234"), "do not fit shape"),
        (npy_bytes(numbers_header((-3,)), b""), "impossible shape"),
        (npy_bytes(numbers_header((1,) * 9), b"1"), "impossible shape"),
        (npy_bytes(numbers_header((1,), "|O"), pickle.dumps(objects(1))), "not one of numbers"),
        (npy_bytes(numbers_header((1,), [("x", "<i4")]), b"1234"), "not one of numbers"),
        (npy_bytes(numbers_header((1,), ("<i4", (2,))), b"12345678"), "not one of numbers"),
        (npy_bytes(numbers_header((1,), "|S0"), b""), "not one of numbers"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31) + b"{" * 100_000, "EOF"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 1000) + b"(" * 1000, "multi-line|parse"),
        (b"\x93NUMPY\x03\x00" + bytes(100), "version"),
        (b"\x93NUMPY\x01", "magic string"),
        (b"", "magic string"),
        (b"plain text", "magic string"),
    ],
)
def test_headers_that_lie(tmp_path: Path, member: bytes, reason: str):
    write_members(tmp_path / "c.npz", ("a.npy", member))
    with pytest.raises(CaseError, match=rf"^c\.npz: a cannot be read \(.*{reason}") as caught:
        read(tmp_path / "c.npz")
    assert "\n" not in str(caught.value)


def test_a_zip_bomb_is_not_decompressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bomb = npy_bytes(numbers_header((8,)), bytes(50_000_000))
    pickled = npy_bytes(numbers_header((1,), "|O"), bytes(50_000_000))
    write_members(tmp_path / "c.npz", ("a.npy", bomb), ("b.npy", pickled))
    taken = 0
    original = zipfile.ZipExtFile.read

    def counting(self: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
        nonlocal taken
        data = original(self, n)
        taken += len(data)
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counting)
    for key, reason in (("a", "do not fit shape"), ("b", "more than the")):
        with pytest.raises(CaseError, match=reason):
            read_values(tmp_path / "c.npz", key, max_bytes=60_000_000 if key == "a" else 4_000_000)
    assert taken < 10_000


def test_the_declared_size_is_not_believed(tmp_path: Path):
    """The directory claims what the header does, the compressed stream holds far more."""
    honest = npy_bytes(numbers_header((1000,)), bytes(1000))
    path = write_members(tmp_path / "c.npz", ("a.npy", honest + bytes(5_000_000)))
    content = path.read_bytes()
    size = struct.pack("<I", len(honest) + 5_000_000)
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, struct.pack("<I", len(honest))))
    with pytest.raises(CaseError, match="a cannot be read"):
        read(path)


def test_limits_are_the_callers(tmp_path: Path):
    np.savez(tmp_path / "c.npz", a=np.zeros(100, np.int16), b=objects(*range(100)))
    assert read(tmp_path / "c.npz", max_bytes=200).shape == (100,)
    with pytest.raises(CaseError, match="its 200 bytes are more than the 199 allowed"):
        read(tmp_path / "c.npz", max_bytes=199)
    with pytest.raises(CaseError, match="more than the 100 allowed"):
        read_values(tmp_path / "c.npz", "b", max_bytes=100)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path: Path, compression: int):
    member = npy_bytes(numbers_header((1,)), b"1")
    write_members(tmp_path / "c.npz", ("a.npy", member), compression=compression)
    with pytest.raises(CaseError, match="compressed in a way"):
        read(tmp_path / "c.npz")


def test_encrypted_members_are_refused(tmp_path: Path):
    path = write_members(tmp_path / "c.npz", ("a.npy", npy_bytes(numbers_header((1,)), b"1")))
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[6] |= 1
    content[directory + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(CaseError, match="encrypted"):
        read(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_members_are_refused_where_they_matter(tmp_path: Path):
    one, two = (npy_bytes(numbers_header((1,)), digit) for digit in (b"1", b"2"))
    write_members(tmp_path / "c.npz", ("a.npy", one), ("b.npy", one), ("a.npy", two))
    with pytest.raises(CaseError, match="more than once"):
        read(tmp_path / "c.npz")
    assert read(tmp_path / "c.npz", "b") == ord("1")


def test_a_written_file_is_read_by_numpy_and_the_same_each_time(tmp_path: Path):
    array = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    write_npz(tmp_path / "one.npz", {"segs": array, "boxes": objects({"z_min": np.int64(1)})})
    write_npz(tmp_path / "two.npz", {"segs": array, "boxes": objects({"z_min": np.int64(1)})})
    with np.load(tmp_path / "one.npz", allow_pickle=True) as file:
        assert sorted(file.files) == ["boxes", "segs"]
        assert np.array_equal(file["segs"], array)
        assert file["boxes"][0] == {"z_min": 1}
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_written_file_has_the_permissions_of_a_new_file(tmp_path: Path):
    """The container writes as one user, the evaluator reads as another."""
    (tmp_path / "usual").touch()
    write_npz(tmp_path / "c.npz", {"a": np.zeros(1)})
    assert stat.S_IMODE((tmp_path / "c.npz").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "usual").stat().st_mode
    )


@pytest.mark.parametrize("failing", ["write_array", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
):
    write_npz(tmp_path / "c.npz", {"a": np.arange(3)})
    before = (tmp_path / "c.npz").read_bytes()
    seen: list[str] = []

    def fail(*_: Any, **__: Any) -> None:
        seen.extend(path.name for path in tmp_path.iterdir() if path.name != "c.npz")
        raise error

    owner: Any = {"write_array": npy, "fsync": os, "replace": Path}[failing]
    monkeypatch.setattr(owner, failing, fail)
    with pytest.raises(type(error)):
        write_npz(tmp_path / "c.npz", {"a": np.arange(9)})
    (temporary,) = seen
    assert temporary.startswith(".")
    assert not temporary.endswith(".npz")
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]
    assert (tmp_path / "c.npz").read_bytes() == before


def test_the_file_and_then_its_directory_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []

    def record(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        synced.append(f"{kind}, replaced: {(tmp_path / 'c.npz').exists()}")

    monkeypatch.setattr(os, "fsync", record)
    write_npz(tmp_path / "c.npz", {"a": np.arange(3)})
    assert synced == ["file, replaced: False", "directory, replaced: True"]


def test_a_directory_that_cannot_be_synced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Any, flags: int) -> int:
        raise PermissionError(path)

    monkeypatch.setattr(os, "open", refuse)
    write_npz(tmp_path / "c.npz", {"a": np.arange(3)})
    assert (tmp_path / "c.npz").exists()


def test_a_missing_directory_is_an_os_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        write_npz(tmp_path / "none" / "c.npz", {"a": np.arange(3)})


def test_writers_do_not_disturb_each_other(tmp_path: Path):
    threads = [
        threading.Thread(target=write_npz, args=(tmp_path / "c.npz", {"a": np.full(1000, i)}))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(read(tmp_path / "c.npz").tolist())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


def test_pieces_are_written_as_the_whole_would_be(tmp_path: Path):
    whole = np.arange(24, dtype=np.float64).reshape(3, 2, 4)
    write_npz(tmp_path / "whole.npz", {"a": whole.astype(np.float16)})
    # An item may be of another dtype and order.
    items = (np.asfortranarray(item) for item in whole)
    write_npz(tmp_path / "pieces.npz", {"a": Pieces(whole.shape, np.dtype(np.float16), items)})
    assert (tmp_path / "pieces.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


@pytest.mark.parametrize("items", [2, 4])
def test_pieces_that_are_not_as_many_as_they_say_leave_no_file(tmp_path: Path, items: int):
    pieces = Pieces((3, 2), np.dtype(np.uint8), [np.zeros(2)] * items)
    with pytest.raises(ValueError, match=rf"\(3, 2\).*{2 * items} bytes"):
        write_npz(tmp_path / "a.npz", {"a": pieces})
    assert list(tmp_path.iterdir()) == []
