# SPDX-License-Identifier: Apache-2.0
"""Node style_transfer: camera image in, stylised image out, with style, blend, strength and level tunable live."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from muon_ad_msgs.msg import WorkerStatus
from muon_ad_msgs.srv import ListStyles, LoadStyle
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from muon_ad_core import palette
from muon_ad_core.engine.frames import MAX_PIXELS
from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.errors import ParameterError, StyleError, UserError
from muon_ad_core.realtime.level import LevelController
from muon_ad_core.realtime.policy import REAL_TIME_POLICIES
from muon_ad_core.realtime.scene_level import frame_entropy
from muon_ad_core.smoothing import USUAL_SHARE
from muon_ad_core.stylize import Stylizer

from . import qos
from .camera_info import LatestCameraInfo
from .conversions import ImageWriter, JpegWriter, RgbReader
from .managed import run_node
from .parameters import ParameterSpec, Values
from .status import StageClock
from .worker import FrameWorker, ReceivedFrame, worker_parameters

AUTO = "auto"
ENTROPY_EVERY = 15  # frames between looks how rich the scene is
STYLE_PARAMETERS = (
    ParameterSpec("style", "", "Style to render; ~/list_styles tells the names; empty: the engine's first."),
    ParameterSpec("style_b", "", "Second style, mixed in by blend; empty: none."),
    ParameterSpec("blend", 0.0, "Share of style_b: 0 is all style, 1 all style_b.", minimum=0.0, maximum=1.0),
    ParameterSpec("strength", 1.0, "0 leaves the picture as it is, 1 is the full style.", minimum=0.0, maximum=1.0),
    ParameterSpec("level", AUTO, "Level of detail: a level of the engine, or 'auto' to hold deadline_ms."),
    ParameterSpec(
        "auto_level",
        "",
        "Level that 'auto' stands for, set by the scheduler; empty: the node holds deadline_ms by itself.",
    ),
    ParameterSpec(
        "temporal_smoothing",
        USUAL_SHARE,
        "How much of what was painted before is kept, moved with the scene, against flicker.",
        minimum=0.0,
        maximum=1.0,
    ),
    ParameterSpec(
        "palette",
        palette.USUAL_SHARE,
        "How far colours are moved to those of the style's picture; 0: as painted.",
        minimum=0.0,
        maximum=1.0,
    ),
    ParameterSpec(
        "most_pixels",
        0,
        "Frames of more are painted at a half, a third, ... of their size; 0: as the level says.",
        minimum=0,
        maximum=MAX_PIXELS,
    ),
    ParameterSpec("jpeg_quality", 85, "JPEG quality of the compressed image.", minimum=1, maximum=100),
)


class StyleEngine:
    """A stylizer together with the level it runs at, which is fixed, the scheduler's, or follows the deadline."""

    def __init__(self, stylizer: Stylizer) -> None:
        self.stylizer = stylizer
        self.backend = stylizer.backend
        self._automatic: LevelController[str] | None = None

    @property
    def level(self) -> str:
        """The level in use."""
        return self.stylizer.level

    def set_level(self, level: str, auto_level: str, deadline_ms: float) -> None:
        """Use a level of the engine, or with "auto" the one called `auto_level`, or without one hold the deadline."""
        chosen = level if level != AUTO else auto_level
        if chosen in self.stylizer.levels():
            self._automatic = None
            self._use(chosen)
        elif self._automatic is None:
            self._automatic = LevelController(self.stylizer.levels(), deadline_ms)
            self._use(self._automatic.level)
        else:
            self._automatic.deadline_ms = deadline_ms

    def observe(self, total_ms: float) -> None:
        """Take in the total time of a frame, from its stamp to its published result."""
        if self._automatic is not None:
            self._use(self._automatic.update(total_ms))

    def _use(self, level: str) -> None:
        if level != self.level:
            self.stylizer.set_level(level)


