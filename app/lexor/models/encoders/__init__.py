"""Image encoders: one registry, one contract, checked whenever an encoder is built."""

from __future__ import annotations

import difflib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

Stride = tuple[int, int, int]


class Encoder(nn.Module, ABC):
    """An image encoder with spatial feature maps, fine to coarse.

    `forward` takes (B, in_channels, D, H, W) and returns one map a scale, the i-th of shape
    (B, widths[i], ceil(D / sz), ceil(H / sy), ceil(W / sx)) with (sz, sy, sx) = strides[i].

    Attributes:
        strides: voxels per feature along (z, y, x), by scale.
        widths: channels by scale.
    """

    strides: tuple[Stride, ...]
    widths: tuple[int, ...]

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.in_channels = in_channels

    @abstractmethod
    def forward(self, image: Float[Tensor, "B C D H W"]) -> tuple[Tensor, ...]:
        """Feature maps, fine to coarse."""


EncoderFactory = Callable[..., Encoder]
_Registered = TypeVar("_Registered", bound=EncoderFactory)
_REGISTRY: dict[str, tuple[EncoderFactory, int | None]] = {}


def register_encoder(name: str, parameters: int | None = None) -> Callable[[_Registered], _Registered]:
    """Registers a class or function that makes an encoder; it is called with `in_channels` and options.

    Args:
        name: what `build_encoder` takes.
        parameters: how many learned values it declares to have for one channel and without options.
    """

    def register(factory: _Registered) -> _Registered:
        if name in _REGISTRY and _REGISTRY[name][0] is not factory:
            raise ValueError(f"encoder {name!r} is registered twice; choose another name")
        _REGISTRY[name] = factory, parameters
        return factory

    return register


def list_encoders() -> list[str]:
    """Names of all encoders, sorted; `build_encoder` makes each as the paper has it, if without options."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return sorted(_REGISTRY)


def build_encoder(name: str, in_channels: int = 1, **options: Any) -> Encoder:
    """The encoder of that name, its declaration checked, unless it is a mere plan on the meta device.

    Args:
        name: one of `list_encoders()`.
        in_channels: channels of the image.
        options: passed on to the encoder.

    Raises:
        ValueError: no such encoder; or its maps differ from the strides and widths it declares, or its size from
            the parameters.
    """
    if name not in _REGISTRY:
        known = list_encoders()
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"no encoder {name!r}; {hint}known are {', '.join(known)}")
    factory, parameters = _REGISTRY[name]
    encoder = factory(in_channels=in_channels, **options)
    # A plan on the meta device gets its weights from a file, which fits this very encoder or is refused.
    if not any(values.is_meta for values in encoder.parameters()):
        check_declaration(encoder, name)
    found = sum(values.numel() for values in encoder.parameters())
    if parameters is not None and in_channels == 1 and not options and found != parameters:
        raise ValueError(
            f"encoder {name!r} declares {parameters:,} parameters and has {found:,}; correct its declaration"
        )
    return encoder


def check_declaration(encoder: Encoder, name: str) -> None:
    """Compares the maps of two dummy images, of even and of odd size, with what the encoder declares.

    Runs on the meta device: nothing is computed, no weight is copied.

    Raises:
        ValueError: names the scale, the declared shape and the one found.
    """
    if len(encoder.strides) != len(encoder.widths):
        raise ValueError(
            f"encoder {name!r} declares {len(encoder.strides)} strides and {len(encoder.widths)} widths; "
            "declare one of each a scale"
        )
    state = {
        key: torch.empty_like(value, device="meta")
        for key, value in [*encoder.named_parameters(), *encoder.named_buffers()]
    }
    coarsest = [max(stride[axis] for stride in encoder.strides) for axis in range(3)]
    for size in ([2 * n for n in coarsest], [2 * n + 1 for n in coarsest]):
        dummy = torch.empty(1, encoder.in_channels, *size, device="meta")
        maps = torch.func.functional_call(encoder, state, (dummy,))
        found = [tuple(feature.shape) for feature in maps]
        declared = [
            (1, width, *(-(-n // s) for n, s in zip(size, stride, strict=True)))
            for stride, width in zip(encoder.strides, encoder.widths, strict=True)
        ]
        if found != declared:
            raise ValueError(
                f"encoder {name!r} declares strides {encoder.strides} and widths {encoder.widths}, so maps "
                f"{declared} for an image of {tuple(size)}, and gives {found}; correct its declaration"
            )
