"""DICOM RT structure sets by pydicom: the outline of each object on each slice.

Source: DICOM PS3.3 A.19, C.8.8.5 and C.8.8.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Bool, Float, Integer

from lexor.errors import CaseError
from lexor.io.scans.dicom_files import quiet
from lexor.io.scans.dicom_seg import MAKER, sources_of, version
from lexor.io.scans.model import Scan
from lexor.io.scans.objects import Labelled, objects_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.481.3"
_STUDY: Final = "1.2.840.10008.3.1.2.3.1"  # as every writer has it, though retired
_COPIED: Final = (
    *(
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
    ),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "SpecificCharacterSet"),
)


def write_rtstruct(
    path: Path,
    labels: Integer[np.ndarray, "D H W"],
    scan: Scan,
    names: Mapping[int, str] | None = None,
    automatic: bool = False,
) -> None:
    """Write labels as a structure set that refers to every slice of the scan's series. Not atomic here.

    labels: on the scan's grid. Each outline runs half-way between the voxels inside and those outside, so a
    voxel's middle is within the outlines just if the voxel is in the object. The outline of a hole is one more
    contour of the slice: what lies in an even number of contours is outside.
    Raises CaseError where the scan is no DICOM series.
    """
    sources = sources_of(scan, "RTSTRUCT")
    objects = objects_of(labels, names)
    if not objects:
        raise CaseError(
            f"{scan.name}: no voxel was segmented, and RTSTRUCT cannot be empty; give --format nifti"
        )
    with quiet():
        references = _references(scan, sources)
        data = _head(sources[0], scan, references)
        data.StructureSetROISequence = [_roi(index, one, sources[0]) for index, one in enumerate(objects, 1)]
        data.ROIContourSequence = [
            _outlined(index, one, labels == one.number, scan, references)
            for index, one in enumerate(objects, 1)
        ]
        kind = "AUTOMATIC" if automatic else "SEMIAUTOMATIC"
        for roi in data.StructureSetROISequence:
            roi.ROIGenerationAlgorithm = kind
        data.RTROIObservationsSequence = [
            _item(
                ObservationNumber=index, ReferencedROINumber=index, RTROIInterpretedType="", ROIInterpreter=""
            )
            for index in range(1, len(objects) + 1)
        ]
        data.save_as(path, enforce_file_format=True)


def contours(mask: Bool[np.ndarray, "H W"]) -> Iterator[Float[np.ndarray, "n 2"]]:
    """Closed outlines of a mask, half-way between its voxels and others: points (x, y), the last is not the first."""
    from contourpy import contour_generator

    # A rim of background closes the outlines of what touches the border.
    lines: Any = contour_generator(z=np.pad(mask, 1).astype(np.float64)).lines(0.5)
    for line in lines:
        yield line[:-1] - 1


def _outlined(
    index: int, one: Labelled, mask: Bool[np.ndarray, "D H W"], scan: Scan, references: list[Dataset]
) -> Dataset:
    items = []
    for z in np.flatnonzero(mask.any((1, 2))):
        for points in contours(mask[z]):
            voxels = np.column_stack(
                (np.full(len(points), float(z)), points[:, 1], points[:, 0], np.ones(len(points)))
            )
            places = (scan.affine @ voxels.T).T[:, :3]
            items.append(
                _item(
                    ContourImageSequence=[references[z]],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[f"{value:.4f}" for value in places.ravel()],
                )
            )
    return _item(ROIDisplayColor=list(one.rgb), ReferencedROINumber=index, ContourSequence=items)


def _roi(index: int, one: Labelled, source: Dataset) -> Dataset:
    return _item(ROINumber=index, ReferencedFrameOfReferenceUID=source.FrameOfReferenceUID, ROIName=one.name)


def _references(scan: Scan, sources: list[Dataset]) -> list[Dataset]:
    """What names the image of each slice."""
    by_path = dict(zip(dict.fromkeys(one.path for one in scan.slices), sources, strict=True))
    found = []
    for one in scan.slices:
        source = by_path[one.path]
        item = _item(ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)
        if one.frame is not None:
            item.ReferencedFrameNumber = one.frame + 1
        found.append(item)
    return found


def _head(source: Dataset, scan: Scan, references: list[Dataset]) -> Dataset:
    """All but the objects."""
    import pydicom

    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = pydicom.uid.UID(_STORAGE)
    # Lengths of 16 bits, as of explicit VR, are too short for long outlines.
    data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    for key in _COPIED:
        if key in source:
            setattr(data, key, source[key].value)
    now = datetime.now()
    data.SOPClassUID = _STORAGE
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data.SeriesInstanceUID = pydicom.uid.generate_uid()
    data.Modality = "RTSTRUCT"
    data.SeriesNumber = max(int(source.get("SeriesNumber") or 0), 0) % 100_000 + 2000
    data.SeriesDescription = f"Lexor structures of {source.get('SeriesDescription') or scan.name}"[:64]
    data.Manufacturer = data.ManufacturerModelName = MAKER
    data.SoftwareVersions = version()
    data.OperatorsName = ""
    data.InstanceNumber = 1
    data.StructureSetLabel = "LEXOR"
    data.StructureSetDate = data.InstanceCreationDate = data.SeriesDate = now.strftime("%Y%m%d")
    data.StructureSetTime = data.InstanceCreationTime = data.SeriesTime = now.strftime("%H%M%S")
    data.ApprovalStatus = "UNAPPROVED"
    data.FrameOfReferenceUID = source.FrameOfReferenceUID
    data.PositionReferenceIndicator = source.get("PositionReferenceIndicator") or ""
    series = _item(SeriesInstanceUID=source.SeriesInstanceUID, ContourImageSequence=references)
    study = _item(
        ReferencedSOPClassUID=_STUDY,
        ReferencedSOPInstanceUID=source.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    frame = _item(FrameOfReferenceUID=source.FrameOfReferenceUID, RTReferencedStudySequence=[study])
    data.ReferencedFrameOfReferenceSequence = [frame]
    return data


def _item(**values: Any) -> Dataset:
    import pydicom

    item = pydicom.Dataset()
    for key, value in values.items():
        setattr(item, key, value)
    return item
