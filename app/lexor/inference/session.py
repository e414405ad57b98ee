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
from lexor.geometry import Box, Clicks, Shape, Voxel
from lexor.inference.engine import Engine
from lexor.inference.marks import Mark, Prompts, as_said, sampled, thickened
from lexor.inference.places import box_of, mask_of, region_of, voxel_in
from lexor.inference.prediction import Prediction
from lexor.inference.steps import Step
from lexor.inference.targets import PromptMode, check_mode, given_target
from lexor.inference.volume import Volume
from lexor.io.case import Case, spacing_of
from lexor.io.intensity import to_uint8
from lexor.models.segmenter import Segmenter

# Bytes that undoing may keep of earlier labels, beside the last step.
MOST_REMEMBERED = 1 << 28


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
        self._labels: np.ndarray | None = None
        self._prompts: tuple[Prompts, ...] = (Prompts(),)
        self._current = 1
        self._history: list[Step] = []

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
        self._prompts = tuple(
            Prompts(
                box=case.boxes[i] if i < len(case.boxes) else None,
                clicks=case.clicks[i] if i < len(case.clicks) else Clicks(),
            )
            for i in range(max(1, case.n_classes))
        )
        self._labels = case.previous
        if self._labels is not None and self._labels.max() > self.objects:
            self._labels = np.where(self._labels > self.objects, 0, self._labels)
        self._current = 1
        self._history = []

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
        self._prompts = tuple(prompts) or (Prompts(),)
        self._labels = found.astype(np.uint8 if self.objects <= 255 else np.uint16)
        self._current = 1
        self._history = []

    @property
    def prompts(self) -> tuple[Prompts, ...]:
        """What has been said of objects 1, 2, ..."""
        return self._prompts

    @property
    def shape(self) -> Shape | None:
        """Of the volume (D, H, W); None where there is none yet."""
        return None if self._case is None else self._volume.shape

    @property
    def current(self) -> int:
        """The object that prompts are about."""
        return self._current

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return len(self._prompts)

    def new_object(self) -> int:
        """Makes a new object the current one; its number. A last one about which nothing was said is used again."""
        if not self._untouched(self.objects):
            self._prompts += (Prompts(),)
        self._current = self.objects
        return self._current

    def select(self, number: int) -> None:
        """Makes an object the current one.

        Raises:
            ValueError: there is no such object.
        """
        self._current = self._checked(number)

    def lock(self, number: int, locked: bool = True) -> None:
        """Keeps an object's voxels from being given to others; or, not `locked`, allows it again.

        Raises:
            ValueError: there is no such object.
        """
        number = self._checked(number)
        self._set_prompts(number, replace(self._prompts[number - 1], locked=locked))

    def labels(self) -> Integer[np.ndarray, "D H W"]:
        """The labels of all objects, 0 background: uint8, from 256 objects on uint16."""
        shape = self._opened().volume.shape
        dtype = np.uint8 if self.objects <= 255 else np.uint16
        return np.zeros(shape, dtype) if self._labels is None else self._labels.astype(dtype)

    def mask(self, number: int | None = None) -> Bool[np.ndarray, "D H W"]:
        """The voxels of an object; None: of the current one.

        Raises:
            CaseError: there is no volume.
            ValueError: there is no such object.
        """
        shape = self._opened().volume.shape
        wanted = self._current if number is None else self._checked(number)
        mask: np.ndarray = np.zeros(shape, bool) if self._labels is None else self._labels == wanted
        return mask

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
        before = self._mine if join else replace(self._mine, drawn=())
        return self._say(before.boxed(box, shape, self._volume.ratio), later)

    def scribble(
        self, mask: ArrayLike, positive: bool = True, *, later: bool = False
    ) -> Bool[np.ndarray, "D H W"]:
        """Says of all voxels of a scribble that they belong to the current object, or that they do not.

        The network is shown some of them, spread over the scribble, as clicks.

        Args:
            mask: (D, H, W), booleans or whole numbers.
            positive: whether they belong to it.
            later: as of a click.

        Returns:
            The object's new mask (D, H, W), in which all of these voxels are as was said.

        Raises:
            CaseError: there is no volume; the scribble is empty, or of another shape.
        """
        region = region_of(mask, self._opened().volume.shape, "scribble")
        said = self._said(np.argwhere(region), positive).clicked(sampled(region), positive)
        return self._say(said, later)

    def lasso(
        self, mask: ArrayLike, positive: bool = True, *, later: bool = False
    ) -> Bool[np.ndarray, "D H W"]:
        """Says of a region, encircled on a slice or in three dimensions, that it belongs to the object, or does not.

        As a scribble does; the first one on an object also tells its size.

        Args:
            mask: (D, H, W), booleans or whole numbers.
            positive: whether it belongs to it.
            later: as of a click.

        Returns:
            The object's new mask (D, H, W), in which all of these voxels are as was said.

        Raises:
            CaseError: there is no volume; the region is empty, or of another shape.
        """
        region = region_of(mask, self._opened().volume.shape, "lasso")
        said = self._said(np.argwhere(region), positive).clicked(sampled(region), positive)
        if positive and self._untouched(self._current):
            box = thickened(Box.measured(region), region.shape, self._volume.ratio)
            said = replace(said, box=box, guessed=True)
        return self._say(said, later)

    def answer(self) -> Bool[np.ndarray, "D H W"]:
        """Answers what was said of the current object `later`; `undo` takes both back together.

        Returns:
            The object's new mask (D, H, W); as it was where nothing waits.

        Raises:
            CaseError: there is no volume.
        """
        if not self._mine.waiting:
            return self.mask()
        mask = self._answer(self._mine)
        noted, answered = (None, *self._history)[-2:]
        if noted is not None and noted.prompts_alone and noted.current == self._current:
            assert answered is not None
            self._history[-2:] = [replace(answered, prompts=noted.prompts)]
        return mask

    @property
    def waits(self) -> bool:
        """Whether something was said of the current object that its mask does not answer yet."""
        return self._mine.waiting

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
        prompts = Prompts(locked=self._mine.locked) if alone else self._mine
        if refine and inside.any():
            held = self._labels
            self._labels = self._placed(inside)
            try:
                inside = self._found(prompts)
            finally:
                self._labels = held
        return self._store(inside, prompts)

    def undo(self) -> bool:
        """Takes back the last prompt on any object; False where there is none. What is locked stays so."""
        if not self._history:
            return False
        step, after = self._history.pop(), self._labels
        self._prompts, self._current = step.prompts_before(self._prompts), step.current
        self._labels = None if after is None else step.labels_before(after)
        return True

    def reset(self) -> None:
        """Forgets the current object's prompts and mask, which `undo` brings back."""
        self._store(np.zeros(self._opened().volume.shape, bool), Prompts(locked=self._mine.locked))

    def clear(self) -> None:
        """Forgets all objects and all steps, as if the volume had just been set."""
        self._opened()
        self._prompts, self._current = (Prompts(),), 1
        self._labels = None
        self._history = []

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
            self.case(), self._volume, prompt, top, strict=strict, probabilities=probabilities
        )
        missing = prediction.n_classes - self.objects
        before = self._prompts
        self._prompts += (Prompts(),) * max(0, missing)
        labels = as_said(prediction.labels, self._prompts, self._labels, marked=prompt == "given")
        self._remember(before, labels.copy())
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
        missing = max(clicks, default=0) - self.objects
        self._prompts += (Prompts(),) * max(0, missing)
        for number, (point, positive) in inside.items():
            self._set_prompts(number, self._prompts[number - 1].clicked([point], positive))

    def case(self) -> Case:
        """The volume with all prompts and labels as a challenge case.

        Raises:
            CaseError: there is no volume.
        """
        case = self._opened()
        boxes = tuple(prompts.box for prompts in self._prompts)
        clicks = tuple(prompts.clicks for prompts in self._prompts)
        # What nobody gives, a case has not: that is more than to give nothing for each class.
        return replace(
            case,
            boxes=boxes if case.boxes or any(box is not None for box in boxes) else (),
            clicks=clicks if case.clicks or any(own.points for own in clicks) else (),
            previous=self._labels,
        )

    @property
    def _mine(self) -> Prompts:
        return self._prompts[self._current - 1]

    def _opened(self) -> Case:
        if self._case is None:
            raise CaseError("there is no volume; call set_volume first")
        return self._case

    def _checked(self, number: int) -> int:
        if number not in range(1, self.objects + 1):
            raise ValueError(f"object {number}: there are 1..{self.objects}")
        return int(number)

    def _untouched(self, number: int) -> bool:
        prompts = self._prompts[number - 1]
        return (
            prompts.box is None
            and not prompts.marks
            and not prompts.clicks.points
            and not self.mask(number).any()
        )

    def _said(self, voxels: np.ndarray, positive: bool) -> Prompts:
        """The current object's prompts with a mark."""
        return replace(self._mine, marks=(*self._mine.marks, Mark(voxels, positive)))

    def _set_prompts(self, number: int, prompts: Prompts) -> tuple[Prompts, ...]:
        self._prompts = (*self._prompts[: number - 1], prompts, *self._prompts[number:])
        return self._prompts

    def _say(self, prompts: Prompts, later: bool) -> Bool[np.ndarray, "D H W"]:
        """The current object's mask, now that this has been said of it or noted for later."""
        if not later:
            return self._answer(prompts)
        before = self._prompts
        self._set_prompts(self._current, replace(prompts, waiting=True))
        self._keep(Step.of_prompts(before, self._current, self._labels))
        return self.mask()

    def _answer(self, prompts: Prompts) -> Bool[np.ndarray, "D H W"]:
        """The current object's new mask, now that this has been said of it."""
        return self._store(self._found(prompts), replace(prompts, waiting=False))

    def _found(self, prompts: Prompts) -> Bool[np.ndarray, "D H W"]:
        """What the network makes of prompts for the current object; nothing of it is kept."""
        before = self._prompts
        self._set_prompts(self._current, prompts)
        try:
            target = given_target(self.case(), self._current)
            assert target is not None
            if prompts.guessed:
                # Its z range is not the object's.
                target = replace(target, source="clicks")
            mask = np.zeros(self._volume.shape, bool)
            for _, answer in self.engine.answers(self._volume, [target]):
                mask[answer.where] = (answer.logits > 0).numpy()
        finally:
            self._prompts = before
        for mark in prompts.marks:
            mark.draw(mask)
        return mask

    def _placed(self, mask: Bool[np.ndarray, "D H W"]) -> Integer[np.ndarray, "D H W"]:
        """The labels with a mask as the current object's, but for the voxels of locked objects."""
        labels = self.labels()
        locked = [i for i, p in enumerate(self._prompts, start=1) if p.locked and i != self._current]
        mask = mask & ~np.isin(labels, locked)
        labels[labels == self._current] = 0
        labels[mask] = self._current
        return labels

    def _store(self, mask: Bool[np.ndarray, "D H W"], prompts: Prompts) -> Bool[np.ndarray, "D H W"]:
        """Makes a mask the current object's, but for the voxels of locked objects, as a step that can be undone."""
        labels = self._placed(mask)
        before = self._prompts
        self._set_prompts(self._current, prompts)
        self._remember(before, labels)
        return self.mask()

    def _remember(self, before: tuple[Prompts, ...], labels: np.ndarray) -> None:
        """Replaces the labels, and keeps what they were where they differ."""
        step = Step.between(before, self._current, self._labels, labels)
        self._labels = labels
        self._keep(step)

    def _keep(self, step: Step) -> None:
        """Puts a step into the history, from which the oldest go where it grows too large."""
        self._history.append(step)
        while len(self._history) > 1 and sum(step.bytes for step in self._history) > MOST_REMEMBERED:
            self._history.pop(0)
