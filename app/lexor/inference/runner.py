"""Running a segmenter on views: devices, precision, batches, and running out of memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from lexor.inference.framing import normalise
from lexor.inference.settings import SETTINGS, Zoom
from lexor.inference.targets import Target
from lexor.inference.views import View
from lexor.models.segmenter import Encoding, Masks, Segmenter
from lexor.models.window_prompts import WindowPrompts

log = logging.getLogger("lexor")

# Logits of a hard mask: sure inside, sure outside, undecided on its surface.
HARD_MASK = 4.0

DEVICES = ("auto", "cpu", "cuda")

_Cache = tuple[View, Encoding] | None


def choose_device(device: str) -> torch.device:
    """The device of a name: "auto" is the GPU where torch sees one, else the CPU.

    Raises:
        ValueError: it is none of "auto", "cpu" and "cuda", or "cuda" where torch sees no GPU.
    """
    if device not in DEVICES:
        raise ValueError(
            f"device is {device!r}: give {', '.join(map(repr, DEVICES[:-1]))} or {DEVICES[-1]!r}"
        )
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and _gpu_computes() else "cpu")
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r}: torch sees no GPU here; use --device auto or cpu")
    return chosen


def _gpu_computes() -> bool:
    """Whether the GPU runs this torch's kernels: one newer than the build is seen, and fails at the first."""
    try:
        return bool((torch.ones(1, device="cuda") + 1).item() == 2)
    except RuntimeError as problem:
        log.warning("the GPU cannot be used (%s); going on with the CPU", str(problem).splitlines()[0])
        return False


def low_precision(device: torch.device) -> torch.dtype | None:
    """The autocast type that pays on a device, None where float32 is as fast."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.backends.cpu.get_cpu_capability() == "AVX512" and _cpu_bf16() else None


def _cpu_bf16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@dataclass(frozen=True)
class Look:
    """One target seen through one view; `previous` holds the window's logits of its last answer, if any."""

    view: View
    target: Target
    previous: Tensor | None = None


def hard_logits(share: Tensor) -> Tensor:
    """Logits that stand for an answer which only a mask is known of; `share` of each voxel is inside, 0..1."""
    return (share * 2 - 1) * HARD_MASK


def previous_logits(target: Target, view: View) -> Tensor | None:
    """Logits (1, d, h, w) of a target's last answer as a view shows it, None where there was none."""
    if target.previous is None:
        return None
    shape = target.previous.shape
    where = view.touched((shape[0], shape[1], shape[2]))
    mask = torch.from_numpy(target.previous[where] == target.index)[None]
    return hard_logits(view.seen_from(where).read(mask))


def prompts_of(looks: Sequence[Look], device: torch.device) -> WindowPrompts:
    """The prompts of several looks in their windows' coordinates."""
    boxes: list[list[float] | None] = []
    z_mid, points, labels = [], [], []
    for look in looks:
        box, clicks = look.target.box, look.target.clicks
        boxes.append(None)
        z_mid.append(0.0)
        if box is not None:
            corners = torch.tensor([box.lower, box.upper], dtype=torch.float32)
            boxes[-1] = look.view.edges_to_window(corners).flatten().tolist()
            z_mid[-1] = float(look.view.points_to_window(torch.tensor([float(box.z_mid), 0.0, 0.0]))[0])
        # A click of another class says of this one: not here.
        claims = look.target.claims
        others = [] if claims is None else claims.by_others(look.target.index, clicks, look.view)
        positions = torch.tensor([*clicks.points, *others], dtype=torch.float32).reshape(-1, 3)
        points.append(look.view.points_to_window(positions).tolist())
        labels.append([int(foreground) for foreground in clicks.foreground] + [0] * len(others))
    previous = None
    if any(look.previous is not None for look in looks):
        shape = looks[0].view.shape
        previous = torch.stack(
            [torch.zeros(1, *shape) if look.previous is None else look.previous.cpu() for look in looks]
        )
    return WindowPrompts.build(boxes, points, labels, z_mid=z_mid, previous=previous).to(device)


def _next_chunk(looks: Sequence[Look], batch: int, cache: _Cache) -> list[Look]:
    """At most `batch` looks from the front, so cut that no view is ever encoded in two chunks.

    A chunk holds whole runs of one view, or a part of a single run, whose encoding is then in the cache for the rest
    of it. `looks` may hold one more than fits, to tell whether the last run ends.
    """
    chunk = list(looks[:batch])
    first, last = chunk[0].view, chunk[-1].view
    if cache is not None and cache[0] == first:
        return list(takewhile(lambda look: look.view == first, chunk))
    if len(looks) > batch and looks[batch].view == last:
        ended = len(chunk) - len(list(takewhile(lambda look: look.view == last, reversed(chunk))))
        return chunk[:ended] or chunk
    return chunk


