# SPDX-License-Identifier: Apache-2.0
"""Weights of INT8 convolutions whose products fit into 16 bits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from muon_ad_core.engine.int8_weights import fit_16_bits, fitting_ranges, pair_sums

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 5), st.just(3), st.just(3))


def largest_sums(weights: np.ndarray) -> tuple[int, int]:
    """Least and largest sum of two products of neighbouring weights with bytes."""
    outputs, inputs = weights.shape[:2]
    even = np.zeros((outputs, inputs + inputs % 2, *weights.shape[2:]), int)
    even[:, :inputs] = weights
    first, second = even[:, ::2], even[:, 1::2]
    sums = [255 * (a * first + b * second) for a in (0, 1) for b in (0, 1)]
    return min(int(each.min()) for each in sums), max(int(each.max()) for each in sums)


@given(SHAPES.flatmap(lambda shape: arrays(np.int8, shape, elements=st.integers(-127, 127))))
def test_what_fits_cannot_overflow_and_what_does_not_fit_can(weights: np.ndarray) -> None:
    least, largest = largest_sums(weights)
    assert fit_16_bits(weights) == (least >= -(2**15) and largest < 2**15)


@given(SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.floats(-8, 8, width=16))))
def test_weights_that_are_rounded_in_their_ranges_fit(weights: np.ndarray) -> None:
    scales = np.maximum(fitting_ranges(weights), 1e-6) / 127
    rounded = np.rint(weights / scales[:, None, None, None])
    assert np.abs(rounded).max() <= 127
    assert fit_16_bits(rounded.astype(np.int8))


def test_weights_whose_neighbours_are_small_keep_their_range() -> None:
    weights = np.zeros((2, 4, 1, 1), np.float32)
    weights[0, :, 0, 0] = 2.0, -2.0, 0.0, 1.0  # of opposite signs: nothing adds up
    weights[1, :, 0, 0] = 2.0, 2.0, 0.0, 1.0
    assert pair_sums(weights).tolist() == [2.0, 4.0]
    assert np.allclose(fitting_ranges(weights), [2.0, 4.0])
