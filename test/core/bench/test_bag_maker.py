# SPDX-License-Identifier: Apache-2.0
"""Benchmark bags: what is in them, and the truth beside them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from muon_ad_core import cli
from muon_ad_core.bench.bag_maker import EPOCH_NS, make_bag, read_flow, write_flow
from muon_ad_core.bench.inputs import describe_input
from muon_ad_core.errors import ParameterError
from muon_ad_core.sources.bag import BagReader
from muon_ad_core.sources.scene import SceneSource


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_scene_comes_with_poses_and_flow(tmp_path: Path, storage: str) -> None:
    counts = make_bag("motorcycle", tmp_path / "bag", seconds=0.1, storage=storage)
    assert counts == {"frames": 3, "poses": 3, "flows": 2}
    reader = BagReader(tmp_path / "bag")
    assert reader.damage == ""
    assert {name: topic.count for name, topic in reader.topics.items()} == {
        "/color/camera_info": 3,
        "/color/image_raw": 3,
        "/depth/image_rect_raw": 3,
    }
    assert reader.start_ns == EPOCH_NS
    reader.close()
    source = SceneSource("motorcycle")
    frame = source.frame(2, with_flow=True)
    assert frame.flow is not None and frame.flow_valid is not None
    flow, valid = read_flow(tmp_path / "bag.truth" / "flow" / "000002.png")
    assert np.array_equal(valid, frame.flow_valid)
    assert np.abs(flow - frame.flow)[valid].max() <= 1 / 128
    rows = np.loadtxt(tmp_path / "bag.truth" / "poses.txt")
    assert rows.shape == (3, 8)
    assert rows[2, 1:4] == pytest.approx(source.pose(2)[:3, 3], abs=1e-6)


def test_the_same_bag_comes_out_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_bag("pan", tmp_path / name / "bag", seconds=0.05)
    pictures = [[message.data for message in BagReader(tmp_path / name / "bag").messages()] for name in ("a", "b")]
    assert pictures[0] == pictures[1]
    assert (
        describe_input(tmp_path / "a" / "bag.truth")["sha256"] == describe_input(tmp_path / "b" / "bag.truth")["sha256"]
    )


def test_an_rgbd_folder_keeps_depth_and_poses(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    pose = np.eye(4)
    for index in range(2):
        cv2.imwrite(str(folder / f"frame-{index:06d}.color.png"), np.full((24, 32, 3), 10 * index, np.uint8))
        depth = np.full((24, 32), 1500, np.uint16)
        depth[0] = 65535
        cv2.imwrite(str(folder / f"frame-{index:06d}.depth.png"), depth)
        pose[0, 3] = index
        np.savetxt(folder / f"frame-{index:06d}.pose.txt", pose)
    np.savetxt(folder / "camera-intrinsics.txt", [[30.0, 0, 16], [0, 30, 12], [0, 0, 1]])
    counts = make_bag(str(folder), tmp_path / "bag", seconds=10.0)
    assert counts == {"frames": 2, "poses": 2, "flows": 0}
    depth_data = [message.data for message in BagReader(tmp_path / "bag").messages(["/depth/image_rect_raw"])]
    values = np.frombuffer(depth_data[0][-24 * 32 * 2 :], np.uint16).reshape(24, 32)
    assert np.all(values[0] == 0) and np.all(values[1:] == 1500)
    assert np.loadtxt(tmp_path / "bag.truth" / "poses.txt")[:, 1].tolist() == [0.0, 1.0]


def test_a_source_without_truth_leaves_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.zeros((24, 32, 3), np.uint8))
    assert cli.main(["bag", "make", str(tmp_path / "bag"), "--source", str(picture)]) == 0
    assert "no ground truth" in capsys.readouterr().out
    assert not (tmp_path / "bag.truth").exists()
    assert cli.main(["bag", "make", str(tmp_path / "bag"), "--source", str(picture)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_flow_outside_what_the_format_holds_is_cut(tmp_path: Path) -> None:
    flow = np.full((4, 5, 2), 1e4, np.float32)
    write_flow(tmp_path / "flow.png", flow, np.ones((4, 5), bool))
    assert read_flow(tmp_path / "flow.png")[0].max() == pytest.approx(512.0, abs=0.1)


def test_an_output_that_exists_is_kept(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    with pytest.raises(ParameterError, match="exists already"):
        make_bag("pan", tmp_path / "bag", seconds=0.1)
