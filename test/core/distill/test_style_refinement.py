# SPDX-License-Identifier: Apache-2.0
"""Refinement of a style's code: it ends in time, and never gives a worse code than it got."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from safetensors.torch import save_file  # noqa: E402
from skimage import data  # noqa: E402

from muon_ad_core.distill import style_refinement  # noqa: E402
from muon_ad_core.distill.features import SqueezeNetFeatures  # noqa: E402
from muon_ad_core.distill.student_graphs import NamedExit  # noqa: E402
from muon_ad_core.distill.style_refinement import refine_style  # noqa: E402
from muon_ad_core.engine.package import EnginePackage, find_engine  # noqa: E402


@pytest.fixture
def features(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    weights = {k: v.contiguous() for k, v in SqueezeNetFeatures().state_dict().items() if k.startswith("features.")}
    save_file(weights, tmp_path / "features.safetensors")
    return tmp_path / "features.safetensors"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_refinement, "SIDE", 64)
    monkeypatch.setattr(style_refinement, "STYLE_SIDE", 96)
    monkeypatch.setattr(style_refinement, "CHECK_EVERY", 4)


def ticking(step: float):  # type: ignore[no-untyped-def]
    """A clock that advances by `step` seconds whenever it is read, so that the test does not wait."""
    now = [0.0]

    def read() -> float:
        now[0] += step
        return now[0]

    return read


def test_a_poor_code_becomes_better(features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_refinement, "LEARNING_RATE", 0.1)
    package = EnginePackage.load(find_engine("student"))
    start = np.zeros(package.manifest["code_length"], np.float32)
    result = refine_style(package, start, [data.coffee()], features, 60.0, clock=ticking(1.0))
    assert result.better and result.after < result.before
    assert result.steps >= 8 and result.code.shape == start.shape
    assert not np.array_equal(result.code, start)


def test_every_level_has_its_turn(features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = EnginePackage.load(find_engine("student"))
    painted: list[str] = []
    objective = style_refinement._Objective.__call__

    def noted(self: object, photographs: object, code: torch.Tensor, level: NamedExit) -> torch.Tensor:
        if code.requires_grad and torch.is_grad_enabled():
            painted.append(level.name)
        return objective(self, photographs, code, level)  # type: ignore[arg-type]

    monkeypatch.setattr(style_refinement._Objective, "__call__", noted)
    start = np.zeros(package.manifest["code_length"], np.float32)
    result = refine_style(package, start, [data.coffee()], features, 40.0, clock=ticking(1.0))
    names = [level.name for level in package.levels]
    assert result.steps >= 2 * len(names)
    assert painted == [names[step % len(names)] for step in range(result.steps)]


def test_no_time_keeps_the_code(features: Path) -> None:
    package = EnginePackage.load(find_engine("student"))
    start = np.ones(package.manifest["code_length"], np.float32)
    result = refine_style(package, start, [data.coffee(), data.chelsea()], features, 0.5, clock=ticking(1.0))
    assert not result.better and result.steps == 0
    assert np.array_equal(result.code, start)
