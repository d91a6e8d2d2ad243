# SPDX-License-Identifier: Apache-2.0
"""Base of style_transfer and detector: newest frame in, engine, result out, every frame accounted for.

Three kinds of threads: the executor's receives messages and answers services, the worker's turns the newest frame
into a result, and a background one loads engines. Engines and settings change hands between two frames only.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from muon_ad_msgs.msg import FrameTiming, WorkerStatus
from muon_ad_msgs.srv import LoadEngine
from rclpy.callback_groups import ReentrantCallbackGroup

from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.errors import EngineError, UserError
from muon_ad_core.realtime.memory import separate_memory

from . import qos
from .conversions import ImageError
from .intake import FrameIntake, ReceivedFrame
from .parameters import ParameterSpec, Values
from .reporting import ReportingNode
from .status import StageClock, fill_stages, to_stamp

JOIN_TIMEOUT = 5.0  # seconds
FIRST_FRAME_SIZE = (480, 640)  # height and width to warm an engine up for before any frame was seen
LOSSES = ("superseded", "lost_in_transport")

_LOAD_INSTEAD = "call the service ~/load_engine, which swaps it without a gap, or clean the node up first"
_CLEAN_UP_FIRST = "clean the node up first"


def worker_parameters(engine: str, threads: int, max_rate: float, deadline_ms: float) -> tuple[ParameterSpec, ...]:
    """The parameters every worker has, with a node's own defaults."""
    return (
        ParameterSpec("engine", engine, "Engine package: a name or a folder.", fixed=_LOAD_INSTEAD),
        ParameterSpec("backend", "auto", "Runtime of the engine; 'auto' chooses by capability.", fixed=_CLEAN_UP_FIRST),
        ParameterSpec(
            "threads",
            threads,
            "CPU threads of the runtime; 0 leaves the number to it.",
            minimum=0,
            maximum=256,
            fixed=_CLEAN_UP_FIRST,
        ),
        ParameterSpec("max_rate", max_rate, "Most frames a second to process; 0: all.", minimum=0.0, maximum=1000.0),
        ParameterSpec(
            "deadline_ms",
            deadline_ms,
            "Deadline of a frame from its stamp to its published result, in milliseconds.",
            minimum=1.0,
            maximum=10_000.0,
        ),
    )


@dataclass(frozen=True)
class LoadedEngine:
    """An engine ready to serve: its package and the core object that runs it."""

    package: EnginePackage
    runner: Any

    def __str__(self) -> str:
        return f"engine {self.package.name} {self.package.version} on {self.runner.backend}"


