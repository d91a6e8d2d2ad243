# SPDX-License-Identifier: Apache-2.0
"""What a frame as a whole adds to the code: the same with and without PyTorch, and of the whole only."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from skimage import data  # noqa: E402

from muon_ad_core.engine import frame_context  # noqa: E402
from muon_ad_core.engine.package import EnginePackage  # noqa: E402
from muon_ad_core.errors import EngineError  # noqa: E402
from muon_ad_core.nets.frame_context import FrameContext, statistics  # noqa: E402


def to_tensor(frame: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frame.copy()).permute(2, 0, 1)[None] / 127.5 - 1


@pytest.fixture
def frame() -> np.ndarray:
    return data.astronaut()[:480, :400]


def trained(code: int) -> FrameContext:
    """With weights that are not those of the beginning, which add nothing."""
    torch.manual_seed(0)
    context = FrameContext(code)
    assert not context(torch.rand(1, 3, 16, 16)).any()
    torch.nn.init.normal_(context.second.weight)
    return context


def test_the_runtime_computes_what_was_trained(frame: np.ndarray) -> None:
    context = trained(5)
    weights = {name: value.numpy() for name, value in context.state_dict().items()}
    for picture in (frame, frame // 8, np.zeros_like(frame), frame[:8, :8], np.tile(frame, (2, 3, 1))):
        with torch.no_grad():
            expected = context(to_tensor(picture))[0].numpy()
        found = frame_context.FrameContext(weights)(picture)
        assert found.dtype == np.float32
        assert np.allclose(found, expected, atol=1e-4)


def test_statistics_tell_exposure_contrast_and_fineness(frame: np.ndarray) -> None:
    usual, dark, dull = (
        frame_context.statistics(picture) for picture in (frame, frame // 2, frame // 4 + np.uint8(96))
    )
    assert np.all(dark[:3] < usual[:3])
    assert np.all(dull[3:] < usual[3:])
    soft = frame_context.statistics(np.repeat(np.repeat(frame[:240, :200], 2, 0), 2, 1))
    assert soft[6] < usual[6]
    assert np.all(np.abs(frame_context.statistics(np.zeros_like(frame))) <= frame_context.CLIP)


def test_usual_photographs_are_near_zero() -> None:
    found = [statistics(to_tensor(picture)).abs().max() for picture in (data.astronaut(), data.coffee()[:400])]
    assert max(found) < frame_context.CLIP


def test_an_engine_without_context_has_none_and_one_without_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    package = EnginePackage(tmp_path, "engine", "1", "style", (), {"files": {}})
    assert frame_context.load_context(package) is None
    save_file({"first.weight": np.zeros((2, 8), np.float32)}, tmp_path / "context.safetensors")
    manifest = {"files": {"context.safetensors": ""}, frame_context.FIELD: "context.safetensors"}
    with pytest.raises(EngineError, match="lacks 'first.bias'"):
        frame_context.load_context(EnginePackage(tmp_path, "engine", "1", "style", (), manifest))
