# SPDX-License-Identifier: Apache-2.0
"""What networks that paint are judged by: distances that no style outvotes, pictures finished as at run time."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill import feature_distribution, painting_losses  # noqa: E402
from muon_ad_core.distill.finishing import finished, moved_colours  # noqa: E402
from muon_ad_core.distill.painting_losses import LossWeights, PerceptualLosses, Views  # noqa: E402
from muon_ad_core.distill.pictures import to_picture, to_tensor  # noqa: E402
from muon_ad_core.engine.finishing import Finish, Finisher  # noqa: E402
from muon_ad_core.frame_buffers import FrameBuffers  # noqa: E402
from muon_ad_core.palette import Palette, move_colours  # noqa: E402

STYLE_ALONE = LossWeights(style=1, tone=0, lattice=0, steady=0, variation=0)


def test_far_styles_count_by_the_root_of_their_distance(painting_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (96, 96, 3)).astype(np.float64)
    styles = [np.clip(127 + (noise - 127) * contrast, 0, 255).astype(np.uint8) for contrast in (1.0, 0.05)]
    photograph = torch.from_numpy(noise).permute(2, 0, 1)[None].float() / 127.5 - 1

    def style_losses() -> list[float]:
        losses = PerceptualLosses(painting_data / "features.safetensors", styles, 96, STYLE_ALONE)
        along = np.random.default_rng
        views = [Views(photograph, photograph, (0, 0), [index]) for index in range(len(styles))]
        return [losses(photograph.repeat(2, 1, 1, 1), view, along(1))["style"].item() for view in views]

    near, far = style_losses()
    monkeypatch.setattr(painting_losses, "_tamed", lambda distances: distances)
    distances = style_losses()
    assert distances[0] < 1 < distances[1]
    assert near == pytest.approx(distances[0], rel=1e-5)
    assert far == pytest.approx(2 * distances[1] ** 0.5 - 1, rel=1e-5)


def test_strokes_are_compared_at_half_the_size_too(painting_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkerboard of single pixels in the style's colours is grey from farther away."""
    random = np.random.default_rng(0)
    style = np.repeat(np.repeat(random.integers(0, 2, (24, 24, 1)) * 255, 4, 0), 4, 1).repeat(3, 2).astype(np.uint8)
    fine = (np.indices((96, 96)).sum(0) % 2 * 255)[:, :, None].repeat(3, 2).astype(np.uint8)
    losses = PerceptualLosses(painting_data / "features.safetensors", [style], 96, STYLE_ALONE)

    def loss(picture: np.ndarray) -> float:
        painted = to_tensor([picture]).repeat(2, 1, 1, 1)
        return losses(painted, Views(painted[:1], painted[:1], (0, 0), [0]), np.random.default_rng(1))["style"].item()

    assert loss(style) == pytest.approx(0, abs=0.01)
    both = loss(fine)
    monkeypatch.setattr(feature_distribution, "HALF_WEIGHT", 0.0)
    assert both > loss(fine) + 0.1


@pytest.mark.parametrize(("keeps_detail", "local_contrast"), [(False, 0.0), (True, 0.0), (True, 0.5), (True, 1.0)])
@pytest.mark.parametrize("softness", [0.0, 0.47, 0.7])
def test_training_finishes_as_the_runtime_does(softness: float, keeps_detail: bool, local_contrast: float) -> None:
    picture, frame = np.random.default_rng(0).integers(0, 256, (2, 20, 28, 3), np.uint8)
    expected = np.empty_like(picture)
    finish = Finish(softness, keeps_detail, local_contrast)
    Finisher(finish)(picture, frame, frame, expected)
    found = to_picture(finished(to_tensor([picture]), to_tensor([frame]), finish)[0])
    # OpenCV's weights for bytes are multiples of 1/256.
    np.testing.assert_allclose(found.astype(int), expected, atol=2)


@pytest.mark.parametrize("side", [16, 24])  # half and three quarters of the frame's
@pytest.mark.parametrize("finish", [Finish(), Finish(0.7), Finish(0.7, True, 0.6)])
def test_training_enlarges_what_is_painted_smaller_as_the_runtime_does(side: int, finish: Finish) -> None:
    random = np.random.default_rng(0)
    frame = cv2.GaussianBlur(random.integers(0, 256, (32, 32, 3), np.uint8), (0, 0), 2)
    painted = random.integers(40, 200, (side, side, 3), np.uint8)
    buffers = FrameBuffers(1, 32, 32, (side, side), 4, 0.0)
    buffers.finisher.finish = finish
    buffers.take_in([frame], "rgb8")
    buffers.finisher(painted.copy(), buffers.seen[0], frame, buffers.outputs[0])
    found = to_picture(finished(to_tensor([painted]), to_tensor([frame]), finish)[0])
    assert found.shape == frame.shape
    np.testing.assert_allclose(found.astype(int), buffers.outputs[0], atol=4)  # differences are halved, to fit in bytes


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_training_moves_colours_as_the_runtime_does(share: float) -> None:
    """Two pictures, each alike in both of its views, which are moved by one map."""
    random = np.random.default_rng(0)
    pictures = random.integers(60, 180, (2, 32, 64, 3), np.uint8)
    wanted = [Palette.of(random.integers(0, bound, (16, 16, 3), np.uint8)) for bound in (90, 250)]
    found = moved_colours(to_tensor([*pictures, *pictures]), wanted, share)
    for index, view in enumerate(found):
        expected = pictures[index % 2].copy()
        move_colours(expected, Palette.of(expected), wanted[index % 2], share)
        np.testing.assert_allclose(to_picture(view).astype(int), expected, atol=1)
