"""Every tuned value of inference, in one place. What each was chosen by is told in docs/decisions.md."""

from __future__ import annotations

from dataclasses import dataclass

from lexor.inference.views import Triple


@dataclass(frozen=True)
class Framing:
    """How far past a box its view reaches.

    Attributes:
        factor_z, factor_in_plane: times the box.
        drift: share of its length by which an object leaves, on each side, the slice on which it was boxed.
        minimum: of a view, voxels (z, y, x).
    """

    factor_z: float = 1.3
    factor_in_plane: float = 1.5
    drift: float = 0.15
    minimum: Triple = (8.0, 32.0, 32.0)


@dataclass(frozen=True)
class Zoom:
    """When and how finely the second look is taken.

    Attributes:
        gain: it is taken where the first look's step exceeds the finest one by this factor on some axis;
            None: by the model's own `zoom_gain`.
        windows: at most this many windows a target; more, and the step grows until they fit.
        margin: logits nearer to 0 than this count as undecided; only windows that hold such voxels, or both
            sides of the surface, are looked at again.
    """

    gain: float | None = None
    windows: int = 24
    margin: float = 1.0


@dataclass(frozen=True)
class Tracking:
    """Long objects: the box is tracked from slice to slice, and the object segmented in pieces along its track.

    The tracker's unit is a pixel, a sixth of the box's width, or the slice distance, whichever is largest.

    Attributes:
        elongation: an object is tracked if it is so many times as long as its box is wide.
        piece_widths, piece_slices: length of a piece, in widths of the box, and at least in slices.
        most_pieces: an object has at most so many; of a longer one they are longer.
        prompt_reach: a piece's prompt goes on past it, to so many of its lengths on both sides.
        half_width: of the template that is tracked, units.
        step_reach: most that it moves in a slice, units.
        steps: positions that are tried in a unit.
        penalty: of a move of one unit, in correlation.
        memory: share of the template that a slice keeps.
        smoothing: sigma of the image, units.
    """

    elongation: float = 2.5
    piece_widths: float = 2.0
    piece_slices: int = 6
    most_pieces: int = 32
    prompt_reach: float = 1.5
    half_width: int = 5
    step_reach: int = 1
    steps: int = 4
    penalty: float = 0.05
    memory: float = 0.8
    smoothing: float = 0.5


@dataclass(frozen=True)
class Holding:
    """What no new click corrects leans towards the last answer.

    Attributes:
        lean: logits.
        reach: sigma of the Gaussian by which a new click lifts the lean, in sizes of the target.
        least_size: no axis of a target counts as shorter, voxels.
    """

    lean: float = 0.7
    reach: float = 0.35
    least_size: float = 4.0


@dataclass(frozen=True)
class Searching:
    """The search for a target that only clicks point at.

    Attributes:
        views: in-plane sizes of the first looks around a click, pixels.
        boxes: half sizes of the boxes that are tried around the first click, pixels.
        first, last: exponents of how central the first and the last click are in what they explain.
        stable: exponent of how alike in size two successive looks are.
        reach: exponent of how far a change reaches around the last click, of how far it could.
        apart: the reach counts only where the last answer is nearer to the click than so many of its radii.
        guessed: factor of a mask that began with a guessed box.
        least: no factor is smaller.
        weight: a mask counts by this power of its score.
        near: a last answer is nearly right if new clicks are nearer to its surface than this share of its radius.
        least_logit: voxels below it count as outside everywhere.
    """

    views: tuple[int, ...] = (24, 48, 96, 192, 384)
    boxes: tuple[int, ...] = (5, 14, 40)
    first: float = 0.7
    last: float = 1.0
    stable: float = 0.25
    reach: float = 0.5
    apart: float = 2.0
    guessed: float = 0.9
    least: float = 0.02
    weight: float = 2.0
    near: float = 0.3
    least_logit: float = -4.0


@dataclass(frozen=True)
class Ranking:
    """How the mask of an automatic candidate is judged: a product of powers of factors 0..1.

    Attributes:
        quality: power of the overlap with the truth that the model expects.
        stability: of the overlap of the masks at logits `margin` above and below the decision.
        agreement: of the overlap of the prompt's box with the box of the mask.
        size: of the mask's share of the volume: among equals the larger is more likely meant.
        ending: of the share of the mask that does not lie on its window's faces. An object ends in view.
        middle: of how near the mask's box is to the middle of the volume.
        margin: logits.
        second_looks: so many of the best, and as many as are wanted, are looked at again.
        overlap: of two masks whose intersection over union is greater, the worse is dropped.
    """

    quality: float = 1.0
    stability: float = 1.0
    agreement: float = 0.5
    size: float = 0.15
    ending: float = 4.0
    middle: float = 0.7
    margin: float = 1.0
    second_looks: int = 6
    overlap: float = 0.5


@dataclass(frozen=True)
class Settings:
    """All of them."""

    framing: Framing = Framing()
    zoom: Zoom = Zoom()
    tracking: Tracking = Tracking()
    holding: Holding = Holding()
    searching: Searching = Searching()
    ranking: Ranking = Ranking()


SETTINGS = Settings()
