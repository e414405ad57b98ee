"""A training run as data: YAML read into frozen, validated sections."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Size = PositiveInt
PRESETS = Path(__file__).parent / "configs"


def mix_type(recipe: str) -> type[Any]:
    """The dataclass that holds a recipe's shares."""
    if recipe == "object":
        from lexor.training.object_samples import Mix

        return Mix
    from lexor.training.volume_samples import VolumeMix

    return VolumeMix


class TrainingError(ValueError):
    """A run that cannot be started or gone on with; one line: file, key, value found, remedy."""


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(Section):
    """What is trained.

    Attributes:
        name: of `create_model`.
        window: (d, h, w) of the samples; the model's own where None.
        start: weights to start from; random where None.
        start_model: whose weights they are where they are another model's: what both have is taken
            (`adoption.adopt`), the rest is random.
    """

    name: str = "mobilenet3d"
    window: tuple[Size, Size, Size] | None = None
    start: Path | None = None
    start_model: str | None = None


class DataConfig(Section):
    """Which real cases are seen.

    Attributes:
        paths: folders of labelled challenge .npz files, of scans, or of a data set in nnU-Net's layout; or files of
            `lexor pack`.
        labels: for each path the folder of its scans' labels; () where no path holds scans.
        modality: of scans that do not tell it themselves.
        window: of CT scans, as `case_of` takes it.
        fraction: share of every source's cases that is used, at least one: 0.1 is the challenge's coreset.
        subset_seed: of the choice of that share.
        leave_out: sources that are not used, by the first two tokens of their names ("CT_openkbp").
        only: the sources that are used; all where empty.
        cache_mb: decoded cases kept in memory, in MB, by each process.
    """

    paths: tuple[Path, ...] = ()
    labels: tuple[Path, ...] = ()
    modality: Literal["CT", "MR", "PET", "US", "Microscopy"] | None = None
    window: str | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    subset_seed: int = 0
    leave_out: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    cache_mb: PositiveInt = 2000

    @model_validator(mode="after")
    def _paired(self) -> DataConfig:
        if self.labels and len(self.labels) != len(self.paths):
            raise ValueError(
                f"labels are {len(self.labels)} folders, paths {len(self.paths)}; give the labels of each path"
            )
        return self

    def uses(self, source: str) -> bool:
        """Whether cases of a source are seen."""
        return source not in self.leave_out and (not self.only or source in self.only)


class MixConfig(Section):
    """Real against synthetic.

    Attributes:
        real: share of samples from real cases; without data all are synthetic.
        varied: of these, how many are in another shape and look (`variation`).
        scenes: synthetic scenes to draw from at a time, in each stream of samples.
        initial: of these, at the first step.
        renew_every: a fresh scene replaces the oldest every so many batches of a stream.
    """

    real: Share = 0.4
    varied: Share = 0.0
    scenes: PositiveInt = 200
    initial: PositiveInt = 40
    renew_every: PositiveInt = 2


class PromptsConfig(Section):
    """How samples are viewed and prompted.

    Attributes:
        recipe: "object" frames the prompt's surroundings (`samples.Mix`), "volume" zooms out to the volume or
            in to a foreground crop (`volume_samples.VolumeMix`).
        mix: fields of that dataclass; what is left out has its default.
        interaction: share of steps in which the model's own answers are clicked (`interaction.interact`).
        rounds: of clicks in these, from one to so many.
    """

    recipe: Literal["object", "volume"] = "object"
    mix: Mapping[str, float] = {}
    interaction: Share = 0.0
    rounds: PositiveInt = 3

    @model_validator(mode="after")
    def _known(self) -> PromptsConfig:
        known = {field.name for field in fields(mix_type(self.recipe))}
        for name, value in self.mix.items():
            if name not in known:
                raise ValueError(f"mix has no field {name!r}; {_hint(name, known)}")
            # All are shares but the number of points.
            if not 0 <= value <= (math.inf if name == "points" else 1):
                raise ValueError(f"mix.{name} is {value}; give a share, 0 to 1")
        return self


class LossConfig(Section):
    """Weights of the loss's terms; zero leaves a term out."""

    dice: Weight = 1.0
    entropy: Weight = 1.0
    focal: Weight = 0.0
    quality: Weight = 0.1


