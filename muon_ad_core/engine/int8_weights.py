# SPDX-License-Identifier: Apache-2.0
"""Weights of INT8 convolutions that come out right on every processor.

x86 processors without VNNI or AMX multiply unsigned by signed bytes, two inputs at a time, and add both products in 16
bits: they overflow where two neighbouring weights of one sign are large. What is signed is moved by 128 before.
"""

from __future__ import annotations

import numpy as np

LARGEST_SUM = 128
"""Of two neighbouring weights of one sign: 255 * 128 still fits into 16 bits."""
ROUNDING = 1
"""What rounding two weights adds to their sum at most."""


def pair_sums(weights: np.ndarray) -> np.ndarray:
    """Largest sum of the weights of one sign in a pair of inputs (0 and 1, 2 and 3, ...): (O,), of (O, I, ...)."""
    outputs, inputs = weights.shape[:2]
    wide = np.zeros((outputs, inputs + inputs % 2, int(np.prod(weights.shape[2:]))), np.float64)
    wide[:, :inputs] = weights.reshape(outputs, inputs, -1)
    pairs = wide.reshape(outputs, -1, 2, wide.shape[2])
    sums = [np.maximum(sign * pairs, 0).sum(axis=2).reshape(outputs, -1).max(axis=1) for sign in (1, -1)]
    return np.asarray(np.maximum(*sums))


def fit_16_bits(weights: np.ndarray) -> bool:
    """Whether no two products of these INT8 weights (O, I, ...) with bytes can overflow."""
    return bool(pair_sums(weights).max() <= LARGEST_SUM)


def fitting_ranges(weights: np.ndarray) -> np.ndarray:
    """Values (O,) that become 127, so that weights (O, I, ...) in floating point fit when they are rounded."""
    return pair_sums(weights) * 127 / (LARGEST_SUM - ROUNDING)
