"""Runs of the image as the organisers make them, and the cases they are given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
# What CVPR25_iter_eval.py runs.
ORGANISERS = ["/bin/bash", "-c", "sh predict.sh"]
# Seconds for a cold container on a busy machine; not a measure of speed.
PATIENCE = 300
SHAPE = (24, 64, 72)
CENTRES = ((12, 20, 20), (11, 42, 50))
RADII = (6, 12, 12)


@dataclass(frozen=True)
class Run:
    """A finished container."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Lexor:
    """The image under test."""

    client: Any
    image: Any

    def run(
        self,
        inputs: Path | None = None,
        outputs: Path | None = None,
        *,
        command: list[str] | None = None,
        read_only_inputs: bool = False,
        **options: Any,
    ) -> Run:
        """Starts a container as the organisers do, waits for its end, and removes it.

        Args:
            inputs, outputs: folders to mount, where given.
            command: the container's command; None for the image's own.
            options: of `docker.models.containers.ContainerCollection.create`.
        """
        volumes = {}
        if inputs is not None:
            mode = "ro" if read_only_inputs else "rw"
            volumes[str(inputs)] = {"bind": "/workspace/inputs", "mode": mode}
        if outputs is not None:
            volumes[str(outputs)] = {"bind": "/workspace/outputs", "mode": "rw"}
        container = self.client.containers.create(
            self.image, command, volumes=volumes, **{"mem_limit": "32g"} | options
        )
        try:
            container.start()
            status = container.wait(timeout=PATIENCE)["StatusCode"]
            out = container.logs(stdout=True, stderr=False).decode()
            err = container.logs(stdout=False, stderr=True).decode()
        finally:
            container.remove(force=True)
        return Run(status, out, err)

    def shell(self, script: str) -> str:
        """What a bash script prints in the image; its failure is an error."""
        run = self.run(command=["/bin/bash", "-c", script])
        assert run.status == 0, run.err
        return run.out


def balls() -> np.ndarray:
    """Two ellipsoids, labelled 1 and 2, uint8 of `SHAPE`."""
    labels = np.zeros(SHAPE, np.uint8)
    grid = np.indices(SHAPE)
    for value, centre in enumerate(CENTRES, 1):
        distance = sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, RADII, strict=True))
        labels[distance <= 1] = value
    return labels


def write_balls(path: Path, *, boxes: bool = True, **extra: Any) -> None:
    """Writes `balls()` as bright tissue in noise as a challenge file, object arrays and all."""
    labels = balls()
    noise = np.random.default_rng(0).normal(0, 8, SHAPE)
    arrays: dict[str, Any] = {
        "imgs": np.clip(60 + 120 * (labels > 0) + noise, 0, 255).astype(np.uint8),
        "spacing": np.ones(3),
    }
    if boxes:
        arrays["boxes"] = np.array(
            [
                {
                    "z_min": z - RADII[0],
                    "z_max": z + RADII[0],
                    "z_mid": z,
                    "z_mid_x_min": np.int64(x - RADII[2]),
                    "z_mid_y_min": np.int64(y - RADII[1]),
                    "z_mid_x_max": np.int64(x + RADII[2]),
                    "z_mid_y_max": np.int64(y + RADII[1]),
                }
                for z, y, x in CENTRES
            ]
        )
    np.savez_compressed(path, **arrays, **extra)


def read_segmentation(path: Path) -> np.ndarray:
    """The `segs` of an answer, read as the evaluator's environment could: no pickle."""
    with np.load(path, allow_pickle=False) as file:
        return np.asarray(file["segs"])
