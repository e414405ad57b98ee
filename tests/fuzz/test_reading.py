"""Files and prompts that nobody has thought of: read_case returns a valid case, or CaseError says in a line why not.

`make fuzz` sets LEXOR_FUZZ_EXAMPLES, the number of files of each kind, to many times what CI tries.
"""

from __future__ import annotations

import io
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from case_files import BOX, SHARED, objects
from lexor.errors import CaseError
from lexor.geometry import Box
from lexor.inference.targets import AutomaticBox, PromptMode, resolve_targets
from lexor.io.case import Case, read_case, read_labels
from lexor.io.prompts import MAX_CLASSES

EXAMPLES = int(os.environ.get("LEXOR_FUZZ_EXAMPLES", "300"))
fuzz = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
SECONDS = 20  # of this process, for a file of a few kB; a loaded machine does not count
SHAPE = (4, 6, 5)

numbers = st.one_of(
    st.integers(-3, 8),
    st.integers(),
    st.floats(-2, 9),
    st.floats(),
    st.sampled_from(
        [True, None, "3", "2.5", " 1e1 ", "nan", "x\x1b[2J\n", b"\xff", 10**400, np.int8(2), np.float32(1.5)]
    ),
)
junk = st.recursive(
    numbers | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=7) | st.dictionaries(st.sampled_from([*BOX, "fg", "bg", "\x9b"]), inner)
    ),
    max_leaves=12,
)
boxes = st.one_of(
    st.fixed_dictionaries({key: st.integers(0, 5) | numbers for key in BOX}),
    st.dictionaries(st.sampled_from(list(BOX)), numbers),
    st.lists(numbers, min_size=6, max_size=6),
    junk,
)
points = st.lists(st.integers(0, 3) | numbers, min_size=3, max_size=3)
kinds = dict.fromkeys(("fg", "bg"), points | st.lists(points | junk))
clicks = st.fixed_dictionaries({}, optional=kinds) | junk
orders = st.lists(st.sampled_from(["fg", "bg", None]), max_size=6) | junk
label_dtypes = st.sampled_from(["u1", "i2", "i8", "u8", "f2", "f4", "f8", "?", "U2", "c8"])
values = st.sampled_from([0, 1, 2, 3, 5, 300, 70_000, -1, 0.5, 1.03, 255.4, 1e30, np.nan, np.inf])


@st.composite
def arrays(draw: st.DrawFn, like: st.SearchStrategy[Any]) -> np.ndarray:
    """A key as people save one for each class: object arrays of any shape, one item alone, or plain numbers."""
    items = draw(st.lists(like, max_size=4))
    form = draw(st.sampled_from(["1-D", "column", "row", "0-D", "plain"]))
    if form == "plain":
        return np.asarray(draw(st.lists(st.lists(st.floats(-9, 9), min_size=3, max_size=3), max_size=3)))
    if form == "0-D":
        array = np.empty((), object)
        array[()] = items if len(items) != 1 else items[0]
        return array
    return objects(*items).reshape({"1-D": -1, "column": (-1, 1), "row": (1, -1)}[form] if items else -1)


@st.composite
def volumes(draw: st.DrawFn) -> np.ndarray:
    """Few different values of any dtype, now and then of another shape."""
    shape = draw(st.sampled_from([SHAPE] * 6 + [SHAPE[:2], (*SHAPE, 1), (0, 6, 5), (2, 3, 4)]))
    chosen = draw(st.lists(values, min_size=1, max_size=4))
    filled = np.resize(np.asarray(chosen), shape)
    with np.errstate(all="ignore"):
        return filled.astype(draw(label_dtypes), copy=False)


@st.composite
def files(draw: st.DrawFn) -> dict[str, np.ndarray]:
    keys: dict[str, st.SearchStrategy[np.ndarray]] = {
        "boxes": arrays(boxes),
        "clicks": arrays(clicks),
        "clicks_order": arrays(orders),
        "prev_pred": volumes(),
        "spacing": arrays(numbers),
        "gts": volumes(),
        "\x1b]0;\x07": volumes(),
    }
    good = np.arange(120, dtype=np.uint8).reshape(SHAPE)
    imgs = draw(st.just(good) | volumes())
    return {"imgs": imgs} | {key: draw(kind) for key, kind in keys.items() if draw(st.booleans())}


def check_error(error: CaseError, start: str) -> None:
    assert str(error).isprintable()
    assert str(error).startswith(start)


def check_case(case: Case) -> None:
    """What every function that is given a case relies on."""
    shape = case.volume.shape
    assert case.volume.dtype == np.uint8
    assert len(shape) == 3
    assert case.volume.flags.c_contiguous
    assert case.spacing is None or all(1e-6 <= length <= 1e3 for length in case.spacing)
    assert all(box is None or box == box.clipped(shape) for box in case.boxes)
    for own in case.clicks:
        assert all(
            0 <= place < size for point in own.points for place, size in zip(point, shape, strict=True)
        )
    if case.boxes and case.clicks:
        assert len(case.boxes) == len(case.clicks)
    if case.previous is not None:
        assert case.previous.shape == shape
        assert case.previous.dtype.kind == "u"
        assert case.previous.max() <= case.n_classes <= MAX_CLASSES
    assert all(1 <= index <= max(case.n_classes, 1) for index in case.unreadable)
    assert all(line.isprintable() and ";" in line for line in case.warnings)


