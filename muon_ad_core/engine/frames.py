# SPDX-License-Identifier: Apache-2.0
"""Frames on their way into a graph and out of it: the check, sizes, and pixel shuffles as strided copies."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from muon_ad_core.errors import ParameterError

MULTIPLE = 8
"""The body works at 1/8 resolution: what is painted has sides that are multiples of this."""
EDGES_FIELD = "edges"
"""Of the manifest: how the networks of a style engine continue a picture beyond its border. Engines of older releases
have none: they wanted frames with a mirrored border around."""
MAX_PIXELS = 64_000_000
VGA = 480, 640
"""Height and width of the frame for which levels are trained and compared."""
TO_RGB: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
}
"""Encodings of frames, named as in ROS: channels, and OpenCV's conversion to RGB."""


def check_frame(frame: np.ndarray, encoding: str = "rgb8") -> None:
    """Raise ParameterError unless `frame` is uint8 (H, W, channels of `encoding`) with 1 to MAX_PIXELS pixels."""
    if encoding not in TO_RGB:
        raise ParameterError(f"frames of encoding '{encoding}' are not taken: use one of {', '.join(TO_RGB)}")
    channels = TO_RGB[encoding][0]
    shape = frame.shape
    if len(shape) != 3 or shape[2] != channels or frame.dtype != np.uint8 or not 0 < shape[0] * shape[1] <= MAX_PIXELS:
        name = encoding.rstrip("8").upper()
        raise ParameterError(
            f"a frame must be {name} uint8 (height, width, {channels}) of at most {MAX_PIXELS:,} pixels, "
            f"got {shape} {frame.dtype}"
        )


def whole_cells(height: int, width: int) -> tuple[int, int]:
    """The least size of whole cells in which a frame of that size has its place."""
    return -(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE


def fill_beyond(picture: np.ndarray, height: int, width: int) -> None:
    """Continue what is in the first rows and columns of a picture over all of it.

    As in a mirror, where there is enough of it; else by its outermost pixels.
    """
    below, right = picture.shape[0] - height, picture.shape[1] - width
    if below or right:
        kind = cv2.BORDER_REFLECT_101 if min(height, width) > MULTIPLE else cv2.BORDER_REPLICATE
        cv2.copyMakeBorder(picture[:height, :width], 0, below, 0, right, kind, dst=picture)


def painted_size(height: int, width: int, most_pixels: int, scale: float = 1.0) -> tuple[int, int]:
    """Height and width at which a frame is painted: `scale` (up to 1) times its own, or where that has more than
    `most_pixels`, the largest whole fraction of its own that has not.

    Strokes stay visible in a large picture, and the network's time is bounded; the frame's own detail is added at
    full size (`engine.finishing`).
    """
    size, times = (int(height * scale), int(width * scale)), int(1 / scale)
    while size[0] * size[1] > most_pixels:
        times += 1
        size = height // times, width // times
    return max(1, size[0]), max(1, size[1])


def central_square(picture: np.ndarray, size: int) -> np.ndarray:
    """The central square of a picture (H, W, 3) uint8, resized to (size, size, 3)."""
    return _square(picture, size, 0.5)


def squares_along(picture: np.ndarray, size: int) -> list[np.ndarray]:
    """Squares (size, size, 3) at the beginning, the middle and the end of a picture's longer side, which together see
    all of it, when that is at most three times the shorter one; of a square, the picture itself alone.
    """
    places = (0.5,) if picture.shape[0] == picture.shape[1] else (0.0, 0.5, 1.0)
    return [_square(picture, size, place) for place in places]


def _square(picture: np.ndarray, size: int, place: float) -> np.ndarray:
    """The largest square, at a place from 0 to 1 along the longer side."""
    side = min(picture.shape[:2])
    row, column = (int((length - side) * place) for length in picture.shape[:2])
    square = np.ascontiguousarray(picture[row : row + side, column : column + side])
    return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))


def samples(picture: np.ndarray, rows: int, columns: int, beginnings: Sequence[int] = (0,)) -> list[np.ndarray]:
    """Every so many rows and columns of a picture (H, W, 3) uint8 from its first row and each of some columns on, as
    many for each: contiguous."""
    lines = np.ascontiguousarray(picture[::rows])
    pixels = lines.view(_whole(1))[:, :, 0]
    width = lines.shape[1] - max(beginnings)
    found = (np.ascontiguousarray(pixels[:, begin : begin + width : columns]) for begin in beginnings)
    return [part.view(np.uint8).reshape(*part.shape, 3) for part in found]


def pack(picture: np.ndarray, packed: np.ndarray, block: int) -> None:
    """Copy (H, W, 3) into (1, H/block, W/block, block*block*3), channels ordered (row, column, colour)."""
    blocks, cells = _runs(picture, packed.shape[1:3], block), _cells(packed, block)
    for row in range(block):  # NumPy copies along the last axis: better the long one of columns
        np.copyto(cells[:, :, row], blocks[:, row])


def unpack(packed: np.ndarray, picture: np.ndarray, block: int) -> None:
    """Inverse of `pack`."""
    blocks = _runs(picture, packed.shape[1:3], block)
    np.copyto(blocks, _cells(packed, block).transpose(0, 2, 1))


def _runs(picture: np.ndarray, grid: tuple[int, ...], block: int) -> np.ndarray:
    """View of a contiguous picture as (rows, block, columns) runs of pixels that stay together: one copy each."""
    return picture.reshape(len(picture), -1).view(_whole(block)).reshape(grid[0], block, grid[1])


def _cells(packed: np.ndarray, block: int) -> np.ndarray:
    """View of a packed picture as (rows, columns, block) of the same runs."""
    return packed.view(_whole(block))[0]


def _whole(pixels: int) -> np.dtype[np.void]:
    """Of so many pixels in a row, which NumPy then copies as one."""
    return np.dtype((np.void, 3 * pixels))
