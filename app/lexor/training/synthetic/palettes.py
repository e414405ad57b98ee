"""What each kind of tissue looks like to each modality; 'outside' is beyond the body."""

from __future__ import annotations

# Hounsfield units: mean and spread between tissues of the kind.
HU: dict[str, tuple[float, float]] = {
    "outside": (-1000, 0), "air": (-990, 10), "lung": (-800, 70), "fat": (-100, 15), "muscle": (55, 12),
    "soft": (30, 40), "organ": (80, 35), "gland": (25, 40), "fluid": (10, 12), "csf": (8, 6), "blood": (130, 100),
    "vessel": (150, 90), "bone": (900, 350), "marrow": (250, 150), "disc": (90, 20), "cartilage": (100, 30),
    "wall": (45, 20), "lesion": (55, 40), "necrosis": (25, 20), "grey": (38, 5), "white": (29, 4), "nuclei": (40, 6),
    "cord": (40, 12), "hot": (90, 60), "warm": (60, 30),
}  # fmt: skip

MR: dict[str, dict[str, float]] = {
    "T1": {"fat": 0.95, "muscle": 0.35, "soft": 0.4, "organ": 0.45, "gland": 0.4, "fluid": 0.15, "csf": 0.12,
           "blood": 0.3, "vessel": 0.2, "bone": 0.05, "marrow": 0.8, "disc": 0.35, "cartilage": 0.45, "wall": 0.35,
           "lesion": 0.33, "necrosis": 0.22, "grey": 0.5, "white": 0.7, "nuclei": 0.55, "cord": 0.55, "hot": 0.6},
    "T2": {"fat": 0.75, "muscle": 0.2, "soft": 0.4, "organ": 0.4, "gland": 0.55, "fluid": 0.97, "csf": 1.0,
           "blood": 0.25, "vessel": 0.1, "bone": 0.04, "marrow": 0.5, "disc": 0.5, "cartilage": 0.6, "wall": 0.3,
           "lesion": 0.65, "necrosis": 0.85, "grey": 0.55, "white": 0.38, "nuclei": 0.45, "cord": 0.4, "hot": 0.7},
    "FLAIR": {"fat": 0.7, "muscle": 0.3, "soft": 0.4, "organ": 0.45, "gland": 0.5, "fluid": 0.1, "csf": 0.08,
              "blood": 0.2, "vessel": 0.15, "bone": 0.05, "marrow": 0.4, "disc": 0.4, "cartilage": 0.5, "wall": 0.4,
              "lesion": 0.85, "necrosis": 0.4, "grey": 0.55, "white": 0.45, "nuclei": 0.5, "cord": 0.45, "hot": 0.9},
    "T1c": {"fat": 0.4, "muscle": 0.35, "soft": 0.45, "organ": 0.65, "gland": 0.6, "fluid": 0.15, "csf": 0.12,
            "blood": 0.95, "vessel": 1.0, "bone": 0.05, "marrow": 0.5, "disc": 0.3, "cartilage": 0.4, "wall": 0.6,
            "lesion": 0.75, "necrosis": 0.2, "grey": 0.45, "white": 0.55, "nuclei": 0.48, "cord": 0.5, "hot": 0.9},
    "cine": {"fat": 0.8, "muscle": 0.3, "soft": 0.4, "organ": 0.4, "gland": 0.4, "fluid": 0.9, "csf": 0.95,
             "blood": 0.85, "vessel": 0.8, "bone": 0.05, "marrow": 0.4, "disc": 0.3, "cartilage": 0.4, "wall": 0.3,
             "lesion": 0.5, "necrosis": 0.4, "grey": 0.5, "white": 0.45, "nuclei": 0.5, "cord": 0.5, "hot": 0.7},
}  # fmt: skip
PET: dict[str, tuple[float, float]] = {
    "fat": (0.04, 0.02), "muscle": (0.1, 0.04), "soft": (0.12, 0.06), "organ": (0.22, 0.1), "warm": (0.3, 0.1),
    "lung": (0.04, 0.02), "fluid": (0.08, 0.05), "blood": (0.18, 0.06), "bone": (0.08, 0.04), "marrow": (0.2, 0.08),
    "grey": (0.8, 0.1), "white": (0.35, 0.1), "nuclei": (0.85, 0.15), "hot": (0.8, 0.35), "lesion": (0.7, 0.35),
    "necrosis": (0.12, 0.1), "gland": (0.35, 0.2), "air": (0.01, 0.01), "csf": (0.08, 0.03), "cord": (0.2, 0.05),
}  # fmt: skip
US: dict[str, tuple[float, float]] = {
    "fat": (0.45, 0.2), "muscle": (0.3, 0.12), "soft": (0.4, 0.15), "organ": (0.45, 0.15), "gland": (0.4, 0.15),
    "fluid": (0.02, 0.03), "csf": (0.03, 0.03), "blood": (0.04, 0.05), "vessel": (0.05, 0.05), "bone": (1.0, 0.1),
    "air": (0.9, 0.2), "lung": (0.8, 0.2), "wall": (0.8, 0.2), "lesion": (0.3, 0.25), "necrosis": (0.15, 0.1),
    "cartilage": (0.15, 0.1), "marrow": (0.2, 0.1),
}  # fmt: skip
MICROSCOPY: dict[str, dict[str, tuple[float, float]]] = {
    "electron": {"matrix": (0.6, 0.1), "cell": (0.7, 0.08), "nucleus": (0.55, 0.1), "organelle": (0.4, 0.1),
                 "neurite": (0.7, 0.1)},
    "nuclear stain": {"matrix": (0.03, 0.03), "cell": (0.08, 0.05), "nucleus": (0.7, 0.25), "organelle": (0.3, 0.2),
                      "neurite": (0.4, 0.2)},
    "cell stain": {"matrix": (0.05, 0.04), "cell": (0.55, 0.2), "nucleus": (0.3, 0.2), "organelle": (0.6, 0.3),
                   "neurite": (0.7, 0.25)},
    "membrane stain": {"matrix": (0.08, 0.05), "cell": (0.12, 0.05), "nucleus": (0.1, 0.06), "organelle": (0.2, 0.2),
                       "neurite": (0.5, 0.2)},
}  # fmt: skip
