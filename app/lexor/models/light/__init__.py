"""The light family: an object-centric window, prompts as maps, any encoder."""

from lexor.models.light.network import LightSegmenter

__all__ = ["LightSegmenter"]
