"""The parameters of Algorithm 1: the paper's values, and what is refused."""

from __future__ import annotations

import dataclasses
import inspect
from typing import get_args, get_type_hints

import numpy as np
import pytest

from lexor.cli.prompt import prompt
from lexor.prompting import CandidateParameters, IntensityParameters


def test_defaults_are_the_papers() -> None:
    assert dataclasses.asdict(IntensityParameters()) == {
        "sigma": 2.0,
        "low": 0.5,
        "high": 2.0,
        "closing_radius": 3,
        "margin": 5,
        "truncate": 4.0,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sigma", 0.0),
        ("sigma", -1.0),
        ("sigma", float("nan")),
        ("sigma", "2"),
        ("low", float("inf")),
        ("low", 2.0),
        ("high", 0.5),
        ("high", True),
        ("closing_radius", -1),
        ("closing_radius", 2.5),
        ("margin", -1),
        ("margin", 5.0),
        ("truncate", 0.0),
        ("sigma", 1e6),
        ("sigma", 1e300),
        ("sigma", 1e-300),
        ("low", -1e4),
        ("high", 1e300),
        ("high", float("nan")),
        ("closing_radius", 10**6),
        ("margin", 10**30),
        ("truncate", float("inf")),
    ],
)
def test_refuses_a_value_out_of_range_and_names_it(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name) as refusal:
        IntensityParameters(**{name: value})  # type: ignore[arg-type]
    assert repr(value) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_takes_the_limits_and_numpy_numbers() -> None:
    parameters = IntensityParameters(
        sigma=np.float32(1.5), low=-3, high=-1, closing_radius=np.int64(0), margin=np.uint8(0)
    )
    assert (parameters.sigma, parameters.closing_radius, parameters.margin) == (1.5, 0, 0)


def test_each_is_an_option_with_its_section_in_the_help() -> None:
    hints = get_type_hints(prompt, include_extras=True)
    defaults = inspect.signature(prompt).parameters
    for field in dataclasses.fields(IntensityParameters):
        option = {"closing_radius": "radius"}.get(field.name, field.name)
        assert defaults[option].default == field.default, option
        assert "section 2.3" in get_args(hints[option])[1].help, option


def test_each_of_the_candidates_is_an_option_with_its_default() -> None:
    hints = get_type_hints(prompt, include_extras=True)
    defaults = inspect.signature(prompt).parameters
    for field in dataclasses.fields(CandidateParameters):
        text = get_args(hints[field.name])[1].help
        if isinstance(field.default, tuple):
            # A list's default is None for typer, and stands in the help.
            numbers = " ".join(f"{number:g}".removeprefix("0") for number in field.default)
            assert f"(default: {numbers})" in text, field.name
        else:
            assert defaults[field.name].default == field.default, field.name
