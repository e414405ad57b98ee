"""DICOM segmentations by highdicom: written for the series that was segmented, and read again.

Source: DICOM PS3.3 A.51 and A.90 (segmentation and label map segmentation).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from jaxtyping import Float, Integer

from lexor.errors import CaseError
from lexor.io.case import MAX_VOXELS
from lexor.io.prompts import MAX_CLASSES
from lexor.io.scans.dicom_files import quiet, read_header, text, unreadable
from lexor.io.scans.model import Scan, check_size
from lexor.io.scans.objects import Labelled, objects_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Kind = Literal["BINARY", "LABELMAP"]
MAKER: Final = "Lexor"
# What the standard wants to be there, empty or not, and anonymised files often lack.
_EXPECTED: Final = (
    *(
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyID",
        "StudyDate",
    ),
    "StudyTime",
)
# What all images of a series share, and answers repeat.
SHARED_UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_SHAPE: Final = ("NumberOfFrames", "Rows", "Columns")
_TRACKED: Final = "Lexor label "
_CLASSES: Final = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


def check_series(scan: Scan, format: str) -> None:
    """Raises CaseError where a scan is not a DICOM series, which such an answer must refer to."""
    if not scan.slices:
        raise CaseError(
            f"{scan.name}: {format} refers to the DICOM images it belongs to, and this is {scan.format}; "
            "give the DICOM series, or another --format"
        )


def sources_of(scan: Scan, format: str) -> list[Dataset]:
    """Headers of the files that a scan was read from, in the order of the slices, a multi-frame file once.

    What an answer repeats and files lack is filled in: empty, or with UIDs that are made up of those that are there.
    Raises CaseError where the scan is not a DICOM series, which such an answer must refer to.
    """
    from pydicom.uid import generate_uid

    check_series(scan, format)
    headers = [read_header(path) for path in dict.fromkeys(one.path for one in scan.slices)]
    for header, one in zip(headers, scan.slices, strict=False):
        for key in _EXPECTED:
            if key not in header:
                setattr(header, key, None)
        if header.PatientSex not in ("M", "F", "O"):
            header.PatientSex = None
        _set_own_uids(header, one.path.name, format)
    for header in headers:
        for key in SHARED_UIDS:
            if not header.get(key):  # the same for all slices, and for all answers
                setattr(header, key, generate_uid(entropy_srcs=[key, str(headers[0].SOPInstanceUID)]))
    return headers


def _set_own_uids(header: Dataset, name: str, format: str) -> None:
    """Class and instance of a file, which those who empty the data set often leave before it."""
    meta: Any = getattr(header, "file_meta", {})
    for key in ("SOPClassUID", "SOPInstanceUID"):
        uid = header.get(key) or meta.get(f"MediaStorage{key}")
        if not uid:
            raise CaseError(f"{name}: {key} is missing, so {format} cannot refer to it; give --format nifti")
        setattr(header, key, uid)


def write_dicom_seg(
    path: Path,
    labels: Integer[np.ndarray, "D H W"],
    scan: Scan,
    names: Mapping[int, str] | None = None,
    kind: Kind = "BINARY",
    automatic: bool = False,
) -> None:
    """Write labels as a segmentation that refers to every slice of the scan's series. Not atomic here.

    labels: on the scan's grid. names: of labels; else "object 1", ... Of LABELMAP the segments have the
    numbers of the labels; of BINARY they are counted from 1, as the standard wants it, and labels without
    voxels are left out.
    automatic: whether nobody pointed at the objects.
    Raises CaseError where the scan is no DICOM series, or nothing was segmented: there would be no frame.
    """
    import highdicom as hd

    sources = sources_of(scan, "DICOM-SEG")
    objects = objects_of(labels, names)
    if not objects:
        raise CaseError(
            f"{scan.name}: no voxel was segmented, and DICOM-SEG cannot be empty; give --format nifti"
        )
    binary = kind == "BINARY"
    numbers = np.zeros(objects[-1].number + 1, np.uint16)
    for index, one in enumerate(objects, start=1):
        numbers[one.number] = index if binary else one.number
    found = numbers[labels].astype(np.min_scalar_type(int(numbers.max())))
    with quiet():
        segmentation = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=_frames(found, scan, sources),
            segmentation_type=kind,
            segment_descriptions=[_described(int(numbers[one.number]), one, automatic) for one in objects],
            series_instance_uid=hd.UID(),
            series_number=_series_number(sources[0]),
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=version(),
            device_serial_number="0",
            content_label="SEGMENTATION",
            content_description="Segmentation by Lexor",
            content_creator_name=MAKER,
            series_description=f"Lexor segmentation of {sources[0].get('SeriesDescription') or scan.name}"[
                :64
            ],
        )
        segmentation.save_as(path)


def is_segmentation(path: Path) -> bool:
    """Whether a DICOM file is a segmentation."""
    try:
        with quiet():
            return text(read_header(path, ("SOPClassUID",)), "SOPClassUID") in _CLASSES
    except CaseError:
        return False


def is_ours(path: Path) -> bool:
    """Whether a DICOM file was made by Lexor."""
    try:
        with quiet():
            header = read_header(path, ("Manufacturer", "ManufacturerModelName"))
            return [text(header, key) for key in ("Manufacturer", "ManufacturerModelName")] == [MAKER, MAKER]
    except CaseError:
        return False


def read_dicom_seg(
    path: Path, scan: Scan | None = None
) -> tuple[Integer[np.ndarray, "D H W"], Float[np.ndarray, "4 4"], dict[int, str]]:
    """Labels of a segmentation, their geometry (see `Scan.affine`), and the names of its segments.

    scan: where it is the series that the segmentation refers to, the labels are on its grid; else they are on
    the grid of the frames that are there.
    Raises CaseError: damaged, fractional, segments that overlap, frames that make no volume.
    """
    import highdicom as hd

    with quiet():
        header = read_header(path)
        shape = [int(number) if (number := text(header, key)).isdigit() else 0 for key in _SHAPE]
    check_size(path.name, shape, 1, MAX_VOXELS)
    try:
        with quiet():
            found: Any = hd.seg.segread(path)
            segments = {n: found.get_segment_description(n) for n in found.segment_numbers}
            numbers = {n: _number(n, one.tracking_id) if is_ours(path) else n for n, one in segments.items()}
            names = {numbers[n]: one.segment_label for n, one in segments.items()}
            wanted = _frame_uids(scan)
            referenced = {uid for _, _, uid in found.get_source_image_uids()}
            if scan is not None and wanted and referenced <= set(wanted):
                return _renumbered(_by_source(found, scan, wanted), numbers), scan.affine, names
            volume = found.get_volume(combine_segments=True)
            labels = _renumbered(np.asarray(volume.array), numbers)
            return labels, np.asarray(volume.affine, np.float64), names
    except Exception as error:
        raise unreadable(path, error) from error


def version() -> str:
    """Lexor's own, for what it writes."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("lexor")
    except PackageNotFoundError:
        return "unknown"