class StyleTransfer(FrameWorker):
    """Publishes stylized/image_raw, its compressed form and its camera_info, with the source's stamp and frame_id."""

    role = "style"
    task = "style"

    def __init__(self) -> None:
        common = worker_parameters(engine="student", threads=0, max_rate=0.0, deadline_ms=33.0)
        super().__init__("style_transfer", (*STYLE_PARAMETERS, *common))
        self._reader = RgbReader()
        self._writer = ImageWriter("rgb8")
        self._jpeg = JpegWriter()
        self._info = LatestCameraInfo()
        self._added_styles: dict[str, Path] = {}
        self._scene_entropy = math.nan
        self._frames_seen = 0
        self._info_subscription: Any = None

        profile, overridable = qos.result_image(), qos.overridable()
        self._image_publisher = self.create_publisher(
            Image, "stylized/image_raw", profile, qos_overriding_options=overridable
        )
        self._jpeg_publisher = self.create_publisher(
            CompressedImage, "stylized/image_raw/compressed", qos.result_image(), qos_overriding_options=overridable
        )
        self._info_publisher = self.create_publisher(CameraInfo, "stylized/camera_info", qos.result_image())
        self.create_service(LoadStyle, "~/load_style", self._load_style, callback_group=self.service_group)
        self.create_service(ListStyles, "~/list_styles", self._list_styles)

    # Lifecycle

    def configure(self) -> None:
        super().configure()
        if not self.parameters["style"]:
            self.parameters.store("style", self._styles()[0])

    def activate(self) -> None:
        self._info_subscription = self.create_subscription(
            CameraInfo, "color/camera_info", self._info.remember, qos.sensor_input()
        )
        super().activate()

    def deactivate(self) -> None:
        super().deactivate()
        if self._info_subscription is not None:
            self.destroy_subscription(self._info_subscription)
            self._info_subscription = None

    # Engine

    def open_engine(self, package: EnginePackage) -> StyleEngine:
        stylizer = Stylizer(package, self.parameters["backend"], self.parameters["threads"])
        for name, path in self._added_styles.items():  # their codes come from the engine's own encoder
            stylizer.add_style(name, read_picture(path))
        return StyleEngine(stylizer)

    def warm_up(self, runner: StyleEngine, height: int, width: int) -> None:
        runner.stylizer.warm_up(height, width)

    def check_settings(self, runner: StyleEngine, values: Values) -> None:
        styles = runner.stylizer.style_names()
        for name in ("style", "style_b"):
            if values[name] and values[name] not in styles:
                raise ParameterError(
                    f"{name} '{values[name]}' is unknown: use one of {', '.join(styles)}, or load a picture with "
                    "the service ~/load_style"
                )
        levels = [AUTO, *runner.stylizer.levels()]
        if values["level"] not in levels:
            raise ParameterError(f"level '{values['level']}' is unknown: use one of {', '.join(levels)}")

    def apply_settings(self, runner: StyleEngine, values: Values) -> None:
        stylizer = runner.stylizer
        stylizer.set_style(values["style"] or stylizer.style_names()[0], values["style_b"], values["blend"])
        stylizer.set_strength(values["strength"])
        stylizer.set_urgent(values["scheduling.policy"] in REAL_TIME_POLICIES)
        stylizer.set_temporal_smoothing(values["temporal_smoothing"])
        stylizer.set_palette(values["palette"])
        stylizer.set_most_pixels(values["most_pixels"])
        runner.set_level(values["level"], values["auto_level"], values["deadline_ms"])

    def level(self, runner: StyleEngine) -> str:
        return runner.level

    # Frames

    def process(self, runner: StyleEngine, frame: ReceivedFrame, clock: StageClock) -> None:
        header = frame.message.header
        rgb = self._reader.read(frame.message)
        self.fit(runner, *rgb.shape[:2])
        if not self._frames_seen % ENTROPY_EVERY:
            self._scene_entropy = frame_entropy(rgb)
        self._frames_seen += 1
        clock.lap("convert")
        stylized = runner.stylizer.run(rgb)
        clock.lap("infer")
        if self._image_publisher.get_subscription_count():
            image = self._writer.write(stylized, header)
            clock.lap("convert")
            self._image_publisher.publish(image)
            clock.lap("publish")
        if self._jpeg_publisher.get_subscription_count():
            compressed = self._jpeg.write(stylized, header, self.parameters["jpeg_quality"])
            clock.lap("convert")
            self._jpeg_publisher.publish(compressed)
            clock.lap("publish")
        if self._info_publisher.get_subscription_count():
            self._publish_info(header, *stylized.shape[:2])
            clock.lap("publish")

    def _publish_info(self, header: Header, height: int, width: int) -> None:
        info = self._info.stamped(header, width, height)
        if info is None:
            self.fault("no_camera_info", "color/camera_info is missing or does not fit: no stylized/camera_info")
        else:
            self._info_publisher.publish(info)

    def published(self, runner: StyleEngine, total_ms: float) -> None:
        runner.observe(total_ms)

    def describe(self, status: WorkerStatus) -> None:
        super().describe(status)
        status.scene_entropy = self._scene_entropy
        status.levels = self.loaded.runner.stylizer.levels() if self.loaded else []

    # Services

    def _styles(self) -> list[str]:
        return self.loaded.runner.stylizer.style_names() if self.loaded else []

    async def _load_style(self, request: LoadStyle.Request, response: LoadStyle.Response) -> LoadStyle.Response:
        path = Path(request.path).expanduser()
        name = request.name or path.stem
        try:
            await self.in_background(lambda: self._add_style(name, path))
        except UserError as error:
            response.message = str(error)
            return response
        self.renew_settings()  # the style in use may have been replaced
        self.get_logger().info(f"style {name} made from {path}")
        response.success, response.name = True, name
        response.message = f"choose it with: ros2 param set {self.get_fully_qualified_name()} style {name}"
        return response

    def _add_style(self, name: str, path: Path) -> None:
        if self.loaded is None:
            raise StyleError("no engine is loaded to make a style with: configure the node first")
        self.loaded.runner.stylizer.add_style(name, read_picture(path))
        self._added_styles[name] = path

    def _list_styles(self, request: ListStyles.Request, response: ListStyles.Response) -> ListStyles.Response:
        response.names, response.current = self._styles(), self.parameters["style"]
        return response


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The picture in a file as RGB (height x width x 3, uint8); raises StyleError when there is none."""
    if not path.is_file():
        raise StyleError(f"there is no style picture {path} on the node's machine")
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise StyleError(f"{path} cannot be read as a picture: give a PNG, JPEG or WebP file")
    return np.ascontiguousarray(bgr[..., ::-1], np.uint8)


def main() -> None:
    sys.exit(run_node(StyleTransfer))


if __name__ == "__main__":
    main()
