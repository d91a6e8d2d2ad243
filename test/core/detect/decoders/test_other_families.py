# SPDX-License-Identifier: Apache-2.0
"""YOLOX, FastestDet and Yolo-FastestV2: known boxes written the way each network says them are read back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from muon_ad_core.detect.decoders.anchors import AnchorDecoder, AnchorSettings
from muon_ad_core.detect.decoders.base import Candidates, Decoder
from muon_ad_core.detect.decoders.fastestdet import FastestDetDecoder, FastestDetSettings
from muon_ad_core.detect.decoders.yolox import YoloxDecoder, YoloxSettings
from muon_ad_core.errors import EngineError

CLASSES = 4
SIZE = (64, 96)
STRIDES = (8, 16, 32)
BOXES = np.array([[3.0, 5.0, 21.0, 50.0], [40.0, 10.0, 90.0, 60.0]])  # pixels of the input
LABELS = (2, 0)
OBJECTNESS, PROBABILITY = 0.81, 0.64
SCORE = OBJECTNESS * PROBABILITY


def centres_and_sizes() -> tuple[np.ndarray, np.ndarray]:
    return (BOXES[:, :2] + BOXES[:, 2:]) / 2, BOXES[:, 2:] - BOXES[:, :2]


def yolox_rows(decoded: bool, objectness: bool) -> np.ndarray:
    """(1, L, ...): each box at the cell of stride 16 that holds its centre."""
    rows = np.zeros((8 * 12 + 4 * 6 + 2 * 3, 5 + CLASSES), np.float32)
    for centre, size, label in zip(*centres_and_sizes(), LABELS):
        cell = centre // 16
        row = rows[8 * 12 + int(cell[1]) * 6 + int(cell[0])]
        row[:2] = centre if decoded else centre / 16 - cell
        row[2:4] = size if decoded else np.log(size / 16)
        row[4] = OBJECTNESS
        row[5 + label] = PROBABILITY if objectness else SCORE
    return (rows if objectness else np.delete(rows, 4, axis=1))[None]


def logit(share: np.ndarray) -> np.ndarray:
    return np.log(share / (1 - share))


def fastestdet_maps() -> np.ndarray:
    """(1, 5 + classes, 4, 6); every cell also has a weaker class, which must not be reported."""
    maps = np.zeros((1, 5 + CLASSES, 4, 6), np.float32)
    maps[0, 5:] = 0.3
    for centre, size, label in zip(*centres_and_sizes(), LABELS):
        cell = centre // 16
        values = maps[0, :, int(cell[1]), int(cell[0])]
        values[0] = OBJECTNESS
        values[1:3] = np.arctanh(centre / 16 - cell)
        values[3:5] = logit(size / (96, 64))
        values[5 + label] = PROBABILITY
    return maps


ANCHORS = ((12.0, 19.0), (40.0, 40.0), (60.0, 130.0))


def anchor_maps() -> dict[str, np.ndarray]:
    """Two strides, 16 and 32, three anchors each; each box at its own stride and anchor."""
    outputs = {name: np.zeros((1, 64 // s, 96 // s, 15 + CLASSES), np.float32) for name, s in (("a", 16), ("b", 32))}
    for number, (centre, size, label) in enumerate(zip(*centres_and_sizes(), LABELS)):
        name, stride, anchor = ("a", 16, 0) if number == 0 else ("b", 32, 2)
        cell = centre // stride
        values = outputs[name][0, int(cell[1]), int(cell[0])]
        values[4 * anchor : 4 * anchor + 2] = (centre / stride - cell + 0.5) / 2
        values[4 * anchor + 2 : 4 * anchor + 4] = np.sqrt(size / ANCHORS[anchor]) / 2
        values[12 + anchor] = OBJECTNESS
        values[15 + label] = PROBABILITY
    return outputs


def read(decoder: Decoder, outputs: dict[str, np.ndarray], threshold: float = 0.3) -> Candidates:
    decoder.prepare(*SIZE)
    return decoder.decode(outputs, threshold)


def assert_both_boxes(found: Candidates, score: float, labels: Sequence[int] = LABELS) -> None:
    assert sorted(found.labels.tolist()) == sorted(labels)
    order = [labels.index(label) for label in found.labels.tolist()]
    assert found.boxes == pytest.approx(BOXES[order], abs=0.01)
    assert found.scores == pytest.approx(np.full(len(labels), score), abs=1e-4)
    assert found.boxes.dtype == found.scores.dtype == np.float32


@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.parametrize("objectness", [False, True])
def test_yolox(decoded: bool, objectness: bool) -> None:
    decoder = YoloxDecoder(CLASSES, STRIDES, YoloxSettings("boxes", decoded, objectness))
    assert_both_boxes(read(decoder, {"boxes": yolox_rows(decoded, objectness)}), SCORE)


def test_fastestdet() -> None:
    decoder = FastestDetDecoder(CLASSES, (16,), FastestDetSettings("758"))
    assert_both_boxes(read(decoder, {"758": fastestdet_maps()}), OBJECTNESS**0.6 * PROBABILITY**0.4)


def test_yolo_fastestv2() -> None:
    settings = AnchorSettings(("a", "b"), tuple(side for _ in range(2) for anchor in ANCHORS for side in anchor))
    assert_both_boxes(read(AnchorDecoder(CLASSES, (16, 32), settings), anchor_maps()), SCORE)


def test_classes_can_be_limited_and_thresholds_hold() -> None:
    decoder = YoloxDecoder(CLASSES, STRIDES, YoloxSettings())
    decoder.prepare(*SIZE)
    outputs = {"output": yolox_rows(decoded=False, objectness=True)}
    only = np.arange(CLASSES) == 2
    assert decoder.decode(outputs, 0.3, only).labels.tolist() == [2]
    assert decoder.decode(outputs, SCORE + 0.01).boxes.shape == (0, 4)
    assert decoder.decode(outputs, 0.3, np.zeros(CLASSES, bool)).boxes.shape == (0, 4)


def test_empty_maps_give_nothing() -> None:
    fastest = FastestDetDecoder(CLASSES, (16,), FastestDetSettings("758"))
    assert read(fastest, {"758": np.zeros((1, 9, 4, 6), np.float32)}).boxes.shape == (0, 4)
    anchored = AnchorDecoder(CLASSES, (16,), AnchorSettings(("a",), (1.0, 1.0)))
    assert read(anchored, {"a": np.zeros((1, 4, 6, 9), np.float32)}).boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("decoder", "outputs"),
    [
        (YoloxDecoder(CLASSES, STRIDES, YoloxSettings()), {"output": np.zeros((1, 100, 9))}),
        (FastestDetDecoder(CLASSES, (16,), FastestDetSettings()), {"output": np.zeros((1, 9, 6, 4))}),
        (AnchorDecoder(CLASSES, (16,), AnchorSettings(("output",), (1.0, 1.0))), {"output": np.zeros((1, 4, 6, 8))}),
    ],
)
def test_outputs_of_another_size_are_refused(decoder: Decoder, outputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(EngineError, match="mend these in the manifest"):
        read(decoder, outputs)


def test_anchors_must_belong_to_the_strides() -> None:
    with pytest.raises(EngineError, match="1 outputs for 2 strides"):
        AnchorDecoder(CLASSES, (16, 32), AnchorSettings(("a",), (1.0, 1.0)))
    with pytest.raises(ValueError, match="one output a stride"):
        AnchorSettings(("a",), (1.0, 1.0, 2.0))
