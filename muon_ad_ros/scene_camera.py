# SPDX-License-Identifier: Apache-2.0
"""Node scene_camera: an emulated depth camera with a CSI camera beside it, moving through real pictures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count

from muon_ad_core.sources.base import Frame, FrameSource
from muon_ad_core.sources.faults import FaultInjector
from muon_ad_core.sources.prepared import PreparedFrames
from muon_ad_core.sources.scene import SCENES, SceneSource

from .camera import CameraNode
from .managed import run_node
from .parameters import ParameterSpec

_REOPEN = "clean the node up first"
SCENE_PARAMETERS = (
    ParameterSpec("scene", "motorcycle", "Scene to move through.", choices=tuple(SCENES), fixed=_REOPEN),
    ParameterSpec("width", 640, "Picture width in pixels.", minimum=64, maximum=3840, fixed=_REOPEN),
    ParameterSpec("height", 480, "Picture height in pixels.", minimum=48, maximum=2160, fixed=_REOPEN),
    ParameterSpec("rate", 30.0, "Frames a second.", minimum=0.1, maximum=240.0, fixed=_REOPEN),
    ParameterSpec("speed", 1.0, "Speed of the motion; 0 stands still.", minimum=0.0, maximum=10.0, fixed=_REOPEN),
    ParameterSpec("seed", 0, "Seed of the path and the faults.", minimum=0, maximum=2**31 - 1, fixed=_REOPEN),
    ParameterSpec(
        "prepared",
        0,
        "Pictures made beforehand and shown to and fro, so that the emulation takes no processor time; 0 makes each "
        "picture when it is due.",
        minimum=0,
        maximum=600,
        fixed=_REOPEN,
    ),
    ParameterSpec("noise", 0.0, "Noise on the colours, in levels of 0..255.", minimum=0.0, maximum=64.0),
    ParameterSpec("jitter_ms", 0.0, "Frames come late by up to this, in milliseconds.", minimum=0.0, maximum=1000.0),
    ParameterSpec(
        "clock_offset",
        0.0,
        "Seconds by which the camera's clock, which makes the stamps, is ahead; a change is a step of that clock.",
        minimum=-3600.0,
        maximum=3600.0,
    ),
    ParameterSpec("drop", 0.0, "Share of frames that get lost in the camera.", minimum=0.0, maximum=1.0),
)


class SceneCamera(CameraNode):
    """Publishes colour, and depth and CSI pictures while somebody subscribes to them."""

    def __init__(self) -> None:
        super().__init__("scene_camera", SCENE_PARAMETERS)
        self._faults = self._make_faults()

    def open_source(self) -> SceneSource | PreparedFrames:
        values = self.parameters.values
        source = SceneSource(
            values["scene"], values["width"], values["height"], values["rate"], values["seed"], values["speed"]
        )
        return PreparedFrames(source, values["prepared"]) if values["prepared"] else source

    def frames(self, source: FrameSource) -> Iterator[Frame]:
        assert isinstance(source, (SceneSource, PreparedFrames))
        self._faults = self._make_faults()  # stamps begin again, and late ones of the last run hold up none of these
        for index in count():
            if self._stopping.is_set():
                return
            frame = self._faults.apply(source.frame(index, with_second=self.csi.wanted))
            if frame is not None:
                yield frame
            else:
                self._stopping.wait(1.0 / source.rate)  # a lost picture takes its time too

    def now_ns(self) -> int:
        return super().now_ns() + round(self.parameters["clock_offset"] * 1e9)

    def parameters_changed(self, changed: frozenset[str]) -> None:
        super().parameters_changed(changed)
        if not changed.isdisjoint(("noise", "jitter_ms", "drop")):
            self._faults = self._make_faults()

    def _make_faults(self) -> FaultInjector:
        values = self.parameters.values
        return FaultInjector(values["noise"], values["jitter_ms"], values["drop"], values["seed"])


def main() -> None:
    sys.exit(run_node(SceneCamera))


if __name__ == "__main__":
    main()
