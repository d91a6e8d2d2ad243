# SPDX-License-Identifier: Apache-2.0
"""Training targets and losses of the anchor-free detector, for hard and soft (scored) boxes alike.

Locations are assigned by task alignment (Feng et al., "TOOD", 2021). Class scores learn soft quality targets by the
quality focal loss, boxes by GIoU and the distribution focal loss (Li et al., "Generalized Focal Loss", 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from muon_ad_core.nets.detector import distances

ALIGNMENT_IOU_POWER = 4  # of TOOD's s^1 * u^beta
LOCATIONS_PER_BOX = 10
LONGEST_SIDE_IN_STRIDES = 14.0
SMALLEST_CANDIDATE = 10.0  # pixels: boxes below the finest grid's spacing still get a location
BOX_WEIGHT = 2.0
BINS_WEIGHT = 0.5


@dataclass
class BoxTargets:
    """The boxes of one picture.

    Attributes:
        boxes: (N, 4) x1 y1 x2 y2 in input pixels.
        labels: (N,) class indices.
        scores: (N,) how sure the label is, 0..1; 1 for a human's.
        ignore: (M, 4) regions whose background is not trusted (crowds).
        labelled: (classes,) True where the picture's annotators looked for the class.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    ignore: Tensor
    labelled: Tensor


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (N, M) of (N, 4) and (M, 4) boxes."""
    left, top, right, bottom = (first[:, None, side] for side in range(4))
    width = (torch.minimum(right, second[:, 2]) - torch.maximum(left, second[:, 0])).clamp_(min=0)
    height = (torch.minimum(bottom, second[:, 3]) - torch.maximum(top, second[:, 1])).clamp_(min=0)
    intersection = width.mul_(height)
    areas = (first[:, 2:] - first[:, :2]).prod(dim=1)[:, None] + (second[:, 2:] - second[:, :2]).prod(dim=1)
    return intersection / (areas - intersection).clamp_(min=1e-9)


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """GIoU (N,) of box pairs (N, 4) (Rezatofighi et al., 2019): in -1..1."""
    overlap = (torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])).clamp(min=0)
    hull = torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])
    intersection = overlap.prod(dim=1)
    union = (first[:, 2:] - first[:, :2]).prod(dim=1) + (second[:, 2:] - second[:, :2]).prod(dim=1) - intersection
    hull_area = hull.prod(dim=1).clamp(min=1e-9)
    return intersection / union.clamp(min=1e-9) - (hull_area - union) / hull_area


@dataclass
class Assignment:
    """Targets of every location: class scores (L, classes), class-loss weight (L, classes), positives (P,) location
    indices with their boxes (P, 4) and weights (P,)."""

    scores: Tensor
    weights: Tensor
    positives: Tensor
    boxes: Tensor
    box_weights: Tensor


@torch.no_grad()
def assign(targets: BoxTargets, centres: Tensor, strides: Tensor, scores: Tensor, boxes: Tensor) -> Assignment:
    """Give each box its best-aligned locations, given predicted scores (L, classes) in 0..1 and boxes (L, 4) in pixels.

    A location serves one box for regression. Another class whose box nearly coincides with that one (a soft "truck"
    over a soft "car") keeps its score there, weighted by the overlap of the two boxes.
    """
    weights = targets.labelled.to(scores.dtype).expand_as(scores).clone()
    if len(targets.ignore):
        inside = _inside(centres, targets.ignore).any(dim=0)
        weights[inside] = 0
    wanted = torch.zeros_like(scores.T)  # (classes, L)
    if not len(targets.boxes):
        empty = torch.zeros(0, dtype=torch.long, device=centres.device)
        return Assignment(wanted.T, weights, empty, boxes[empty], scores[empty, 0])

    iou = pairwise_iou(targets.boxes, boxes)  # (N, L)
    candidate = _inside(centres, _at_least(targets.boxes, SMALLEST_CANDIDATE)) & _fits(targets.boxes, strides)
    alignment = scores[:, targets.labels].T.clamp(min=1e-4) * iou**ALIGNMENT_IOU_POWER
    alignment = torch.where(candidate, alignment.clamp(min=1e-12), alignment.new_zeros(()))
    count = min(LOCATIONS_PER_BOX, alignment.shape[1])
    best, where = alignment.topk(count, dim=1)
    chosen = torch.zeros_like(candidate).scatter_(1, where, best > 0)
    alignment = alignment * chosen
    peak = alignment.amax(dim=1, keepdim=True).clamp(min=1e-12)
    peak_iou = (iou * chosen).amax(dim=1, keepdim=True)
    quality = alignment / peak * peak_iou * targets.scores[:, None]  # (N, L)

    ranking = torch.where(chosen, alignment / peak * targets.scores[:, None] + 1e-6, alignment.new_zeros(()))
    winner = ranking.argmax(dim=0)  # (L,) box index
    positives = chosen.any(dim=0).nonzero().squeeze(1)
    quality = quality * pairwise_iou(targets.boxes, targets.boxes)[:, winner]
    wanted.scatter_reduce_(0, targets.labels[:, None].expand_as(quality), quality, reduce="amax")
    weights[positives] = targets.labelled.to(scores.dtype)
    box_weights = quality[winner[positives], positives]
    return Assignment(wanted.T, weights, positives, targets.boxes[winner[positives]], box_weights)


def _inside(centres: Tensor, boxes: Tensor) -> Tensor:
    """(N, L) True where a location's centre lies in a box."""
    left, top, right, bottom = (boxes[:, None, side] for side in range(4))
    x, y = centres.unbind(dim=1)
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def _at_least(boxes: Tensor, size: float) -> Tensor:
    """Boxes grown around their centres to at least `size` pixels a side."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=size / 2)
    return torch.cat([middle - half, middle + half], dim=1)


def _fits(boxes: Tensor, strides: Tensor) -> Tensor:
    """(N, L) True where a location's distance bins can reach the box's sides, taken from the box's middle."""
    longest = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)
    return longest[:, None] <= LONGEST_SIDE_IN_STRIDES * strides[None]