class OptimiserConfig(Section):
    """The optimiser and its learning rate.

    Attributes:
        rate: highest learning rate.
        decay: weight decay of adamw, on parameters of more than one axis.
        warm_up: steps over which the rate rises linearly.
        schedule: "cosine" falls to `floor` x rate over the budget; "halving" halves every `halve_every`
            epochs (as many samples as there are cases); "constant".
        clip: largest norm of the gradient; 0: any.
    """

    name: Literal["adamw", "adam"] = "adamw"
    rate: PositiveFloat = 2e-3
    betas: tuple[Decay, Decay] = (0.9, 0.98)
    decay: Weight = 0.02
    warm_up: Annotated[int, Field(ge=0)] = 200
    schedule: Literal["cosine", "halving", "constant"] = "cosine"
    floor: Share = 0.01
    halve_every: PositiveInt = 200
    clip: Weight = 2.0


class BudgetConfig(Section):
    """When a run is done: after so many steps or minutes, whichever is first.

    Attributes:
        steps, minutes: of the whole run, over all its sessions.
        session_minutes: this session stops and saves after so many; the run may go on later.
    """

    steps: PositiveInt | None = None
    minutes: PositiveFloat | None = None
    session_minutes: PositiveFloat | None = None

    @model_validator(mode="after")
    def _bounded(self) -> BudgetConfig:
        if self.steps is None and self.minutes is None:
            raise ValueError("neither steps nor minutes is given; give one, or both")
        return self


class TrainingConfig(Section):
    """A whole run.

    Attributes:
        average: decay of the exponential average of the weights; 0: none.
        batch: samples a step, in each process.
        workers: processes that make samples for each training process; 0: it makes its own. None: by device, see
            `fabric.placed`.
        devices: training processes, one a device.
        log_every: steps a row of the log.
        save_every_minutes: between checkpoints.
    """

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    mix: MixConfig = MixConfig()
    prompts: PromptsConfig = PromptsConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    budget: BudgetConfig
    average: Decay = 0.998
    batch: PositiveInt = 4
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    workers: Annotated[int, Field(ge=0)] | None = None
    devices: PositiveInt = 1
    log_every: PositiveInt = 50
    save_every_minutes: PositiveFloat = 4.0

    def dump(self) -> str:
        """The resolved configuration as YAML, which `load_config` reads back."""
        text: str = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        return text


def list_presets() -> list[str]:
    """Names of the configurations that come with Lexor."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_config(source: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainingConfig:
    """The configuration of a YAML file or a preset.

    Args:
        source: a path, or a name of `list_presets()`; a weights' card (.json) gives the one it was trained by.
        overrides: values by dotted key ("budget.minutes") that replace the file's.

    Raises:
        TrainingError: unreadable, or a key or value is not what it should be.
    """
    path = Path(source)
    if not path.is_file() and path.suffix not in (".yaml", ".yml"):
        path = PRESETS / f"{source}.yaml"
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except OSError:
        known = ", ".join(list_presets())
        raise TrainingError(
            f"{source}: no such file or preset; give a YAML file, or one of {known}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        reason = " ".join(str(problem).split())
        raise TrainingError(f"{source}: not readable YAML ({reason}); correct it") from None
    if path.suffix == ".json" and isinstance(values, dict):
        values = values.get("training")
        values = values.get("config") if isinstance(values, dict) else None
    return parse_config(values, str(source), overrides)


def parse_config(values: Any, source: str, overrides: Mapping[str, Any] | None = None) -> TrainingConfig:
    """The configuration that plain values make.

    Args:
        values: a mapping of sections, as YAML or JSON gives it.
        source: where they come from, for the errors.
        overrides: as `load_config` takes them.

    Raises:
        TrainingError: no mapping, or a key or value is not what it should be.
    """
    if not isinstance(values, dict):
        raise TrainingError(f"{source}: holds {type(values).__name__}, not a mapping; give key: value lines")
    values = dict(values)
    for dotted, value in (overrides or {}).items():
        *parents, key = dotted.split(".")
        section = values
        for parent in parents:
            section[parent] = dict(section.get(parent) or {})
            section = section[parent]
        section[key] = value
    try:
        return TrainingConfig.model_validate(values)
    except ValidationError as problem:
        raise TrainingError(f"{source}: {_first_error(problem)}") from None


def _first_error(problem: ValidationError) -> str:
    """One line: the key, what is wrong with its value, the remedy."""
    error = problem.errors()[0]
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        section: Any = TrainingConfig
        for part in error["loc"][:-1]:
            section = section.model_fields[str(part)].annotation
        return f"{key}: no such key; {_hint(str(error['loc'][-1]), section.model_fields)}"
    if error["type"] == "missing":
        return f"{key}: is missing; give it"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{key}: {message}"
    value = " ".join(repr(error["input"]).split())[:80]
    return f"{key}: {value}: {message[0].lower()}{message[1:]}; correct it"


def _hint(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
