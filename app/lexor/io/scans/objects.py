"""What an object of a label volume is called, by which code, and in which colour: for DICOM's readers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Integer

from lexor.errors import printable
from lexor.io.labels import present

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

# Okabe and Ito's colours: told apart by colour-blind readers too.
COLOURS: Final = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
_LONGEST: Final = 64  # characters of a DICOM name
# Lists of the standard in which a name is looked for: (group, category).
_GROUPS: Final = (
    *(("CID7159", "MorphologicallyAbnormalStructure"), ("CID7160", "MorphologicallyAbnormalStructure")),
    *(("CID4031", "AnatomicalStructure"), ("CID7166", "Tissue"), ("CID7154", "AnatomicalStructure")),
)


@dataclass(frozen=True)
class Labelled:
    """One object. number: its label in the volume. name: up to 64 printable characters. colour: "#RRGGBB"."""

    number: int
    name: str
    colour: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """0..255 each."""
        red, green, blue = bytes.fromhex(self.colour[1:])
        return red, green, blue

    def codes(self) -> tuple[Code, Code]:
        """Category and type of the object in SNOMED CT, by its name; "Tissue" where the standard's lists lack it."""
        from pydicom.sr.codedict import codes

        words = [word for word in re.split(r"[^A-Za-z]+", self.name) if word]
        plain = [word for word in words if word.lower() not in ("left", "right")]
        for parts in (words, plain):
            keyword = "".join(word.capitalize() for word in parts)
            for group, category in _GROUPS:
                concepts = getattr(codes, group)
                if keyword and keyword in concepts.concepts:
                    return getattr(codes.SCT, category), getattr(concepts, keyword)
        return codes.SCT.Tissue, codes.SCT.Tissue


def objects_of(
    labels: Integer[np.ndarray, "D H W"], names: Mapping[int, str] | None = None
) -> list[Labelled]:
    """The objects of a label volume in order of their labels, those without a voxel left out."""
    names = names or {}
    found = []
    for number in present(labels, int(labels.max(initial=0))):
        name = printable(names.get(number, "")).strip()[:_LONGEST] or f"object {number}"
        found.append(Labelled(number, name, COLOURS[(number - 1) % len(COLOURS)]))
    return found
