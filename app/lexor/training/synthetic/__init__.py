"""Synthetic volumes with labels: random anatomy, random contrast, the look of five modalities.

Shapes and compositions are drawn from families that real targets come from; everything is seeded by one numpy
generator; tensors are on the CPU or a GPU. Modules, each importing only from those before it: fields; shapes; tubes;
families; canvas; organs; bones; bodies; anatomy; palettes; artefacts; looks; scene.
"""

from lexor.training.synthetic.fields import blur, smooth_noise
from lexor.training.synthetic.looks import STYLES
from lexor.training.synthetic.scene import Scene, make_scene

__all__ = ["STYLES", "Scene", "blur", "make_scene", "smooth_noise"]