def _described(number: int, one: Labelled, automatic: bool) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    category, kind = one.codes()
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=one.name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type="AUTOMATIC" if automatic else "SEMIAUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=MAKER, family=codes.DCM.ArtificialIntelligence, version=version()
        ),
        tracking_uid=hd.UID(),
        tracking_id=f"{_TRACKED}{one.number}",
        display_color=hd.color.CIELabColor.from_rgb(*one.rgb),
    )


def _number(segment: int, tracking_id: str | None) -> int:
    """The label that a segment of ours had: those of BINARY are counted anew."""
    number = (tracking_id or "").removeprefix(_TRACKED)
    return int(number) if number.isdigit() and int(number) <= MAX_CLASSES else segment


def _renumbered(labels: np.ndarray, numbers: Mapping[int, int]) -> np.ndarray:
    """Labels of segments as those they had."""
    if all(number == segment for segment, number in numbers.items()):
        return labels
    table = np.zeros(max(numbers) + 1, np.uint16)
    table[list(numbers)] = list(numbers.values())
    found: np.ndarray = table[labels]
    return found


def _frames(labels: np.ndarray, scan: Scan, sources: list[Dataset]) -> np.ndarray:
    """The labels in the order of the source's frames; those that belong to another volume of the file are empty."""
    if scan.slices[0].frame is None:
        return labels
    frames = np.zeros((int(sources[0].NumberOfFrames), *labels.shape[1:]), labels.dtype)
    frames[[int(one.frame or 0) for one in scan.slices]] = labels
    return frames


def _series_number(source: Dataset) -> int:
    """One that the study is unlikely to have."""
    return max(int(source.get("SeriesNumber") or 0), 0) % 100_000 + 1000


def _frame_uids(scan: Scan | None) -> list[str]:
    """SOP instance of each slice; [] where the scan is not DICOM."""
    if scan is None:
        return []
    paths = dict.fromkeys(one.path for one in scan.slices)
    headers = [read_header(path, ("SOPInstanceUID",)) for path in paths]
    metas: Any = [getattr(header, "file_meta", {}) for header in headers]
    return [
        str(header.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID"))
        for header, meta in zip(headers, metas, strict=True)
    ]


def _by_source(found: Any, scan: Scan, uids: list[str]) -> np.ndarray:
    options = {"combine_segments": True, "assert_missing_frames_are_empty": True}
    if scan.slices[0].frame is None:
        return np.asarray(found.get_pixels_by_source_instance(uids, **options))
    frames = [int(one.frame or 0) + 1 for one in scan.slices]
    return np.asarray(found.get_pixels_by_source_frame(uids[0], frames, **options))
