"""Damaged scans of every format: a volume, or CaseError in a line; never anything else, and never for long.

`make fuzz` sets LEXOR_FUZZ_EXAMPLES, as for cases.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexor.errors import CaseError
from lexor.io.scan import case_of, read_mask, read_scan, write_labels
from lexor.io.scans.label_maps import ENDINGS, write_volume
from scan_files import blobs, folder, scan, voxels, write_series

EXAMPLES = int(os.environ.get("LEXOR_FUZZ_EXAMPLES", "300")) // 5
SECONDS = 20
KINDS = ("nifti", "nrrd", "mha", "tiff", "dicom", "dicom-seg")

damage = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 400), st.integers(0, 1500), st.integers(0, 8000)),
        st.one_of(
            st.binary(min_size=1, max_size=4),
            st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"999999", b"-1", b"nan"]),
            st.none(),  # the file ends here
        ),
    ),
    min_size=1,
    max_size=4,
)


def whole_file(kind: str) -> tuple[str, bytes]:
    """The name and the content of a sound file."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if kind in ENDINGS and kind != "dicom-seg":
            path = place / f"a{ENDINGS[kind]}"  # type: ignore[index]
            write_volume(path, scan(), kind)  # type: ignore[arg-type]
        else:
            write_series(place / "s", voxels((3, 8, 10)), shuffle=False)
            path = place / "s" / "0000.dcm"
            if kind == "dicom-seg":
                path = place / "a.seg.dcm"
                write_labels(path, blobs()[:3], read_scan(place / "s"), "dicom-seg")
        return path.name, path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_scan_is_read_or_named(kind: str) -> None:
    name, sound = whole_file(kind)

    @given(damage, st.sampled_from([None, 0]))
    @settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
    def read(changes: list[tuple[int, bytes | None]], frame: int | None) -> None:
        content = bytearray(sound)
        for at, junk in changes:
            at %= max(len(content), 1)
            if junk is None:
                content = content[: at + 1]
            else:
                content[at : at + len(junk)] = junk
        problem = None
        began = time.process_time()
        with folder() as place:
            (place / name).write_bytes(content)
            try:
                if kind == "dicom-seg":
                    labels, _ = read_mask(place / name, scan())
                    assert labels.shape == scan().shape
                else:
                    found = read_scan(place / name, frame=frame)
                    assert case_of(found).volume.shape == found.shape
            except CaseError as error:
                problem = str(error)
        assert problem is None or "\n" not in problem
        assert time.process_time() - began < SECONDS

    read()
