# SPDX-License-Identifier: Apache-2.0
"""The baselines: colour moments are met, direct optimisation lowers its own loss."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.features import SqueezeNetFeatures  # noqa: E402
from muon_ad_core.distill.pictures import to_tensor  # noqa: E402
from muon_ad_core.distill.style_baselines import (  # noqa: E402
    PerceptualObjective,
    match_colour_moments,
    optimise_perceptually,
)


def test_colour_moments_are_the_styles() -> None:
    random = np.random.default_rng(0)
    content = random.integers(100, 150, (40, 50, 3), dtype=np.uint8)
    style = random.normal((90, 120, 160), (10, 20, 15), (30, 30, 3)).clip(0, 255).astype(np.uint8)
    found = match_colour_moments(content, style)
    for statistic in (np.mean, np.std):
        assert np.allclose(statistic(found, axis=(0, 1)), statistic(style, axis=(0, 1)), atol=0.6)
    flat = np.full((8, 8, 3), 7, np.uint8)
    assert np.allclose(match_colour_moments(flat, style).mean((0, 1)), style.mean((0, 1)), atol=0.6)


def test_direct_optimisation_lowers_its_loss() -> None:
    torch.manual_seed(0)
    network = SqueezeNetFeatures()
    random = np.random.default_rng(0)
    content, style = (random.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2))
    style = style // 2 + 100
    objective = PerceptualObjective(network, to_tensor([content]), to_tensor([style]))
    before, unchanged = objective([to_tensor([content])], 0)
    assert float(unchanged) == pytest.approx(0, abs=1e-9)
    painted = optimise_perceptually(network, content, style, steps=15)
    after, _ = objective([to_tensor([painted])], 0)
    assert painted.shape == content.shape and float(after) < 0.7 * float(before)
