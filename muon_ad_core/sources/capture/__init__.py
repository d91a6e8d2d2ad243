# SPDX-License-Identifier: Apache-2.0
"""Cameras by V4L2 and GStreamer whose frames carry the instant of their capture; and a test pattern."""

from __future__ import annotations

from pathlib import Path

from muon_ad_core.sources.capture.base import CaptureMode, CaptureSource

AUTO, PATTERN, ARGUS = "auto", "pattern", "nvargus"
JETSON = Path("/etc/nv_tegra_release")


def open_capture_source(spec: str, mode: CaptureMode) -> CaptureSource:
    """Open what ``spec`` names.

    "auto": the first CSI camera of a Jetson, or /dev/video0 elsewhere. "nvargus" or "nvargus:N": CSI camera N of a
    Jetson. /dev/videoN: a V4L2 device. "pattern": a moving test pattern. Anything with " ! ": a GStreamer pipeline
    that ends in raw video.
    Raises SourceError when it cannot be opened.
    """
    from muon_ad_core.sources.capture.gstreamer import GStreamerSource, argus_pipeline
    from muon_ad_core.sources.capture.pattern import PatternSource
    from muon_ad_core.sources.capture.v4l2 import V4l2Source

    if spec == AUTO:
        spec = ARGUS if JETSON.exists() else "/dev/video0"
    if spec == PATTERN:
        return PatternSource(mode)
    name, _, number = spec.partition(":")
    if name == ARGUS and (not number or number.isdigit()):
        return GStreamerSource(argus_pipeline(int(number or 0), mode), mode)
    if " ! " in spec:
        return GStreamerSource(spec, mode)
    return V4l2Source(spec, mode)
