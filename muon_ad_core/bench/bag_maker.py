# SPDX-License-Identifier: Apache-2.0
"""Records a benchmark bag from any source of frames, with what is truly known about them in files beside it.

Beside the recording, in ``<bag>.truth``: ``poses.txt`` (TUM format: seconds tx ty tz qx qy qz qw, camera to world) and
``flow/NNNNNN.png`` (KITTI format: 16-bit PNG, u and v as 64 x pixels + 2^15, third channel 1 where valid; the motion of
each pixel's scene point since the previous frame). Sources without truth leave these out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from muon_ad_core.errors import ParameterError, SourceError
from muon_ad_core.sources import open_source
from muon_ad_core.sources.base import NANOSECONDS, CameraModel, Frame, Pose
from muon_ad_core.sources.rgbd import RgbdFolder, is_rgbd_folder
from muon_ad_core.sources.scene import SceneSource

EPOCH_NS = 1_700_000_000 * NANOSECONDS  # stamp of the first frame: the same bag comes out each time
FRAME_ID = "camera_color_optical_frame"
STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
IMAGE, CAMERA_INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
TYPES = get_typestore(Stores.ROS2_HUMBLE)


class PictureSource(Protocol):
    """What is needed of a source."""

    rate: float

    @property
    def camera(self) -> CameraModel | None: ...

    def __iter__(self) -> Iterator[Frame]: ...


def make_bag(
    source: str, output: Path, seconds: float, rate: float | None = None, storage: str = "mcap"
) -> dict[str, Any]:
    """Write the recording and its truth; returns how many frames, poses and flow fields there are.

    source: as of `open_source`, or an RGB-D folder. seconds: longest time; files may end earlier. rate: frames a
    second instead of the source's own. storage: "mcap" or "sqlite3".
    Raises SourceError for unusable sources, ParameterError when the output is there already.
    """
    truth = output.with_name(f"{output.name}.truth")
    for path in (output, truth):
        if path.exists():
            raise ParameterError(f"{path} exists already: name another output, or remove it first")
    frames = _open(source, rate)
    counts = {"frames": 0, "poses": 0, "flows": 0}
    poses: list[str] = []
    try:
        with BagWriter(output, storage, frames.camera) as bag:
            for frame in _frames(frames):
                if frame.stamp_ns >= seconds * NANOSECONDS:
                    break
                bag.write(frame)
                counts["frames"] += 1
                pose = frames.pose(frame.index) if isinstance(frames, SceneSource | RgbdFolder) else None
                if pose is not None:
                    poses.append(_tum_line(frame.stamp_ns, pose))
                if frame.flow is not None and frame.flow_valid is not None and frame.index > 0:
                    write_flow(truth / "flow" / f"{frame.index:06d}.png", frame.flow, frame.flow_valid)
                    counts["flows"] += 1
    except BaseException:
        shutil.rmtree(output, ignore_errors=True)
        raise
    if poses:
        truth.mkdir(parents=True, exist_ok=True)
        (truth / "poses.txt").write_text("".join(poses), encoding="ascii")
        counts["poses"] = len(poses)
    return counts


class BagWriter:
    """Writes frames as color/image_raw, depth/image_rect_raw and their camera_info; use it as a context manager."""

    def __init__(self, path: Path, storage: str, camera: CameraModel | None) -> None:
        self._camera = camera
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = Writer(path, version=8, storage_plugin=STORAGES[storage])
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, frame: Frame) -> None:
        """Add a frame; its stamp counts from the epoch of all benchmark bags."""
        stamp_ns = EPOCH_NS + frame.stamp_ns
        if self._camera is not None:
            self._add("/color/camera_info", CAMERA_INFO, stamp_ns, _camera_info(self._camera, stamp_ns))
        self._add("/color/image_raw", IMAGE, stamp_ns, _image(frame.color, frame.encoding, stamp_ns))
        if frame.depth is not None:
            self._add("/depth/image_rect_raw", IMAGE, stamp_ns, _image(frame.depth, "16UC1", stamp_ns))

    def _add(self, topic: str, message_type: str, stamp_ns: int, message: Any) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, message_type, typestore=TYPES)
        self._writer.write(self._connections[topic], stamp_ns, TYPES.serialize_cdr(message, message_type))


def write_flow(path: Path, flow: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
    """A flow field (H, W, 2) in pixels as a KITTI PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coded = np.clip(np.rint(flow * 64.0) + 2**15, 0, 2**16 - 1).astype(np.uint16)
    bgr = np.dstack([valid.astype(np.uint16), coded[..., 1] * valid, coded[..., 0] * valid])
    cv2.imwrite(str(path), bgr)


def read_flow(path: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The inverse of `write_flow`, within 1/128 pixel; raises SourceError when the file is none."""
    coded = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if coded is None:
        raise SourceError(f"{path} cannot be read as a flow field: name a PNG that 'muon-ad bag make' wrote")
    valid, v, u = np.moveaxis(coded, 2, 0)
    return ((np.dstack([u, v]).astype(np.float32) - 2**15) / 64.0), valid > 0


def _open(source: str, rate: float | None) -> Any:
    if is_rgbd_folder(Path(source)):
        return RgbdFolder(Path(source), rate or 30.0)
    return open_source(source, rate)


def _frames(source: Any) -> Iterator[Frame]:
    """Frames with true flow where the source knows it."""
    if isinstance(source, SceneSource):
        index = 0
        while True:
            yield source.frame(index, with_flow=True, with_second=False)
            index += 1
    yield from source


def _header(stamp_ns: int) -> Any:
    time = TYPES.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, NANOSECONDS))
    return TYPES.types["std_msgs/msg/Header"](time, FRAME_ID)


def _image(picture: NDArray[Any], encoding: str, stamp_ns: int) -> Any:
    data = np.ascontiguousarray(picture).view(np.uint8).reshape(-1)
    height, width = picture.shape[:2]
    return TYPES.types[IMAGE](_header(stamp_ns), height, width, encoding, 0, data.size // height, data)


def _camera_info(camera: CameraModel, stamp_ns: int) -> Any:
    region = TYPES.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    matrices = (np.zeros(5), camera.k().ravel(), np.eye(3).ravel(), camera.p().ravel())
    header, size = _header(stamp_ns), (camera.height, camera.width)
    return TYPES.types[CAMERA_INFO](header, *size, "plumb_bob", *matrices, 0, 0, region)


def _tum_line(stamp_ns: int, pose: Pose) -> str:
    quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()
    values = " ".join(f"{value:.9g}" for value in [*pose[:3, 3], *quaternion])
    return f"{(EPOCH_NS + stamp_ns) / 1e9:.9f} {values}\n"
