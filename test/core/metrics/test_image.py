# SPDX-License-Identifier: Apache-2.0
"""PSNR and SSIM against torchmetrics; what is left of fine detail."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from muon_ad_core.metrics.image import high_frequency_retention, psnr, ssim
from muon_ad_core.metrics.running import RunningMean

AGREEMENT = 1e-4


def as_tensor(pictures: Any) -> Any:
    torch = pytest.importorskip("torch")
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).double()


@pytest.mark.parametrize("kind", ["photographs", "noise"])
def test_ssim_and_psnr_are_those_of_torchmetrics(request: Any, kind: str, blurred: Any) -> None:
    oracle = pytest.importorskip("torchmetrics.functional.image")
    pictures = request.getfixturevalue(kind)
    other = blurred if kind == "photographs" else np.roll(pictures, 1, axis=0)
    a, b = as_tensor(other), as_tensor(pictures)
    expected = oracle.structural_similarity_index_measure(a, b, data_range=255.0, reduction="none").numpy()
    assert ssim(other, pictures) == pytest.approx(expected, abs=AGREEMENT)
    expected = oracle.peak_signal_noise_ratio(a, b, data_range=255.0, dim=(1, 2, 3), reduction="none").numpy()
    assert psnr(other, pictures) == pytest.approx(expected, abs=AGREEMENT)


def test_values_in_0_to_1_give_the_same(photographs: Any, blurred: Any) -> None:
    assert ssim(blurred / 255.0, photographs / 255.0, data_range=1.0) == pytest.approx(ssim(blurred, photographs))
    assert psnr(blurred / 255.0, photographs / 255.0, data_range=1.0) == pytest.approx(psnr(blurred, photographs))


def test_equal_pictures_are_equal(photographs: Any) -> None:
    assert ssim(photographs[0], photographs[0]) == pytest.approx(1.0)
    assert psnr(photographs[0], photographs[0]) == math.inf
    assert high_frequency_retention(photographs[0], photographs[0]) == pytest.approx(1.0)


def test_blur_loses_fine_detail_and_noise_adds_it(photographs: Any, blurred: Any, noise: Any) -> None:
    assert np.all(high_frequency_retention(blurred, photographs) < 0.1)
    noisy = np.clip(photographs + 0.3 * (noise[:3] - 127.5), 0, 255)
    assert np.all(high_frequency_retention(noisy, photographs) > 1.5)
    flat = np.full_like(photographs[0], 128)
    assert math.isnan(high_frequency_retention(photographs[0], flat))


def test_half_the_contrast_keeps_a_quarter_of_the_energy(photographs: Any) -> None:
    assert high_frequency_retention(0.5 * photographs[0], photographs[0]) == pytest.approx(0.25)


@pytest.mark.parametrize("metric", [psnr, ssim, high_frequency_retention])
def test_pictures_of_other_shapes_are_refused(metric: Any, photographs: Any) -> None:
    with pytest.raises(ValueError, match="one shape"):
        metric(photographs[0], photographs[0][:-1])


def test_a_picture_smaller_than_the_window_is_refused(photographs: Any) -> None:
    with pytest.raises(ValueError, match="at least 11"):
        ssim(photographs[0][:10], photographs[0][:10])


def test_streaming_gives_the_mean_of_the_finite_values(photographs: Any, blurred: Any) -> None:
    running = RunningMean(psnr)
    assert running.mean is None
    running.add(photographs[0], photographs[0])
    running.add(blurred[1:], photographs[1:])
    assert running.values[0] == math.inf
    assert running.mean == pytest.approx(psnr(blurred, photographs)[1:].mean())
