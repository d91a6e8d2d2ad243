# SPDX-License-Identifier: Apache-2.0
"""An emulated D415 on librealsense's software device: its streams come through the real driver library.

Pictures are those of the motorcycle scene, seen by two cameras 15 mm apart, so that depth has to be aligned as with a
real D415. The hardware clock drifts and wraps; frames arrive after a delay. `unplug` and `plug` do what a hand does.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.sources.base import CameraModel, Pose
from muon_ad_core.sources.motorcycle import MotorcycleScene
from muon_ad_core.sources.realsense.frames import COUNTER_RANGE, GLOBAL_TIME, HARDWARE_CLOCK
from muon_ad_core.sources.realsense.library import load_library
from muon_ad_core.sources.realsense.streams import STREAMS, Mode

SERIAL = "emulated0415"
BASELINE = 0.015
"""Metres from the depth sensor to the colour sensor, to the right; about as in a D415."""
DRIFT = 40e-6
"""The device's clock runs that much fast."""
DELAY_NS = 9_000_000
"""From the middle of the exposure to the arrival at the host, without what this machine adds."""
COLOR_LATER_NS = 2_000_000
"""Colour is exposed so much after depth."""
DEPTH_UNITS = 0.001
VIEWS = 15
"""Pictures on the way from one end of the camera's swing to the other."""
SWING_SECONDS = 1.0
_BYTES = {"rgb8": 3, "z16": 2, "y8": 1}


@dataclass(frozen=True)
class _View:
    """What all streams show from one place."""

    color: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    infrared: NDArray[np.uint8]


class EmulatedD415:
    """A port with one emulated D415 in it (see `ports.DevicePort`); a plugged-in device streams for ever."""

    live = True

    def __init__(self, mode: Mode, first_ticks: int = 0) -> None:
        """`first_ticks`: the microsecond counter when plugged in, for example shortly before it wraps.

        Raises SourceError when pyrealsense2 or the scene's picture is missing.
        """
        self._library = load_library()
        self.mode = mode
        self._scene = MotorcycleScene(mode.width, mode.height)
        self._views = self._render()
        self._first_ticks = first_ticks
        self._plug: _Plug | None = None
        self.plug()

    @property
    def camera(self) -> CameraModel:
        """True geometry of the colour camera, whose pose is `color_pose`."""
        return self._scene.camera

    def color_pose(self, view: int) -> Pose:
        """True pose of the colour sensor in picture `view`; 0 to `VIEWS` - 1."""
        return self._scene.pose(SWING_SECONDS * view / VIEWS)

    def depth_pose(self, view: int) -> Pose:
        """True pose of the depth sensor in picture `view`."""
        pose = self.color_pose(view)
        pose[:3, 3] -= BASELINE * pose[:3, 0]
        return pose

    def view_of(self, number: int) -> int:
        """The view that the frames with this number show: there and back again."""
        position = number % (2 * VIEWS - 2)
        return position if position < VIEWS else 2 * VIEWS - 2 - position

    def true_depth(self, view: int) -> NDArray[np.uint16]:
        """Depth of the scene for each pixel of the colour camera in picture `view`: millimetres, 0 where unknown."""
        rendered = self._scene.view()
        rendered.render(self.color_pose(view), np.empty((self.mode.height, self.mode.width, 3), np.uint8))
        return rendered.depth()

    def plug(self) -> None:
        """Plug the device in; its counters begin anew."""
        if self._plug is None:
            self._plug = _Plug(self._library, self.mode, self.camera, self._views, self._first_ticks)

    def unplug(self) -> None:
        """Pull the device's plug: its frames stop, and it is found no more."""
        if self._plug is not None:
            self._plug.pull()
            self._plug = None

    def find(self, serial: str) -> Any | None:
        return self._plug.device if self._plug is not None and serial in ("", SERIAL) else None

    def holds(self, device: Any) -> bool:
        return self._plug is not None and self._plug.device is device

    def close(self) -> None:
        self.unplug()

    def _render(self) -> list[_View]:
        """The pictures of one swing, made ahead: a camera's frames cost the host nothing but their transport."""
        view = self._scene.view()
        pictures = []
        for number in range(VIEWS):
            color = np.empty((self.mode.height, self.mode.width, 3), np.uint8)
            left = np.empty_like(color)
            view.render(self.color_pose(number), color)
            view.render(self.depth_pose(number), left)
            depth = view.depth()
            assert depth is not None
            pictures.append(_View(color, depth.copy(), np.asarray(cv2.cvtColor(left, cv2.COLOR_RGB2GRAY), np.uint8)))
        return pictures + pictures[-2:0:-1]


