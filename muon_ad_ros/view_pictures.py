# SPDX-License-Identifier: Apache-2.0
"""Pictures for the live view: from an image message to a JPEG picture with what the page should know about it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from muon_ad_core.view.hub import pack_picture

from .conversions import RgbReader, read_depth
from .view_messages import microseconds

DEPTH_WIDTH = 320  # pixels; depth is shown to be glanced at, and at full size would cost as much as colour
NEAR_FAR_PERCENTILES = (2, 98)
SAMPLED = 3  # of the rows and columns, every so manyth tells the range
RANGE_INERTIA = 0.8  # how much of the colour range stays from picture to picture, so that colours do not flicker
COLOURS = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)  # (256, 1, 3)
COLOURS[0] = 0

Rendered = tuple[NDArray[Any], dict[str, Any]]  # BGR, and what else to tell about the picture


def read_colour(reader: RgbReader, message: Image, max_width: int) -> Rendered:
    """A colour picture, reduced to a largest width; raises ImageError when the message is unusable."""
    return cv2.cvtColor(reduced(reader.read(message), max_width), cv2.COLOR_RGB2BGR), {}


class DepthColours:
    """Depth pictures in false colours, near ones warm; black where nothing was measured."""

    def __init__(self) -> None:
        self._span: tuple[float, float] | None = None  # metres

    def render(self, message: Image, max_width: int) -> Rendered:
        """The picture and its range in metres; raises ImageError when the message is unusable."""
        depth = read_depth(message)
        step = max(1, message.width // min(max_width, DEPTH_WIDTH))
        small = np.ascontiguousarray(depth[::step, ::step])
        metres = small * np.float32(0.001) if small.dtype.kind == "u" else small
        valid = np.isfinite(metres) & (metres > 0)
        near, far = self._follow(metres[::SAMPLED, ::SAMPLED][valid[::SAMPLED, ::SAMPLED]])
        shades = np.clip((far - metres) * (254.0 / max(far - near, 1e-3)) + 1.0, 1, 255)
        colours = cv2.applyColorMap(np.where(valid, shades, 0).astype(np.uint8), COLOURS)
        return colours, {"near": round(near, 2), "far": round(far, 2)}

    def _follow(self, metres: NDArray[Any]) -> tuple[float, float]:
        """The range of the colours, which moves slowly with the picture's."""
        if metres.size:
            near, far = map(float, np.percentile(metres, NEAR_FAR_PERCENTILES))
            if self._span is not None:
                near = RANGE_INERTIA * self._span[0] + (1 - RANGE_INERTIA) * near
                far = RANGE_INERTIA * self._span[1] + (1 - RANGE_INERTIA) * far
            self._span = near, far
        return self._span or (0.0, 1.0)


class PictureEncoder:
    """Makes of an image message what pages are sent."""

    def __init__(self) -> None:
        self._reader = RgbReader()
        self._depth = DepthColours()

    def encode(self, stream: str, message: Image, quality: int, max_width: int) -> bytes:
        """The message of `stream` as a packed JPEG picture; raises ImageError when it is unusable."""
        if stream == "depth":
            bgr, more = self._depth.render(message, max_width)
        else:
            bgr, more = read_colour(self._reader, message, max_width)
        _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        about = {"stream": stream, "stamp": microseconds(message.header.stamp)}
        return pack_picture({**about, "width": message.width, "height": message.height, **more}, jpeg.tobytes())


def reduced(picture: NDArray[np.uint8], max_width: int) -> NDArray[np.uint8]:
    """The picture, at most `max_width` wide."""
    height, width = picture.shape[:2]
    if width <= max_width:
        return picture
    size = (max_width, max(1, round(height * max_width / width)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
