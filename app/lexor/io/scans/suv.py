"""From a PET's becquerels to SUV by body weight.

Source: QIBA, "SUV: vendor-neutral pseudo-code" (BQML with decay correction to the start of the scan or to the
injection; GML is SUV already; Philips' counts have a private factor).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PHILIPS_SUV: Final = (0x7053, 0x1000)
_LONGEST: Final = timedelta(days=1)  # from injection to scan


def suv_factor(header: Dataset) -> float:
    """What a PET's values are multiplied with to be SUV.

    header: of any of its slices. Raises ValueError, which says what is missing.
    """
    unit = str(header.get("Units") or "").upper()
    if unit == "GML":
        return 1.0
    if unit == "CNTS":
        private: Any = header.get(_PHILIPS_SUV)
        factor = _positive(private.value) if private is not None else None
        if factor is None:
            raise ValueError("its counts have no SUV factor")
        return factor
    if unit != "BQML":
        raise ValueError(f"its unit is {unit or 'not given'}, not BQML")
    corrections = {str(part).upper() for part in header.get("CorrectedImage") or ()}
    if not {"ATTN", "DECY"} <= corrections:
        raise ValueError("it is not corrected for attenuation and decay")
    weight = _positive(header.get("PatientWeight"))
    if weight is None:
        raise ValueError("PatientWeight is missing")
    sources = header.get("RadiopharmaceuticalInformationSequence")
    if not sources:
        raise ValueError("RadiopharmaceuticalInformationSequence is missing")
    dose = _positive(sources[0].get("RadionuclideTotalDose"))
    if dose is None:
        raise ValueError("RadionuclideTotalDose is missing")
    return 1000 * weight / (dose * _left(header, sources[0]))


def _left(header: Dataset, source: Dataset) -> float:
    """The share of the dose that is left at the time which the image's decay is corrected to."""
    correction = str(header.get("DecayCorrection") or "").upper()
    if correction == "ADMIN":
        return 1.0
    if correction != "START":
        raise ValueError(f"DecayCorrection is {correction or 'missing'}, not START or ADMIN")
    half_life = _positive(source.get("RadionuclideHalfLife"))
    if half_life is None:
        raise ValueError("RadionuclideHalfLife is missing")
    scan = _time(header.get("SeriesDate"), header.get("SeriesTime"))
    acquired = _time(header.get("AcquisitionDate"), header.get("AcquisitionTime"))
    # A series that was written anew has its own, later time.
    if scan is None or (acquired is not None and acquired < scan):
        scan = acquired
    if scan is None:
        raise ValueError("SeriesTime is missing")
    start = source.get("RadiopharmaceuticalStartDateTime")
    injected = _parsed(str(start)[:14]) if start else None
    if injected is None:
        time = source.get("RadiopharmaceuticalStartTime")
        injected = _time(scan.strftime("%Y%m%d"), time)
        if injected is not None and injected > scan:  # before midnight
            injected -= timedelta(days=1)
    if injected is None:
        raise ValueError("RadiopharmaceuticalStartTime is missing")
    passed = scan - injected
    if not timedelta(0) <= passed <= _LONGEST:
        raise ValueError(f"it was injected at {injected} and scanned at {scan}")
    return float(2 ** (-passed.total_seconds() / half_life))


def _time(date: Any, time: Any) -> datetime | None:
    return _parsed(f"{date}{str(time).partition('.')[0]:<06}") if date and time else None


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.strptime(text.strip(), "%Y%m%d%H%M%S")
    except ValueError:
        return None


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < 1e15 else None