class _Plug:
    """The device from when it is plugged in until it is pulled out."""

    def __init__(self, library: Any, mode: Mode, camera: CameraModel, views: list[_View], first_ticks: int) -> None:
        self._library = library
        self._mode = mode
        self._views = views
        self._first_ticks = first_ticks
        self.device = library.software_device()
        info = library.camera_info
        for key, text in (
            (info.name, "Emulated RealSense D415"), (info.serial_number, SERIAL), (info.product_line, "D400"),
            (info.firmware_version, "0.0.0.0"), (info.usb_type_descriptor, "3.2"),
        ):  # fmt: skip
            self.device.register_info(key, text)
        self._stereo = self.device.add_sensor("Stereo Module")
        self._rgb = self.device.add_sensor("RGB Camera")
        self._stereo.add_read_only_option(library.option.depth_units, DEPTH_UNITS)
        for sensor in (self._stereo, self._rgb):
            sensor.add_option(library.option.global_time_enabled, library.option_range(0.0, 1.0, 0.0, 1.0), True)
        self._profiles = {name: self._add_stream(uid, name, camera) for uid, name in enumerate(STREAMS)}
        self._set_geometry()
        self._pulled = threading.Event()
        self._thread = threading.Thread(target=self._stream, name="emulated D415", daemon=True)
        self._thread.start()

    def pull(self) -> None:
        self._pulled.set()
        self._thread.join()

    def _sensor(self, name: str) -> Any:
        return self._rgb if name == "color" else self._stereo

    def _add_stream(self, uid: int, name: str, camera: CameraModel) -> Any:
        stream, index, pixel_format = STREAMS[name]
        intrinsics = self._library.intrinsics()
        intrinsics.width, intrinsics.height = camera.width, camera.height
        intrinsics.fx, intrinsics.fy, intrinsics.ppx, intrinsics.ppy = camera.fx, camera.fy, camera.cx, camera.cy
        intrinsics.model = self._library.distortion.brown_conrady
        intrinsics.coeffs = [0.0] * 5
        video = self._library.video_stream()
        video.type, video.index, video.uid = getattr(self._library.stream, stream), index, uid
        video.width, video.height, video.fps = self._mode.width, self._mode.height, self._mode.rate
        video.bpp, video.fmt = _BYTES[pixel_format], getattr(self._library.format, pixel_format)
        video.intrinsics = intrinsics
        return self._sensor(name).add_video_stream(video, name in ("color", "depth"))

    def _set_geometry(self) -> None:
        for name, offset in (("color", -BASELINE), ("infra1", 0.0), ("infra2", 0.0)):
            extrinsics = self._library.extrinsics()
            extrinsics.rotation = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
            extrinsics.translation = [offset, 0.0, 0.0]
            self._profiles["depth"].register_extrinsics_to(self._profiles[name], extrinsics)

    def _stream(self) -> None:
        """Hand every frame to librealsense at its instant; one that is late is late, and not lost."""
        period_ns = 1_000_000_000 // self._mode.rate
        began_ns = time.monotonic_ns()
        number = 0
        while True:
            number += 1
            taken_ns = began_ns + number * period_ns
            wait_ns = taken_ns + DELAY_NS - time.monotonic_ns()
            if self._pulled.wait(max(0, wait_ns) / 1e9):
                return
            view = self._views[number % len(self._views)]
            for name, picture in (
                ("depth", view.depth), ("infra1", view.infrared), ("infra2", view.infrared), ("color", view.color),
            ):  # fmt: skip
                if self._is_streaming(name):
                    later_ns = COLOR_LATER_NS if name == "color" else 0
                    self._hand_over(name, picture, number, taken_ns + later_ns, began_ns)

    def _is_streaming(self, name: str) -> bool:
        uid = self._profiles[name].unique_id()
        return any(profile.unique_id() == uid for profile in self._sensor(name).get_active_streams())

    def _hand_over(self, name: str, picture: NDArray[Any], number: int, taken_ns: int, began_ns: int) -> None:
        sensor = self._sensor(name)
        ticks = (self._first_ticks + round((taken_ns - began_ns) * (1.0 + DRIFT) / 1000)) % COUNTER_RANGE
        frame = self._library.software_video_frame()
        frame.pixels = picture
        frame.bpp = _BYTES[STREAMS[name][2]]
        frame.stride = self._mode.width * frame.bpp
        if sensor.get_option(self._library.option.global_time_enabled):
            host_ns = time.time_ns() - time.monotonic_ns() + taken_ns
            frame.timestamp, domain = host_ns / 1e6, GLOBAL_TIME
        else:
            frame.timestamp, domain = ticks / 1000, HARDWARE_CLOCK
        frame.domain = getattr(self._library.timestamp_domain, domain)
        frame.frame_number = number
        frame.profile = self._profiles[name].as_video_stream_profile()
        if name == "depth":
            frame.depth_units = DEPTH_UNITS
        sensor.set_metadata(self._library.frame_metadata_value.sensor_timestamp, ticks)
        sensor.set_metadata(self._library.frame_metadata_value.frame_counter, number)
        sensor.on_video_frame(frame)
