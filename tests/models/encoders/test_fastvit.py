"""Re-parameterisation: many branches while training, one kernel after, the same outputs."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F

from lexor.models.encoders import build_encoder
from lexor.models.encoders.fastvit import AttentionBlock, FastViT, RepMixer


def mixer(channels: int = 5) -> RepMixer:
    torch.manual_seed(0)
    made = RepMixer(channels).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def test_the_mixer_is_the_sum_of_its_branches() -> None:
    module = mixer()
    x = torch.randn(2, 5, 4, 7, 6, dtype=torch.double)
    space, plane, voxel = module.scales[:, :, 0, 0, 0, 0]
    per_channel = (1, 5, 1, 1, 1)
    expected = (
        x
        + F.conv3d(x, module.space, padding=1, groups=5) * space.view(per_channel)
        + F.conv3d(x, module.plane, padding=(0, 1, 1), groups=5) * plane.view(per_channel)
        + x * (module.voxel.flatten() * voxel).view(per_channel)
    )
    torch.testing.assert_close(module(x), expected)


def test_fusing_a_mixer_keeps_its_output_and_leaves_one_kernel() -> None:
    module = mixer()
    x = torch.randn(2, 5, 4, 7, 6, dtype=torch.double)
    before = module(x)
    module.fuse()
    torch.testing.assert_close(module(x), before, rtol=0, atol=0)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {"fused": (5, 1, 3, 3, 3)}
    module.fuse()
    torch.testing.assert_close(module(x), before, rtol=0, atol=0)


def test_gradients_reach_all_branches_through_the_one_kernel() -> None:
    """As if each branch were a convolution of its own."""
    module = mixer().train()
    x = torch.randn(1, 5, 4, 6, 6, dtype=torch.double)
    target = torch.randn(1, 5, 4, 6, 6, dtype=torch.double)
    (module(x) * target).sum().backward()
    plane = module.plane.detach().clone().requires_grad_()
    scale = module.scales.detach()[1].view(1, 5, 1, 1, 1)
    (F.conv3d(x, plane, padding=(0, 1, 1), groups=5) * scale * target).sum().backward()
    torch.testing.assert_close(module.plane.grad, plane.grad)


def test_a_fused_encoder_gives_the_same_maps_with_fewer_parameters() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("fastvit").eval()
    assert isinstance(encoder, FastViT)
    for module in encoder.modules():
        if isinstance(module, RepMixer):
            torch.nn.init.normal_(module.scales, std=0.3)
    fused = copy.deepcopy(encoder)
    fused.fuse()
    image = torch.randn(1, 1, 9, 32, 35)
    with torch.inference_mode():
        for a, b in zip(fused(image), encoder(image), strict=True):
            torch.testing.assert_close(a, b)
    counts = [sum(p.numel() for p in model.parameters()) for model in (fused, encoder)]
    assert counts[0] < counts[1]


def test_the_last_stage_sees_the_whole_window_and_the_others_what_is_near() -> None:
    torch.manual_seed(0)
    far = torch.zeros(1, 64, 1, 1, 30)
    far[..., 0] = 1
    noise = torch.randn(1, 64, 1, 1, 30)
    for block, reaches in ((AttentionBlock(64, 128), True), (RepMixer(64), False)):
        with torch.inference_mode():
            moved = (block(noise + far) - block(noise)).abs().sum(1).flatten()
        assert bool((moved > 0).all()) == reaches
        assert moved[0] > moved[20]
