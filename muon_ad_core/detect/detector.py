# SPDX-License-Identifier: Apache-2.0
"""Frame in, boxes out: a detection engine with scaling, packing, decoding and suppression around its graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from muon_ad_core.detect.decoders import DECODERS
from muon_ad_core.detect.decoders.base import Decoder
from muon_ad_core.detect.network_input import NetworkInput, Preprocessing
from muon_ad_core.detect.nms import class_wise_nms
from muon_ad_core.detect.settings import read_settings
from muon_ad_core.engine.frames import check_frame
from muon_ad_core.engine.package import EnginePackage, Level
from muon_ad_core.engine.runtime import Graph, open_graph
from muon_ad_core.engine.self_check import check_graph
from muon_ad_core.errors import EngineError, ParameterError

MAXIMUM_DETECTIONS = 100


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


class Detector:
    """Runs a detection engine on one picture at a time; not for several threads at once."""

    def __init__(self, package: EnginePackage, backend: str = "auto", threads: int = 0, level: str = "") -> None:
        """threads: CPU threads, 0 for all cores; level: of the package, its first one by default.

        The package's stored example is computed first, where it has one. Raises EngineError for a package of another
        task, an unknown decoder or level, runtime trouble, or when the example comes out wrong.
        """
        if package.task != "detection":
            raise EngineError(
                f"engine {package.name} is for {package.task}, not for detection: choose a detection engine"
            )
        manifest = package.manifest
        try:
            self.classes = tuple(str(name) for name in manifest["classes"])
            rows, columns = (int(side) for side in manifest["input_size"])
            self._strides = tuple(sorted(int(stride) for stride in manifest["strides"]))
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError(f"engine {package.name} lacks classes, input_size or strides: export it again") from error
        self._input_size = rows, columns
        self._preprocessing = read_settings(
            Preprocessing, manifest.get("preprocessing"), f"'preprocessing' of engine {package.name}"
        )
        self._decoder = _make_decoder(package, len(self.classes), self._strides)
        self.package = package
        self.level: Level = package.level(level) if level else package.levels[0]
        self._graph: Graph = open_graph(package.path(self.level.graph), backend, threads)
        check_graph(package, self.level, self._graph)
        self.backend = self._graph.backend
        self._input: NetworkInput | None = None
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
        for another kind of array or a threshold outside (0, 1), EngineError when the graph does not fit its manifest.
        """
        for name, value in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
            if not 0 < value < 1:
                raise ParameterError(f"{name} must be between 0 and 1, got {value}")
        return self.decode(self.infer(rgb), score_threshold, iou_threshold, classes)

    def infer(self, rgb: np.ndarray) -> dict[str, np.ndarray]:
        """The first half of `run`: the graph's raw outputs, valid until the next call."""
        check_frame(rgb)
        return self._graph.run(self._prepare(rgb).fill(rgb))

    def decode(
        self,
        outputs: Mapping[str, np.ndarray],
        score_threshold: float,
        iou_threshold: float,
        classes: frozenset[int] | None = None,
    ) -> Detections:
        """The second half of `run`: detections from raw outputs, in the picture that `infer` had."""
        assert self._input is not None, "infer comes first"
        allowed = None if classes is None else self._mask(classes)
        found = self._decoder.decode(outputs, score_threshold, allowed)
        keep = class_wise_nms(found.boxes, found.scores, found.labels, iou_threshold, MAXIMUM_DETECTIONS)
        boxes, visible = self._input.to_picture(found.boxes[keep])
        return Detections(boxes[visible], found.scores[keep][visible], found.labels[keep][visible])

    def set_urgent(self, urgent: bool) -> None:
        """Whether this goes before other work on a shared accelerator."""
        self._graph.set_urgent(urgent)

    def warm_up(self, height: int, width: int) -> None:
        """Compile the graph for a frame size and allocate its buffers, so that no frame waits for it.

        Raises EngineError when the graph does not fit its manifest.
        """
        self.run(np.zeros((height, width, 3), np.uint8))

    def _prepare(self, rgb: np.ndarray) -> NetworkInput:
        if self._input is None or self._frame_shape != rgb.shape:
            self._input = NetworkInput(
                rgb.shape, self._input_size, self._strides[-1], self.level.input_block, self._preprocessing
            )
            self._decoder.prepare(self._input.rows, self._input.columns)
            self._frame_shape = rgb.shape
        return self._input

    def _mask(self, classes: frozenset[int]) -> np.ndarray:
        mask = np.zeros(len(self.classes), bool)
        mask[[label for label in classes if 0 <= label < len(mask)]] = True
        return mask


def _make_decoder(package: EnginePackage, classes: int, strides: tuple[int, ...]) -> Decoder:
    name = package.manifest.get("decoder")
    if name not in DECODERS:
        raise EngineError(
            f"engine {package.name} needs the decoder '{name}', this release has {', '.join(DECODERS)}: "
            "mend the manifest, or update muon_ad"
        )
    kind = DECODERS[name]
    where = f"'decoding' of engine {package.name}"
    return kind(classes, strides, read_settings(kind.settings_type, package.manifest.get("decoding"), where))