def cheap(count: int) -> list[AutomaticBox]:
    return [AutomaticBox(Box((0, 0, 0), (1, 1, 1), 0), "cheap")] * min(count, 3)


def check_targets(case: Case, prompt: PromptMode, top: int, strict: bool) -> None:
    """Targets of distinct classes in order; an automatic box is told, and what is refused is an unread prompt."""
    try:
        targets, warnings = resolve_targets(case, prompt, top=top, find=cheap, strict=strict)
    except CaseError as error:
        check_error(error, f"{case.name}: ")
        assert strict
        assert case.unreadable
        return
    indices = [target.index for target in targets]
    assert targets
    assert indices == sorted(set(indices))
    assert all(line.isprintable() for line in warnings)
    unread = set(case.unreadable) if prompt == "given" else set()
    listed = prompt == "given" and bool(case.boxes or case.clicks)
    if listed:
        assert indices == list(range(1, case.n_classes + 1))
        assert len(warnings) == sum(target.source == "automatic" for target in targets)
    for target in targets:
        unanswered = target.index in unread if listed else bool(unread)
        assert target.stand_in == (target.source == "automatic" and unanswered)


def check_file(path: Path, prompt: PromptMode = "given", top: int = 1, strict: bool = False) -> None:
    """Reads a file in every way, in bounded time; any error but a CaseError of one printable line fails."""
    began = time.process_time()
    for read in (read_case, read_labels):
        try:
            found: Any = read(path)
        except CaseError as error:
            check_error(error, f"{path.name}: ")
            continue
        if isinstance(found, Case):
            check_case(found)
            check_targets(found, prompt, top, strict)
        else:
            assert found.dtype.kind in "iu"
            assert found.ndim == 3
    assert time.process_time() - began < SECONDS


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(
    keys=files(),
    prompt=st.sampled_from(["given", "given", "given", "auto"]),
    top=st.integers(1, 3),
    strict=st.booleans(),
)
@fuzz
def test_values_that_nobody_has_thought_of(
    tmp_path: Path, keys: dict[str, np.ndarray], prompt: PromptMode, top: int, strict: bool
):
    np.savez(tmp_path / "CT_a.npz", **keys)
    check_file(tmp_path / "CT_a.npz", prompt, top, strict)


def members(keys: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The .npy files of a case, to be spoilt before they are put into a file with right checksums."""
    stream = io.BytesIO()
    np.savez(stream, **keys)
    with zipfile.ZipFile(stream) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


OPCODES = [b"(", b"]", b"}", b"b", b"R", b"h\x00"]  # of pickles


def spoil(data: st.DataObject, content: bytes) -> bytes:
    spoilt = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, max(len(spoilt) - 1, 0)))
        match data.draw(st.sampled_from(["byte", "cut", "insert", "repeat"])):
            case "byte":
                spoilt[start : start + 1] = data.draw(st.binary(min_size=1, max_size=2))
            case "cut":
                del spoilt[start : start + data.draw(st.integers(1, 40))]
            case "insert":
                spoilt[start:start] = data.draw(st.binary(max_size=8) | st.sampled_from(OPCODES))
            case _:
                length = data.draw(st.integers(1, 40))
                spoilt[start:start] = spoilt[start : start + length] * data.draw(st.integers(1, 20))
    return bytes(spoilt)


WHOLE = {
    "imgs": np.arange(120, dtype=np.uint8).reshape(SHAPE),
    "spacing": np.array([1.0, 2.0, 3.0]),
    "boxes": objects({key: np.int64(2) for key in BOX}, None),
    "clicks": objects({"fg": [[1, 2, 3]], "bg": [[0, 0, 0]]}, {"fg": [], "bg": []}),
    "clicks_order": objects(["fg", "bg"], []),
    "prev_pred": np.ones(SHAPE, np.uint8),
    "gts": np.ones(SHAPE),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(st.data())
@fuzz
def test_keys_that_are_spoilt_before_they_are_packed(tmp_path: Path, data: st.DataObject):
    parts = members(WHOLE)
    name = data.draw(st.sampled_from(sorted(parts)))
    with zipfile.ZipFile(tmp_path / "CT_a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in parts.items():
            archive.writestr(key, spoil(data, content) if key == name else content)
    check_file(tmp_path / "CT_a.npz")


@given(st.data())
@fuzz
def test_files_that_are_spoilt(tmp_path: Path, data: st.DataObject):
    stream = io.BytesIO()
    np.savez_compressed(stream, **WHOLE)
    (tmp_path / "CT_a.npz").write_bytes(spoil(data, stream.getvalue()))
    check_file(tmp_path / "CT_a.npz")


@given(st.data())
@fuzz
def test_real_files_that_are_spoilt(shared_data: Path, tmp_path: Path, data: st.DataObject):
    path = data.draw(st.sampled_from(SMALL))
    (tmp_path / path.name).write_bytes(spoil(data, path.read_bytes()))
    check_file(tmp_path / path.name)


SMALL = sorted(SHARED.glob("val/*.npz"), key=lambda path: path.stat().st_size)[:5] or [Path()]
