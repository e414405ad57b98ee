"""The training loop: one for all models, on one CPU or GPU, or on many.

OUT/last.pt is where the run goes on, OUT/average.safetensors its product, OUT/config.yaml what it is, OUT/log.csv,
TensorBoard's events and OUT/curve.png how it went.
"""

from __future__ import annotations

import copy
import math
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessRaisedException

from lexor.models.factory import create_model
from lexor.models.segmenter import Masks, Segmenter
from lexor.models.weights import load_weights
from lexor.models.window_prompts import WindowPrompts
from lexor.training.adoption import adopt
from lexor.training.config import LossConfig, TrainingConfig, TrainingError
from lexor.training.fabric import make_fabric, placed
from lexor.training.interaction import interact
from lexor.training.losses import segmentation_loss
from lexor.training.optimiser import lay_out_gradients, make_optimiser, update_average
from lexor.training.records import Records
from lexor.training.samples import Truth
from lexor.training.schedule import learning_rate, progress
from lexor.training.signals import signals_forwarded, stop_request
from lexor.training.state import CONFIG, LAST, Progress, continued, load_state, origin_of, save_state
from lexor.training.stream import INTERACTIONS, Batch, Batches, load_batches
from lexor.training.subjects import Subjects


class Trainable(nn.Module):
    """A segmenter with its loss: tensors in, tensors out of one forward, as data parallelism wants it."""

    def __init__(self, model: Segmenter, weights: LossConfig) -> None:
        super().__init__()
        self.model, self.weights = model, weights

    def forward(self, image: Tensor, truth: Truth, prompts: WindowPrompts) -> tuple[Tensor, Tensor]:
        """The loss, and the mean Dice of the answers that are learnt."""
        index = torch.arange(len(prompts), device=image.device)
        output = self.model.masks(self.model.encode(image), index, prompts)
        with torch.autocast(image.device.type, enabled=False):
            loss, score = segmentation_loss(Masks(output.logits, output.quality), truth, self.weights)
        return loss, (score * truth.learnt).sum() / truth.learnt.sum().clamp(min=1)


def train(config: TrainingConfig, out: Path, *, resume: bool = False, device: str = "auto") -> Progress:
    """Trains until the budget is spent or the process is asked to stop (SIGINT, SIGTERM), then saves.

    Args:
        config: of the run. One that goes on has the recipe that it began with; its budget may be another, and its
            data may lie elsewhere. What it started from is kept.
        out: its folder.
        resume: go on from OUT/last.pt; without that file the run begins.
        device: see `placed`; `make_fabric` says who starts the processes.

    Returns:
        Where the run stands.

    Raises:
        TrainingError: OUT holds a run and `resume` is not set, or one of another recipe; data that cannot be used;
            a loss, or weights, that are not finite.
        WeightsError: the weights to start from do not fit.
    """
    if not resume and (out / LAST).exists():
        raise TrainingError(f"{out / LAST}: there is a run; give --resume to go on with it, or another --out")
    if (out / LAST).exists():
        config = continued(config, out)
    config, device = placed(config, device)
    Subjects(config.data)  # errors of the data are told before processes start
    out.mkdir(parents=True, exist_ok=True)
    fabric = make_fabric(config, device)
    try:
        with signals_forwarded():
            result: Progress = fabric.launch(partial(run, config=config, out=out))
    except ProcessRaisedException as problem:
        # A process that was started here can only send its traceback.
        kind, _, message = str(problem).strip().splitlines()[-1].partition(": ")
        if kind.rpartition(".")[2] not in ("TrainingError", "WeightsError"):
            raise
        raise TrainingError(message) from None
    return result


def complete(config: TrainingConfig, out: Path, *, device: str = "auto") -> Progress:
    """Trains to the end of the budget; a run that is in OUT already goes on.

    Args:
        config, out, device: as `train` takes them.

    Raises:
        TrainingError: it was stopped; else as `train`.
        WeightsError: as `train`.
    """
    state = train(config, out, resume=True, device=device)
    if progress(config.budget, state.step, state.seconds) < 1:
        raise TrainingError(f"{out}: stopped at step {state.step}; the same command goes on from there")
    return state


def run(fabric: Fabric, config: TrainingConfig, out: Path) -> Progress:
    """One process of the run, to its end or the session's."""
    threads = torch.get_num_threads()
    if fabric.device.type == "cpu":
        # Threads that share cores with anything else wait for one another; processes do not.
        torch.set_num_threads(1)
    trainer = Trainer(fabric, config, out)
    began, saved = time.monotonic(), 0.0
    spent = trainer.state.seconds
    with stop_request() as request:
        while True:
            elapsed, stop = _agreed(fabric, time.monotonic() - began, request.made)
            trainer.state.seconds = spent + elapsed
            share = progress(config.budget, trainer.state.step, trainer.state.seconds)
            limit = config.budget.session_minutes
            stop = stop or share >= 1 or (limit is not None and elapsed >= limit * 60)
            if stop or elapsed - saved > config.save_every_minutes * 60:
                trainer.save()
                saved = elapsed
            if stop:
                break
            trainer.step(share)
    trainer.close()
    torch.set_num_threads(threads)
    return trainer.state


