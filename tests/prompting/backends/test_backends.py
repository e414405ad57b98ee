"""The choice of a backend, and the CPU's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lexor.prompting.backends import cuda, select_backend
from lexor.prompting.backends.cpu import CpuBackend


def test_the_cpu_is_there() -> None:
    assert select_backend("cpu").name == "cpu"


def test_auto_without_a_gpu_is_the_cpu_and_cuda_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "why_unusable", lambda: "no NVIDIA GPU is visible")
    assert select_backend("auto").name == "cpu"
    with pytest.raises(ValueError, match="no NVIDIA GPU is visible") as refusal:
        select_backend("cuda")
    assert "\n" not in str(refusal.value)


def test_labels_are_in_raster_order_whatever_a_component_looks_like() -> None:
    rng = np.random.default_rng(0)
    for density, slab_voxels in ((0.02, 1), (0.1, 300), (0.2, 1 << 18)):
        mask = rng.random((15, 17, 19)) < density
        backend = CpuBackend()
        backend.slab_voxels = slab_voxels
        labels, sizes = backend.label(mask)
        expected, count = ndimage.label(mask, np.ones((3, 3, 3)))
        assert len(sizes) == count
        firsts = [int(np.flatnonzero(labels == label)[0]) for label in range(1, count + 1)]
        assert firsts == sorted(firsts)
        # The same partition: every pair of labels that occurs is one to one.
        pairs = set(zip(labels[mask].tolist(), expected[mask].tolist(), strict=True))
        assert len(pairs) == count
        assert sizes.tolist() == [int((labels == label).sum()) for label in range(1, count + 1)]


def test_one_mask_voxel_is_one_component() -> None:
    mask = np.zeros((1, 1, 4), dtype=bool)
    mask[0, 0, 2] = True
    labels, sizes = CpuBackend().label(mask)
    assert labels.tolist() == [[[0, 0, 1, 0]]]
    assert sizes.tolist() == [1]


def test_work_comes_back_in_order() -> None:
    slabs = [slice(start, start + 1) for start in range(50)]
    assert CpuBackend().run(lambda slab: slab.start, slabs) == list(range(50))
