# SPDX-License-Identifier: Apache-2.0
"""Layers on packed pixels compute exactly what the layers they stand for do, up to rounding."""

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from torch.nn import functional as F  # noqa: E402

from muon_ad_core.nets.phases import CELL, convolve_packed, upsample_then_convolve  # noqa: E402
from muon_ad_core.nets.student import pack_pixels, unpack_pixels  # noqa: E402


def test_upsampling_inside_a_convolution() -> None:
    torch.manual_seed(0)
    convolution, picture = torch.nn.Conv2d(5, 7, 3, padding=1), torch.randn(2, 5, 6, 9)
    expected = convolution(F.interpolate(picture, scale_factor=2.0, mode="nearest"))
    found = unpack_pixels(upsample_then_convolve(convolution)(picture), CELL)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_convolution_of_packed_pixels() -> None:
    torch.manual_seed(0)
    convolution, picture = torch.nn.Conv2d(5, 7, 3, padding=1, bias=False), torch.randn(2, 5, 8, 12)
    found = unpack_pixels(convolve_packed(convolution)(pack_pixels(picture, CELL)), CELL)
    assert torch.allclose(found, convolution(picture), atol=1e-5)
