# SPDX-License-Identifier: Apache-2.0
"""The emulated cameras obey projective geometry: pose, depth, flow, parallax and pictures agree with each other."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from muon_ad_core.errors import SourceError
from muon_ad_core.sources import photographs
from muon_ad_core.sources.base import CameraModel, look_at
from muon_ad_core.sources.scene import SceneSource

SCENES = ("motorcycle", "pan")


@pytest.fixture(scope="module")
def motorcycle() -> SceneSource:
    """Ten times as fast as usual, so that neighbouring frames differ by several pixels."""
    return SceneSource("motorcycle", speed=10.0)


def pixel_grid(camera: CameraModel) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.arange(camera.width, dtype=float), np.arange(camera.height, dtype=float))


def to_world(camera: CameraModel, pose: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    points = np.stack([(x - camera.cx) / camera.fx * z, (y - camera.cy) / camera.fy * z, z], axis=-1)
    return points @ pose[:3, :3].T + pose[:3, 3]


def to_pixels(camera: CameraModel, pose: np.ndarray, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points = (world - pose[:3, 3]) @ pose[:3, :3]
    return (
        camera.fx * points[..., 0] / points[..., 2] + camera.cx,
        camera.fy * points[..., 1] / points[..., 2] + camera.cy,
    )


def sample(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return cv2.remap(picture, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR).astype(float)


@pytest.mark.parametrize("index", [1, 17, 40])
def test_flow_agrees_with_depth_and_poses(motorcycle: SceneSource, index: int) -> None:
    frame = motorcycle.frame(index, with_flow=True)
    camera = motorcycle.camera
    x, y = pixel_grid(camera)
    world = to_world(camera, motorcycle.pose(index), x, y, frame.depth / 1000.0)
    was_x, was_y = to_pixels(camera, motorcycle.pose(index - 1), world)
    known = (frame.depth > 0) & frame.flow_valid
    error = np.hypot(x - frame.flow[..., 0] - was_x, y - frame.flow[..., 1] - was_y)[known]
    assert known.mean() > 0.7
    assert np.hypot(*np.moveaxis(frame.flow, -1, 0))[known].mean() > 1.0
    assert np.percentile(error, 99.5) < 0.02


@pytest.mark.parametrize("name", SCENES)
def test_flow_warps_the_previous_picture_onto_this_one(name: str) -> None:
    source = SceneSource(name, speed=10.0)
    for index in (5, 33):
        before = source.frame(index - 1).color.copy()
        frame = source.frame(index, with_flow=True)
        x, y = pixel_grid(source.camera)
        moved = sample(before, x - frame.flow[..., 0], y - frame.flow[..., 1])
        valid = frame.flow_valid
        assert valid.mean() > 0.9
        still_error = np.abs(before.astype(float) - frame.color)[valid].mean()
        error = np.abs(moved - frame.color)[valid].mean()
        assert error < 2.5
        assert error < 0.25 * still_error


def test_flow_is_not_valid_where_the_background_was_hidden(motorcycle: SceneSource) -> None:
    before = motorcycle.frame(29).color.copy()
    frame = motorcycle.frame(30, with_flow=True)
    x, y = pixel_grid(motorcycle.camera)
    was_x, was_y = x - frame.flow[..., 0], y - frame.flow[..., 1]
    inside = (was_x >= 0) & (was_x < 639) & (was_y >= 0) & (was_y < 479)
    error = np.abs(sample(before, was_x, was_y) - frame.color).max(-1)
    uncovered = inside & ~frame.flow_valid
    assert 50 < uncovered.sum() < 20_000
    assert error[uncovered].mean() > 4 * error[frame.flow_valid].mean()


def test_the_csi_camera_sees_disparity_fx_baseline_over_depth(motorcycle: SceneSource) -> None:
    frame = motorcycle.frame(10)
    csi, camera = motorcycle.csi_camera, motorcycle.camera
    assert csi.p()[0, 3] == -csi.fx * csi.baseline
    x, y = pixel_grid(camera)
    known = frame.depth > 0
    disparity = np.divide(csi.fx * csi.baseline * 1000.0, frame.depth, where=known, out=np.zeros(known.shape))
    seen = known & (x - disparity >= 0)

    def error(extra: float) -> float:
        return np.abs(sample(frame.second, x - disparity - extra, y) - frame.color)[seen].mean()

    assert np.ptp(disparity[seen]) > 8.0
    assert error(0.0) < 3.5
    assert error(0.0) < 0.6 * min(error(-1.0), error(1.0))
    offset = np.linalg.inv(motorcycle.pose(10)) @ motorcycle.csi_pose(10)
    assert np.allclose(offset[:3, 3], [csi.baseline, 0, 0]) and np.allclose(offset[:3, :3], np.eye(3))


def test_depth_is_the_data_sets_own_in_millimetres(motorcycle: SceneSource) -> None:
    """Points on large surfaces, taken straight from the data set's disparity and calibration."""
    with np.load(photographs.photograph_path("motorcycle_disp.npz")) as archive:
        disparity = archive["arr_0"]
    frame = motorcycle.frame(7)
    for column, row in ((350, 450), (200, 450), (420, 200), (640, 230), (640, 90), (220, 60)):
        z = 0.193001 * 994.978 / (disparity[row, column] + 31.086)
        world = np.array([(column - 311.193) / 994.978 * z, (row - 254.877) / 994.978 * z, z])
        pose = motorcycle.pose(7)
        x, y = to_pixels(motorcycle.camera, pose, world)
        expected = ((world - pose[:3, 3]) @ pose[:3, :3])[2] * 1000.0
        assert frame.depth[round(float(y)), round(float(x))] == pytest.approx(expected, rel=0.01)


