# SPDX-License-Identifier: Apache-2.0
"""Images of every supported encoding become arrays and back; damaged ones are refused by cause."""

import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from muon_ad_ros.conversions import ImageError, ImageWriter, JpegWriter, RgbReader, read_depth

HEIGHT, WIDTH = 6, 8


def smooth_picture() -> np.ndarray:
    """Colours that change slowly, so that halved colour resolution (4:2:2) loses little."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([40 + 10 * rows, 90 + 0 * rows, 200 - 8 * columns], axis=-1).astype(np.uint8)


def message_of(pixels: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    rows = np.ascontiguousarray(pixels).reshape(pixels.shape[0], -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=7)
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=padded.shape[1])
    message.is_bigendian = int(big_endian)
    message.data = array.array("B", padded.tobytes())
    return message


def encoded(rgb: np.ndarray, encoding: str) -> np.ndarray:
    if encoding in ("yuyv", "yuv422_yuy2", "uyvy", "yuv422"):
        yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV)
        luma, colour = yuv[..., 0], np.empty((HEIGHT, WIDTH), np.uint8)
        colour[:, 0::2], colour[:, 1::2] = yuv[:, 0::2, 1], yuv[:, 0::2, 2]
        luma_first = encoding in ("yuyv", "yuv422_yuy2")
        return np.stack([luma, colour] if luma_first else [colour, luma], axis=-1)
    codes = {"bgr8": cv2.COLOR_RGB2BGR, "rgba8": cv2.COLOR_RGB2RGBA, "bgra8": cv2.COLOR_RGB2BGRA}
    return cv2.cvtColor(rgb, codes[encoding]) if encoding in codes else rgb


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_colour_encodings_are_read_exactly(encoding: str, padding: int) -> None:
    rgb = smooth_picture()
    read = RgbReader().read(message_of(encoded(rgb, encoding), encoding, padding))
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, rgb)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["yuyv", "yuv422_yuy2", "uyvy", "yuv422"])
def test_yuv_encodings_are_read_up_to_their_colour_resolution(encoding: str, padding: int) -> None:
    rgb = smooth_picture()
    read = RgbReader().read(message_of(encoded(rgb, encoding), encoding, padding))
    # Video-range and full-range conversions differ by up to 16 levels; swapped channels by more than 100.
    assert np.abs(read.astype(int) - rgb).max() < 30


def test_mono8_becomes_grey() -> None:
    grey = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    read = RgbReader().read(message_of(grey, "mono8", padding=3))
    np.testing.assert_array_equal(read, np.repeat(grey[..., None], 3, axis=2))


def test_reading_rgb8_copies_nothing_and_others_reuse_one_buffer() -> None:
    reader, rgb = RgbReader(), smooth_picture()
    message = message_of(rgb, "rgb8")
    assert np.shares_memory(reader.read(message), np.frombuffer(message.data, np.uint8))
    bgr = message_of(encoded(rgb, "bgr8"), "bgr8")
    assert np.shares_memory(reader.read(bgr), reader.read(bgr))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(("encoding", "kind"), [("16UC1", "u2"), ("mono16", "u2"), ("32FC1", "f4")])
def test_depth_honours_byte_order_and_step(encoding: str, kind: str, big_endian: bool) -> None:
    depth = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 37 + 300).astype(kind)
    stored = depth.astype((">" if big_endian else "<") + kind)
    read = read_depth(message_of(stored, encoding, padding=4, big_endian=big_endian))
    assert read.dtype == np.dtype(kind)
    np.testing.assert_array_equal(read, depth)


def damaged(cause: str) -> Image:
    message = message_of(smooth_picture(), "rgb8")
    if cause == "truncated":
        message.data = message.data[:-1]
    elif cause == "too long":
        message.data = message.data + array.array("B", bytes(1))
    elif cause == "no data":
        message.data = array.array("B")
    elif cause == "step too small":
        message.step = 3 * WIDTH - 1
    elif cause == "no pixels":
        message.height = 0
    elif cause == "odd width":
        message = message_of(np.zeros((HEIGHT, 7, 2), np.uint8), "yuyv")
    return message


@pytest.mark.parametrize("cause", ["truncated", "too long", "no data", "step too small", "no pixels", "odd width"])
def test_sizes_that_do_not_fit_are_refused(cause: str) -> None:
    with pytest.raises(ImageError, match="bytes") as refusal:
        RgbReader().read(damaged(cause))
    assert refusal.value.cause == "size_mismatch"


def test_unknown_encodings_are_refused_naming_what_is_supported() -> None:
    with pytest.raises(ImageError) as refusal:
        RgbReader().read(message_of(smooth_picture(), "no_such_encoding"))
    assert refusal.value.cause == "unsupported_encoding"
    with pytest.raises(ImageError, match="16UC1"):
        read_depth(message_of(smooth_picture(), "rgb8"))


def test_the_writer_reuses_its_message_and_follows_the_picture_size() -> None:
    writer, header = ImageWriter("rgb8"), Header(frame_id="camera")
    rgb = smooth_picture()
    first = writer.write(rgb, header)
    memory = first.data
    second = writer.write(rgb[::-1], header)
    assert second.data is memory
    np.testing.assert_array_equal(RgbReader().read(second), rgb[::-1])
    assert (second.height, second.width, second.step, second.header.frame_id) == (HEIGHT, WIDTH, 3 * WIDTH, "camera")
    smaller = writer.write(np.ascontiguousarray(rgb[:2, :4]), header)
    np.testing.assert_array_equal(RgbReader().read(smaller), rgb[:2, :4])


def test_depth_is_written_as_it_is_read() -> None:
    depth = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 100
    np.testing.assert_array_equal(read_depth(ImageWriter("16UC1").write(depth, Header())), depth)


def test_jpeg_decodes_to_about_the_same_colours() -> None:
    rgb = cv2.resize(smooth_picture(), (64, 48), interpolation=cv2.INTER_LINEAR)
    message = JpegWriter().write(rgb, Header(frame_id="camera"), quality=95)
    assert message.header.frame_id == "camera"
    assert "jpeg" in message.format
    bgr = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(bgr[..., ::-1].astype(int) - rgb).max() < 20
