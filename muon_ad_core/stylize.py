# SPDX-License-Identifier: Apache-2.0
"""Frame in, frame out: an engine package with a style code, blending, strength, levels and temporal smoothing."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import cv2
import numpy as np
from safetensors.numpy import load_file

from muon_ad_core.engine.frames import check_frame, pack, unpack
from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.engine.runtime import Graph, open_graph
from muon_ad_core.errors import EngineError, ParameterError, StyleError

MULTIPLE = 8
"""The body works at 1/8 resolution: the padded frame is a multiple of this."""
BORDER = 16
"""Mirrored pixels around the frame: zero padding inside the network would print a coloured frame at the border."""
STILL_CHANGE = 4.0
MOVED_CHANGE = 16.0
"""Mean input change (0..255) up to which a place counts as still, and from which it counts as moved."""


@dataclass(frozen=True)
class _Buffers:
    """Everything a frame size needs, allocated once.

    padded, packed: the network's input; painted: its output, unpacked; output: what `run` returns; previous: the last
    one; small, previous_small: inputs at 1/4 size; keep, renew: weights of the previous and the new picture.
    """

    padded: np.ndarray
    packed: np.ndarray
    painted: np.ndarray
    output: np.ndarray
    previous: np.ndarray
    small: np.ndarray
    previous_small: np.ndarray
    keep: np.ndarray
    renew: np.ndarray


class Stylizer:
    """Runs a style engine. Not for several threads at once, except `add_style`, which may run beside `run`."""

    def __init__(self, package: EnginePackage, backend: str = "auto", threads: int = 0) -> None:
        """threads: CPU threads, 0 for all cores. Raises EngineError for an engine of another task."""
        if package.task != "style":
            raise EngineError(f"engine {package.name} is for {package.task}, not for style: choose a style engine")
        self.package = package
        self._graphs: dict[str, Graph] = {
            level.name: open_graph(package.path(level.graph), backend, threads) for level in package.levels
        }
        self.backend = next(iter(self._graphs.values())).backend
        # The encoder has one fixed size and runs beside frames: one thread, so that it does not take their cores.
        self._encoder = open_graph(package.path(package.manifest["encoder"]), self.backend, 1)
        self._encoder_size = int(package.manifest["encoder_size"])
        self._codes: dict[str, np.ndarray] = dict(load_file(package.path(package.manifest["styles_file"])))
        self._lock = threading.Lock()
        self._buffers: _Buffers | None = None
        self._has_previous = False
        self._strength = 1.0
        self._smoothing = 0.0
        self._level = package.levels[0]
        self.set_style(self.style_names()[0])

    def style_names(self) -> list[str]:
        """Names that `set_style` takes: those of the package in its order, then those added since."""
        shipped = [style["name"] for style in self.package.manifest["styles"] if style["name"] in self._codes]
        return shipped + [name for name in self._codes if name not in shipped]

    def levels(self) -> list[str]:
        """Names that `set_level` takes, fastest first."""
        return [level.name for level in self.package.levels]

    @property
    def level(self) -> str:
        """The level in use."""
        return self._level.name

    def set_style(self, name: str, style_b: str = "", blend: float = 0.0) -> None:
        """Use a style, or the mixture (1 - blend) * name + blend * style_b of two codes.

        Raises StyleError for unknown names and ParameterError for a blend outside 0..1.
        """
        _check_share("blend", blend)
        code = self._code(name)
        if style_b and blend > 0:
            code = (1 - blend) * code + blend * self._code(style_b)
        self._active_code = np.ascontiguousarray(code[None], dtype=np.float32)
        self._has_previous = False

    def set_strength(self, strength: float) -> None:
        """0 returns the input unchanged, 1 the full style. Raises ParameterError outside 0..1."""
        _check_share("strength", strength)
        self._strength = strength

    def set_level(self, name: str) -> None:
        """Use a level of the package; raises EngineError for an unknown one."""
        self._level = self.package.level(name)

    def set_urgent(self, urgent: bool) -> None:
        """Whether this goes before other work on a shared accelerator."""
        for graph in self._graphs.values():
            graph.set_urgent(urgent)

    def set_temporal_smoothing(self, smoothing: float) -> None:
        """Share of the previous picture that is kept where the input stands still. ParameterError outside 0..1."""
        _check_share("temporal_smoothing", smoothing)
        self._smoothing = smoothing
        self._has_previous = False

    def add_style(self, name: str, picture: np.ndarray) -> None:
        """Make a picture (H, W, 3) RGB uint8 a style: one pass of the encoder, no torch.

        Raises StyleError for an empty name or something that is not such a picture.
        """
        if not name:
            raise StyleError("a style needs a name: give one")
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
            raise StyleError(f"style picture '{name}' must be RGB uint8 (height, width, 3), got {picture.shape}")
        side, size = min(picture.shape[:2]), self._encoder_size
        row, column = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        square = np.ascontiguousarray(picture[row : row + side, column : column + side])
        view = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
        with self._lock:
            code = self._encoder.run({"picture": view[None]})["code"][0].copy()
        self._codes = {**self._codes, name: code}

    def warm_up(self, height: int, width: int) -> None:
        """Compile every level for a frame size and allocate its buffers, so that no frame waits for it."""
        frame = np.zeros((height, width, 3), np.uint8)
        self._prepare(frame)
        chosen = self._level
        for level in self.package.levels:
            self._level = level
            self._paint(frame)
        self._level = chosen
        self._has_previous = False

    def run(self, frame: np.ndarray) -> np.ndarray:
        """Stylise one frame (H, W, 3) RGB uint8 of any size; the result is valid until the next run."""
        check_frame(frame)
        if self._strength == 0:
            self._has_previous = False
            return frame
        buffers = self._prepare(frame)
        painted = self._paint(frame)
        if self._strength < 1:
            cv2.addWeighted(painted, self._strength, frame, 1 - self._strength, 0, dst=buffers.output)
        else:
            np.copyto(buffers.output, painted)
        if self._smoothing > 0:
            self._smooth(frame, buffers)
        return buffers.output

    def _code(self, name: str) -> np.ndarray:
        if name not in self._codes:
            names = self.style_names()
            some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            raise StyleError(f"unknown style '{name}': choose one of {some}, or load a picture as a style first")
        return self._codes[name]

    def _prepare(self, frame: np.ndarray) -> _Buffers:
        if self._buffers is None or self._buffers.output.shape != frame.shape:
            self._buffers = _allocate(frame.shape[0], frame.shape[1], self._level.input_block)
            self._has_previous = False
        return self._buffers

    def _paint(self, frame: np.ndarray) -> np.ndarray:
        """The full-strength picture: a view of the buffer it was unpacked into, the frame's size."""
        assert self._buffers is not None
        buffers, (height, width) = self._buffers, frame.shape[:2]
        rows, columns = buffers.padded.shape[:2]
        cv2.copyMakeBorder(
            frame, BORDER, rows - height - BORDER, BORDER, columns - width - BORDER,
            cv2.BORDER_REFLECT_101 if min(height, width) > 2 * BORDER + MULTIPLE else cv2.BORDER_REPLICATE,
            dst=buffers.padded,
        )  # fmt: skip
        pack(buffers.padded, buffers.packed, self._level.input_block)
        graph = self._graphs[self._level.name]
        result = graph.run({"pixels": buffers.packed, "code": self._active_code})["painted"]
        unpack(result, buffers.painted, self._level.output_block)
        return buffers.painted[BORDER : BORDER + height, BORDER : BORDER + width]

    def _smooth(self, frame: np.ndarray, buffers: _Buffers) -> None:
        """Keep a share of the previous picture where the input stands still, judged at 1/4 size."""
        height, width = frame.shape[:2]
        small_size = buffers.small.shape[1::-1]
        cv2.resize(frame, small_size, dst=buffers.small, interpolation=cv2.INTER_AREA)
        if self._has_previous:
            change = cv2.absdiff(buffers.small, buffers.previous_small).max(axis=2)
            change = cv2.blur(change.astype(np.float32), (5, 5))
            still = np.clip((MOVED_CHANGE - change) / (MOVED_CHANGE - STILL_CHANGE), 0, 1)
            cv2.resize(self._smoothing * still, (width, height), dst=buffers.keep)
            np.subtract(1, buffers.keep, out=buffers.renew)
            cv2.blendLinear(buffers.previous, buffers.output, buffers.keep, buffers.renew, dst=buffers.output)
        np.copyto(buffers.previous_small, buffers.small)
        np.copyto(buffers.previous, buffers.output)
        self._has_previous = True


def _allocate(height: int, width: int, block: int) -> _Buffers:
    rows = -(-(height + 2 * BORDER) // MULTIPLE) * MULTIPLE
    columns = -(-(width + 2 * BORDER) // MULTIPLE) * MULTIPLE
    small = (max(1, height // 4), max(1, width // 4))
    return _Buffers(
        padded=np.empty((rows, columns, 3), np.uint8),
        packed=np.empty((1, rows // block, columns // block, 3 * block * block), np.uint8),
        painted=np.empty((rows, columns, 3), np.uint8),
        output=np.empty((height, width, 3), np.uint8),
        previous=np.empty((height, width, 3), np.uint8),
        small=np.empty((*small, 3), np.uint8),
        previous_small=np.empty((*small, 3), np.uint8),
        keep=np.empty((height, width), np.float32),
        renew=np.empty((height, width), np.float32),
    )


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ParameterError(f"{name} must be from 0 to 1, got {value}")
