from pathlib import Path
from typing import Any

import pytest

from lexor.models.factory import ARCHITECTURES
from lexor.training.config import TrainingError, list_presets, load_config


@pytest.mark.parametrize("preset", list_presets())
def test_presets_are_complete_and_survive_writing(preset: str, tmp_path: Path) -> None:
    config = load_config(preset)
    assert config.model.name in ARCHITECTURES
    (tmp_path / "config.yaml").write_text(config.dump())
    assert load_config(tmp_path / "config.yaml") == config


def test_the_papers_preset_is_the_papers() -> None:
    config = load_config("paper")
    assert (config.optimiser.name, config.optimiser.rate) == ("adam", 1e-5)
    assert (config.optimiser.schedule, config.optimiser.halve_every) == ("halving", 200)
    assert (config.loss.dice, config.loss.focal, config.loss.entropy) == (1, 1, 0)
    assert (config.prompts.mix["jitter"], config.prompts.mix["dropout"]) == (0.1, 0.2)


def test_overrides_replace_values() -> None:
    config = load_config("mobilenet3d", {"budget.minutes": 5, "data.paths": ["a", "b"], "seed": 3})
    assert config.budget.minutes == 5
    assert config.data.paths == (Path("a"), Path("b"))
    assert config.seed == 3
    assert config.optimiser.rate == 2e-3


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ({"optimiser.rat": 1}, "smoke: optimiser.rat: no such key; did you mean 'rate'?"),
        ({"bach": 1}, "smoke: bach: no such key; did you mean 'batch'?"),
        (
            {"batch": 0},
            "smoke: batch: 0: input should be greater than 0; correct it",
        ),
        ({"prompts.mix": {"clicks": -3}}, "smoke: prompts: mix.clicks is -3.0; give a share, 0 to 1"),
        ({"prompts.mix": {"zoom": 1}}, "smoke: prompts: mix has no field 'zoom'; did you mean 'zoom_in'?"),
        (
            {"budget": {}},
            "smoke: budget: neither steps nor minutes is given; give one, or both",
        ),
    ],
)
def test_errors_name_file_key_value_and_remedy(overrides: dict[str, Any], line: str) -> None:
    with pytest.raises(TrainingError) as caught:
        load_config("smoke", overrides)
    assert str(caught.value) == line


def test_unreadable_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^nothing: no such file or preset; .*mobilenet3d, paper"):
        load_config("nothing")
    (tmp_path / "bad.yaml").write_text("a: [1,\nb: }")
    with pytest.raises(TrainingError, match=r"^[^\n]*bad.yaml: not readable YAML[^\n]*$"):
        load_config(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(TrainingError, match=r"list.yaml: holds list, not a mapping"):
        load_config(tmp_path / "list.yaml")
