# SPDX-License-Identifier: Apache-2.0
"""Which recorded topics are played, and under which names (no ROS import)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muon_ad_core.errors import ParameterError, SourceError
from muon_ad_core.sources.bag_types import Topic

IMAGE = "sensor_msgs/msg/Image"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
COLOR_IMAGE = "color/image_raw"
CAMERA_TOPICS = {  # what the joint task subscribes to
    COLOR_IMAGE: IMAGE,
    "color/camera_info": CAMERA_INFO,
    "depth/image_rect_raw": IMAGE,
    "depth/camera_info": CAMERA_INFO,
    "csi/image_raw": IMAGE,
    "csi/camera_info": CAMERA_INFO,
}
NOT_COLOR = ("depth", "infra", "mono", "stylized", "detections", "csi")


def parse_remaps(entries: Sequence[str]) -> dict[str, str]:
    """Recorded name -> played name, from entries such as "/camera/image:=color/image_raw"."""
    remaps = {}
    for entry in entries:
        recorded, separator, played = entry.partition(":=")
        if not (recorded and separator and played):
            raise ParameterError(f"remap '{entry}' is not of the form /recorded/topic:=played/topic")
        remaps[recorded] = played
    return remaps


def recorded_names(topics: Mapping[str, Topic], chosen: Sequence[str], remaps: Mapping[str, str]) -> dict[str, str]:
    """Recorded name -> played name of the chosen topics (all if empty); raises SourceError for unknown ones."""
    for name in (*chosen, *remaps):
        if name not in topics:
            raise SourceError(f"the recording has no topic {name}: choose from {', '.join(topics)}")
    return {name: remaps.get(name, name) for name in topics if not chosen or name in chosen}


def camera_names(topics: Mapping[str, Topic], remaps: Mapping[str, str]) -> dict[str, str]:
    """Recorded name -> played name of the topics that stand for the joint task's camera, one for each of its topics.

    A topic stands for the camera topic that its name ends in. Without such a colour topic the first image topic whose
    name does not speak of something else is taken, with the camera_info beside it.
    Raises SourceError when there are no colour pictures.
    """
    recorded_names(topics, (), remaps)
    names = {name: played for name, played in remaps.items() if played in CAMERA_TOPICS}
    for camera_topic, message_type in CAMERA_TOPICS.items():
        candidates = (name for name, topic in topics.items() if topic.type == message_type and name not in names)
        match = next((name for name in candidates if f"/{name}".endswith(f"/{camera_topic}")), None)
        if match is not None and camera_topic not in names.values():
            names[match] = camera_topic
    if COLOR_IMAGE not in names.values():
        image = _first_picture(topics)
        names[image] = COLOR_IMAGE
        info = f"{image.rsplit('/', 1)[0]}/camera_info"
        if info in topics and "color/camera_info" not in names.values():
            names[info] = "color/camera_info"
    return names


def _first_picture(topics: Mapping[str, Topic]) -> str:
    for name, topic in topics.items():
        if topic.type == IMAGE and not any(word in name for word in NOT_COLOR):
            return name
    raise SourceError(f"the recording has no colour pictures of type {IMAGE}: it holds {', '.join(topics)}")
