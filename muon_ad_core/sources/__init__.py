# SPDX-License-Identifier: Apache-2.0
"""Where pictures come from: emulated scenes, videos, picture folders, cameras, recorded bags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from muon_ad_core.errors import ParameterError, SourceError

if TYPE_CHECKING:
    from muon_ad_core.sources.base import FrameSource


def open_source(spec: str, rate: float | None = None, loop: bool = False, seed: int = 0) -> FrameSource:
    """Open what ``spec`` names: "motorcycle", "pan", /dev/videoN, a video, a picture or a folder of pictures.

    rate: frames per second instead of the source's own (30 for scenes and pictures), > 0.
    loop: files start again at their end. seed: of scenes.
    Raises SourceError when it cannot be opened, ParameterError for a rate that is not positive.
    """
    from muon_ad_core.sources.device import DeviceSource
    from muon_ad_core.sources.pictures import SUFFIXES, PictureSource
    from muon_ad_core.sources.scene import SCENES, SceneSource
    from muon_ad_core.sources.video import VideoSource

    if rate is not None and not rate > 0:
        raise ParameterError(f"the rate must be positive, but is {rate:g}")
    path = Path(spec)
    if spec in SCENES:
        return SceneSource(spec, rate=rate or 30.0, seed=seed)
    if spec.startswith("/dev/"):
        return DeviceSource(spec, rate)
    if not path.exists():
        raise SourceError(f"there is no source {spec!r}: name a file, a folder, /dev/videoN or {', '.join(SCENES)}")
    if path.suffix in {".bag", ".mcap", ".db3"} or (path / "metadata.yaml").exists():
        raise SourceError(f"{spec} is a recorded bag, not a picture source: play it with the bag_player")
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return PictureSource(path, rate or 30.0, loop)
    return VideoSource(path, rate, loop)
