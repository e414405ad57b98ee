"""NIfTI files in memory, as requests carry them: a volume in, a mask in the same place out."""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped

from lexor.serving.forms import unzipped
from lexor.serving.refusal import Refusal

# Before the voxels: the header, and what may be attached to it.
HEADER_BYTES = 1 << 20

Triple = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Placed:
    """Where a file's voxels lie: nibabel's affine and header."""

    affine: np.ndarray
    header: Any


def read_nifti(file: bytes, most: int) -> tuple[Shaped[np.ndarray, "D H W"], Placed, Triple | None]:
    """A file's volume as an array (k, j, i) = (z, y, x), where it lies, and its spacing (z, y, x) in millimetres.

    Args:
        file: .nii or .nii.gz.
        most: bytes that its voxels may have.

    Raises:
        Refusal: it is too large (413), or no such file (400).
    """
    import nibabel

    raw = unzipped(file, most + HEADER_BYTES) if file[:2] == b"\x1f\x8b" else file
    try:
        image: Any = nibabel.Nifti1Image.from_bytes(raw)
        shape, dtype = image.shape, image.get_data_dtype()
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise Refusal(400, f"the image's voxels are {dtype}; give real numbers")
        if len(shape) > 3 and all(n == 1 for n in shape[3:]):
            shape = shape[:3]
        if len(shape) != 3 or min(shape) < 1:
            raise Refusal(400, f"the image's shape is {image.shape}; give one volume (i, j, k)")
        # Scaled values are floats of eight bytes.
        plain = (image.dataobj.slope, image.dataobj.inter) == (1, 0)
        if math.prod(shape) * (dtype.itemsize if plain else 8) > most:
            raise Refusal(413, f"the image has more than {most:,} bytes; give at most so many")
        volume = np.asanyarray(image.dataobj).reshape(shape)
        zooms = [float(abs(length)) for length in image.header.get_zooms()[:3]]
        placed = Placed(image.affine, image.header)
    except Refusal:
        raise
    except Exception as problem:  # nibabel has many kinds of them for what a file may have wrong
        raise Refusal(
            400, f"the file cannot be read as NIfTI ({type(problem).__name__}: {problem})"
        ) from None
    known = all(0 < length < math.inf for length in zooms)
    return volume.T, placed, (zooms[2], zooms[1], zooms[0]) if known else None


def mask_file(mask: Bool[np.ndarray, "D H W"], place: Placed) -> bytes:
    """A mask as a .nii.gz file, uint8."""
    import nibabel

    make: Any = nibabel.Nifti1Image
    image = make(mask.T.astype(np.uint8), place.affine, place.header)
    image.set_data_dtype(np.uint8)
    image.header["scl_slope"], image.header["scl_inter"] = 1, 0
    return gzip.compress(image.to_bytes(), compresslevel=1)
