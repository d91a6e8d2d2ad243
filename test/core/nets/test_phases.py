# SPDX-License-Identifier: Apache-2.0
"""Layers on packed pixels compute exactly what the layers they stand for do, up to rounding."""

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from torch.nn import functional as F  # noqa: E402

from muon_ad_core.nets.phases import CELL, convolve_packed, upsample_then_convolve  # noqa: E402
from muon_ad_core.nets.student import UpsampledConvolution, pack_pixels, unpack_pixels  # noqa: E402


def test_upsampling_inside_a_convolution() -> None:
    torch.manual_seed(0)
    convolution, picture = UpsampledConvolution(5, 7), torch.randn(2, 5, 6, 9)
    small = upsample_then_convolve(convolution)
    found = unpack_pixels(small(picture), CELL)
    assert torch.allclose(found, convolution(picture), atol=1e-5)
    wide = F.interpolate(picture, scale_factor=2.0, mode="bilinear")
    inner = F.conv2d(wide, convolution.weight, convolution.bias)  # where the border does not matter
    assert torch.allclose(found[:, :, 2:-2, 2:-2], inner[:, :, 1:-1, 1:-1], atol=1e-5)


def test_a_convolution_of_packed_pixels() -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(5, 7, 3, padding=1, padding_mode="reflect", bias=False)
    picture = torch.randn(2, 5, 8, 12)
    found = unpack_pixels(convolve_packed(convolution)(pack_pixels(picture, CELL)), CELL)
    assert torch.allclose(found, convolution(picture), atol=1e-5)
