# SPDX-License-Identifier: Apache-2.0
"""Colours of a style on a photograph: mean and covariance, region by region, and the map of least movement."""

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.colour_transfer import transfer_colours  # noqa: E402


def coloured(seed: int, mean: list[float], deviation: list[float], size: tuple[int, int] = (40, 50)) -> torch.Tensor:
    """Noise with channels that go together."""
    random = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))
    mixed = random + 0.7 * random.roll(1, dims=1)
    return mixed * torch.tensor(deviation)[:, None, None] + torch.tensor(mean)[:, None, None]


def statistics(picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    colours = picture[0].flatten(1)
    return colours.mean(dim=1), torch.cov(colours)


def test_the_result_has_the_styles_mean_and_covariance() -> None:
    content, style = coloured(0, [0.2, -0.1, 0], [0.2, 0.15, 0.1]), coloured(1, [-0.2, 0.1, 0.3], [0.1, 0.2, 0.15])
    found = statistics(transfer_colours(content, [style]))
    for value, wanted in zip(found, statistics(style), strict=True):
        assert torch.allclose(value, wanted, atol=2e-3)


def test_colours_that_agree_stay() -> None:
    content = coloured(0, [0.1, 0, 0], [0.2, 0.2, 0.2])
    assert torch.allclose(transfer_colours(content, [content]), content.clamp(-1, 1), atol=1e-4)


def test_a_flat_photograph_is_moved_and_not_blown_up() -> None:
    flat = torch.full((1, 3, 20, 20), 0.5) + 0.002 * torch.randn(1, 3, 20, 20)
    moved = transfer_colours(flat, [coloured(1, [-0.3, 0, 0.2], [0.3, 0.3, 0.3])])
    assert float(moved.std(dim=(2, 3)).max()) < 0.05
    assert torch.allclose(moved.mean(dim=(0, 2, 3)), torch.tensor([-0.3, 0.0, 0.2]), atol=0.05)


def test_regions_get_the_colours_of_their_own() -> None:
    warm, cold = coloured(1, [0.5, 0, -0.5], [0.1, 0.1, 0.1]), coloured(2, [-0.5, 0, 0.5], [0.1, 0.1, 0.1])
    labels = torch.zeros(40, 50)
    labels[:, 25:] = 1
    moved = transfer_colours(
        coloured(0, [0, 0, 0], [0.2, 0.2, 0.2]), [warm, cold], labels, [torch.zeros(40, 50), torch.ones(40, 50)]
    )
    assert float(moved[0, 0, :, :25].mean()) == pytest.approx(0.5, abs=0.05)
    assert float(moved[0, 0, :, 25:].mean()) == pytest.approx(-0.5, abs=0.05)
