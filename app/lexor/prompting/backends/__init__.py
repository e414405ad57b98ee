"""Where automatic prompts are computed: the choice of a device."""

from __future__ import annotations

from lexor.prompting.backends import cpu, cuda
from lexor.prompting.backends.base import Array, ArrayBackend, slabs_of

__all__ = ["Array", "ArrayBackend", "select_backend", "slabs_of", "worth_a_gpu"]

# NOT MEASURED: no GPU was at hand. Estimates, to be replaced by what `lexor bench prompts --device cuda` prints.
# The first prompt of a process imports CuPy and cuCIM, makes a CUDA context and loads or compiles kernels.
COLD_GPU_SECONDS = 5.0
# Later ones copy the volume, and launch some hundred kernels.
WARM_GPU_SECONDS = 0.02
# This one was measured, as processor time: what one free core does (160x512x512; two are faster yet).
CPU_VOXELS_PER_SECOND = 75e6


def select_backend(device: str, voxels: int | None = None) -> ArrayBackend:
    """The backend for a device.

    Args:
        device: "cpu"; "cuda", which needs CuPy, cuCIM and a GPU; or "auto", which is "cuda" where that works
            and is worth its start, and "cpu" elsewhere.
        voxels: of the volume to come. "auto" then leaves small volumes to the CPU: those that it finishes
            before the GPU would have started (`worth_a_gpu`).

    Raises:
        ValueError: no such device, or "cuda" where it does not work; the message says why.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {device!r}: use 'auto', 'cpu' or 'cuda'")
    if device == "auto" and voxels is not None and not worth_a_gpu(voxels, cuda.is_warm()):
        return cpu.CpuBackend()
    if device != "cpu":
        reason = cuda.why_unusable()
        if reason is None:
            return cuda.CudaBackend()
        if device == "cuda":
            raise ValueError(
                f"device is 'cuda', but {reason}: install lexor[gpu] where a GPU is, or use 'cpu'"
            )
    return cpu.CpuBackend()


def worth_a_gpu(voxels: int, warm: bool) -> bool:
    """Whether the CPU would still be at a volume when a GPU, cold or warm, is ready to begin."""
    return voxels / CPU_VOXELS_PER_SECOND > (WARM_GPU_SECONDS if warm else COLD_GPU_SECONDS)
