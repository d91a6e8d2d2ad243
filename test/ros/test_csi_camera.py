# SPDX-License-Identifier: Apache-2.0
"""csi_camera over real DDS: pattern, metadata, calibration files, and what is said when something is wrong."""

from pathlib import Path
from typing import Any

import pytest
from muon_ad_msgs.msg import FrameMetadata
from sensor_msgs.msg import CameraInfo, Image

CALIBRATION = """\
image_width: 160
image_height: 120
camera_name: csi
camera_matrix: {rows: 3, cols: 3, data: [150, 0, 80, 0, 150, 60, 0, 0, 1]}
distortion_model: equidistant
distortion_coefficients: {rows: 1, cols: 4, data: [0.1, 0.2, 0.3, 0.4]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [150, 0, 80, 0, 0, 150, 60, 0, 0, 0, 1, 0]}
"""


def stamp_of(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "csi.yaml"
    path.write_text(CALIBRATION)
    return path


def test_pictures_come_with_calibration_and_provenance(
    start_node: Any, probe: Any, wait_until: Any, calibration: Path
) -> None:
    node = start_node(
        "csi_camera",
        {"source": "pattern", "width": 160, "height": 120, "rate": 20.0, "calibration": str(calibration)},
    )
    images = probe.listen(f"{node.namespace}/csi/image_raw", Image, reliable=False)
    infos = probe.listen(f"{node.namespace}/csi/camera_info", CameraInfo, reliable=False)
    metadata = probe.listen(f"{node.namespace}/csi/metadata", FrameMetadata)
    wait_until(lambda: len(images) >= 5 and len(infos) >= 5 and len(metadata) >= 5, "pictures of the pattern")
    assert (images[0].width, images[0].height, images[0].header.frame_id) == (160, 120, "csi_optical_frame")
    assert infos[0].distortion_model == "equidistant"
    assert list(infos[0].d) == [0.1, 0.2, 0.3, 0.4]
    assert infos[0].k[0] == 150.0
    assert {entry.provenance for entry in metadata} == {"buffer"}
    assert all(stamp_of(entry) <= entry.arrival.sec * 10**9 + entry.arrival.nanosec for entry in metadata)
    numbers = [entry.number for entry in metadata]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert {stamp_of(entry) for entry in metadata} & {stamp_of(image) for image in images}


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("image_width: 160", "image_width: [", "is no valid YAML"),
        ("image_width: 160", "image_width: 320", "is for 320x120, but the camera gives 160x120"),
    ],
)
def test_a_calibration_that_does_not_fit_ends_the_node_with_one_sentence(
    start_node: Any, calibration: Path, old: str, new: str, sentence: str
) -> None:
    calibration.write_text(CALIBRATION.replace(old, new))
    parameters = {"source": "pattern", "width": 160, "height": 120, "calibration": str(calibration)}
    node = start_node("csi_camera", parameters, namespace="test_csi_calibration")
    assert node.wait() == 2
    assert sentence in node.log
    assert "Traceback" not in node.log


def test_a_missing_device_ends_the_node_with_one_sentence(start_node: Any) -> None:
    node = start_node("csi_camera", {"source": "/dev/video97"}, namespace="test_csi_missing")
    assert node.wait() == 2
    assert "there is no camera /dev/video97" in node.log
