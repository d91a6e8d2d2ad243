# SPDX-License-Identifier: Apache-2.0
"""Losses and target assignment of the detector against closed forms."""

import math

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.detector_loss import (  # noqa: E402
    BoxTargets,
    assign,
    boxes_of,
    detection_loss,
    distribution_focal_loss,
    generalized_iou,
    pairwise_iou,
    quality_focal_loss,
)
from muon_ad_core.nets.detector import grid_locations  # noqa: E402

BINS = 8
CLASSES = 3


def targets(*rows: tuple[float, float, float, float, int, float], ignore=(), labelled=(True,) * CLASSES) -> BoxTargets:
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return BoxTargets(
        table[:, :4], table[:, 4].long(), table[:, 5], torch.tensor(ignore, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labelled),
    )  # fmt: skip


def perfect_boxes(box: tuple[float, float, float, float], count: int) -> torch.Tensor:
    return torch.tensor([box]).repeat(count, 1)


def test_overlaps_of_known_boxes() -> None:
    first = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1]])
    second = torch.tensor([[1.0, 1, 3, 3], [2, 0, 3, 1]])
    assert pairwise_iou(first, second).flatten().tolist() == pytest.approx([1 / 7, 0, 0, 0])
    # Disjoint unit squares with a gap of one: hull 3, union 2.
    assert generalized_iou(first, second).tolist() == pytest.approx([1 / 7 - 2 / 9, -1 / 3])


def test_quality_focal_loss_vanishes_at_its_soft_target() -> None:
    logits = torch.tensor([0.3, -2.0, 0.0], requires_grad=True)
    loss = quality_focal_loss(logits, logits.detach().sigmoid())
    assert loss.tolist() == pytest.approx([0, 0, 0])
    assert quality_focal_loss(torch.zeros(1), torch.ones(1)).item() == pytest.approx(0.25 * math.log(2))


def test_distribution_focal_loss_is_least_for_the_two_bins_around() -> None:
    wanted = torch.full((1, 4), 2.25)
    best = torch.full((1, 4, BINS), -30.0)
    best[..., 2], best[..., 3] = math.log(0.75), math.log(0.25)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert distribution_focal_loss(best, wanted).item() == pytest.approx(entropy, abs=1e-5)
    assert distribution_focal_loss(best.flip(-1), wanted).item() > entropy


def test_distance_beyond_the_last_bin_is_clamped() -> None:
    assert torch.isfinite(distribution_focal_loss(torch.zeros(1, 4, BINS), torch.full((1, 4), 40.0))).all()


def test_boxes_of_certain_bins() -> None:
    centres, strides = grid_locations(32, 32)
    logits = torch.full((len(centres), 4, BINS), -50.0)
    logits[..., 1] = 50.0
    boxes = boxes_of(logits.flatten(1), centres, strides, BINS)
    assert boxes[0].tolist() == pytest.approx([4 - 8, 4 - 8, 4 + 8, 4 + 8])
    assert boxes[-1].tolist() == pytest.approx([16 - 32, 16 - 32, 16 + 32, 16 + 32])


def test_box_gets_locations_inside_it_with_its_score_as_target() -> None:
    centres, strides = grid_locations(64, 64)
    box = (8.0, 8.0, 40.0, 40.0)
    found = assign(
        targets((*box, 1, 0.6)), centres, strides, torch.full((len(centres), CLASSES), 0.1),
        perfect_boxes(box, len(centres)),
    )  # fmt: skip
    assert 0 < len(found.positives) <= 10
    x, y = centres[found.positives].T
    assert ((x > 8) & (x < 40) & (y > 8) & (y < 40)).all()
    # Predictions are perfect: the target is the label's own score.
    assert found.scores[found.positives, 1].tolist() == pytest.approx([0.6] * len(found.positives))
    assert found.scores.sum().item() == pytest.approx(0.6 * len(found.positives))
    assert found.boxes.tolist() == [list(box)] * len(found.positives)
    assert (found.weights == 1).all()


def test_box_smaller_than_the_grid_still_gets_a_location() -> None:
    centres, strides = grid_locations(64, 64)
    box = (7.0, 7.0, 9.0, 9.0)  # between four centres
    scores = torch.full((len(centres), CLASSES), 0.1)
    assert len(assign(targets((*box, 0, 1.0)), centres, strides, scores, perfect_boxes(box, len(centres))).positives)


def test_second_class_on_the_same_box_keeps_its_soft_score() -> None:
    centres, strides = grid_locations(64, 64)
    box = (8.0, 8.0, 40.0, 40.0)
    both = targets((*box, 0, 0.7), (*box, 1, 0.2))
    scores = torch.full((len(centres), CLASSES), 0.1)
    found = assign(both, centres, strides, scores, perfect_boxes(box, len(centres)))
    assert found.scores[found.positives].max(dim=0).values.tolist() == pytest.approx([0.7, 0.2, 0])


def test_unlabelled_classes_and_crowds_are_no_background() -> None:
    centres, strides = grid_locations(64, 64)
    scene = targets(ignore=[(0, 0, 16, 16)], labelled=(True, False, True))
    scores = torch.full((len(centres), CLASSES), 0.1)
    weights = assign(scene, centres, strides, scores, torch.zeros(len(centres), 4)).weights
    in_crowd = (centres < 16).all(dim=1)
    assert (weights[in_crowd] == 0).all()
    assert (weights[~in_crowd] == torch.tensor([1.0, 0, 1])).all()


def test_loss_prefers_the_right_answer_and_has_gradients_everywhere() -> None:
    centres, strides = grid_locations(64, 64)
    scene = targets((16, 16, 48, 48, 2, 1.0))
    location = 64 + 4 + 1  # stride 16, centre (24, 24)
    class_logits = torch.full((1, len(centres), CLASSES), -6.0)
    bin_logits = torch.zeros(1, len(centres), 4 * BINS)
    right = class_logits.clone()
    right[0, location, 2] = 4.0
    wrong = class_logits.clone()
    wrong[0, location, 0] = 4.0

    def total(logits: torch.Tensor) -> float:
        return detection_loss(logits, bin_logits, [scene], centres, strides, BINS)["score"].item()

    assert total(right) < total(wrong)
    class_logits.requires_grad_()
    bin_logits.requires_grad_()
    detection_loss(class_logits, bin_logits, [scene], centres, strides, BINS)["total"].backward()
    assert class_logits.grad is not None and class_logits.grad.abs().sum() > 0
    assert bin_logits.grad is not None and torch.isfinite(bin_logits.grad).all() and bin_logits.grad.abs().sum() > 0


def test_picture_without_objects_has_a_finite_loss() -> None:
    centres, strides = grid_locations(32, 32)
    class_logits, bin_logits = torch.zeros(1, len(centres), CLASSES), torch.zeros(1, len(centres), 4 * BINS)
    losses = detection_loss(class_logits, bin_logits, [targets()], centres, strides, BINS)
    assert losses["box"].item() == 0
    assert math.isfinite(losses["total"].item())
