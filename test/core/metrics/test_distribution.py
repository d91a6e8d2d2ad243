# SPDX-License-Identifier: Apache-2.0
"""The Fréchet distance: against torchmetrics, against its formula, and its label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from muon_ad_core.errors import ParameterError
from muon_ad_core.metrics.distribution import FeatureStatistics, FrechetScore, frechet_distance


class Patches:
    """Mean colours of a 4 x 4 grid: features that need no network."""

    name = "patches"

    def __call__(self, pictures: Any) -> Any:
        cut = pictures.reshape(len(pictures), 4, pictures.shape[1] // 4, 4, pictures.shape[2] // 4, 3)
        return cut.mean(axis=(2, 4)).reshape(len(pictures), -1) / 255.0


def statistics(features: Any, batch: int = 7) -> FeatureStatistics:
    result = FeatureStatistics()
    for begin in range(0, len(features), batch):
        result.add(features[begin : begin + batch])
    return result


def test_statistics_do_not_depend_on_the_batches() -> None:
    features = np.random.default_rng(0).normal(1e3, 1.0, (50, 6))
    streamed = statistics(features)
    assert streamed.mean == pytest.approx(features.mean(0))
    assert streamed.covariance == pytest.approx(np.cov(features.T))


@pytest.mark.parametrize("count", [200, 20])  # 20: fewer pictures than features
def test_the_distance_is_that_of_torchmetrics(count: int) -> None:
    torch = pytest.importorskip("torch")
    fid = pytest.importorskip("torchmetrics.image.fid")
    generator = np.random.default_rng(count)
    a, b = generator.normal(0, 1, (count, 32)), generator.normal(0.3, 1.4, (count, 32)) @ np.diag(np.linspace(1, 2, 32))

    class Identity(torch.nn.Module):
        num_features = 32

        def forward(self, pictures: Any) -> Any:
            return pictures.flatten(1)

    oracle = fid.FrechetInceptionDistance(feature=Identity(), input_img_size=(1, 4, 8), normalize=True)
    oracle.set_dtype(torch.float64)
    oracle.update(torch.from_numpy(a).view(-1, 1, 4, 8), real=True)
    oracle.update(torch.from_numpy(b).view(-1, 1, 4, 8), real=False)
    ours = frechet_distance(statistics(a), statistics(b))
    assert ours == pytest.approx(float(oracle.compute()), rel=1e-4)


def test_gaussians_of_one_covariance_are_apart_by_their_means() -> None:
    features = np.random.default_rng(1).normal(size=(100, 5))
    assert frechet_distance(statistics(features), statistics(features)) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(statistics(features), statistics(features + 2.0)) == pytest.approx(20.0)


def test_the_score_names_its_extractor(photographs: Any, noise: Any) -> None:
    score = FrechetScore(Patches())
    score.add_reference(photographs)
    for picture in noise:
        score.add_generated(picture[None])
    assert score.label == "FID[patches]"
    assert score.distance() > 0.1


def test_one_picture_is_no_distribution(photographs: Any) -> None:
    score = FrechetScore(Patches())
    score.add_reference(photographs)
    score.add_generated(photographs[:1])
    with pytest.raises(ParameterError, match="at least two"):
        score.distance()
