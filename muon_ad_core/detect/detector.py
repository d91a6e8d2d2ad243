# SPDX-License-Identifier: Apache-2.0
"""Frame in, boxes out: a detection engine with scaling, packing, decoding and suppression around its graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from muon_ad_core.detect.decode import decode, grid_locations
from muon_ad_core.engine.frames import check_frame, pack
from muon_ad_core.engine.package import EnginePackage, Level
from muon_ad_core.engine.runtime import Graph, open_graph
from muon_ad_core.errors import EngineError, ParameterError

DECODER = "muon_ad_dfl"


@dataclass(frozen=True)
class Detections:
    """What was found in a picture, best score first.

    Attributes:
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the picture, inside it.
        scores: (N,) float32, 0..1.
        labels: (N,) int64, indices into the detector's classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[tuple[np.ndarray, float, int]]:
        """Each detection's box (4,), score and label."""
        for box, score, label in zip(self.boxes, self.scores, self.labels):
            yield box, float(score), int(label)


@dataclass(frozen=True)
class _Buffers:
    """Everything a frame size needs, allocated once. `frame` is the part of `canvas` that the scaled frame fills."""

    canvas: np.ndarray
    frame: np.ndarray
    packed: np.ndarray
    centres: np.ndarray
    strides: np.ndarray


class Detector:
    """Runs a detection engine on one picture at a time; not for several threads at once."""

    def __init__(self, package: EnginePackage, backend: str = "auto", threads: int = 0, level: str = "") -> None:
        """threads: CPU threads, 0 for all cores; level: of the package, its first one by default.

        Raises EngineError for a package of another task, an unknown decoder or level, or runtime trouble.
        """
        if package.task != "detection":
            raise EngineError(
                f"engine {package.name} is for {package.task}, not for detection: choose a detection engine"
            )
        if package.manifest.get("decoder") != DECODER:
            raise EngineError(
                f"engine {package.name} needs the decoder '{package.manifest.get('decoder')}', this release has "
                f"'{DECODER}': update muon_ad"
            )
        try:
            self.classes = tuple(str(name) for name in package.manifest["classes"])
            self._input_size = tuple(int(side) for side in package.manifest["input_size"])
            self._strides = tuple(int(stride) for stride in package.manifest["strides"])
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError(f"engine {package.name} lacks classes, input_size or strides: export it again") from error
        self.package = package
        self.level: Level = package.level(level) if level else package.levels[0]
        self._graph: Graph = open_graph(package.path(self.level.graph), backend, threads)
        self.backend = self._graph.backend
        self._buffers: _Buffers | None = None
        self._frame_shape: tuple[int, ...] = ()

    def run(
        self,
        rgb: np.ndarray,
        score_threshold: float = 0.35,
        iou_threshold: float = 0.5,
        classes: frozenset[int] | None = None,
    ) -> Detections:
        """Objects in a picture (H, W, 3) uint8 RGB of any size, of the given class indices (None: all).

        Boxes of one class that overlap a better one by more than `iou_threshold` are left out. Raises ParameterError
        for another kind of array or a threshold outside (0, 1).
        """
        check_frame(rgb)
        for name, value in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
            if not 0 < value < 1:
                raise ParameterError(f"{name} must be between 0 and 1, got {value}")
        buffers = self._prepare(rgb)
        shrinks = rgb.shape[0] > buffers.frame.shape[0]
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        cv2.resize(rgb, buffers.frame.shape[1::-1], dst=buffers.frame, interpolation=interpolation)
        pack(buffers.canvas, buffers.packed, self.level.input_block)
        raw = self._graph.run({"pixels": buffers.packed})
        boxes, scores, labels = decode(
            raw["scores"][0], raw["bins"][0], buffers.centres, buffers.strides, score_threshold, iou_threshold,
            allowed=None if classes is None else self._mask(classes),
        )  # fmt: skip
        return _in_picture(boxes, scores, labels, rgb.shape, buffers.frame.shape)

    def set_urgent(self, urgent: bool) -> None:
        """Whether this goes before other work on a shared accelerator."""
        self._graph.set_urgent(urgent)

    def warm_up(self, height: int, width: int) -> None:
        """Compile the graph for a frame size and allocate its buffers, so that no frame waits for it."""
        self.run(np.zeros((height, width, 3), np.uint8))

    def _prepare(self, rgb: np.ndarray) -> _Buffers:
        if self._buffers is None or self._frame_shape != rgb.shape:
            self._buffers = self._allocate(*rgb.shape[:2])
            self._frame_shape = rgb.shape
        return self._buffers

    def _allocate(self, height: int, width: int) -> _Buffers:
        """The frame keeps its aspect within the input size; the canvas is cut to what the coarsest stride needs."""
        scale = min(self._input_size[0] / height, self._input_size[1] / width)
        scaled_height, scaled_width = max(1, round(height * scale)), max(1, round(width * scale))
        multiple, block = max(self._strides), self.level.input_block
        rows, columns = -(-scaled_height // multiple) * multiple, -(-scaled_width // multiple) * multiple
        canvas = np.zeros((rows, columns, 3), np.uint8)
        packed = np.empty((1, rows // block, columns // block, 3 * block * block), np.uint8)
        centres, strides = grid_locations(rows, columns, self._strides)
        return _Buffers(canvas, canvas[:scaled_height, :scaled_width], packed, centres, strides)

    def _mask(self, classes: frozenset[int]) -> np.ndarray:
        mask = np.zeros(len(self.classes), bool)
        mask[[label for label in classes if 0 <= label < len(mask)]] = True
        return mask


def _in_picture(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, picture: tuple[int, ...], scaled: tuple[int, ...]
) -> Detections:
    """Boxes of the scaled frame in pixels of the picture, clipped to it; those wholly in the padding go."""
    unit_x, unit_y = picture[1] / scaled[1], picture[0] / scaled[0]
    boxes = boxes * np.array([unit_x, unit_y, unit_x, unit_y], np.float32)
    np.clip(boxes, 0, np.array([picture[1], picture[0]] * 2, np.float32), out=boxes)
    visible = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Detections(boxes[visible], scores[visible], labels[visible])
