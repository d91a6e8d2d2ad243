# SPDX-License-Identifier: Apache-2.0
"""Style distance by the detector's features: nothing for the same texture, much for another one or a paler one."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="style distances need PyTorch")

from muon_ad_core.metrics.detector_style import DetectorStyle
from muon_ad_core.sources.photographs import load_photograph


@pytest.fixture(scope="module")
def judge() -> DetectorStyle:
    return DetectorStyle()


def test_parts_of_one_texture_are_nearer_than_two_textures(judge: DetectorStyle) -> None:
    brick, grass = (np.repeat(load_photograph(name)[:256, :256, :1], 3, axis=2) for name in ("brick.png", "grass.png"))
    assert judge.style_distance(brick, brick) == 0
    other_part = judge.style_distance(brick[:128, :128], brick[128:, 128:])
    assert other_part < 0.3 * judge.style_distance(brick, grass)
    pale = (127 + 0.3 * (brick.astype(float) - 127)).astype(np.uint8)
    assert judge.style_distance(pale, brick) > 2 * other_part


def test_sides_need_not_be_whole_blocks(judge: DetectorStyle) -> None:
    picture = load_photograph("astronaut.png")
    assert judge.style_distance(picture[:101, :90], picture[:100, :88]) == 0
