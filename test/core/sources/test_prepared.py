# SPDX-License-Identifier: Apache-2.0
"""Prepared frames are those of the scene, shown to and fro at the scene's rate."""

import numpy as np
import pytest

from muon_ad_core.sources.prepared import PreparedFrames
from muon_ad_core.sources.scene import SceneSource


@pytest.fixture(scope="module")
def prepared() -> PreparedFrames:
    return PreparedFrames(SceneSource("motorcycle", 160, 120, rate=60.0, speed=10.0), 4)


@pytest.mark.parametrize(("index", "shown"), [(0, 0), (3, 3), (4, 2), (5, 1), (6, 0), (7, 1), (601, 1)])
def test_pictures_go_to_and_fro(prepared: PreparedFrames, index: int, shown: int) -> None:
    source = SceneSource("motorcycle", 160, 120, rate=60.0, speed=10.0)
    frame, wanted = prepared.frame(index), source.frame(shown)
    assert (frame.index, frame.stamp_ns) == (index, round(index * 1e9 / 60.0))
    for name in ("color", "depth", "second"):
        np.testing.assert_array_equal(getattr(frame, name), getattr(wanted, name))


def test_frames_differ_and_have_the_scene_s_camera(prepared: PreparedFrames) -> None:
    assert np.any(prepared.frame(0).color != prepared.frame(1).color)
    assert prepared.camera == SceneSource("motorcycle", 160, 120).camera


def test_the_second_picture_can_be_left_out(prepared: PreparedFrames) -> None:
    assert prepared.frame(2, with_second=False).second is None
    assert prepared.frame(2).second is not None


def test_one_picture_is_a_still() -> None:
    still = PreparedFrames(SceneSource("pan", 160, 120), 1)
    np.testing.assert_array_equal(still.frame(0).color, still.frame(9).color)
