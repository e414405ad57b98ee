"""A scan's voxels as the browser gets them, and the windows that it offers to look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Shaped

if TYPE_CHECKING:
    from lexor.io.scan import Scan

# Usual windows of CT: level and width in HU.
_CT: Final = (
    ("Soft tissue", 40, 400),
    ("Lung", -600, 1500),
    ("Bone", 400, 1800),
    ("Brain", 40, 80),
    ("Liver", 60, 160),
    ("Mediastinum", 50, 350),
)
_SAMPLED: Final = 1 << 20


def unit_of(scan: Scan) -> str:
    """The unit of a scan's voxels; a challenge case has none left, whatever it shows."""
    return "" if scan.format == "npz" else scan.unit


def intensities(voxels: Shaped[np.ndarray, "D H W"]) -> Shaped[np.ndarray, "D H W"]:
    """The voxels in a dtype that the browser draws: int16, uint8 and uint16 as they are, all else as float32."""
    if voxels.dtype.kind == "b":
        return voxels.view(np.uint8)
    if voxels.dtype in (np.uint8, np.int16, np.uint16):
        return voxels
    found = voxels.astype(np.float32)
    finite = np.isfinite(found)
    if not finite.all():
        found[~finite] = found.min(where=finite, initial=np.inf)
    return found


def nifti(volume: Shaped[np.ndarray, "Z Y X"], spacing: tuple[float, float, float]) -> bytes:
    """A volume in view order as a NIfTI file whose axes are the patient's.

    Of oblique axes the browser is told the nearest; where a voxel truly lies, it works out by the scan's affine. So
    it draws the scan's own slices, none of which is resampled.

    Args:
        volume: (Z, Y, X).
        spacing: millimetres along x, y, z.
    """
    from nibabel.nifti1 import Nifti1Image

    make: Any = Nifti1Image
    image = make(volume.transpose(2, 1, 0), np.diag([*spacing, 1.0]), dtype=volume.dtype)
    image.header.set_xyzt_units("mm")
    return bytes(image.to_bytes())


def windows(scan: Scan) -> list[dict[str, Any]]:
    """The windows to look at a scan through, the first one first: each a name and the values of black and white."""
    values = intensities(scan.voxels.reshape(-1)[:: max(1, scan.voxels.size // _SAMPLED)].reshape(1, 1, -1))
    low, high = float(values.min()), float(values.max())
    start, end = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    found = [("Contrast", start, end), ("Full range", low, high)]
    if unit_of(scan) == "HU":
        found = [(name, level - width / 2, level + width / 2) for name, level, width in _CT] + found[1:]
    elif values.dtype == np.uint8:
        found = [("Full range", 0.0, 255.0), ("Contrast", start, end)]
    return [{"name": name, "low": low, "high": max(high, low + 1e-6)} for name, low, high in found]
