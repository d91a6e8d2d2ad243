# SPDX-License-Identifier: Apache-2.0
"""Softening of painted pictures: what fades and what stays, and what a manifest may ask for."""

import numpy as np
import pytest

from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.engine.softening import soften
from muon_ad_core.errors import EngineError
from muon_ad_core.stylize import Stylizer


def test_softening_fades_a_mesh_of_two_pixels_and_keeps_what_is_even() -> None:
    mesh = np.full((16, 20, 3), 100, np.uint8)
    mesh[::2] = 140
    result = np.empty_like(mesh)
    soften(mesh, result, 0.7)
    assert result.mean() == pytest.approx(120, abs=0.5)
    assert result.std() < 0.7 * mesh.std()
    even = np.full((16, 20, 3), 77, np.uint8)
    soften(even, result, 0.7)
    assert np.array_equal(result, even)
    soften(mesh, result, 0.0)
    assert np.array_equal(result, mesh)


@pytest.mark.parametrize("softness", [-1, 3.5, "much", None])
def test_a_softness_that_makes_no_sense_is_refused(softness: object) -> None:
    package = EnginePackage.load(find_engine("student"))
    manifest = {**package.manifest, "softness": softness}
    other = EnginePackage(package.root, "mist", "1", "style", package.levels, manifest)
    with pytest.raises(EngineError, match="'softness' of engine mist must be from 0 to 2"):
        Stylizer(other)
