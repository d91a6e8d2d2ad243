# SPDX-License-Identifier: Apache-2.0
"""ROS images to numpy arrays and back, without a copy where the encoding permits it."""

from __future__ import annotations

import array
import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

# encoding -> (channels of 8 bits, OpenCV conversion to RGB)
_TO_RGB: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
}
COLOR_ENCODINGS = tuple(_TO_RGB)
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")


class ImageError(Exception):
    """An image message that cannot be used; `cause` is the short word it is counted under."""

    def __init__(self, cause: str, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


class RgbReader:
    """Reads colour images of any supported encoding as RGB, reusing one buffer."""

    def __init__(self) -> None:
        self._buffer = np.empty((0, 0, 3), np.uint8)
        self._bridge = _cv_bridge()

    def read(self, message: Image) -> NDArray[np.uint8]:
        """RGB picture (height x width x 3, uint8), valid until the next call or as long as `message` lives.

        Raises ImageError: `unsupported_encoding` or `size_mismatch`.
        """
        if message.encoding not in _TO_RGB:
            return self._read_by_bridge(message)
        channels, conversion = _TO_RGB[message.encoding]
        pixels = _pixels(message, np.dtype(np.uint8), channels)
        if conversion is None and pixels.flags.c_contiguous:
            return pixels
        if self._buffer.shape[:2] != pixels.shape[:2]:
            self._buffer = np.empty((*pixels.shape[:2], 3), np.uint8)
        if conversion is None:
            np.copyto(self._buffer, pixels)
        else:
            cv2.cvtColor(pixels, conversion, dst=self._buffer)
        return self._buffer

    def _read_by_bridge(self, message: Image) -> NDArray[np.uint8]:
        supported = ", ".join(COLOR_ENCODINGS)
        if self._bridge is None:
            raise ImageError(
                "unsupported_encoding",
                f"image encoding '{message.encoding}' is not supported: send one of {supported}, or install cv_bridge",
            )
        try:
            return np.ascontiguousarray(self._bridge.imgmsg_to_cv2(message, "rgb8"))
        except Exception as error:  # cv_bridge raises its own and OpenCV's errors, depending on the damage
            raise ImageError(
                "unsupported_encoding", f"cv_bridge cannot read encoding '{message.encoding}' as colour: {error}"
            ) from error


def read_depth(message: Image) -> NDArray[Any]:
    """Depth picture (height x width): uint16 millimetres (16UC1) or float32 metres (32FC1), as in REP 118.

    Raises ImageError: `unsupported_encoding` or `size_mismatch`.
    """
    if message.encoding not in DEPTH_ENCODINGS:
        raise ImageError(
            "unsupported_encoding",
            f"depth encoding '{message.encoding}' is not supported: send one of {', '.join(DEPTH_ENCODINGS)}",
        )
    order = ">" if message.is_bigendian else "<"
    stored = np.dtype(f"{order}f4" if message.encoding == "32FC1" else f"{order}u2")
    pixels = _pixels(message, stored, channels=1)
    return pixels.astype(stored.newbyteorder("="), copy=False)


def _pixels(message: Image, dtype: np.dtype[Any], channels: int) -> NDArray[Any]:
    """The message's pixels as an array over its own memory: height x width (x channels, if more than one)."""
    height, width = message.height, message.width
    row = width * channels * dtype.itemsize
    step = message.step or row
    data = np.frombuffer(message.data, np.uint8)
    smallest = step * (height - 1) + row
    odd = channels == 2 and width % 2 == 1  # the 4:2:2 encodings share colour between two pixels
    if not height or not width or odd or step < row or not smallest <= data.size <= step * height:
        raise ImageError(
            "size_mismatch",
            f"image of {width}x{height} {message.encoding} with step {message.step} needs "
            f"{max(smallest, row * height)} bytes but carries {data.size}",
        )
    shape: tuple[int, ...] = (height, width) if channels == 1 else (height, width, channels)
    strides: tuple[int, ...] = (step, channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
    return np.ndarray(shape, dtype, buffer=data, strides=strides)


class ImageWriter:
    """Fills one reused image message, so that steady state allocates nothing.

    Assigning an array to `Image.data` costs tens of milliseconds; writing into its memory costs a copy.
    """

    def __init__(self, encoding: str) -> None:
        self._message = Image(encoding=encoding)
        self._pixels: NDArray[Any] = np.empty(0, np.uint8)

    def write(self, picture: NDArray[Any], header: Header) -> Image:
        """`picture` (height x width [x channels], native byte order) as a message, valid until the next call."""
        if self._pixels.shape != picture.shape or self._pixels.dtype != picture.dtype:
            self._resize(picture)
        np.copyto(self._pixels, picture)
        self._message.header = header
        return self._message

    def _resize(self, picture: NDArray[Any]) -> None:
        message = self._message
        message.height, message.width = picture.shape[:2]
        message.step = picture.nbytes // message.height
        message.is_bigendian = int(sys.byteorder == "big")
        message.data = array.array("B", bytes(picture.nbytes))
        self._pixels = np.frombuffer(message.data, picture.dtype).reshape(picture.shape)


class JpegWriter:
    """Encodes RGB pictures as JPEG messages in the form image_transport's compressed plug-in reads."""

    def __init__(self) -> None:
        self._bgr = np.empty((0, 0, 3), np.uint8)

    def write(self, rgb: NDArray[np.uint8], header: Header, quality: int) -> CompressedImage:
        """`rgb` (height x width x 3, uint8) at JPEG `quality` 1..100."""
        if self._bgr.shape != rgb.shape:
            self._bgr = np.empty_like(rgb)
        cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR, dst=self._bgr)
        _, encoded = cv2.imencode(".jpg", self._bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
        message.data = array.array("B", encoded.tobytes())
        return message


def _cv_bridge() -> Any:
    """A CvBridge where the optional package is installed, else None."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        return None
    return CvBridge()
