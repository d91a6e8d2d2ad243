# SPDX-License-Identifier: Apache-2.0
"""Dense distillation of the detector: what teachers say at every grid location of augmented photographs.

Boxes throw away most of what a teacher knows; its whole score and distance maps do not. Teachers with the detector's
own grid and boxes (NanoDet: strides 8, 16, 32, distance bins) look once at many random views of photographs, and the
views are stored with their averaged maps, compressed, for the training to read.

    python -m muon_ad_core.distill.detector_maps --images photos/ --nanodet nanodet.param nanodet.bin --views 20000 \\
        --size 320 --out maps/
    muon-ad train detector --maps maps/ --minutes 60 --run run/
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from muon_ad_core.distill.coco_classes import COCO_CLASSES
from muon_ad_core.distill.detector_data import Augmenter, CocoSet, PictureCache, Sample, jitter_colour
from muon_ad_core.distill.detector_loss import BOX_WEIGHT, boxes_of, generalized_iou
from muon_ad_core.distill.detector_teachers import IMAGE_SUFFIXES, NanoDetTeacher
from muon_ad_core.errors import UserError
from muon_ad_core.nets.detector import STRIDES

BINS = 8
FEATURE_WIDTH = 96  # of NanoDet-m's pyramid
SMALLEST_SCORE = 0.02  # what teachers score lower is stored as nothing
SMALLEST_BOX_SCORE = 0.05  # distances are kept where some class reaches this
VIEWS_A_SHARD = 500
JPEG_QUALITY = 95
MOSAIC = 0.4
BIN_WEIGHT = 0.5


@dataclass(frozen=True)
class TeacherMaps:
    """A square view and its teachers' maps, sparse.

    Attributes:
        picture: JPEG bytes (N,) uint8 of the view.
        where: (S,) int32, location * classes + class of every stored score.
        scores: (S,) uint8, in 1/255.
        located: (P,) int32, locations with distances.
        bins: (P, 4, 8) float16, probabilities of the distances left, top, right, bottom in strides.
        features: (L, 96) uint8, the first teacher's pyramid, each channel from its least to its greatest value.
    """

    picture: np.ndarray
    where: np.ndarray
    scores: np.ndarray
    located: np.ndarray
    bins: np.ndarray
    features: np.ndarray


def look(teachers: Sequence[NanoDetTeacher], view: np.ndarray) -> TeacherMaps:
    """The averaged maps of teachers on a view (size, size, 3) uint8 RGB, size a multiple of 32."""
    runs = [teacher.maps(view) for teacher in teachers]
    scores = np.mean([run.scores for run in runs], axis=0)
    weights = np.stack([run.scores.max(axis=1) for run in runs])
    shares = weights / weights.sum(axis=0).clip(min=1e-9)
    bins = np.einsum("tl,tlsb->lsb", shares, np.stack([run.bins for run in runs]))
    where = np.flatnonzero(scores > SMALLEST_SCORE)
    located = np.flatnonzero(scores.max(axis=1) > SMALLEST_BOX_SCORE)
    features = runs[0].features - runs[0].features.min(axis=0)
    _, jpeg = cv2.imencode(".jpg", view[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return TeacherMaps(
        jpeg.ravel(),
        where.astype(np.int32),
        np.rint(scores.ravel()[where] * 255).astype(np.uint8),
        located.astype(np.int32),
        bins[located].astype(np.float16),
        np.rint(features * (255 / features.max(axis=0).clip(min=1e-6))).astype(np.uint8),
    )


def write_shard(file: Path, size: int, views: Sequence[TeacherMaps]) -> None:
    """Write views of one size into one .npz file, atomically: every field concatenated, with its lengths."""
    arrays: dict[str, np.ndarray] = {"size": np.array(size)}
    for name in TeacherMaps.__dataclass_fields__:
        parts = [getattr(view, name) for view in views]
        arrays[name] = np.concatenate(parts)
        arrays[f"{name}_lengths"] = np.array([len(part) for part in parts])
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    part.replace(file)


def read_shard(file: Path) -> tuple[int, list[TeacherMaps]]:
    """Size and views of a file of write_shard(). Raises UserError when it cannot be read."""
    try:
        with np.load(file) as arrays:
            size = int(arrays["size"])
            fields = []
            for name in TeacherMaps.__dataclass_fields__:
                ends = np.cumsum(arrays[f"{name}_lengths"])
                fields.append(np.split(arrays[name], ends[:-1]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise UserError(f"cannot read teacher maps {file} ({error}): write them again.") from error
    return size, [TeacherMaps(*values) for values in zip(*fields)]


class MapSet:
    """The stored views of a folder, by size; batches are drawn with mirror and colour at random."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError when the folder holds no maps or a damaged file."""
        self._folder = folder
        self._read: set[Path] = set()
        self.views: dict[int, list[TeacherMaps]] = {}
        self.refresh()
        if not self.views:
            raise UserError(
                f"no teacher maps in {folder}: write some with `python -m muon_ad_core.distill.detector_maps`."
            )

    def refresh(self) -> None:
        """Read files that were added since: maps may still be written while a training runs."""
        for file in sorted(set(self._folder.glob("*.npz")) - self._read):
            size, views = read_shard(file)
            self.views.setdefault(size, []).extend(views)
            self._read.add(file)

    def __len__(self) -> int:
        return sum(len(views) for views in self.views.values())

    def draw(self, size: int, count: int, rng: np.random.Generator) -> list[DenseMaps]:
        """`count` random views of the stored size nearest to `size`, mirrored half of the time, colours shifted."""
        nearest = min(self.views, key=lambda stored: abs(stored - size))
        views = self.views[nearest]
        return [_dense(views[index], nearest, rng) for index in rng.integers(0, len(views), count)]

    def pictures(self) -> list[np.ndarray]:
        """The stored views of the largest size, RGB."""
        return [_decode(view) for view in self.views[max(self.views)]]


