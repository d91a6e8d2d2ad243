# SPDX-License-Identifier: Apache-2.0
"""Cosine patterns: orthonormal, and the first ones carry most of a photograph."""

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from skimage import data  # noqa: E402

from muon_ad_core.nets.cosines import cosine_matrix, strongest_patterns  # noqa: E402
from muon_ad_core.nets.student import pack_pixels  # noqa: E402


@pytest.mark.parametrize("size", [2, 4, 8])
def test_cosines_are_orthonormal(size: int) -> None:
    matrix = cosine_matrix(size)
    assert torch.allclose(matrix @ matrix.mT, torch.eye(size, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize(("block", "count"), [(2, 8), (4, 16), (4, 48)])
def test_patterns_are_orthonormal(block: int, count: int) -> None:
    patterns = strongest_patterns(block, count)
    assert patterns.shape == (count, 3 * block**2)
    assert torch.allclose(patterns @ patterns.mT, torch.eye(count), atol=1e-6)


def test_a_third_of_the_patterns_carry_nearly_all_of_a_photograph() -> None:
    picture = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 127.5 - 1
    packed = pack_pixels(picture, 4)[0].flatten(1)
    patterns = strongest_patterns(4, 16)
    lost = packed - patterns.mT @ (patterns @ packed)
    assert lost.square().mean() < 0.02 * packed.square().mean()
