"""Where automatic prompts are computed: the choice of a device."""

from __future__ import annotations

from lexor.prompting.backends import cpu, cuda
from lexor.prompting.backends.base import Array, ArrayBackend, slabs_of

__all__ = ["Array", "ArrayBackend", "select_backend", "slabs_of"]


def select_backend(device: str) -> ArrayBackend:
    """The backend for a device.

    Args:
        device: "cpu"; "cuda", which needs CuPy, cuCIM and a GPU; or "auto". That is "cuda" in a process whose
            network is on a GPU already, if CuPy and cuCIM work there, and "cpu" elsewhere: no GPU is started for a
            prompt alone, which the CPU finds within a second.

    Raises:
        ValueError: no such device, or "cuda" where it does not work; the message says why.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {device!r}: use 'auto', 'cpu' or 'cuda'")
    if device == "cuda" or (device == "auto" and cuda.torch_computes()):
        reason = cuda.why_unusable()
        if reason is None:
            return cuda.CudaBackend()
        if device == "cuda":
            raise ValueError(
                f"device is 'cuda', but {reason}: install lexor[gpu] where a GPU is, or use 'cpu'"
            )
    return cpu.CpuBackend()