def _decode(view: TeacherMaps) -> np.ndarray:
    picture = cv2.imdecode(view.picture, cv2.IMREAD_COLOR)
    assert picture is not None  # look() encoded it
    return np.ascontiguousarray(picture[:, :, ::-1])


@dataclass(frozen=True)
class DenseMaps:
    """A view to learn from: picture (size, size, 3) uint8 RGB, and at every location the teachers' scores (L, classes)
    and distance probabilities (L, 4, bins), zero where they saw nothing, and features (L, 96) uint8."""

    picture: np.ndarray
    scores: np.ndarray
    bins: np.ndarray
    features: np.ndarray


def _dense(view: TeacherMaps, size: int, rng: np.random.Generator) -> DenseMaps:
    """The maps of a view, mirrored half of the time, its colours shifted."""
    locations = sum((size // stride) ** 2 for stride in STRIDES)
    scores = np.zeros((locations, len(COCO_CLASSES)), np.float32)
    scores.reshape(-1)[view.where] = view.scores / np.float32(255)
    bins = np.zeros((locations, 4, BINS), np.float32)
    bins[view.located] = view.bins
    picture, features = _decode(view), view.features
    if rng.random() < 0.5:
        order = _mirrored_locations(size)
        scores, bins, features = scores[order], bins[order][:, [2, 1, 0, 3]], features[order]
        picture = picture[:, ::-1]
    return DenseMaps(jitter_colour(picture, rng), scores, bins, features)


def _mirrored_locations(size: int) -> np.ndarray:
    """Index of the location that each location's mirror image came from."""
    orders, start = [], 0
    for stride in STRIDES:
        side = size // stride
        orders.append(start + np.arange(side * side).reshape(side, side)[:, ::-1].ravel())
        start += side * side
    return np.concatenate(orders)


def map_loss(
    class_logits: Tensor, bin_logits: Tensor, scores: Tensor, bins: Tensor, centres: Tensor, strides: Tensor
) -> dict[str, Tensor]:
    """Losses of a network's outputs against teachers' maps: {"total", "score", "box", "bins"}, scalars.

    class_logits (B, L, classes), bin_logits (B, L, 4 * bins), scores (B, L, classes), bins (B, L, 4, bins); centres
    and strides as grid_locations() gives them.

    Scores: cross-entropy to the teachers' scores, weighted by the difference of the two (Yang et al., "Bridging
    Cross-task Protocol Inconsistency for Distillation in Dense Object Detection", 2023). Distances: Kullback-Leibler
    divergence to the teachers' distributions (Zheng et al., "Localization Distillation", 2022) and GIoU of the boxes,
    weighted by the location's best score.
    """
    difference = (class_logits.sigmoid() - scores).detach().abs()
    entropy = functional.binary_cross_entropy_with_logits(class_logits, scores, reduction="none")
    best = scores.amax(dim=2)
    score = (entropy * difference).sum() / best.sum().clamp(min=1.0)

    picture, location = (bins.sum(dim=(2, 3)) > 0).nonzero(as_tuple=True)
    weight = best[picture, location]
    mass = weight.sum().clamp(min=1.0)
    wanted, logits = bins[picture, location], bin_logits[picture, location]
    divergence = functional.kl_div(logits.unflatten(1, (4, BINS)).log_softmax(dim=2), wanted, reduction="none")
    shape = (divergence.sum(dim=2).mean(dim=1) * weight).sum() / mass
    centre, stride = centres[location], strides[location]
    sides = (wanted @ torch.arange(BINS, dtype=wanted.dtype)) * stride[:, None]
    truth = torch.cat([centre - sides[:, :2], centre + sides[:, 2:]], dim=1)
    giou = generalized_iou(boxes_of(logits, centre, stride, BINS), truth)
    box = ((1 - giou) * weight).sum() / mass
    return {"total": score + BOX_WEIGHT * box + BIN_WEIGHT * shape, "score": score, "box": box, "bins": shape}


def feature_loss(guess: Tensor, features: Tensor) -> Tensor:
    """1 - Pearson correlation with the teacher's features, averaged over channels (Cao et al., "PKD", 2022).

    guess, features: (B, L, channels). A channel's correlation is over all of a batch's locations.
    """
    guess, features = guess.flatten(0, 1), features.flatten(0, 1)
    guess, features = guess - guess.mean(dim=0), features - features.mean(dim=0)
    scale = (guess.square().sum(dim=0) * features.square().sum(dim=0)).clamp(min=1e-6).rsqrt()
    return (1 - (guess * features).sum(dim=0) * scale).mean()


def photographs(folders: Sequence[Path], longest: int) -> PictureCache:
    """Every readable picture directly in `folders`, longest side at most `longest`. UserError when there is none."""
    files = [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES]
    none = np.zeros((0, 4), np.float32)
    samples = [Sample(file, 0, 0, none, np.zeros(0, np.int64), np.zeros(0, np.float32), none) for file in files]
    return PictureCache(CocoSet(samples, np.ones(len(COCO_CLASSES), bool)), longest)


def views_of(cache: PictureCache, size: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """`count` random views (size, size, 3) of the photographs: each seen equally often, not mirrored or recoloured."""
    augmenter = Augmenter(size, MOSAIC)
    rng = np.random.default_rng(seed)
    order: list[int] = []
    for _ in range(count):
        order = order or rng.permutation(len(cache)).tolist()
        yield augmenter.geometry(cache, order.pop(), rng).picture


def main() -> None:
    parser = argparse.ArgumentParser(description="Store teachers' maps of random views of photographs.")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders of photos")
    parser.add_argument(
        "--nanodet", nargs=2, type=Path, action="append", required=True, metavar=("PARAM", "BIN"),
        help="NanoDet-m teacher; several are averaged",
    )  # fmt: skip
    parser.add_argument("--views", type=int, default=20000, help="how many (default %(default)s)")
    parser.add_argument("--size", type=int, default=320, help="side of the views, a multiple of 32")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other views")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    args = parser.parse_args()
    from rich.progress import track

    cv2.setNumThreads(1)
    teachers = [NanoDetTeacher(*files) for files in args.nanodet]
    cache = photographs(args.images, round(1.25 * args.size))
    args.out.mkdir(parents=True, exist_ok=True)
    shard: list[TeacherMaps] = []
    views = views_of(cache, args.size, args.views, args.seed)
    for number, view in enumerate(track(views, total=args.views, description="views"), start=1):
        shard.append(look(teachers, view))
        if len(shard) == VIEWS_A_SHARD or number == args.views:
            write_shard(args.out / f"maps_{args.size}_{args.seed}_{number:07d}.npz", args.size, shard)
            shard = []


if __name__ == "__main__":
    main()
