# SPDX-License-Identifier: Apache-2.0
"""Faults of real cameras, put into a source's frames on purpose: noise, late stamps, lost frames."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.errors import ParameterError
from muon_ad_core.sources.base import Frame

MILLISECOND = 1_000_000
MARGIN = 64
"""Rows and columns by which the noise is larger than the picture; each frame sees another part of it."""


class FaultInjector:
    """Damages frames; what happens to a frame depends on its index and the seed alone.

    ``dropped`` and ``passed`` count the frames so far.
    """

    def __init__(self, noise: float = 0.0, jitter_ms: float = 0.0, drop: float = 0.0, seed: int = 0) -> None:
        """noise: standard deviation, in levels of 0..255, of the Gaussian noise on colour pictures, 0..64.

        jitter_ms: stamps come late by up to this many milliseconds, uniformly, but never out of order.
        drop: probability of losing a frame, 0..1. Raises ParameterError for values out of range.
        """
        for name, value, most in (("noise", noise, 64.0), ("jitter_ms", jitter_ms, 1e6), ("drop", drop, 1.0)):
            if not 0.0 <= value <= most:
                raise ParameterError(f"{name} must be between 0 and {most:g}, but is {value:g}")
        self._noise, self._jitter_ns, self._drop, self._seed = noise, jitter_ms * MILLISECOND, drop, seed
        self._bank = np.empty((0, 0, 3), np.int16)
        self._buffers: dict[str, NDArray[Any]] = {}
        self._last_stamp_ns = 0
        self.dropped = 0
        self.passed = 0

    def apply(self, frame: Frame) -> Frame | None:
        """The frame with its faults, None when it is lost; noisy pictures are valid until the next call."""
        random = np.random.default_rng((self._seed, frame.index))
        if random.random() < self._drop:
            self.dropped += 1
            return None
        self.passed += 1
        stamp_ns = frame.stamp_ns + round(random.random() * self._jitter_ns)
        self._last_stamp_ns = max(stamp_ns, self._last_stamp_ns)
        frame = dataclasses.replace(frame, stamp_ns=self._last_stamp_ns)
        if self._noise:
            frame.color = self._noisy(frame.color, "color", random)
            if frame.second is not None:
                frame.second = self._noisy(frame.second, "second", random)
        return frame

    def _noisy(self, picture: NDArray[np.uint8], name: str, random: np.random.Generator) -> NDArray[Any]:
        height, width, _ = picture.shape
        if self._bank.shape[:2] != (height + MARGIN, width + MARGIN):
            shape = (height + MARGIN, width + MARGIN, 3)
            levels = np.random.default_rng(self._seed).normal(0.0, self._noise, shape)
            self._bank = levels.round().astype(np.int16)
        top, left = random.integers(0, MARGIN, 2)
        noise = self._bank[top : top + height, left : left + width]
        self._buffers[name] = cv2.add(picture, noise, self._buffers.get(name), dtype=cv2.CV_8U)
        return self._buffers[name]