def quality_focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Elementwise |wanted - sigma|^2 * cross-entropy (Li et al., 2020, equation 6 with beta 2)."""
    distance = (logits.sigmoid() - wanted).detach().square()
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * distance


def distribution_focal_loss(bin_logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy to the two bins around each wanted distance: logits (P, 4, bins), wanted (P, 4) in bins -> (P,)."""
    wanted = wanted.clamp(0, bin_logits.shape[2] - 1.01)
    left = wanted.floor().long()
    share = wanted - left
    log_probability = bin_logits.log_softmax(dim=2)
    low = log_probability.gather(2, left[..., None]).squeeze(2)
    high = log_probability.gather(2, left[..., None] + 1).squeeze(2)
    return -(low * (1 - share) + high * share).mean(dim=1)


def detection_loss(
    class_logits: Tensor, bin_logits: Tensor, targets: list[BoxTargets], centres: Tensor, strides: Tensor, bins: int
) -> dict[str, Tensor]:
    """Losses of a batch: {"total", "score", "box", "bins"}, scalars.

    class_logits (B, L, classes), bin_logits (B, L, 4 * bins); centres and strides as grid_locations() gives them.
    """
    class_logits, bin_logits = class_logits.float(), bin_logits.float()
    with torch.no_grad():
        boxes = boxes_of(bin_logits, centres, strides, bins)
        scores = class_logits.sigmoid()
        assigned = [assign(target, centres, strides, score, box) for target, score, box in zip(targets, scores, boxes)]
    wanted = torch.stack([assignment.scores for assignment in assigned])
    weights = torch.stack([assignment.weights for assignment in assigned])
    mass = wanted.sum().clamp(min=1.0)
    score = (quality_focal_loss(class_logits, wanted) * weights).sum() / mass

    picture = torch.cat([torch.full_like(a.positives, index) for index, a in enumerate(assigned)])
    location = torch.cat([a.positives for a in assigned])
    true_boxes = torch.cat([a.boxes for a in assigned])
    box_weights = torch.cat([a.box_weights for a in assigned])
    logits, centre, stride = bin_logits[picture, location], centres[location], strides[location]
    giou = generalized_iou(boxes_of(logits, centre, stride, bins), true_boxes)
    box = ((1 - giou) * box_weights).sum() / mass
    offsets = torch.cat([centre - true_boxes[:, :2], true_boxes[:, 2:] - centre], dim=1) / stride[:, None]
    focal = distribution_focal_loss(logits.unflatten(1, (4, bins)), offsets)
    shape = (focal * box_weights).sum() / mass
    return {"total": score + BOX_WEIGHT * box + BINS_WEIGHT * shape, "score": score, "box": box, "bins": shape}


def boxes_of(bin_logits: Tensor, centres: Tensor, strides: Tensor, bins: int) -> Tensor:
    """Predicted boxes (..., L, 4) x1 y1 x2 y2 in pixels of (..., L, 4 * bins) logits at (L, 2) centres."""
    sides = distances(bin_logits, bins) * strides[:, None]
    return torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], dim=-1)
