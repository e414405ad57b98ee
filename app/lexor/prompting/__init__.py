"""Automatic prompts: boxes for volumes that come without any."""

from lexor.prompting.candidates import Candidate, propose
from lexor.prompting.intensity import auto_prompt
from lexor.prompting.parameters import CandidateParameters, IntensityParameters

__all__ = ["Candidate", "CandidateParameters", "IntensityParameters", "auto_prompt", "propose"]
