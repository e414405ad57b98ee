import pytest
import torch
import torch.nn.functional as F

from lexor.models.encoders import build_encoder
from lexor.models.encoders.blocks import DepthwiseConv3d, InstanceNorm


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_depthwise_gradients_equal_torchs(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    conv = DepthwiseConv3d(6).double().train()
    x = torch.randn(2, 6, 5, 7, 4, dtype=torch.double).contiguous(memory_format=layout).requires_grad_()
    grad = torch.randn(2, 6, 5, 7, 4, dtype=torch.double)
    out = conv(x)
    out.backward(grad)
    ours = x.grad, conv.weight.grad
    reference = x.detach().clone().requires_grad_()
    weight = conv.weight.detach().clone().requires_grad_()
    expected = F.conv3d(reference, weight, padding=1, groups=6)
    expected.backward(grad)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(ours[0], reference.grad)
    torch.testing.assert_close(ours[1], weight.grad)


@pytest.mark.parametrize("x_layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("grad_layout", [torch.contiguous_format, torch.channels_last_3d])
def test_instance_norm_and_its_gradient_equal_torchs(
    x_layout: torch.memory_format, grad_layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    norm = InstanceNorm(8)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    data, grad = torch.randn(3, 8, 4, 6, 5), torch.randn(3, 8, 4, 6, 5)
    x = data.clone(memory_format=x_layout).requires_grad_()
    out = norm(x)
    out.backward(grad.contiguous(memory_format=grad_layout))
    reference = data.clone().requires_grad_()
    expected = F.instance_norm(reference, weight=norm.weight.detach(), bias=norm.bias.detach())
    expected.backward(grad)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(x.grad, reference.grad, atol=1e-5, rtol=1e-4)


def test_five_scales_and_the_papers_size() -> None:
    encoder = build_encoder("mobilenet3d", in_channels=1)
    assert encoder.widths == (32, 64, 128, 256, 512)
    count = sum(p.numel() for p in encoder.parameters())
    assert 3.6e6 < count < 4.4e6, "the paper's MobileNet has about 4.0 M parameters (Table 2)"
    with torch.inference_mode():
        features = encoder(torch.randn(1, 1, 16, 32, 32))
    for feature, stride, width in zip(features, encoder.strides, encoder.widths, strict=True):
        assert feature.shape == (1, width, 16 // stride[0], 32 // stride[1], 32 // stride[2])
        # Spatial maps, not a vector repeated (the coarsest has a single voxel here).
        if feature[0, 0].numel() > 1:
            assert float(feature.flatten(2).std(-1).max()) > 1e-3