def test_depth_looks_like_a_depth_cameras(motorcycle: SceneSource) -> None:
    depth = motorcycle.frame(0).depth
    assert depth.dtype == np.uint16
    assert 0.01 < (depth == 0).mean() < 0.2
    assert depth[depth > 0].min() > 1500 and depth.max() < 6500


def test_the_path_stays_inside_the_photograph(motorcycle: SceneSource) -> None:
    reference = CameraModel(741, 500, 994.978, 994.978, 311.193, 254.877)
    for index in range(0, 60, 7):
        depth = motorcycle.frame(index, with_second=False).depth / 1000.0
        x, y = pixel_grid(motorcycle.camera)
        border = (depth > 0) & ((x == 0) | (x == 639) | (y == 0) | (y == 479))
        for pose in (motorcycle.pose(index), motorcycle.csi_pose(index)):
            world = to_world(motorcycle.camera, pose, x[border], y[border], depth[border])
            column, row = to_pixels(reference, np.eye(4), world)
            assert column.min() >= 0 and column.max() <= 740 and row.min() >= 0 and row.max() <= 499


@pytest.mark.parametrize("name", SCENES)
def test_a_frame_depends_on_its_number_and_the_seed_only(name: str) -> None:
    first, second = SceneSource(name, 160, 120, seed=3), SceneSource(name, 160, 120, seed=3)
    expected = first.frame(11).color.copy()
    for index in (250, 0, 11):
        frame = second.frame(index)
    assert np.array_equal(frame.color, expected)
    assert not np.array_equal(SceneSource(name, 160, 120, seed=4).frame(11).color, expected)


@pytest.mark.parametrize("name", SCENES)
def test_a_still_scene_stands_still(name: str) -> None:
    source = SceneSource(name, 160, 120, speed=0.0)
    first = source.frame(0)
    color, second = first.color.copy(), first.second.copy()
    later = source.frame(99, with_flow=True)
    assert np.array_equal(later.color, color) and np.array_equal(later.second, second)
    assert np.abs(later.flow).max() < 1e-3 and later.flow_valid[1:-1, 1:-1].all()
    assert later.stamp_ns == 99 * 10**9 // 30


def test_the_path_is_closed_and_smooth() -> None:
    source = SceneSource("motorcycle")
    assert np.allclose(source.pose(0), source.pose(600))
    centers = np.array([source.pose(index)[:3, 3] for index in range(601)])
    assert np.ptp(centers[:, 0]) > 0.05
    assert np.abs(np.diff(centers, n=2, axis=0)).max() < 1e-4
    for index in (0, 123):
        rotation = source.pose(index)[:3, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3)) and np.linalg.det(rotation) == pytest.approx(1.0)


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize(("width", "height"), [(320, 240), (1280, 720), (333, 251)])
def test_any_size(name: str, width: int, height: int) -> None:
    source = SceneSource(name, width, height, rate=15.0)
    frame = source.frame(3)
    assert frame.color.shape == frame.second.shape == (height, width, 3)
    assert frame.color.dtype == np.uint8 and frame.encoding == "rgb8" and frame.stamp_ns == 200_000_000
    assert frame.color.std() > 20
    assert (frame.depth is None) == (name == "pan")
    assert (source.camera.width, source.camera.height) == (width, height)


def test_pan_cuts_to_the_next_photograph_every_eight_seconds() -> None:
    source = SceneSource("pan", 160, 120)
    for index in (240, 480, 720, 960, 1200):
        assert not source.frame(index, with_flow=True).flow_valid.any()
        for inside_a_shot in (index - 120, index - 1, index + 1):
            assert source.frame(inside_a_shot, with_flow=True).flow_valid.mean() > 0.9
    assert np.array_equal(source.pose(0), source.pose(1200))


def test_frames_come_in_turn() -> None:
    frames = iter(SceneSource("pan", 64, 48, rate=10.0))
    assert [(frame.index, frame.stamp_ns) for frame, _ in zip(frames, range(3), strict=False)] == [
        (0, 0),
        (1, 100_000_000),
        (2, 200_000_000),
    ]


def test_buffers_are_reused() -> None:
    source = SceneSource("motorcycle", 64, 48)
    frames = [source.frame(index) for index in range(3)]
    for name in ("color", "depth", "second"):
        assert len({getattr(frame, name).ctypes.data for frame in frames}) == 1


def test_the_second_picture_can_be_left_out() -> None:
    assert SceneSource("pan", 64, 48).frame(0, with_second=False).second is None


def test_look_at_points_the_axis_at_the_target_upright() -> None:
    center, target = np.array([1.0, 2.0, -1.0]), np.array([0.0, 1.0, 4.0])
    pose = look_at(center, target)
    ahead = (target - center) @ pose[:3, :3]
    assert np.allclose(ahead[:2], 0.0) and ahead[2] > 0
    assert pose[1, 1] > 0.9 and pose[1, 0] == pytest.approx(0.0)
    assert np.allclose(look_at(np.zeros(3), np.array([0, 0, 1.0]), roll=0.1)[:2, 0], [np.cos(0.1), np.sin(0.1)])


def test_an_unknown_scene_is_refused() -> None:
    with pytest.raises(SourceError, match="no emulated scene 'moon': choose one of motorcycle, pan"):
        SceneSource("moon")


def test_missing_photographs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match="astronaut.png of scikit-image.*'pip install scikit-image"):
        SceneSource("pan")


def test_scenes_load_neither_scikit_image_nor_torch() -> None:
    code = (
        "import sys; from muon_ad_core.sources.scene import SceneSource; SceneSource('motorcycle').frame(0);"
        "sys.exit(', '.join({'skimage', 'scipy', 'torch', 'rclpy'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
