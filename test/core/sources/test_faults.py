# SPDX-License-Identifier: Apache-2.0
"""Injected faults have the asked statistics, are counted, and repeat with the same seed."""

import numpy as np
import pytest

from muon_ad_core.errors import ParameterError
from muon_ad_core.sources.base import Frame
from muon_ad_core.sources.faults import FaultInjector

PERIOD_NS = 33_000_000


def frame(index: int, level: int = 128) -> Frame:
    color = np.full((48, 64, 3), level, np.uint8)
    return Frame(color, stamp_ns=index * PERIOD_NS, index=index, second=color.copy())


def test_without_faults_frames_pass_unchanged() -> None:
    injector = FaultInjector()
    for index in range(5):
        passed = injector.apply(frame(index))
        assert passed is not None and passed.stamp_ns == index * PERIOD_NS
        assert (passed.color == 128).all()
    assert (injector.passed, injector.dropped) == (5, 0)


def test_dropped_frames_are_counted_and_about_as_many_as_asked() -> None:
    injector = FaultInjector(drop=0.2, seed=1)
    lost = sum(injector.apply(frame(index)) is None for index in range(3000))
    assert injector.dropped == lost
    assert injector.passed == 3000 - lost
    assert 0.17 < lost / 3000 < 0.23


def test_noise_has_the_asked_deviation_and_no_bias() -> None:
    injector = FaultInjector(noise=6.0, seed=2)
    first = injector.apply(frame(0))
    assert first is not None and first.second is not None
    for picture in (first.color, first.second):
        assert picture.astype(float).mean() == pytest.approx(128, abs=0.5)
        assert picture.astype(float).std() == pytest.approx(6.0, rel=0.05)
    assert not np.array_equal(first.color, first.second)
    before = first.color.copy()
    following = injector.apply(frame(1))
    assert following is not None and not np.array_equal(following.color, before)


def test_noise_saturates_instead_of_wrapping() -> None:
    injector = FaultInjector(noise=30.0)
    dark = injector.apply(frame(0, level=0))
    assert dark is not None and dark.color.max() < 200
    bright = injector.apply(frame(1, level=255))
    assert bright is not None and bright.color.min() > 60


def test_the_original_picture_is_left_alone() -> None:
    original = frame(0)
    FaultInjector(noise=10.0).apply(original)
    assert (original.color == 128).all() and original.stamp_ns == 0


def test_stamps_come_late_within_the_jitter_and_in_order() -> None:
    injector = FaultInjector(jitter_ms=100.0, seed=3)
    stamps = np.array([injector.apply(frame(index)).stamp_ns for index in range(500)])  # type: ignore[union-attr]
    late_ms = (stamps - np.arange(500) * PERIOD_NS) / 1e6
    assert (np.diff(stamps) >= 0).all()
    assert late_ms.min() >= 0 and late_ms.max() <= 100
    assert late_ms.std() > 5


def test_the_same_seed_gives_the_same_faults() -> None:
    def run(seed: int) -> list[tuple[int, int]]:
        injector = FaultInjector(noise=3.0, jitter_ms=5.0, drop=0.3, seed=seed)
        passed = [injector.apply(frame(index)) for index in range(50)]
        return [(each.stamp_ns, int(each.color.sum())) for each in passed if each is not None]

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_pictures_may_change_their_size() -> None:
    injector = FaultInjector(noise=5.0)
    small = Frame(np.full((20, 30, 3), 100, np.uint8), stamp_ns=0, index=1)
    for each in (frame(0), small, frame(2)):
        damaged = injector.apply(each)
        assert damaged is not None and damaged.color.shape == each.color.shape


@pytest.mark.parametrize("wrong", [{"drop": 1.5}, {"drop": -0.1}, {"noise": 100.0}, {"jitter_ms": float("nan")}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ParameterError, match=f"{name} must be between 0 and"):
        FaultInjector(**wrong)
