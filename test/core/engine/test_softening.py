# SPDX-License-Identifier: Apache-2.0
"""Softening of painted pictures: what fades and what stays, and what a manifest may ask for."""

import numpy as np
import pytest

from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.engine.softening import Softener
from muon_ad_core.errors import EngineError
from muon_ad_core.stylize import Stylizer


def test_softening_fades_a_mesh_of_two_pixels_and_keeps_what_is_even() -> None:
    mesh = np.full((16, 20, 3), 100, np.uint8)
    mesh[::2] = 140
    result = np.empty_like(mesh)
    soften = Softener(0.7)
    soften(mesh, mesh, result)
    assert result.mean() == pytest.approx(120, abs=0.5)
    assert result.std() < 0.7 * mesh.std()
    even = np.full((16, 20, 3), 77, np.uint8)
    soften(even, mesh, result)
    assert np.array_equal(result, even)
    Softener(0.0, keeps_detail=True)(mesh, even, result)
    assert np.array_equal(result, mesh)


def test_detail_of_the_frame_stays_while_what_was_painted_over_it_is_softened() -> None:
    frame = np.random.default_rng(0).integers(40, 200, (16, 20, 3), np.uint8)
    mesh = np.zeros_like(frame)
    mesh[::2] = 40
    result = np.empty_like(frame)
    soften = Softener(0.7, keeps_detail=True)
    soften(frame + 20, frame, result)
    assert np.array_equal(result, frame + 20)
    soften(frame + mesh, frame, result)
    added = result.astype(int) - frame
    assert added.mean() == pytest.approx(20, abs=0.5)
    assert added.std() < 0.7 * mesh.std()
    assert np.ptp(added, axis=1).max() <= 1  # the same in every column, whatever the frame
    small = np.full((6, 8, 3), 9, np.uint8)
    result = np.empty_like(small)
    soften(small, small, result)
    assert np.array_equal(result, small)


def test_whether_detail_is_kept_is_yes_or_no() -> None:
    package = EnginePackage.load(find_engine("student"))
    other = EnginePackage(package.root, "mist", "1", "style", package.levels, {**package.manifest, "keeps_detail": 2})
    with pytest.raises(EngineError, match="'keeps_detail' of engine mist must be true or false"):
        Stylizer(other)


@pytest.mark.parametrize("softness", [-1, 3.5, "much", None])
def test_a_softness_that_makes_no_sense_is_refused(softness: object) -> None:
    package = EnginePackage.load(find_engine("student"))
    manifest = {**package.manifest, "softness": softness}
    other = EnginePackage(package.root, "mist", "1", "style", package.levels, manifest)
    with pytest.raises(EngineError, match="'softness' of engine mist must be from 0 to 2"):
        Stylizer(other)
