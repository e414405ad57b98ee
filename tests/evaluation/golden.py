"""A case of closed form and a predictor without a model, for figures that do not change with the weights."""

from __future__ import annotations

import numpy as np

from lexor.geometry import Box
from lexor.inference.predictor import Prediction
from lexor.inference.session import Session
from lexor.inference.targets import PromptMode
from lexor.inference.volume import Volume
from lexor.io.case import Case

SHAPE = (20, 40, 44)


def golden_truth() -> np.ndarray:
    """An ellipsoid with a hole and an island (1), a block that its box fills (2), and a slanted tube (3)."""
    z, y, x = np.ogrid[:20, :40, :44]
    truth = np.zeros(SHAPE, np.uint8)
    truth[((z - 9) / 7) ** 2 + ((y - 13) / 9) ** 2 + ((x - 14) / 10) ** 2 <= 1] = 1
    truth[(z - 9) ** 2 + (y - 12) ** 2 + (x - 16) ** 2 <= 8] = 0
    truth[3:6, 24:26, 6:12] = 1
    truth[2:8, 4:9, 30:38] = 2
    truth[(y - 15 - z) ** 2 + (x - 34 + z // 2) ** 2 <= 9 + 0 * z] = 3
    return truth


def golden_case(name: str = "CT_golden_1") -> Case:
    """Its boxes are measured as the challenge's are: y and x on the middle slice. They are not loosened."""
    truth = golden_truth()
    boxes = []
    for label in (1, 2, 3):
        slices = np.flatnonzero((truth == label).any((1, 2)))
        middle = int(slices[len(slices) // 2])
        y, x = np.nonzero(truth[middle] == label)
        lower = (int(slices[0]), int(y.min()), int(x.min()))
        upper = (int(slices[-1]) + 1, int(y.max()) + 1, int(x.max()) + 1)
        boxes.append(Box(lower, upper, middle))
    volume = np.zeros(SHAPE, np.uint8)
    return Case(name, volume, (2.5, 0.9, 0.8), tuple(boxes))


class StandIn:
    """What stands in for a `Predictor`, and for the engine of its sessions: it answers a case as `segment` does."""

    def segment(self, case: Case, prompt: PromptMode = "given") -> Prediction:
        """To be overridden."""
        raise AssertionError(case.name)

    def session(self, case: Case) -> Session:
        session = Session(engine=self)
        session.open(case)
        return session

    def predict(
        self, case: Case, volume: Volume, prompt: PromptMode, top: int, **options: bool
    ) -> Prediction:
        return self.segment(case)


class Balls(StandIn):
    """Fills the boxes; then it draws or rubs out a ball at each class's latest click on the last answer."""

    def segment(self, case: Case, prompt: PromptMode = "given") -> Prediction:
        if case.previous is None:
            labels = np.zeros(case.volume.shape, np.uint8)
            for index, box in enumerate(case.boxes, start=1):
                if box is not None:
                    labels[box.slices] = index
        else:
            labels = case.previous.astype(np.uint8)
        grid = np.ogrid[tuple(slice(n) for n in labels.shape)]
        for index, clicks in enumerate(case.clicks, start=1):
            if clicks.points:
                ball = sum((axis - at) ** 2 for axis, at in zip(grid, clicks.points[-1], strict=True)) <= 12
                if clicks.foreground[-1]:
                    labels[ball] = index
                else:
                    labels[ball & (labels == index)] = 0
        return Prediction(labels, (), (), 0.5)


def scattered(seed: int, share: int, shape: tuple[int, int, int] = (9, 14, 16)) -> np.ndarray:
    """A mask of about `share` per cent of the voxels, without a pattern to speak of."""
    index = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) + 7919 * seed
    return (index * 2654435761 % 2**32 >> 16) % 100 < share


def block(lower: tuple[int, int, int], upper: tuple[int, int, int]) -> np.ndarray:
    """A block [lower, upper) in a volume of 9x14x16."""
    mask = np.zeros((9, 14, 16), bool)
    mask[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] = True
    return mask


def mask_pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Predictions and truths whose errors tie, touch at corners, reach the border, or are large."""
    empty = np.zeros((9, 14, 16), bool)
    whole = block((1, 2, 2), (8, 12, 14))
    return {
        "single voxels": (scattered(1, 2), empty),
        "sparse": (scattered(2, 6), scattered(3, 6)),
        "dense": (scattered(4, 40), scattered(5, 40)),
        "missed block": (empty, whole),
        "spurious slab": (block((0, 0, 0), (9, 14, 5)), empty),
        "two equal blocks": (block((0, 0, 10), (4, 4, 14)), block((5, 9, 1), (9, 13, 5))),
        "a flat block": (empty, block((3, 1, 1), (4, 13, 15))),
        "a block with holes": (whole & ~scattered(6, 5), whole | scattered(7, 3)),
        "a shifted block": (block((2, 4, 4), (9, 14, 16)), whole),
    }
