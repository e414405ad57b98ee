"""The registry of encoders and the check of what they declare."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import lexor.models.encoders as registry
from lexor.models.encoders import Encoder, build_encoder, list_encoders, register_encoder


class Pool(Encoder):
    """Means of 2x4x4 voxels, and a convolution of them."""

    def __init__(
        self,
        in_channels: int = 1,
        strides: tuple[tuple[int, int, int], ...] = ((2, 4, 4),),
        widths: tuple[int, ...] = (5,),
        ceil: bool = True,
    ) -> None:
        super().__init__(in_channels)
        self.strides, self.widths = strides, widths
        self.pool = nn.AvgPool3d((2, 4, 4), ceil_mode=ceil)
        self.conv = nn.Conv3d(in_channels, 5, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (self.conv(self.pool(image)),)


@pytest.fixture
def pool() -> Iterator[str]:
    register_encoder("pool_of_the_tests")(Pool)
    yield "pool_of_the_tests"
    del registry._REGISTRY["pool_of_the_tests"]


def test_every_encoder_of_the_package_is_found() -> None:
    assert {"mobilenet3d", "vit_b", "vit_s"} <= set(list_encoders())


def test_a_true_declaration_builds(pool: str) -> None:
    encoder = build_encoder(pool, in_channels=3)
    assert encoder.in_channels == 3
    assert encoder(torch.ones(2, 3, 4, 8, 9))[0].shape == (2, 5, 2, 2, 3)


def test_the_check_leaves_the_weights_alone(pool: str) -> None:
    encoder = build_encoder(pool)
    assert all(parameter.device.type == "cpu" for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("options", "declared"),
    [
        ({"strides": ((2, 2, 4),)}, r"strides \(\(2, 2, 4\),\).*gives \[\(1, 5, 2, 1, 2\)\]"),
        ({"widths": (6,)}, r"widths \(6,\).*\(1, 6, 2, 2, 2\).*gives \[\(1, 5, 2, 2, 2\)\]"),
        ({"strides": ((2, 4, 4), (2, 4, 4)), "widths": (5, 5)}, r"gives \[\(1, 5, 2, 2, 2\)\]"),
        ({"strides": ((2, 4, 4), (2, 4, 4))}, "2 strides and 1 widths"),
        # Right for even sizes only: sizes must be rounded up.
        ({"ceil": False}, r"\(1, 5, 3, 3, 3\).*image of \(5, 9, 9\).*gives \[\(1, 5, 2, 2, 2\)\]"),
    ],
)
def test_a_false_declaration_is_refused(pool: str, options: dict[str, object], declared: str) -> None:
    with pytest.raises(ValueError, match=declared):
        build_encoder(pool, **options)


def test_a_false_number_of_parameters_is_refused(pool: str) -> None:
    """It is declared for one channel and no options, and says nothing of others."""
    register_encoder(pool, parameters=11)(Pool)
    with pytest.raises(ValueError, match="'pool_of_the_tests' declares 11 parameters and has 10"):
        build_encoder(pool)
    build_encoder(pool, in_channels=2)
    build_encoder(pool, ceil=True)
    register_encoder(pool, parameters=10)(Pool)
    build_encoder(pool)


def test_unknown_name_says_what_there_is() -> None:
    with pytest.raises(
        ValueError, match=r"no encoder 'vit_bb'; did you mean 'vit_b'\? known are .*mobilenet3d"
    ):
        build_encoder("vit_bb")


def test_a_name_is_taken_once(pool: str) -> None:
    with pytest.raises(ValueError, match="registered twice"):
        register_encoder(pool)(lambda **options: Pool(**options))