class Trainer:
    """A run in one process, from where it stands on.

    Args:
        fabric: launched.
        config: of the run.
        out: its folder; a state found there is restored.
    """

    def __init__(self, fabric: Fabric, config: TrainingConfig, out: Path) -> None:
        self.fabric, self.config, self.out = fabric, config, out
        name = config.model.name
        model = create_model(name, weights=None, seed=config.seed).train()
        start = config.model.start
        begins = not (out / LAST).exists()
        self.origin = origin_of(start) if begins and start is not None else {}
        if begins and start is not None:
            lender = config.model.start_model or name
            if lender == name:
                load_weights(model, start, architecture=name)
            else:
                adopt(model, create_model(lender, weights=start))
        self.model: Segmenter = model.to(fabric.device)
        if fabric.world_size > 1:
            lay_out_gradients(self.model)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimiser = make_optimiser(self.model, config.optimiser)
        self.state = Progress()
        if not begins:
            self.state, self.origin = load_state(out, name, self.model, self.average, self.optimiser)
        self.state.processes = fabric.world_size
        self.trainable, self._stepper = fabric.setup(Trainable(self.model, config.loss), self.optimiser)
        self._samples = config.batch * fabric.world_size
        self._epoch_steps = max(1, -(-len(Subjects(config.data)) // self._samples))
        window = config.model.window or self.model.window
        self._batches = load_batches(
            Batches(config, window, fabric.global_rank, self.state.step), pin=fabric.device.type == "cuda"
        )
        # Of loss and Dice; on the device, so that no step waits for it.
        self._sums = torch.tensor(self.state.sums, dtype=torch.float64, device=fabric.device)
        self._shown = time.monotonic()
        self._records: Records | None = None
        if fabric.is_global_zero:
            (out / CONFIG).write_text(config.dump(), "utf-8")
            self._records = Records(out, self.state.step)

    def step(self, share: float) -> None:
        """One step of the optimiser, `share` of the budget being spent."""
        state, settings = self.state, self.config.optimiser
        rate = learning_rate(settings, state.step, share, self._epoch_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        image, truth, prompts = self._next_batch()
        # What layers draw depends on the step alone, wherever the run was cut.
        torch.manual_seed((self.config.seed << 20) + (self.fabric.global_rank << 40) + state.step)
        loss, score = self.trainable(image, truth, prompts)
        self._stepper.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        # A gradient that is not finite, which all processes see alike, would leave nothing to go on from.
        norm = self.fabric.clip_gradients(
            self.trainable, self._stepper, max_norm=settings.clip or math.inf, error_if_nonfinite=False
        )
        if norm is None or bool(norm.isfinite()):
            self._stepper.step()
        state.step += 1
        state.samples += self._samples
        update_average(self.average, self.model, self.config.average, state.step)
        self._sums += torch.stack([loss.detach(), score]).double()
        if state.step % self.config.log_every == 0:
            self._log(rate)

    def _next_batch(self) -> Batch:
        """The step's batch on the device, now and then with clicks on the model's own answers."""
        asked = time.monotonic()
        image, truth, prompts = next(self._batches)
        self.state.waited += time.monotonic() - asked
        device = self.fabric.device
        image, truth = image.to(device, non_blocking=True), truth.to(device, non_blocking=True)
        return image, truth, self._interact(image, truth.mask, prompts.to(device))

    def _interact(self, image: Tensor, target: Tensor, prompts: WindowPrompts) -> WindowPrompts:
        """The prompts after rounds of clicks on the model's own answers, in the share of steps that has them."""
        settings = self.config.prompts
        # The same choice in all processes, which wait for one another at every step.
        shared = np.random.default_rng([self.config.seed, INTERACTIONS, self.state.step])
        if shared.random() >= settings.interaction:
            return prompts
        rounds = int(shared.integers(1, settings.rounds + 1))
        rng = np.random.default_rng(
            [self.config.seed, INTERACTIONS, self.state.step, self.fabric.global_rank]
        )
        with self.fabric.autocast():
            return interact(self.model, image, target, prompts, rounds, rng)

    def _log(self, rate: float) -> None:
        """A row of means over the steps since the last one and over all processes."""
        state, now = self.state, time.monotonic()
        loss, dice = _reduced(self.fabric, self._sums / self.config.log_every, "mean")
        self._check(loss)
        if self._records is not None:
            row = {"step": state.step, "samples": state.samples, "seconds": state.seconds, "lr": rate}
            waiting = state.waited / max(now - self._shown, 1e-9)
            self._records.add(row | {"loss": loss, "dice": dice, "waiting": waiting})
        self._sums.zero_()
        state.waited, self._shown = 0.0, now

    def save(self) -> None:
        """Writes the state and the averaged weights, and draws the curve. All processes do it at the same step."""
        self.state.sums = _reduced(self.fabric, self._sums, "mean")
        self._check(self.state.sums[0])
        if not all(bool(parameter.isfinite().all()) for parameter in self.model.parameters()):
            raise TrainingError(
                f"step {self.state.step}: weights are not finite; lower optimiser.rate and go on from "
                f"{self.out / LAST}"
            )
        if self._records is not None:
            name = self.config.model.name
            save_state(self.out, name, self.model, self.average, self.optimiser, self.state, self.origin)
            self._records.draw()

    def close(self) -> None:
        """Ends the records; the other processes wait for the first."""
        if self._records is not None:
            self._records.close()
        self.fabric.barrier()

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"step {self.state.step}: the loss is {loss}; lower optimiser.rate and go on from {self.out / LAST}"
            )


def _agreed(fabric: Fabric, elapsed: float, stop: bool) -> tuple[float, bool]:
    """The latest clock, and whether any process is to stop: all leave the loop at the same step."""
    if fabric.world_size == 1:
        return elapsed, stop
    values = torch.tensor([elapsed, float(stop)], dtype=torch.float64, device=fabric.device)
    latest, stops = _reduced(fabric, values, "max")
    return latest, stops > 0


def _reduced(fabric: Fabric, values: Tensor, how: str) -> list[float]:
    """Values of all processes, reduced."""
    result = fabric.all_reduce(values, reduce_op=how)
    assert isinstance(result, Tensor)
    return [float(value) for value in result]
