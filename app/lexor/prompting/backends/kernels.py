"""Compiled GPU kernels that an image brings along.

CuPy compiles a kernel when it is first called, for the GPU and the CUDA version at hand, and keeps it in a folder
that it must be able to write to. A cold container finds that folder empty. So the image holds kernels that were
compiled elsewhere, in a folder that may be read-only, and they are copied before CuPy starts. CuPy names a kernel
after all that it depends on and stores its checksum with it: what does not fit this GPU is never used.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

# Names the folder; `make image-kernels` fills it on a machine with a GPU.
FOLDER = "LEXOR_KERNELS"
SUFFIX = ".cubin"


def fill_kernel_cache() -> int:
    """Copies the kernels of `$LEXOR_KERNELS` to where CuPy looks for them, unless they are there; gives their number.

    Where that fails, CuPy compiles: the prompt takes longer, and is the same.
    """
    source = os.environ.get(FOLDER)
    copied = 0
    if not source:
        return copied
    cache = Path(os.environ.get("CUPY_CACHE_DIR") or Path("~/.cupy/kernel_cache").expanduser())
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home
        for kernel in sorted(Path(source).glob(f"*{SUFFIX}")):
            target = cache / kernel.name
            if not target.exists():
                cache.mkdir(parents=True, exist_ok=True)
                part = cache / f".{secrets.token_hex(8)}.partial"
                part.write_bytes(kernel.read_bytes())
                part.replace(target)
                copied += 1
    return copied
