# SPDX-License-Identifier: Apache-2.0
"""Pixel shuffles against their definition, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muon_ad_core.engine.frames import central_square, check_frame, pack, samples, squares_along, unpack
from muon_ad_core.errors import ParameterError


@pytest.mark.parametrize("block", [2, 4, 8])
def test_packing_orders_row_column_colour_and_comes_back(block: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    packed = np.empty((1, 16 // block, 24 // block, 3 * block * block), np.uint8)
    pack(picture, packed, block)
    for row, column in ((0, 0), (1, 2), (16 // block - 1, 24 // block - 1)):
        cell = picture[row * block : (row + 1) * block, column * block : (column + 1) * block]
        assert np.array_equal(packed[0, row, column], cell.ravel())
    back = np.zeros_like(picture)
    unpack(packed, back, block)
    assert np.array_equal(back, picture)


@pytest.mark.parametrize("reversed_colours", [False, True])
@given(st.integers(1, 12), st.integers(5, 12), st.integers(1, 4), st.integers(1, 4))
def test_samples_are_every_so_many_rows_and_columns(
    reversed_colours: bool, height: int, width: int, rows: int, columns: int
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = picture[:, :, ::-1] if reversed_colours else picture
    assert np.array_equal(samples(picture, rows, columns)[0], picture[::rows, ::columns])
    for begin, found in zip((0, 4), samples(picture, rows, columns, (0, 4))):
        assert np.array_equal(found, picture[::rows, begin : begin + width - 4 : columns])
        assert found.flags.c_contiguous


@pytest.mark.parametrize(
    "frame",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_frame_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(ParameterError, match="a frame must be RGB uint8"):
        check_frame(frame)


def test_squares_see_a_wide_and_a_tall_picture_from_end_to_end() -> None:
    wide = np.random.default_rng(0).integers(0, 256, (8, 24, 3), dtype=np.uint8)
    for picture in (wide, wide.transpose(1, 0, 2)):
        begin, middle, end = squares_along(picture, 8)
        assert np.array_equal(begin, picture[:8, :8]) and np.array_equal(end, picture[-8:, -8:])
        assert np.array_equal(middle, central_square(picture, 8))
    assert len(squares_along(wide[:, :8], 4)) == 1
    assert [square.shape for square in squares_along(wide[:1, :], 4)] == [(4, 4, 3)] * 3
