"""A volume and what is said of it, prompt by prompt: the state of a segmentation.

The volume is prepared once. Then every click, box, scribble or lasso on the current object gives a new mask of it.
Challenge cases are answered by the same session: `open` takes a case's prompts, `predict` answers all of its classes.
The verbs are those of segment-anything (`set_image`, `predict`) and nnInteractive (interactions, undo).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer
from numpy.typing import ArrayLike

from lexor.errors import CaseError, Notes, shown
from lexor.geometry import Box, Clicks, Shape, Voxel, extent
from lexor.inference.canvas import hull
from lexor.inference.engine import Engine
from lexor.inference.marks import Mark, Prompts, as_said, sampled, thickened
from lexor.inference.merging import Slices
from lexor.inference.objects import Objects
from lexor.inference.places import box_of, mask_of, region_of, voxel_in
from lexor.inference.prediction import Prediction
from lexor.inference.targets import PromptMode, check_mode, given_target
from lexor.inference.volume import Volume
from lexor.io.case import Case, spacing_of
from lexor.io.intensity import to_uint8
from lexor.models.segmenter import Segmenter


class Session:
    """Segments the objects of one volume, step by step. Coordinates are voxel indices (z, y, x).

    Objects are numbered from 1. A new session has one, about which nothing has been said.

    Args:
        model: a name of `list_models()`, or a segmenter.
        device: "auto", "cpu" or "cuda".
        weights: a .safetensors file instead of the bundled one.
        engine: a loaded model in place of these three; sessions can share it.

    Raises:
        WeightsError: the model's weights are missing, damaged or another model's.
        ValueError: unknown model or device.

    Example:
        session = Session(device="cpu")
        session.set_volume(volume, spacing=(3.0, 1.0, 1.0))
        mask = session.click((20, 130, 128))
        mask = session.click((22, 150, 128), positive=False)
    """

    def __init__(
        self,
        model: str | Segmenter = "mobilenet3d",
        device: str = "auto",
        *,
        weights: str | Path | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.engine = engine or Engine(model, device, weights=weights)
        self._case: Case | None = None
        self._volume = Volume.of(np.zeros((1, 1, 1), np.uint8))
        self._objects = Objects(self._volume.shape)

    def set_volume(
        self, volume: ArrayLike, spacing: tuple[float, float, float] | None = None
    ) -> tuple[str, ...]:
        """Takes a volume, and forgets the last one and all that was said of it.

        Args:
            volume: real numbers (D, H, W). What is not uint8 is brought to 0..255, see `to_uint8`.
            spacing: millimetres between voxels (z, y, x); None where unknown.

        Returns:
            What was put right, one line each.

        Raises:
            CaseError: it is no such volume, or no such spacing.
        """
        array = np.asarray(volume)
        if array.ndim != 3 or not array.size:
            raise CaseError(f"volume has shape {array.shape}; give an array (D, H, W)")
        lengths = None if spacing is None else spacing_of(spacing)
        if spacing is not None and lengths is None:
            raise CaseError(f"spacing is {shown(spacing)}; give three positive numbers of millimetres")
        notes = Notes()
        voxels = to_uint8(array, notes)
        # What its owner does with it later must not change what is segmented.
        self.open(Case("volume", voxels.copy() if voxels is array else voxels, lengths))
        return notes.lines("volume")

    def open(self, case: Case) -> None:
        """Takes a case: its volume, and its prompts and last answer as those of objects 1, 2, ..."""
        self._case = case
        self._volume = Volume.of(case.volume, case.spacing)
        prompts = tuple(
            Prompts(
                box=case.boxes[i] if i < len(case.boxes) else None,
                clicks=case.clicks[i] if i < len(case.clicks) else Clicks(),
            )
            for i in range(max(1, case.n_classes))
        )
        labels = case.previous
        if labels is not None and labels.max() > len(prompts):
            labels = np.where(labels > len(prompts), 0, labels)
        self._objects = Objects(self._volume.shape, prompts, labels)

    def resume(self, prompts: Sequence[Prompts], labels: ArrayLike) -> None:
        """Takes up what was said of the volume, and answered, in an earlier session; all of this one is forgotten.

        Args:
            prompts: those of objects 1, 2, ..., as `prompts` gave them.
            labels: (D, H, W), whole numbers, of no other objects.

        Raises:
            CaseError: there is no volume; the labels are of another shape or of other objects, or a voxel that
                something was said of is outside of it.
        """
        shape = self._opened().volume.shape
        found = np.asarray(labels)
        if found.shape != shape or found.dtype.kind not in "iu":
            raise CaseError(
                f"labels are {found.dtype} of shape {found.shape}; give whole numbers of shape {shape}"
            )
        low, high = int(found.min()), int(found.max())
        if low < 0 or high > len(prompts):
            raise CaseError(f"labels are {low}..{high}; there are prompts of objects 1..{len(prompts)}")
        for said in prompts:
            said.check(shape)
        labelled = found.astype(np.uint8 if high <= 255 else np.uint16)
        self._objects = Objects(shape, tuple(prompts) or (Prompts(),), labelled)

    @property
    def prompts(self) -> tuple[Prompts, ...]:
        """What has been said of objects 1, 2, ..."""
        return self._objects.prompts

    @property
    def shape(self) -> Shape | None:
        """Of the volume (D, H, W); None where there is none yet."""
        return None if self._case is None else self._volume.shape

    @property
    def current(self) -> int:
        """The object that prompts are about."""
        return self._objects.current

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return len(self._objects)

    def new_object(self) -> int:
        """Makes a new object the current one; its number. A last one about which nothing was said is used again."""
        self._objects.begin()
        return self.current

    def select(self, number: int) -> None:
        """Makes an object the current one.

        Raises:
            ValueError: there is no such object.
        """
        self._objects.current = self._objects.checked(number)

    def lock(self, number: int, locked: bool = True) -> None:
        """Keeps an object's voxels from being given to others; or, not `locked`, allows it again.

        Raises:
            ValueError: there is no such object.
        """
        number = self._objects.checked(number)
        self._objects.say(number, replace(self._objects.prompts[number - 1], locked=locked))

    def labels(self) -> Integer[np.ndarray, "D H W"]:
        """The labels of all objects, 0 background: uint8, from 256 objects on uint16."""
        shape = self._opened().volume.shape
        dtype = np.uint8 if self.objects <= 255 else np.uint16
        labels = self._objects.canvas.labels
        return np.zeros(shape, dtype) if labels is None else labels.astype(dtype)

    def mask(self, number: int | None = None) -> Bool[np.ndarray, "D H W"]:
        """The voxels of an object; None: of the current one.

        Raises:
            CaseError: there is no volume.
            ValueError: there is no such object.
        """
        self._opened()
        return self._objects.canvas.mask(self.current if number is None else self._objects.checked(number))

    def where(self, number: int | None = None) -> Slices | None:
        """The smallest box that holds an object's mask; None where that is empty.

        Raises:
            CaseError: there is no volume.
            ValueError: there is no such object.
        """
        self._opened()
        return self._objects.canvas.where(self.current if number is None else self._objects.checked(number))

    def click(self, point: Voxel, positive: bool = True, *, later: bool = False) -> Bool[np.ndarray, "D H W"]:
        """Says that a voxel belongs to the current object, or that it does not.

        Args:
            point: the voxel.
            positive: whether it does.
            later: it is only noted; `answer` answers it, with all else that waits, and the mask stays until then.

        Returns:
            The object's new mask (D, H, W), in which the voxel is as was said, unless a locked object holds it.

        Raises:
            CaseError: there is no volume, or the voxel is outside of it.
        """
        voxel = voxel_in(self._opened().volume.shape, point)
        return self._say(self._said(np.array([voxel]), positive).clicked([voxel], positive), later)

    def box(
        self, lower: Voxel, upper: Voxel, z_mid: int | None = None, *, join: bool = False, later: bool = False
    ) -> Bool[np.ndarray, "D H W"]:
        """Says that the current object lies in a box, in place of an earlier one.

        Args:
            lower: its first voxel.
            upper: just outside. A box that is one voxel thick on an axis says nothing of the object's extent there.
            z_mid: the slice on which y and x were measured; None: the middle one.
            join: the object lies in this box and the earlier ones together; say so of boxes on several slices.
            later: as of a click.

        Returns:
            The object's new mask (D, H, W).

        Raises:
            CaseError: there is no volume, or no voxel of it is in the box.
        """
        shape = self._opened().volume.shape
        box = box_of(lower, upper, z_mid).clipped(shape)
        before = self._objects.mine if join else replace(self._objects.mine, drawn=())
        return self._say(before.boxed(box, shape, self._volume.ratio), later)

    def scribble(
        self, mask: ArrayLike, positive: bool = True, *, at: Voxel | None = None, later: bool = False
    ) -> Bool[np.ndarray, "D H W"]:
        """Says of all voxels of a scribble that they belong to the current object, or that they do not.

        The network is shown some of them, spread over the scribble, as clicks.

        Args:
            mask: (D, H, W), booleans or whole numbers.
            positive: whether they belong to it.
            at: the mask is of a part of the volume that begins at this voxel.
            later: as of a click.

        Returns:
            The object's new mask (D, H, W), in which all of these voxels are as was said.

        Raises:
            CaseError: there is no volume; the scribble is empty, of another shape, or reaches outside.
        """
        said, _, _ = self._marked(mask, positive, "scribble", at)
        return self._say(said, later)

    def lasso(
        self, mask: ArrayLike, positive: bool = True, *, at: Voxel | None = None, later: bool = False
    ) -> Bool[np.ndarray, "D H W"]:
        """Says of a region, encircled on a slice or in three dimensions, that it belongs to the object, or does not.

        As a scribble does; the first one on an object also tells its size.

        Args:
            mask: (D, H, W), booleans or whole numbers.
            positive: whether it belongs to it.
            at: the mask is of a part of the volume that begins at this voxel.
            later: as of a click.

        Returns:
            The object's new mask (D, H, W), in which all of these voxels are as was said.

        Raises:
            CaseError: there is no volume; the region is empty, of another shape, or reaches outside.
        """
        said, region, first = self._marked(mask, positive, "lasso", at)
        if positive and self._objects.untouched(self.current):
            box = thickened(Box.measured(region).shifted(first), self._volume.shape, self._volume.ratio)
            said = replace(said, box=box, guessed=True)
        return self._say(said, later)

    def answer(self) -> Bool[np.ndarray, "D H W"]:
        """Answers what was said of the current object `later`; `undo` takes both back together.

        Returns:
            The object's new mask (D, H, W); as it was where nothing waits.

        Raises:
            CaseError: there is no volume.
        """
        mine = self._objects.mine
        if mine.waiting:
            self._objects.store(*self._found(mine), replace(mine, waiting=False), answered=True)
        return self.mask()

    @property
    def waits(self) -> bool:
        """Whether something was said of the current object that its mask does not answer yet."""
        return self._objects.mine.waiting

    def previous(
        self, mask: ArrayLike, *, alone: bool = False, refine: bool = False
    ) -> Bool[np.ndarray, "D H W"]:
        """Makes a mask the current object's last answer, where its next prompt goes on.

        Args:
            mask: (D, H, W), booleans or whole numbers.
            alone: what was said of the object before is forgotten.
            refine: the network looks at it at once.

        Returns:
            The object's new mask: this one, or what was made of it, without what locked objects hold.

        Raises:
            CaseError: there is no volume, or the mask is of another shape.
        """
        inside = mask_of(mask, self._opened().volume.shape, "mask")
        prompts = Prompts(locked=self._objects.mine.locked) if alone else self._objects.mine
        where = extent(inside)
        if refine and where is not None:
            canvas = self._objects.canvas
            change = canvas.place(self.current, inside, where, self._objects.locked())
            try:
                inside, where = self._found(prompts)
            finally:
                canvas.put_back(*change)
        self._objects.store(inside, where, prompts)
        return self.mask()

    def undo(self) -> bool:
        """Takes back the last prompt on any object; False where there is none. What is locked stays so."""
        return self._objects.undo()

    def reset(self) -> None:
        """Forgets the current object's prompts and mask, which `undo` brings back."""
        nothing = np.zeros(self._opened().volume.shape, bool)
        self._objects.store(nothing, None, Prompts(locked=self._objects.mine.locked))

    def clear(self) -> None:
        """Forgets all objects and all steps, as if the volume had just been set."""
        self._opened()
        self._objects = Objects(self._volume.shape)

    def predict(
        self,
        prompt: PromptMode = "given",
        top: int = 1,
        *,
        strict: bool = False,
        probabilities: bool = False,
    ) -> Prediction:
        """Answers all objects together; `Merger` shares out what several of them claim.

        Scribbles and lassos are honoured in mode "given"; locked objects keep what they hold in all modes.

        Args:
            prompt: "given" uses the prompts, and automatic boxes only where there are none; "auto" uses automatic
                boxes alone, "intensity" those of the paper's Algorithm 1.
            top: number of automatic targets.
            strict: see `resolve_targets`.
            probabilities: they are kept, in a byte a class and voxel that was looked at.

        Raises:
            ValueError: there is no such mode.
            CaseError: there is no volume; strict, and a class has no usable prompt.
        """
        check_mode(prompt)
        prediction = self.engine.predict(
            self._now(), self._volume, prompt, top, strict=strict, probabilities=probabilities
        )
        before = self._objects.prompts
        self._objects.make(prediction.n_classes)
        held = self._objects.canvas.labels
        labels = as_said(prediction.labels, self._objects.prompts, held, marked=prompt == "given")
        self._objects.relabel(labels.copy(), before)
        return replace(prediction, labels=labels)

    def add_clicks(self, clicks: Mapping[int, tuple[Voxel, bool]]) -> None:
        """Adds a click to each of several objects, which `predict` then answers together.

        Args:
            clicks: by object, a voxel and whether it belongs to it. Objects up to the highest are made.

        Raises:
            CaseError: there is no volume, or a voxel is outside of it.
            ValueError: an object's number is below 1.
        """
        shape = self._opened().volume.shape
        inside = {number: (voxel_in(shape, point), positive) for number, (point, positive) in clicks.items()}
        if min(clicks, default=1) < 1:
            raise ValueError(f"object {min(clicks)}: they are numbered from 1")
        self._objects.make(max(clicks, default=0))
        for number, (point, positive) in inside.items():
            self._objects.say(number, self._objects.prompts[number - 1].clicked([point], positive))

    def case(self) -> Case:
        """The volume with all prompts and labels as a challenge case.

        Raises:
            CaseError: there is no volume.
        """
        case = self._now()
        return case if case.previous is None else replace(case, previous=case.previous.copy())

    def _now(self) -> Case:
        """As `case`, with the labels that the next prompt changes."""
        case = self._opened()
        boxes = tuple(prompts.box for prompts in self._objects.prompts)
        clicks = tuple(prompts.clicks for prompts in self._objects.prompts)
        # What nobody gives, a case has not: that is more than to give nothing for each class.
        return replace(
            case,
            boxes=boxes if case.boxes or any(box is not None for box in boxes) else (),
            clicks=clicks if case.clicks or any(own.points for own in clicks) else (),
            previous=self._objects.canvas.labels,
        )

    def _opened(self) -> Case:
        if self._case is None:
            raise CaseError("there is no volume; call set_volume first")
        return self._case

    def _said(self, voxels: np.ndarray, positive: bool) -> Prompts:
        """The current object's prompts with a mark."""
        mine = self._objects.mine
        return replace(mine, marks=(*mine.marks, Mark(voxels, positive)))

    def _marked(
        self, mask: ArrayLike, positive: bool, what: str, at: Voxel | None
    ) -> tuple[Prompts, np.ndarray, Voxel]:
        """The current object's prompts with a mask; its marked part, and the first voxel of that."""
        region, first = region_of(mask, self._opened().volume.shape, what, at)
        said = self._said(np.argwhere(region) + first, positive)
        return said.clicked(sampled(region, first), positive), region, first

    def _say(self, prompts: Prompts, later: bool) -> Bool[np.ndarray, "D H W"]:
        """The current object's mask, now that this has been said of it or noted for later."""
        if not later:
            return self._answer(prompts)
        self._objects.note(prompts)
        return self.mask()

    def _answer(self, prompts: Prompts) -> Bool[np.ndarray, "D H W"]:
        """The current object's new mask, now that this has been said of it."""
        self._objects.store(*self._found(prompts), replace(prompts, waiting=False))
        return self.mask()

    def _found(self, prompts: Prompts) -> tuple[Bool[np.ndarray, "D H W"], Slices | None]:
        """What the network makes of prompts for the current object, and a box that holds it; nothing is kept."""
        objects = self._objects
        before = objects.prompts
        objects.say(self.current, prompts)
        try:
            target = given_target(self._now(), self.current, objects.canvas.where(self.current))
            assert target is not None
            if prompts.guessed:
                # Its z range is not the object's.
                target = replace(target, source="clicks")
            mask = np.zeros(self._volume.shape, bool)
            parts: list[Slices | None] = [mark.where for mark in prompts.marks]
            for _, answer in self.engine.answers(self._volume, [target]):
                mask[answer.where] = (answer.logits > 0).numpy()
                parts.append(answer.where)
        finally:
            objects.prompts = before
        for mark in prompts.marks:
            mark.draw(mask)
        return mask, hull(parts)
