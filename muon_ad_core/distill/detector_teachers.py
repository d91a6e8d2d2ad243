# SPDX-License-Identifier: Apache-2.0
"""Soft labels from stronger detectors: run teachers once over photos, fuse their boxes, write a COCO file.

Teachers are ncnn networks (an optional dependency of the making wing). The written file is ordinary COCO detection
JSON whose annotations carry a `score` in (0, 1]; the trainer takes it as the soft target of that box. Categories that
a data set labels itself keep their true boxes: teachers only add what its annotators were not asked for.

    python -m muon_ad_core.distill.detector_teachers --images photos/ --yolox yolox.param yolox.bin --out soft.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from muon_ad_core.distill.coco_classes import COCO_CATEGORY_IDS, COCO_CLASSES
from muon_ad_core.errors import UserError

CANDIDATE_SCORE = 0.05
MAXIMUM_CANDIDATES = 400
NMS_IOU = 0.6
NANODET_STRIDES = (8, 16, 32)
NANODET_PYRAMID = ("733_splitncnn_0", "753_splitncnn_0", "773")  # blobs the heads read, by stride
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True)
class Boxes:
    """Boxes (N, 4) x1 y1 x2 y2 in pixels, scores (N,) in 0..1, labels (N,) COCO class indices 0..79."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Teacher(Protocol):
    """Anything that finds boxes of the 80 COCO classes in an RGB uint8 picture."""

    def detect(self, rgb: np.ndarray) -> Boxes: ...


