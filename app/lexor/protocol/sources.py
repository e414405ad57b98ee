"""Where a case comes from, as its file's name tells."""

from __future__ import annotations


def source_of(name: str) -> str:
    """Modality and data set of a case, the first two tokens of its name: CT_openkbp of CT_openkbp_pt_201."""
    return "_".join(name.split("_")[:2])
