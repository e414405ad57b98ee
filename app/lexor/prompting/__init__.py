"""Automatic prompts: boxes for volumes that come without any."""

from lexor.prompting.intensity import auto_prompt
from lexor.prompting.parameters import IntensityParameters

__all__ = ["IntensityParameters", "auto_prompt"]
