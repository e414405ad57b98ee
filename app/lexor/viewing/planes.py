"""A case in three planes: the image, contours of the answer and of the truth, and what pointed at the objects."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Integer, UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from lexor.errors import CaseError, printable
from lexor.geometry import Box, Clicks
from lexor.io.scans.objects import COLOURS
from lexor.io.whole import whole
from lexor.viewing.preview import outline

Style = Literal["solid", "dashed", "dotted"]
# Classes beyond the colours are told apart by their lines.
STYLES: Final[tuple[Style, ...]] = ("solid", "dashed", "dotted")
MOST_NAMED: Final = 14
# Planes that are wider together, in heights, are drawn below one another: side by side, a slab's slice is a stamp.
WIDEST: Final = 6.0
MOST_DRAWN: Final = 200
# What a PNG of ours says of itself, so that no other picture is ever replaced.
SOFTWARE: Final = "Lexor preview"
_HALO: Final = withStroke(linewidth=2.0, foreground="black")


@dataclass(frozen=True)
class Scene:
    """What a picture of a case shows.

    Attributes:
        title: above it; none if empty.
        volume: (D, H, W) uint8.
        labels: (D, H, W), the answer; 0 is background.
        spacing: millimetres (z, y, x), None: voxels are drawn as squares.
        truth: (D, H, W) labels, contoured in white.
        boxes, clicks: of classes 1, 2, ...
        names: of classes.
        axes: where each axis of the array points to in the patient, such as ("S", "P", "L"); empty if unknown.
    """

    title: str
    volume: UInt8[np.ndarray, "D H W"]
    labels: Integer[np.ndarray, "D H W"]
    spacing: Sequence[float] | None = None
    truth: Integer[np.ndarray, "D H W"] | None = None
    boxes: Sequence[Box | None] = ()
    clicks: Sequence[Clicks] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    axes: Sequence[str] = ()


def draw_planes(scene: Scene, width: float = 10.0) -> Figure:
    """Three orthogonal slices, true in millimetres; each cuts as many classes as one slice can.

    They lie side by side, or below one another where that is larger.

    Where the patient's axes are known, they lie as a radiologist looks at them: head or front up, right at the left.

    Args:
        width: inches.
    """
    spacing = scene.spacing or (1.0, 1.0, 1.0)
    lengths = [max(n * step, 1e-9) for n, step in zip(scene.volume.shape, spacing, strict=True)]
    planes = [_sides(plane, scene.axes) for plane in range(3)]
    # A slice of a needle would else be a picture of nothing.
    ratios = [min(max(lengths[columns] / lengths[rows], 0.2), 5.0) for rows, columns in planes]
    named = _named(scene)
    beside = sum(ratios) <= WIDEST
    heights = [max(lengths[rows] / lengths[columns], 0.05) for rows, columns in planes]
    if not beside:
        width = min(width, width / sum(heights))
    height = width / sum(ratios) if beside else width * sum(heights)
    height += (0.3 if scene.title else 0.0) + 0.22 * -(-len(named) // 4)
    figure = Figure(
        figsize=(width, min(max(height, 1.0), 2 * width)), layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    if beside:
        axes = figure.subplots(1, 3, squeeze=False, width_ratios=ratios)[0]
    else:
        axes = figure.subplots(3, 1, squeeze=False, height_ratios=heights)[:, 0]
    for plane, axis in enumerate(axes):
        _draw_plane(axis, scene, plane, planes[plane], spacing)
    if scene.title:
        figure.suptitle(_text(scene.title), fontsize=10, parse_math=False)
    if named:
        legend = figure.legend(
            handles=[line for line, _ in named],
            labels=["." for _ in named],
            loc="outside lower center",
            ncols=min(4, len(named)),
            fontsize=8,
            frameon=False,
        )
        for text, (_, name) in zip(legend.get_texts(), named, strict=True):
            text.set_parse_math(False)
            text.set_text(name)
    return figure


def write_preview(scene: Scene, path: Path) -> Path:
    """Draws a case as a PNG, which appears complete or not at all.

    Raises:
        CaseError: another file is there that is no picture of this function's. OSError: it cannot be written.
    """
    check_preview(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        draw_planes(scene).savefig(temporary, format="png", dpi=110, metadata={"Software": SOFTWARE})
    return path


def check_preview(path: Path) -> None:
    """That nothing is at the place of a picture, or an older picture of ours.

    Raises:
        CaseError: something else is.
    """
    if not path.exists() and not path.is_symlink():
        return
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(256)
    if SOFTWARE.encode() not in head:
        raise CaseError(f"{path}: what is there is no picture of Lexor's, and stays; move it away")


def thumbnail(scene: Scene, pixels: int = 720) -> bytes:
    """The three planes as a small JPEG."""
    stream = io.BytesIO()
    # Of a narrow figure, so that its writing and lines can be told on a telephone.
    width = 4.5
    figure = draw_planes(scene, width)
    figure.savefig(stream, format="jpeg", dpi=pixels / width, pil_kwargs={"quality": 80, "optimize": True})
    return stream.getvalue()


def best_slice(labels: Integer[np.ndarray, "D H W"], axis: int) -> int | None:
    """The slice that cuts the most classes; among those, the one with most of their voxels. None: there are none."""
    where = np.nonzero(labels)
    if not len(where[0]):
        return None
    values = labels[where].astype(np.int64)
    slices = where[axis].astype(np.int64)
    base = int(values.max()) + 1
    cut = np.unique(slices * base + values) // base
    classes = np.bincount(cut, minlength=labels.shape[axis])
    areas = np.bincount(slices, minlength=labels.shape[axis])
    return int((classes + areas / (len(values) + 1)).argmax())


def _sides(plane: int, axes: Sequence[str]) -> tuple[int, int]:
    """The axes of the array that run down and across the picture of a plane."""
    rows, columns = (axis for axis in range(3) if axis != plane)
    # Head to feet runs down wherever it is in a picture, and else front to back.
    order = "SIAPRL"
    if axes and order.index(axes[columns]) // 2 < order.index(axes[rows]) // 2:
        return columns, rows
    return rows, columns


def _draw_plane(
    axis: Axes, scene: Scene, plane: int, sides: tuple[int, int], spacing: Sequence[float]
) -> None:
    """One slice, and all that is drawn over it."""
    rows, columns = sides
    index = _slice_of(scene, plane)

    def cut(array: np.ndarray) -> np.ndarray:
        image: np.ndarray = np.take(array, index, axis=plane)
        return image if rows < columns else image.T

    axis.imshow(
        cut(scene.volume),
        cmap="gray",
        vmin=0,
        vmax=255,
        aspect=spacing[rows] / spacing[columns],
        interpolation="nearest",
    )
    if scene.truth is not None:
        truth = cut(scene.truth)
        for label in np.unique(truth[truth > 0])[:MOST_DRAWN]:
            _contour(axis, truth == label, "white", "solid", 1.1)
    labels = cut(scene.labels)
    for label in np.unique(labels[labels > 0])[:MOST_DRAWN]:
        _contour(axis, labels == label, _colour(int(label)), _style(int(label)), 1.2)
    for number, box in enumerate(scene.boxes[:MOST_DRAWN], start=1):
        if box is not None and box.lower[plane] <= index < box.upper[plane]:
            # Across z its sides hold on its middle slice alone.
            faint = plane == 0 and index != box.z_mid
            outline(axis, box, rows, columns, _colour(number), 0.5 if faint else 1.0)
    for number, clicks in enumerate(scene.clicks[:MOST_DRAWN], start=1):
        _draw_clicks(axis, clicks, plane, index, sides, _colour(number))
    _orient(axis, scene, sides)
    axis.set_title(f"{'zyx'[plane]} = {index}", fontsize=8, pad=2)
    axis.set_xticks([])
    axis.set_yticks([])


def _slice_of(scene: Scene, plane: int) -> int:
    """The slice that shows most: of the answer, else of the truth, the boxes, the volume."""
    index = best_slice(scene.labels, plane)
    if index is None and scene.truth is not None:
        index = best_slice(scene.truth, plane)
    if index is None:
        boxes = [box for box in scene.boxes if box is not None] or [Box.whole(scene.volume.shape)]
        index = (boxes[0].lower[plane] + boxes[0].upper[plane]) // 2
    return min(int(index), int(scene.volume.shape[plane]) - 1)


def _contour(axis: Axes, mask: np.ndarray, colour: str, style: str, width: float) -> None:
    """The outline of a mask, dark beside it so that it shows on bright tissue as well."""
    if mask.any():
        # With a voxel of background around it, a mask that ends at the picture's edge is outlined there too.
        rows, columns = (np.arange(-1, n + 1) for n in mask.shape)
        lines = axis.contour(
            columns, rows, np.pad(mask, 1), [0.5], colors=colour, linestyles=style, linewidths=width
        )
        lines.set_path_effects([_HALO])


def _draw_clicks(
    axis: Axes, clicks: Clicks, plane: int, index: int, sides: tuple[int, int], colour: str
) -> None:
    """Clicks: a plus says "inside", a cross "outside"; faint where they lie in another slice."""
    rows, columns = sides
    for point, inside in list(zip(clicks.points, clicks.foreground, strict=True))[:MOST_DRAWN]:
        axis.plot(
            [point[columns]],
            [point[rows]],
            marker="P" if inside else "X",
            markersize=8,
            color=colour,
            markeredgecolor="black",
            markeredgewidth=1.0,
            alpha=1.0 if point[plane] == index else 0.5,
        )


def _orient(axis: Axes, scene: Scene, sides: tuple[int, int]) -> None:
    """Turns a plane so that head, front or right is where it is looked for, and writes the ends of its axes."""
    height, width = (scene.volume.shape[side] for side in sides)
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)
    if not scene.axes:
        return
    down, across = (scene.axes[side] for side in sides)
    if down in "SAR":
        axis.invert_yaxis()
    if across in "SAR":
        axis.invert_xaxis()
    up, left = (end if end in "SAR" else _OPPOSITE[end] for end in (down, across))
    places = ((0.5, 0.99, up, "center", "top"), (0.01, 0.5, left, "left", "center"))
    for x, y, end, horizontal, vertical in places:
        axis.text(
            x,
            y,
            end,
            transform=axis.transAxes,
            color="white",
            fontsize=8,
            ha=horizontal,
            va=vertical,
            path_effects=[_HALO],
        )


_OPPOSITE: Final = {"S": "I", "I": "S", "A": "P", "P": "A", "R": "L", "L": "R"}


def _named(scene: Scene) -> list[tuple[Line2D, str]]:
    """Legend: the classes that are there, and the truth."""
    labels = [int(label) for label in np.unique(scene.labels) if label > 0]
    found = [
        (
            Line2D([], [], color=_colour(label), linestyle=_style(label), path_effects=[_HALO]),
            _text(scene.names.get(label, f"class {label}"), 36),
        )
        for label in labels[:MOST_NAMED]
    ]
    if scene.truth is not None:
        found.append((Line2D([], [], color="white", path_effects=[_HALO]), "truth"))
    if len(labels) > MOST_NAMED:
        found.append((Line2D([], [], alpha=0), f"and {len(labels) - MOST_NAMED} more"))
    return found


def _colour(label: int) -> str:
    return COLOURS[(label - 1) % len(COLOURS)]


def _style(label: int) -> Style:
    return STYLES[(label - 1) // len(COLOURS) % len(STYLES)]


def _text(text: str, longest: int = 100) -> str:
    """Text of a file as a picture can hold it: short, and a question mark for what the font lacks."""
    text = printable(text[: longest + 1])
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(c if _font_has(c) else "?" for c in text)


@cache
def _font_has(character: str) -> bool:
    return bool(get_font(findfont(FontProperties())).get_char_index(ord(character)))