class _NcnnNetwork:
    """An ncnn network run on one CPU thread."""

    def __init__(self, param: Path, weights: Path) -> None:
        try:
            import ncnn
        except ImportError as error:
            raise UserError("teachers need the ncnn package: install it with `pip install ncnn`.") from error
        for file in (param, weights):
            if not file.is_file():
                raise UserError(f"teacher file {file} is missing: check --yolox and --nanodet.")
        self._ncnn = ncnn
        self._net = ncnn.Net()
        self._net.opt.num_threads = 1
        if self._net.load_param(str(param)) or self._net.load_model(str(weights)):
            raise UserError(f"ncnn cannot read {param} with {weights}: check that the two belong together.")

    def __call__(self, name: str, planes: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        planes = np.ascontiguousarray(planes, dtype=np.float32)
        extractor = self._net.create_extractor()
        extractor.input(name, self._ncnn.Mat(planes).clone())
        return [np.array(extractor.extract(output)[1]) for output in outputs]


def _boxes_of(corners: np.ndarray, class_scores: np.ndarray, scale: float, width: int, height: int) -> Boxes:
    """Keep good (location, class) pairs of (L, 4) corners and (L, 80) scores, undo the scaling, class-wise NMS."""
    location, label = np.nonzero(class_scores > CANDIDATE_SCORE)
    scores = class_scores[location, label]
    best = np.argsort(-scores)[:MAXIMUM_CANDIDATES]
    location, label, scores = location[best], label[best], scores[best]
    boxes = (corners[location] / scale).astype(np.float32)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    corner_and_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(corner_and_size.tolist(), scores.tolist(), label.tolist(), 0.0, NMS_IOU)
    keep = np.array(kept, int)
    return Boxes(boxes[keep], scores[keep], label[keep])


def _cell_indices(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)


class YoloxTeacher:
    """YOLOX (ncnn, focus layer removed: the input is the four pixel phases of an RGB picture, 12 planes).

    Ge et al., "YOLOX", 2021: centre (v + cell) * stride, size exp(v) * stride, score = objectness * class.
    """

    def __init__(self, param: Path, weights: Path, size: int = 416) -> None:
        self._network = _NcnnNetwork(param, weights)
        self._size = size
        grids = [(_cell_indices(size // stride, size // stride), stride) for stride in (8, 16, 32)]
        self._cells = np.concatenate([cells for cells, _ in grids])
        self._strides = np.concatenate([np.full((len(cells), 1), stride) for cells, stride in grids])

    def detect(self, rgb: np.ndarray) -> Boxes:
        height, width = rgb.shape[:2]
        scale = self._size / max(height, width)
        canvas = np.full((self._size, self._size, 3), 114, np.uint8)
        resized = cv2.resize(rgb, (round(width * scale), round(height * scale)))
        canvas[: resized.shape[0], : resized.shape[1]] = resized
        x = (canvas / 255.0 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
        phases = np.concatenate([x[0::2, 0::2], x[1::2, 0::2], x[0::2, 1::2], x[1::2, 1::2]], axis=2)
        (out,) = self._network("683", phases.transpose(2, 0, 1), ["output"])
        centre = (out[:, :2] + self._cells) * self._strides
        half = np.exp(out[:, 2:4]) * self._strides / 2
        corners = np.concatenate([centre - half, centre + half], axis=1)
        return _boxes_of(corners, out[:, 4:5] * out[:, 5:], scale, width, height)


@dataclass(frozen=True)
class NanoDetMaps:
    """Scores (L, 80), probabilities (L, 4, 8) of the distances left, top, right, bottom in strides, and features
    (L, 96) of the pyramid, at every location: strides 8, 16, 32 one after another."""

    scores: np.ndarray
    bins: np.ndarray
    features: np.ndarray


class NanoDetTeacher:
    """NanoDet-m (ncnn): class scores and 8-bin distance distributions at strides 8, 16, 32 of a BGR picture."""

    def __init__(self, param: Path, weights: Path, size: int = 416) -> None:
        self._network = _NcnnNetwork(param, weights)
        self._size = size

    def detect(self, rgb: np.ndarray) -> Boxes:
        height, width = rgb.shape[:2]
        scale = self._size / max(height, width)
        resized = cv2.resize(rgb, (round(width * scale), round(height * scale)))
        pad_y, pad_x = -resized.shape[0] % 32, -resized.shape[1] % 32
        top, left = pad_y // 2, pad_x // 2
        padded = np.pad(resized, ((top, pad_y - top), (left, pad_x - left), (0, 0)))
        maps = self.maps(padded)
        centres, spacings = [], []
        for stride in NANODET_STRIDES:
            cells = _cell_indices(padded.shape[0] // stride, padded.shape[1] // stride)
            spacings.append(np.full((len(cells), 1), stride))
            centres.append((cells + 0.5) * stride - (left, top))
        centre, spacing = np.concatenate(centres), np.concatenate(spacings)
        distances = maps.bins @ np.arange(maps.bins.shape[2]) * spacing
        corners = np.concatenate([centre - distances[:, :2], centre + distances[:, 2:]], axis=1)
        return _boxes_of(corners, maps.scores, scale, width, height)

    def maps(self, rgb: np.ndarray) -> NanoDetMaps:
        """What the network says at every location of rgb (H, W, 3) uint8, sides multiples of 32."""
        x = (rgb[:, :, ::-1].astype(np.float32) - (103.53, 116.28, 123.675)) / (57.375, 57.12, 58.395)
        names = [f"{kind}_pred_stride_{stride}" for stride in NANODET_STRIDES for kind in ("cls", "dis")]
        # The pyramid comes first: ncnn frees a blob once what follows it was computed.
        outputs = self._network("input.1", x.transpose(2, 0, 1), [*NANODET_PYRAMID, *names])
        pyramid, maps = outputs[: len(NANODET_PYRAMID)], outputs[len(NANODET_PYRAMID) :]
        logits = np.concatenate(maps[1::2])
        logits = logits.reshape(len(logits), 4, -1)
        weights = np.exp(logits - logits.max(axis=2, keepdims=True))
        features = np.concatenate([level.reshape(len(level), -1).T for level in pyramid])
        return NanoDetMaps(np.concatenate(maps[0::2]), weights / weights.sum(axis=2, keepdims=True), features)


def fuse(runs: Sequence[Boxes], iou_threshold: float = 0.55, minimum_score: float = 0.12) -> Boxes:
    """Weighted box fusion (Solovyev et al., 2021) of several runs over one picture.

    Same-class boxes overlapping a cluster's fused box join it; the fused box is the score-weighted mean, the fused
    score the sum of scores over the number of runs, so a box that only one run sees is trusted less.
    """
    boxes = np.concatenate([run.boxes for run in runs])
    scores = np.concatenate([run.scores for run in runs])
    labels = np.concatenate([run.labels for run in runs])
    fused: list[tuple[np.ndarray, float, int]] = []
    for label in np.unique(labels):
        clusters: list[_Cluster] = []
        members = np.nonzero(labels == label)[0]
        for index in members[np.argsort(-scores[members])]:
            overlaps = [_iou(boxes[index], cluster.box) for cluster in clusters]
            if overlaps and max(overlaps) > iou_threshold:
                clusters[int(np.argmax(overlaps))].add(boxes[index], scores[index])
            else:
                clusters.append(_Cluster(boxes[index] * scores[index], float(scores[index])))
        for cluster in clusters:
            score = min(1.0, cluster.total / len(runs))
            if score >= minimum_score:
                fused.append((cluster.box, score, int(label)))
    return Boxes(
        np.array([box for box, _, _ in fused], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in fused], np.float32),
        np.array([label for _, _, label in fused], np.int64),
    )


@dataclass
class _Cluster:
    """Boxes of one object: their score-weighted sum (4,) and the sum of their scores."""

    weighted: np.ndarray
    total: float

    @property
    def box(self) -> np.ndarray:
        return self.weighted / self.total

    def add(self, box: np.ndarray, score: float) -> None:
        self.weighted = self.weighted + box * score
        self.total += float(score)


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    overlap = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    intersection = float(np.prod(np.maximum(overlap, 0)))
    union = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2])) - intersection
    return intersection / max(union, 1e-9)


def teach(teachers: Sequence[Teacher], rgb: np.ndarray, mirror: bool = False) -> Boxes:
    """Fuse every teacher's boxes on the picture and, with `mirror`, on its mirror image (better, twice the time)."""
    runs = [teacher.detect(rgb) for teacher in teachers]
    if mirror:
        width = rgb.shape[1]
        mirrored = np.ascontiguousarray(rgb[:, ::-1])
        for flipped in [teacher.detect(mirrored) for teacher in teachers]:
            boxes = flipped.boxes.copy()
            boxes[:, [0, 2]] = width - flipped.boxes[:, [2, 0]]
            runs.append(Boxes(boxes, flipped.scores, flipped.labels))
    return fuse(runs)


def add_soft_labels(
    coco: dict[str, Any], folder: Path, teachers: Sequence[Teacher], mirror: bool = False
) -> dict[str, Any]:
    """Return `coco` with the teachers' boxes added for every category it does not list, as scored annotations.

    Pictures that cannot be read keep what they had. Existing annotations and their categories stay untouched.
    """
    from rich.progress import track

    labelled = {category["id"] for category in coco.get("categories", [])}
    annotations = list(coco.get("annotations", []))
    next_id = max((annotation["id"] for annotation in annotations), default=0) + 1
    for image in track(coco["images"], description="teachers"):
        picture = cv2.imread(str(folder / image["file_name"]))
        if picture is None:
            continue
        found = teach(teachers, np.ascontiguousarray(picture[:, :, ::-1]), mirror)
        for box, score, label in zip(found.boxes, found.scores, found.labels):
            category = COCO_CATEGORY_IDS[label]
            if category in labelled:
                continue
            x1, y1, x2, y2 = (round(float(v), 2) for v in box)
            annotations.append(
                {
                    "id": next_id,
                    "image_id": image["id"],
                    "category_id": category,
                    "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
                    "area": round((x2 - x1) * (y2 - y1), 2),
                    "iscrowd": 0,
                    "score": round(float(score), 4),
                }
            )
            next_id += 1
    categories = [{"id": i, "name": name} for i, name in zip(COCO_CATEGORY_IDS, COCO_CLASSES)]
    return {"images": coco["images"], "annotations": annotations, "categories": categories}


def describe_folder(folder: Path) -> dict[str, Any]:
    """COCO image records of every picture directly in `folder`, without annotations."""
    images: list[dict[str, Any]] = []
    for file in sorted(folder.iterdir()):
        picture = cv2.imread(str(file)) if file.suffix.lower() in IMAGE_SUFFIXES else None
        if picture is not None:
            height, width = picture.shape[:2]
            images.append({"id": len(images) + 1, "file_name": file.name, "width": width, "height": height})
    if not images:
        raise UserError(f"no readable picture in {folder}: name a folder of photos with --images.")
    return {"images": images, "annotations": [], "categories": []}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write soft COCO labels for photos with teacher networks.")
    parser.add_argument("--images", type=Path, required=True, help="folder of the photos")
    parser.add_argument("--data", type=Path, help="COCO file whose true boxes are kept (default: unlabelled photos)")
    parser.add_argument("--yolox", nargs=2, type=Path, metavar=("PARAM", "BIN"), help="YOLOX teacher")
    parser.add_argument("--nanodet", nargs=2, type=Path, metavar=("PARAM", "BIN"), help="NanoDet-m teacher")
    parser.add_argument("--mirror", action="store_true", help="mirrored photos too: better labels, twice the time")
    parser.add_argument("--out", type=Path, required=True, help="COCO file to write")
    args = parser.parse_args()
    teachers: list[Teacher] = []
    if args.yolox:
        teachers.append(YoloxTeacher(*args.yolox))
    if args.nanodet:
        teachers.append(NanoDetTeacher(*args.nanodet))
    if not teachers:
        raise SystemExit("name at least one teacher: --yolox or --nanodet.")
    coco = json.loads(args.data.read_text()) if args.data else describe_folder(args.images)
    args.out.write_text(json.dumps(add_soft_labels(coco, args.images, teachers, args.mirror)))


if __name__ == "__main__":
    main()