class Runner:
    """A segmenter on a device, answering looks at one volume after another.

    Out of GPU memory, it halves its batches; at a batch of one, it goes on with the CPU, for good. It begins there
    where the GPU has no room for the model.
    """

    def __init__(
        self,
        model: Segmenter,
        device: torch.device,
        batch: int | None = None,
        zoom: Zoom | None = SETTINGS.zoom,
    ) -> None:
        try:
            self.model = model.eval().to(device)
        except torch.cuda.OutOfMemoryError:
            log.warning("out of GPU memory for the model: going on with the CPU")
            device = torch.device("cpu")
            self.model = model.to(device)
        self.zoom = zoom
        self.device = device
        self.batch = batch or (16 if device.type == "cuda" else 4)

    @property
    def window(self) -> tuple[int, int, int]:
        """(d, h, w) of the model's window."""
        return self.model.window

    def logits(self, volume: Tensor, looks: Sequence[Look]) -> Iterator[tuple[Look, Tensor]]:
        """Each look with its window's logits; see `masks`."""
        for look, logits, _ in self.masks(volume, looks):
            yield look, logits

    @torch.inference_mode()
    def masks(self, volume: Tensor, looks: Sequence[Look]) -> Iterator[tuple[Look, Tensor, float]]:
        """Each look with its window's logits (1, d, h, w), float32 on the CPU, and the overlap with the truth, 0..1,
        that the model expects of them.

        Args:
            volume: (1, D, H, W) uint8 tensor on the CPU.
            looks: in any order, which is kept; of neighbours with the same view the encoding is computed once.
        """
        done = 0
        cache: _Cache = None
        while done < len(looks):
            chunk = _next_chunk(looks[done : done + self.batch + 1], self.batch, cache)
            try:
                logits, quality, cache = self._run(volume, chunk, cache)
            except torch.cuda.OutOfMemoryError:
                cache = None
                self._retreat()
                continue
            yield from zip(chunk, logits, quality, strict=True)
            done += len(chunk)

    def _retreat(self) -> None:
        torch.cuda.empty_cache()
        if self.batch > 1:
            self.batch //= 2
            log.warning("out of GPU memory: going on with batches of %d", self.batch)
        else:
            log.warning("out of GPU memory for a single window: going on with the CPU")
            self.device, self.batch = torch.device("cpu"), 4
            self.model = self.model.to(self.device)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """In the precision that pays; with the same answer each time: no kernel is chosen by a race, none adds in a
        random order."""
        dtype = low_precision(self.device)
        autocast = torch.autocast(self.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
        with autocast, torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield

    def _encode(self, volume: Tensor, views: Sequence[View]) -> Encoding:
        windows = torch.stack([normalise(view.read(volume)) for view in views]).to(self.device)
        with self._computing():
            return self.model.encode(windows)

    def _run(
        self, volume: Tensor, looks: Sequence[Look], cache: _Cache
    ) -> tuple[list[Tensor], list[float], _Cache]:
        views = list(dict.fromkeys(look.view for look in looks))
        index = torch.tensor([views.index(look.view) for look in looks], device=self.device)
        prompts = prompts_of(looks, self.device)
        known = cache[1] if cache is not None and views == [cache[0]] else None
        encoding = known or self._encode(volume, views)
        with self._computing():
            masks = self.model.masks(encoding, index, prompts)
            logits, quality = self._tempered(masks, prompts), masks.quality.float()
        # More prompts of a single view may follow in the next batch.
        kept = (views[0], encoding) if len(views) == 1 else None
        return list(logits.cpu()), torch.sigmoid(quality).tolist(), kept

    def _tempered(self, masks: Masks, prompts: WindowPrompts) -> Tensor:
        """The logits, of which answers without a click keep the model's `certainty`."""
        logits = masks.logits.float()
        if masks.start is None or self.model.certainty == 1:
            return logits
        clicked = (prompts.labels >= 0).any(1)
        share = torch.where(clicked, 1.0, self.model.certainty)[:, None, None, None, None]
        return masks.start + share * (logits - masks.start)
