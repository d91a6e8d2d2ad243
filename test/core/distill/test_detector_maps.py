# SPDX-License-Identifier: Apache-2.0
"""Teachers' maps: what is stored comes back, mirrors fit, losses vanish at the teacher, networks learn."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.detector_lessons import MapLesson  # noqa: E402
from muon_ad_core.distill.detector_maps import (  # noqa: E402
    MapSet,
    feature_loss,
    look,
    map_loss,
    photographs,
    read_shard,
    views_of,
    write_shard,
)
from muon_ad_core.distill.detector_teachers import NanoDetMaps  # noqa: E402
from muon_ad_core.distill.detector_trainer import DetectorTrainer, DetectorTraining  # noqa: E402
from muon_ad_core.errors import UserError  # noqa: E402
from muon_ad_core.nets.detector import DetectorShape, grid_locations  # noqa: E402

SIZE = 64
LOCATIONS = 64 + 16 + 4
SHAPE = DetectorShape(stem=32, widths=(32, 32, 32), blocks=(1, 1, 1), pyramid=32)


class BrightTeacher:
    """Sees a "person" where the picture is bright, 1 stride to the left and 3 to the right."""

    def maps(self, rgb: np.ndarray) -> NanoDetMaps:
        levels = [rgb[s // 2 :: s, s // 2 :: s].mean(axis=2).ravel() / 255 for s in (8, 16, 32)]
        brightness = np.concatenate(levels)
        scores = np.zeros((len(brightness), 80), np.float32)
        scores[:, 0] = np.where(brightness > 0.5, 0.8, 0.01)
        bins = np.zeros((len(brightness), 4, 8), np.float32)
        bins[:, [0, 1, 2, 3], [1, 2, 3, 4]] = 1
        features = np.stack([brightness * (channel + 1) for channel in range(96)], axis=1)
        return NanoDetMaps(scores, bins, features.astype(np.float32))


def half_bright(rng: np.random.Generator) -> np.ndarray:
    """A dark view whose left or upper half is bright."""
    view = rng.integers(0, 40, (SIZE, SIZE, 3), dtype=np.uint8)
    if rng.random() < 0.5:
        view[:, : SIZE // 2] += 200
    else:
        view[: SIZE // 2] += 200
    return view


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    views = [look([BrightTeacher(), BrightTeacher()], half_bright(rng)) for _ in range(12)]
    write_shard(tmp_path / "a.npz", SIZE, views[:8])
    write_shard(tmp_path / "b.npz", SIZE, views[8:])
    return tmp_path


def test_shards_keep_every_view(folder: Path) -> None:
    size, views = read_shard(folder / "a.npz")
    assert size == SIZE
    assert len(views) == 8
    rng = np.random.default_rng(0)
    for view in views:
        again = look([BrightTeacher()], half_bright(rng))
        for name in ("picture", "where", "scores", "located", "bins", "features"):
            assert np.array_equal(getattr(view, name), getattr(again, name)), name


def test_scores_distances_and_features_are_the_teachers(folder: Path) -> None:
    for view in MapSet(folder).draw(SIZE, 20, np.random.default_rng(1)):
        bright = view.scores[:, 0] > 0.5
        assert bright.sum() == LOCATIONS / 2
        assert view.scores[bright, 0] == pytest.approx(0.8, abs=0.01)
        assert not view.scores[~bright].any()
        assert np.array_equal(view.bins.any(axis=(1, 2)), bright)
        assert view.features[bright].min() > view.features[~bright].max()
        left, right = (int(view.bins[bright][0, side].argmax()) for side in (0, 2))
        assert {left, right} == {1, 3}


def test_mirrored_maps_lie_over_the_mirrored_picture(folder: Path) -> None:
    lefts = set()
    for view in MapSet(folder).draw(SIZE, 40, np.random.default_rng(2)):
        finest = view.scores[:64, 0].reshape(8, 8) > 0.5
        picture = view.picture[4::8, 4::8].mean(axis=2)
        assert picture[finest].min() > picture[~finest].max()
        bright = np.flatnonzero(finest)[0]
        lefts.add(int(view.bins[bright, 0].argmax()))
    assert lefts == {1, 3}  # both kinds were drawn


def test_files_written_later_are_read_too(folder: Path) -> None:
    (folder / "b.npz").rename(folder / "b.later")
    maps = MapSet(folder)
    assert len(maps) == 8
    (folder / "b.later").rename(folder / "b.npz")
    maps.refresh()
    maps.refresh()
    assert len(maps) == 12


def test_empty_folders_and_damaged_files_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no teacher maps"):
        MapSet(tmp_path / "nothing")
    (folder / "c.npz").write_bytes((folder / "a.npz").read_bytes()[:500])
    with pytest.raises(UserError, match="cannot read teacher maps .*c.npz"):
        MapSet(folder)


def test_losses_vanish_where_the_network_says_what_the_teacher_says(folder: Path) -> None:
    view = MapSet(folder).draw(SIZE, 1, np.random.default_rng(3))[0]
    scores, bins = torch.from_numpy(view.scores)[None], torch.from_numpy(view.bins)[None]
    centres, strides = grid_locations(SIZE, SIZE)
    agreed = map_loss(torch.logit(scores.clamp(1e-6, 1 - 1e-6)), (bins * 40).flatten(2), scores, bins, centres, strides)
    silent = map_loss(torch.full_like(scores, -4.6), torch.zeros_like(bins).flatten(2), scores, bins, centres, strides)
    for name, value in agreed.items():
        assert value < 0.01, name
        assert silent[name] > 10 * value, name


def test_feature_loss_is_one_minus_the_correlation() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 50, 3)
    assert feature_loss(3 * features + 1, features) == pytest.approx(0, abs=1e-5)
    assert feature_loss(-features, features) == pytest.approx(2, abs=1e-5)
    guess = torch.randn(2, 50, 3)
    expected = [np.corrcoef(guess[..., c].flatten(), features[..., c].flatten())[0, 1] for c in range(3)]
    assert feature_loss(guess, features) == pytest.approx(1 - np.mean(expected), abs=1e-5)


def test_network_learns_from_maps_and_a_resumed_run_is_the_same(folder: Path, tmp_path: Path) -> None:
    recipe = DetectorTraining(steps=40, batch=4, size=SIZE, start_size=SIZE, learning_rate=1e-2)
    run, resumed = (DetectorTrainer(SHAPE, MapLesson(MapSet(folder)), recipe) for _ in range(2))
    losses = []
    for step in range(recipe.steps):
        if step == 3:
            run.save(tmp_path / "state.pt")
        losses.append(run.advance())
    for name in ("score", "box", "features"):
        assert np.mean([loss[name] for loss in losses[-5:]]) < 0.7 * np.mean([loss[name] for loss in losses[:5]]), name
    resumed.load(tmp_path / "state.pt")
    assert resumed.advance() == losses[3]


def test_every_photograph_is_seen_equally_often(tmp_path: Path) -> None:
    for index in range(5):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((80, 60, 3), 20 + 40 * index, np.uint8))
    (tmp_path / "notes.txt").write_text("no photograph")
    views = list(views_of(photographs([tmp_path], 96), SIZE, 50, seed=0))
    assert len(views) == 50
    assert all(view.shape == (SIZE, SIZE, 3) for view in views)
    assert {int(value) for view in views for value in np.unique(view)} >= {20, 60, 100, 140, 180}