class FrameWorker(ReportingNode):
    """A worker node; subclasses say what engine it runs and what is made of a frame."""

    task = ""  # of the engine package

    def __init__(self, name: str, specs: Sequence[ParameterSpec]) -> None:
        super().__init__(name, specs)
        self.loaded: LoadedEngine | None = None
        self.service_group = ReentrantCallbackGroup()  # for services that wait for background work
        self._settings_changed = threading.Event()
        self._intake = FrameIntake(self, self.parameters["max_rate"])
        self._thread: threading.Thread | None = None
        self._frame_size = FIRST_FRAME_SIZE
        self._sequence = 0
        self._lost = 0  # frames superseded or lost, when the latest result was published
        self._timing_publisher = self.create_publisher(FrameTiming, "~/timing", qos.result_data())
        self.create_service(LoadEngine, "~/load_engine", self._load_engine, callback_group=self.service_group)

    # What a subclass fills in

    def open_engine(self, package: EnginePackage) -> Any:
        """Open `package` with the parameters backend and threads; called in any thread."""
        raise NotImplementedError

    def warm_up(self, runner: Any, height: int, width: int) -> None:
        """Run the engine once on a picture of this size, so that its first real frame is not late."""
        raise NotImplementedError

    def check_settings(self, runner: Any, values: Values) -> None:
        """Raise a UserError when the parameter values do not fit the engine."""

    def apply_settings(self, runner: Any, values: Values) -> None:
        """Give the engine the parameter values; called between two frames."""

    def await_turn(self, closed: Callable[[], bool]) -> None:
        """Return when work on the newest frame may begin, or `closed()` is true."""

    def most_rate(self) -> float:
        """Most frames a second to accept; 0: all."""
        return float(self.parameters["max_rate"])

    def process(self, runner: Any, frame: ReceivedFrame, clock: StageClock) -> None:
        """Make the result of a frame and publish it; laps "convert", "infer" and "publish".

        Raises ImageError when the frame is unusable.
        """
        raise NotImplementedError

    def published(self, runner: Any, total_ms: float) -> None:
        """A frame's result was published `total_ms` after its stamp."""

    def level(self, runner: Any) -> str:
        """Level of detail in service."""
        return ""

    # Lifecycle

    def configure(self) -> None:
        self._serve(self._open(self.parameters["engine"]))

    def activate(self) -> None:
        self._intake.open()
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._thread.start()
        if self._thread.native_id is not None:
            self.policy.lead(self._thread.native_id)
        self.policy.warm()
        self.policy.keep()

    def deactivate(self) -> None:
        self._intake.close()
        if self._thread is not None:
            self._thread.join(JOIN_TIMEOUT)
            if self._thread.is_alive():
                self.get_logger().error(f"the worker thread did not end within {JOIN_TIMEOUT:g} s")
            self._thread = None

    def cleanup(self) -> None:
        self.loaded = None

    # Parameters

    def check_parameters(self, proposed: Values, changed: frozenset[str]) -> None:
        super().check_parameters(proposed, changed)
        if self.loaded is not None:
            self.check_settings(self.loaded.runner, proposed)

    def parameters_changed(self, changed: frozenset[str]) -> None:
        super().parameters_changed(changed)
        self._intake.set_max_rate(self.most_rate())
        self.renew_settings()

    def renew_settings(self) -> None:
        """Have the worker thread give the engine the parameter values before its next frame."""
        self._settings_changed.set()
        self._intake.nudge()

    # Engines

    def _open(self, name_or_path: str) -> LoadedEngine:
        """An engine warmed up and set as the parameters say; raises a UserError when it cannot serve."""
        package = EnginePackage.load(find_engine(name_or_path))
        if package.task != self.task:
            raise EngineError(
                f"engine '{package.name}' is for {package.task}, {self.get_name()} needs one for {self.task}"
            )
        with separate_memory():
            runner = self.open_engine(package)
            self.check_settings(runner, self.parameters.values)
            self.apply_settings(runner, self.parameters.values)
            self.warm_up(runner, *self._frame_size)
        return LoadedEngine(package, runner)

    def _serve(self, loaded: LoadedEngine) -> None:
        """Let `loaded` serve from the next frame on."""
        self.loaded = loaded
        self.renew_settings()  # they may have changed while the engine was being loaded
        self.policy.keep()
        self.get_logger().info(f"serving {loaded}")

    async def _load_engine(self, request: LoadEngine.Request, response: LoadEngine.Response) -> LoadEngine.Response:
        try:
            if not self.is_configured():
                raise EngineError("the node is not configured: set its parameter engine, then configure it")
            with self.policy.unlocked():
                loaded = await self.in_background(lambda: self._open(request.path))
            if not self.is_configured():
                raise EngineError("the node was cleaned up while the engine was being loaded")
            self.check_settings(loaded.runner, self.parameters.values)
        except UserError as error:
            response.message = str(error)
        else:
            self._serve(loaded)
            self.parameters.store("engine", request.path)
            response.success, response.message = True, f"serving {loaded}"
        response.name = self.loaded.package.name if self.loaded else ""
        return response

    def fit(self, runner: Any, height: int, width: int) -> None:
        """Warm the engine up anew when pictures begin to have another size, and give back what that leaves over.

        Call it in the worker thread before a picture of that size is processed. Without it, every level would be
        compiled in the middle of the frame that first uses it.
        """
        if (height, width) != self._frame_size:
            self._frame_size = (height, width)
            with self.policy.unlocked(), separate_memory():
                self.warm_up(runner, height, width)

    # Frames

    def _work(self) -> None:
        """The worker thread: frames until the intake is closed."""
        served = self.loaded
        while not self._intake.closed:
            if self._intake.wait(timeout=1.0):
                self.await_turn(lambda: self._intake.closed)
            frame = self._intake.take()
            loaded = self.loaded
            if loaded is None:
                continue
            if loaded is not served:
                with self.policy.unlocked():  # what the former engine took goes back to the system
                    served = loaded
            if self._settings_changed.is_set():
                self._settings_changed.clear()
                self._renew(loaded)
            if frame is not None:
                self._try_frame(loaded, frame)

    def _renew(self, loaded: LoadedEngine) -> None:
        try:
            self.apply_settings(loaded.runner, self.parameters.values)
        except UserError as error:  # they were checked, but against the engine of that time
            self.get_logger().error(str(error))
        except Exception:
            self.get_logger().error(traceback.format_exc())

    def _try_frame(self, loaded: LoadedEngine, frame: ReceivedFrame) -> None:
        taken = time.monotonic()
        clock = StageClock()
        try:
            self.process(loaded.runner, frame, clock)
            self._account(loaded, frame, taken, clock)
        except ImageError as error:
            self.drop(error.cause, f"{error}; such frames are skipped")
        except UserError as error:
            self.drop("failed", str(error))
        except Exception:  # one bad frame must not end the node
            if self.context.ok():  # else it is going down, and publishing fails
                self.drop("failed", traceback.format_exc())

    def _account(self, loaded: LoadedEngine, frame: ReceivedFrame, taken: float, clock: StageClock) -> None:
        """A result went out: count it, time it, tell about it."""
        self._sequence += 1
        total_ms = (self.get_clock().now().nanoseconds - frame.origin_ns) / 1e6
        if total_ms < 0.0:  # ROS time jumped back while the frame was in work
            total_ms = (time.monotonic() - frame.received) * 1e3
        missed = total_ms > self.parameters["deadline_ms"]
        self.reporter.record(total_ms, missed)
        timing = FrameTiming(
            header=frame.message.header,
            worker=self.get_fully_qualified_name(),
            engine=loaded.package.name,
            level=self.level(loaded.runner),
            received=to_stamp(frame.received_ns),
            transport_ms=(frame.received_ns - frame.origin_ns) / 1e6,
            wait_ms=(taken - frame.received) * 1e3,
            total_ms=total_ms,
            deadline_missed=missed,
            sequence=self._sequence,
            lost_before=self._lost_since(),
        )
        fill_stages(timing, clock)
        self._timing_publisher.publish(timing)
        self.ledger.delivered()
        self.went_well()
        self.published(loaded.runner, total_ms)

    def _lost_since(self) -> int:
        """Frames superseded or lost since the last call."""
        drops = self.ledger.read().drops
        lost_before, self._lost = self._lost, sum(drops.get(cause, 0) for cause in LOSSES)
        return self._lost - lost_before

    def describe(self, status: WorkerStatus) -> None:
        status.deadline_ms = self.parameters["deadline_ms"]
        loaded = self.loaded
        status.engine = loaded.package.name if loaded else ""
        status.backend = loaded.runner.backend if loaded else ""
        status.level = self.level(loaded.runner) if loaded else ""
