"""The training loop of the light family: data parallel over CPU processes (or one GPU), for a budget of minutes.

    python -m lexor.training.loop DATA OUT --minutes 60 --processes 2

Dice + binary cross-entropy, AdamW, warm-up and cosine decay over the budget, an exponential average of the
weights. OUT/last.pt resumes, OUT/average.safetensors is the product, OUT/log.csv the curve.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from lexor.case import read_case, read_labels
from lexor.inference.framing import in_plane_ratio
from lexor.inference.views import Shape
from lexor.models.light import LightSegmenter
from lexor.models.prompts import WindowPrompts
from lexor.models.segmenter import Masks
from lexor.training.samples import Mix, Sample, Subject, collate, make_sample
from lexor.training.synthetic import make_scene


@dataclass(frozen=True)
class Settings:
    """What a run is: data, budget, and the optimiser's numbers."""

    data: Path
    out: Path
    minutes: float
    processes: int = 2
    start: Path | None = None
    batch: int = 4
    rate: float = 2e-3
    real: float = 0.4
    seed: int = 0
    window: Shape = (24, 48, 48)
    warmup_steps: int = 200
    average: float = 0.998
    # Synthetic scenes made before the first step.
    scenes: int = 40


class SubjectPool:
    """Real subjects, and a ring of synthetic ones that is renewed one scene a draw."""

    def __init__(self, data: Path, real: float, rng: np.random.Generator, size: int = 200) -> None:
        self.rng, self.share, self.size = rng, real, size
        self.subjects: list[Subject] = []
        for path in sorted(data.glob("*.npz")):
            case, labels = read_case(path), read_labels(path)
            targets = [labels == k for k in range(1, int(labels.max()) + 1)]
            targets = [t for t in targets if t.any()]
            group = "_".join(case.name.split("_")[:2])
            self.subjects.append(Subject(case.volume, targets, in_plane_ratio(case.spacing), group))
        counts = Counter(s.group for s in self.subjects)
        # A source weighs as the root of its size: large ones do not drown small ones.
        weights = np.array([counts[s.group] ** -0.5 for s in self.subjects])
        self.weights = weights / weights.sum() if len(weights) else weights
        self.ring: list[Subject] = []

    def renew(self) -> None:
        """Adds one fresh scene, dropping the oldest."""
        scene = make_scene(self.rng)
        self.ring.append(Subject(scene.image, list(scene.targets), 1.0, "synthetic"))
        if len(self.ring) > self.size:
            self.ring.pop(0)

    def draw(self, window: Shape, mix: Mix) -> Sample:
        """One sample, from a real or a synthetic subject."""
        while True:
            if self.subjects and self.rng.random() < self.share:
                subject = self.subjects[self.rng.choice(len(self.subjects), p=self.weights)]
            else:
                subject = self.ring[self.rng.integers(len(self.ring))]
            target = int(self.rng.integers(len(subject.targets)))
            sample = make_sample(subject, target, window, mix, self.rng)
            if sample is not None:
                return sample


def loss_of(output: Masks, target: Tensor) -> tuple[Tensor, Tensor]:
    """Dice + binary cross-entropy + quality; and the soft Dice of each sample, detached."""
    logits = output.logits.float()
    probability = torch.sigmoid(logits)
    axes = (1, 2, 3, 4)
    overlap = (probability * target).sum(axes)
    dice = (2 * overlap + 10) / (probability.sum(axes) + target.sum(axes) + 10)
    entropy = F.binary_cross_entropy_with_logits(logits, target)
    with torch.no_grad():
        hard, truth = logits > 0, target > 0.5
        score = (2 * (hard & truth).sum(axes) + 1) / (hard.sum(axes) + truth.sum(axes) + 1)
    quality = F.binary_cross_entropy_with_logits(output.quality.float(), score)
    return (1 - dice).mean() + entropy + 0.1 * quality, score


class _Trainable(nn.Module):
    """DistributedDataParallel wants tensors in and out of one forward."""

    def __init__(self, model: LightSegmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, prompts: WindowPrompts, target: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = self.model(image, prompts)
        return loss_of(output, target)


def run(rank: int, settings: Settings, rendezvous: str) -> None:
    """One process of the run."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=settings.processes)
    torch.manual_seed(settings.seed)
    model = LightSegmenter()
    average = copy.deepcopy(model)
    trainable = nn.parallel.DistributedDataParallel(_Trainable(model.train()))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98))
    step, spent = 0, 0.0
    last = settings.out / "last.pt"
    if last.is_file():
        state = torch.load(last, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["seconds"]
    elif settings.start is not None:
        for net in (model, average):
            net.load_state_dict({k: v.float() for k, v in load_file(settings.start).items()})
    rng = np.random.default_rng([settings.seed, rank, step])
    pool = SubjectPool(settings.data, settings.real, rng)
    for _ in range(settings.scenes):
        pool.renew()
    mix = Mix()
    began, budget = time.monotonic() - spent, settings.minutes * 60
    shown, kept, losses, scores = step, time.monotonic(), [], []
    while True:
        # All processes leave the loop at the same step.
        clock = torch.tensor([time.monotonic() - began])
        dist.broadcast(clock, 0)
        elapsed = float(clock)
        fraction = elapsed / budget
        if rank == 0 and (fraction >= 1 or time.monotonic() - kept > 240):
            _save(settings.out, model, average, optimiser, step, elapsed)
            kept = time.monotonic()
        if fraction >= 1:
            break
        warm = min(1.0, (step + 1) / settings.warmup_steps)
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * fraction)) / 2)
        if step % 2 == 0:
            pool.renew()
        image, target, prompts = collate([pool.draw(settings.window, mix) for _ in range(settings.batch)])
        loss, score = trainable(image, prompts, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        step += 1
        decay = min(settings.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for a, p in zip(average.parameters(), model.parameters(), strict=True):
                a.lerp_(p, 1 - decay)
        losses.append(float(loss))
        scores.append(float(score.mean()))
        if rank == 0 and step - shown >= 50:
            row = [
                step,
                round(elapsed),
                round(float(np.mean(losses)), 4),
                round(float(np.mean(scores)), 4),
            ]
            with (settings.out / "log.csv").open("a", newline="") as file:
                csv.writer(file).writerow(row)
            print(*row, flush=True)
            shown, losses, scores = step, [], []
    dist.destroy_process_group()


def _save(
    out: Path,
    model: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
    seconds: float,
) -> None:
    state = {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    torch.save(state, out / "last.tmp")
    (out / "last.tmp").replace(out / "last.pt")
    save_file({k: v.contiguous() for k, v in average.state_dict().items()}, out / "average.tmp")
    (out / "average.tmp").replace(out / "average.safetensors")


def main() -> None:
    """Command line of the loop."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="folder of labelled challenge .npz files")
    parser.add_argument("out", type=Path, help="folder of checkpoints; a run found there is resumed")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--start", type=Path, help="weights (.safetensors) to start from")
    parser.add_argument("--rate", type=float, default=Settings.rate)
    parser.add_argument("--real", type=float, default=Settings.real, help="share of real samples")
    parser.add_argument("--scenes", type=int, default=Settings.scenes, help="made before the first step")
    parser.add_argument("--seed", type=int, default=0)
    settings = Settings(**vars(parser.parse_args()))
    settings.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        spawn(run, (settings, f"{folder}/rendezvous"), nprocs=settings.processes)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
