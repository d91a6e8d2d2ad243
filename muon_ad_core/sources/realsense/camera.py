# SPDX-License-Identifier: Apache-2.0
"""A RealSense camera that streams whenever it is plugged in: found by serial number, watched, and found again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.realsense.frames import FrameQueue, Session, receive
from muon_ad_core.sources.realsense.library import load_library
from muon_ad_core.sources.realsense.ports import DevicePort
from muon_ad_core.sources.realsense.streams import Mode, calibration_of, choose_profiles, extrinsics_between

LOOK_AGAIN = 0.5
"""Seconds between looks for a camera that is not there."""
SILENCE = 3.0
"""A camera that is there but sends nothing for so many seconds is started anew."""
QUEUE_FRAMES = 12
"""Below librealsense's own pool of 16 frames a stream."""


class RealSenseCamera:
    """Streams of one device through librealsense's sensors, across unplugging.

    Frames wait in `queue`, those of all streams in the order of their arrival; each says the session it belongs to.
    `trouble` is called in the watching thread with the reason for which a session ended, or could not begin.
    """

    def __init__(
        self,
        port: DevicePort,
        serial: str,
        streams: Sequence[str],
        mode: Mode,
        global_time: bool,
        trouble: Callable[[str], None],
    ) -> None:
        self.queue = FrameQueue(QUEUE_FRAMES * len(streams))
        self._port = port
        self._serial = serial
        self._streams = tuple(streams)
        self._mode = mode
        self._global_time = global_time
        self._tell = trouble
        self._sessions = 0
        self._newest = 0.0  # monotonic, seconds; when the latest frame came
        self._stopping = threading.Event()
        self._device: Any = None
        self._sensors: list[Any] = []
        self._thread = threading.Thread(target=self._watch, name="realsense", daemon=True)

    def start(self) -> None:
        """Begin to look for the device, and look on until `stop`.

        Raises SourceError when it is there but lacks a stream in this mode, or cannot be started.
        """
        if not self._open():
            wanted = f" with serial number {self._serial}" if self._serial else ""
            self._tell(f"there is no RealSense camera{wanted}: waiting for it to be plugged in")
        self._thread.start()

    def stop(self) -> None:
        """End streaming and the watching thread."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._close()

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_AGAIN):
            if self._device is None:
                self._try_open()
                continue
            reason = self._trouble()
            if reason:
                self._close()
                self._tell(reason)

    def _trouble(self) -> str:
        """Why the session cannot go on; empty while all is well."""
        if not self._port.holds(self._device):
            return "it was unplugged" if self._port.live else "the recording has ended"
        silence = time.monotonic() - self._newest
        return f"it sent nothing for {silence:.0f} s" if silence > SILENCE and self._port.live else ""

    def _try_open(self) -> None:
        try:
            self._open()
        except SourceError as error:
            self._tell(str(error))

    def _open(self) -> bool:
        """Start streaming if the device is there."""
        device = self._port.find(self._serial)
        if device is None:
            return False
        profiles = choose_profiles(device, self._streams, self._mode)
        try:
            self._set_global_time(device)
            self._stream(device, profiles)
        except RuntimeError as error:
            self._close()
            raise SourceError(f"the camera cannot be started ({error}): does another program use it?") from None
        return True

    def _stream(self, device: Any, profiles: dict[str, Any]) -> None:
        self._sessions += 1
        session = _describe(self._sessions, device, profiles, self._port.live)
        self._device, self._newest = device, time.monotonic()
        for sensor in device.query_sensors():
            own = {name: profile for name, profile in profiles.items() if _belongs(profile, sensor)}
            if own:
                sensor.open(list(own.values()))
                self._sensors.append(sensor)
                names = {profile.unique_id(): name for name, profile in own.items()}
                sensor.start(partial(self._receive, session, names))

    def _receive(self, session: Session, names: dict[int, str], handle: Any) -> None:
        """A frame came, in librealsense's thread."""
        self.queue.put(receive(session, names[handle.get_profile().unique_id()], handle))
        self._newest = time.monotonic()

    def _set_global_time(self, device: Any) -> None:
        option = load_library().option.global_time_enabled
        for sensor in device.query_sensors():
            if sensor.supports(option) and not sensor.is_option_read_only(option):
                sensor.set_option(option, float(self._global_time))

    def _close(self) -> None:
        for sensor in self._sensors:
            try:
                sensor.stop()
                sensor.close()
            except RuntimeError:  # it is gone
                continue
        self._sensors, self._device = [], None


def _belongs(profile: Any, sensor: Any) -> bool:
    return any(own.unique_id() == profile.unique_id() for own in sensor.get_stream_profiles())


def _describe(number: int, device: Any, profiles: dict[str, Any], live: bool) -> Session:
    info = load_library().camera_info
    origin = profiles["depth"] if "depth" in profiles else next(iter(profiles.values()))
    depth_sensors = [sensor.as_depth_sensor() for sensor in device.query_sensors() if sensor.is_depth_sensor()]
    return Session(
        number,
        device.get_info(info.name),
        device.get_info(info.serial_number) if device.supports(info.serial_number) else "",
        {name: calibration_of(profile) for name, profile in profiles.items()},
        {name: extrinsics_between(origin, profile) for name, profile in profiles.items()},
        depth_sensors[0].get_depth_scale() if depth_sensors and "depth" in profiles else 0.0,
        live,
    )
