"""grand-challenge.org's interface of a container: one job of inputs in a folder, one segmentation out.

Source: https://grand-challenge.org/documentation/runtime-environment/ and the challenge packs of
https://github.com/DIAGNijmegen/demo-challenge-pack: `inputs.json` lists what a job has. Each entry has a
`socket`, which was called `interface` before 2025, with a `slug` and the `relative_path` of its value: a
folder with one image, or a JSON file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lexor.errors import CaseError, shown
from lexor.inference.prediction import Prediction
from lexor.inference.predictor import Predictor
from lexor.io.given import drawn_on, with_mask
from lexor.io.prompt_files import Drawn, Point, is_background, point_of, read_json
from lexor.io.scan import Scan, case_of, find_scans, read_scan, write_labels

_MODALITIES: Final = {
    **{"ct": "CT", "cbct": "CT", "mr": "MR", "mri": "MR", "t1": "MR", "t2": "MR", "adc": "MR", "flair": "MR"},
    **{"pet": "PET", "ultrasound": "US", "us": "US", "microscopy": "Microscopy"},
}
_IMAGES: Final = ("*.mha", "*.tif", "*.tiff", "*.nii.gz", "*.nrrd")


@dataclass(frozen=True)
class Job:
    """Where one job is and how it is answered.

    inputs, outputs: the folders, /input and /output in a container. output_slug: of the segmentation.
    image_slug: of the image; None: the one image there is. previous_slug: of an image with the last answer's labels.
    modality, window: see `read_scan` and `case_of`; the slug of the image may say the modality as well.
    """

    inputs: Path
    outputs: Path
    output_slug: str
    image_slug: str | None = None
    previous_slug: str | None = None
    modality: str | None = None
    window: str | None = None


@dataclass(frozen=True)
class _Socket:
    slug: str
    place: Path
    image: bool


def answer_job(job: Job, predictor: Predictor) -> tuple[Path, Prediction]:
    """Segments the image of a job by its points and boxes, or automatically, and writes the labels as .mha.

    Returns the file, /output/images/SLUG/output.mha, and what is in it. JSON inputs that are annotations become
    prompts: points are clicks on one object, where those named "background" are beside it; each box is an object.
    Raises CaseError: what the job lacks, and what to do about it.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", job.output_slug):
        raise CaseError(f"output slug is {shown(job.output_slug)}; give the slug of the output's socket")
    sockets = _sockets(job.inputs)
    scan = _scan(job, sockets)
    found = drawn_on(_prompts(sockets), scan)
    if job.previous_slug is not None:
        found = with_mask(found, _file_of(_named(sockets, job.previous_slug)), scan, "previous")
    case = found.into(case_of(scan, job.window))
    prediction = predictor.segment(case)
    output = job.outputs / "images" / job.output_slug / "output.mha"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_labels(output, prediction.labels, scan, "mha", n_classes=prediction.n_classes)
    return output, prediction


def _sockets(inputs: Path) -> list[_Socket]:
    listed = read_json(inputs / "inputs.json")
    if not isinstance(listed, list):
        raise CaseError(f"inputs.json is {shown(listed)}; give the list that grand-challenge.org writes")
    found = []
    for index, entry in enumerate(listed):
        socket = (entry.get("socket") or entry.get("interface")) if isinstance(entry, dict) else None
        socket = socket if isinstance(socket, dict) else {}
        slug, place = socket.get("slug"), socket.get("relative_path")
        if not isinstance(slug, str) or not isinstance(place, str):
            raise CaseError(
                f"inputs.json: [{index}] is {shown(entry)}; give a socket with slug and relative_path"
            )
        where = inputs / place
        if not where.resolve().is_relative_to(inputs.resolve()):
            raise CaseError(
                f"inputs.json: [{index}] has relative_path {shown(place)}; give one inside of {inputs}"
            )
        image = bool(socket.get("is_image_kind")) or socket.get("super_kind") == "Image"
        found.append(_Socket(slug, where, image))
    return found


def _scan(job: Job, sockets: list[_Socket]) -> Scan:
    if job.image_slug is not None:
        socket = _named(sockets, job.image_slug)
    else:
        images = [one for one in sockets if one.image and one.slug != job.previous_slug]
        if len(images) != 1:
            slugs = ", ".join(shown(one.slug) for one in images) or "none"
            raise CaseError(f"inputs.json: its images are {slugs}; say which to segment by --image-slug")
        socket = images[0]
    tokens = socket.slug.split("-")
    said = next((_MODALITIES[token] for token in tokens if token in _MODALITIES), None)
    return read_scan(_file_of(socket), modality=job.modality or said)


def _named(sockets: list[_Socket], slug: str) -> _Socket:
    for socket in sockets:
        if socket.slug == slug:
            return socket
    raise CaseError(
        f"inputs.json: has no {shown(slug)}; it has {', '.join(shown(one.slug) for one in sockets)}"
    )


def _file_of(socket: _Socket) -> Path:
    """The one image of a socket: a file in its folder, or the folder of a DICOM series."""
    files = sorted(path for pattern in _IMAGES for path in socket.place.glob(pattern))
    files = files or (find_scans(socket.place) if socket.place.is_dir() else [])
    if len(files) != 1:
        raise CaseError(f"{socket.place}: holds {len(files)} images; give one, as .mha, .tif or DICOM")
    return files[0]


def _prompts(sockets: list[_Socket]) -> list[Drawn]:
    """The annotations among the inputs: boxes first, each with its own class; points are clicks on one object."""
    boxes: list[Drawn] = []
    clicks: list[tuple[Point, bool]] = []
    for socket in sockets:
        if socket.image or socket.place.suffix != ".json":
            continue
        content = read_json(socket.place)
        kind = content.get("type") if isinstance(content, dict) else None
        if not isinstance(kind, str):
            continue  # a number or a text, which says nothing of a place
        key = socket.place.name
        if "bounding box" in kind.lower():
            boxes += [Drawn("LPS", corners, name=name) for corners, name in _boxes(key, content)]
        elif kind.lower() in ("point", "multiple points"):
            points = content.get("points") if "points" in content else [content]
            for index, entry in enumerate(_entries(f"{key}: points", points)):
                point = point_of(f"{key}: points[{index}]", entry.get("point"))
                clicks.append((point, not is_background(str(entry.get("name") or ""))))
    if not clicks:
        return boxes
    if len(boxes) > 1:
        raise CaseError(
            f"inputs.json: has points and {len(boxes)} boxes; give points with one box, or either"
        )
    first = boxes[0] if boxes else Drawn("LPS")
    return [Drawn("LPS", first.corners, tuple(clicks), first.name)]


def _boxes(key: str, content: dict[str, Any]) -> Iterator[tuple[tuple[Point, ...], str]]:
    boxes = content.get("boxes") if "boxes" in content else [content]
    for index, entry in enumerate(_entries(f"{key}: boxes", boxes)):
        corners = entry.get("corners")
        where = f"{key}: boxes[{index}].corners"
        if not isinstance(corners, list) or not 2 <= len(corners) <= 8:
            raise CaseError(f"{where} is {shown(corners)}; give the corners of a box")
        yield tuple(point_of(where, corner) for corner in corners), str(entry.get("name") or "")


def _entries(where: str, values: Any) -> list[dict[str, Any]]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise CaseError(f"{where} is {shown(values)}; give a list of dicts")
    return values
