# SPDX-License-Identifier: Apache-2.0
"""Where RealSense devices are found: on USB, or in a recording. `emulated` has a third place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.realsense.library import load_library


class DevicePort(Protocol):
    """A place that a device can be plugged into."""

    live: bool
    """False for a recording: host times in its frames are of the past, and silence does not mean trouble."""

    def find(self, serial: str) -> Any | None:
        """The pyrealsense2 device with this serial number, or any if it is empty; None while there is none."""

    def holds(self, device: Any) -> bool:
        """Whether a device that was found is still there."""

    def close(self) -> None: ...


class UsbPort:
    """The USB ports of this machine."""

    live = True

    def __init__(self) -> None:
        """Raises SourceError when pyrealsense2 is missing."""
        self._library = load_library()
        self._context = self._library.context()

    def find(self, serial: str) -> Any | None:
        number = self._library.camera_info.serial_number
        for device in self._context.query_devices():
            if device.supports(number) and serial in ("", device.get_info(number)):
                return device
        return None

    def holds(self, device: Any) -> bool:
        return bool(device.is_connected())

    def close(self) -> None:
        self._context = None


class RecordingPort:
    """A recording by librealsense (.db3, or .bag of older versions), played once at its own pace."""

    live = False

    def __init__(self, path: Path) -> None:
        """Raises SourceError when pyrealsense2 or the file is missing, or the file is no such recording."""
        library = load_library()
        if not path.is_file():
            raise SourceError(f"there is no RealSense recording {path}")
        try:
            self._device: Any = library.context().load_device(str(path))
        except RuntimeError as error:
            raise SourceError(f"{path} cannot be played as a RealSense recording: {error}") from None
        self._playback = self._device.as_playback()
        self._ended = library.playback_status.stopped
        self._played = False

    def find(self, serial: str) -> Any | None:
        if self._played:
            return None
        self._played = True
        self._playback.set_real_time(True)
        return self._device

    def holds(self, device: Any) -> bool:
        return bool(self._playback.current_status() != self._ended)

    def close(self) -> None:
        self._device = self._playback = None
