# SPDX-License-Identifier: Apache-2.0
"""Detections as vision_msgs, in the picture and in space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from numpy.typing import NDArray
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    BoundingBox3D,
    Detection2D,
    Detection2DArray,
    Detection3D,
    Detection3DArray,
    ObjectHypothesisWithPose,
)

from muon_ad_core.detect.depth import Placement
from muon_ad_core.detect.detector import Detections


def detections_2d(
    detections: Detections, classes: Sequence[str], ids: Sequence[str], header: Header
) -> Detection2DArray:
    """Boxes in pixels of the picture; class_id is the class name, `ids` are those of the tracked objects."""
    message = Detection2DArray(header=header)
    for (box, score, label), object_id in zip(detections, ids):
        found = Detection2D(header=header, bbox=_box_2d(box), id=object_id)
        found.results.append(_hypothesis(classes[label], score))
        message.detections.append(found)
    return message


def detections_3d(
    detections: Detections,
    placements: Sequence[Placement | None],
    classes: Sequence[str],
    ids: Sequence[str],
    header: Header,
) -> Detection3DArray:
    """Boxes in metres in the camera's optical frame; detections without a placement are left out."""
    message = Detection3DArray(header=header)
    for (_, score, label), placement, object_id in zip(detections, placements, ids):
        if placement is None:
            continue
        pose = _pose(placement.position)
        bounds = BoundingBox3D(center=pose, size=_vector(placement.size))
        found = Detection3D(header=header, bbox=bounds, id=object_id)
        hypothesis = _hypothesis(classes[label], score)
        hypothesis.pose.pose = pose
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = placement.covariance
        hypothesis.pose.covariance = covariance.ravel()
        found.results.append(hypothesis)
        message.detections.append(found)
    return message


def _hypothesis(name: str, score: float) -> ObjectHypothesisWithPose:
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = name, score
    return hypothesis


def _box_2d(box: NDArray[np.float32]) -> BoundingBox2D:
    x1, y1, x2, y2 = map(float, box)
    bounds = BoundingBox2D(size_x=x2 - x1, size_y=y2 - y1)
    bounds.center.position.x, bounds.center.position.y = (x1 + x2) / 2, (y1 + y2) / 2
    return bounds


def _pose(position: NDArray[np.float64]) -> Pose:
    x, y, z = map(float, position)
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(w=1.0))


def _vector(size: NDArray[np.float64]) -> Vector3:
    x, y, z = map(float, size)
    return Vector3(x=x, y=y, z=z)
