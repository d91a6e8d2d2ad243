# SPDX-License-Identifier: Apache-2.0
"""Level of detail by scene: entropy of real and plain pictures, nearness, no flicker."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from muon_ad_core.realtime.scene_level import SceneLevel, frame_entropy


def test_entropy_of_known_pictures() -> None:
    assert frame_entropy(np.full((48, 64, 3), 90, np.uint8)) == 0.0
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8).repeat(8)[None, :, None], (64, 2048, 3))
    assert frame_entropy(ramp) == pytest.approx(1.0)
    assert 0.75 < frame_entropy(data.astronaut()) < 1.0


def test_rich_scenes_get_the_widest_level_and_plain_ones_the_narrowest() -> None:
    chooser = SceneLevel(3)
    assert chooser.update(0.95) == 2
    assert chooser.update(0.1) == 0
    assert chooser.update(0.95) == 2


def test_near_scenes_get_more_than_far_ones_of_the_same_entropy() -> None:
    assert SceneLevel(3).update(0.6, distance_m=1.0) > SceneLevel(3).update(0.6, distance_m=20.0)


def test_nothing_known_changes_nothing() -> None:
    chooser = SceneLevel(2)
    chooser.update(0.0)
    assert chooser.update(math.nan) == 0


def test_a_scene_on_the_border_does_not_flicker() -> None:
    chooser = SceneLevel(2)
    levels = [chooser.update(0.6 + 0.02 * (-1) ** number) for number in range(50)]
    assert len(set(levels)) == 1


@given(st.integers(1, 5), st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 50.0)), max_size=50))
def test_the_level_is_always_one_of_those_there_are(count: int, scenes: list[tuple[float, float]]) -> None:
    chooser = SceneLevel(count)
    for entropy, distance in scenes:
        assert 0 <= chooser.update(entropy, distance) < count
