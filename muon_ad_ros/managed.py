# SPDX-License-Identifier: Apache-2.0
"""Base of every node: lifecycle with autostart, live parameters, and a main function with a meaningful exit code."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.task import Future

from muon_ad_core.errors import UserError
from muon_ad_core.realtime.last_resort import end_within
from muon_ad_core.realtime.memory import keep_freed_memory
from muon_ad_core.realtime.process_state import name_process

from .environment import apply_dds_profile
from .parameters import LiveParameters, ParameterSpec, Values

EXIT_USER_ERROR = 2
EXECUTOR_PATIENCE = 1.0  # s, for a callback that has not ended
MIDDLEWARE_PATIENCE = 3.0  # s, for the middleware to let a node go that has nothing left to do

AUTOSTART = ParameterSpec(
    "autostart", True, "Configure and activate the node as soon as it runs.", fixed="it only counts at the start"
)

Result = TypeVar("Result")


class ManagedNode(LifecycleNode):
    """A lifecycle node whose subclass fills in `configure`, `activate`, `deactivate` and `cleanup`.

    A hook that raises a UserError makes the transition fail with that sentence in the log. During autostart the same
    error ends the process with exit code 2, because starting again would not help.
    """

    def __init__(self, name: str, specs: Sequence[ParameterSpec]) -> None:
        super().__init__(name)
        self.state_label = "unconfigured"
        self.steady_clock = Clock(clock_type=ClockType.STEADY_TIME)  # unlike ROS time it cannot stop or jump
        self.parameters = LiveParameters(
            self, (AUTOSTART, *specs), self.check_parameters, self.parameters_changed, self.is_configured
        )
        self._warn_of_unknown_parameters()
        self._background_lock = threading.Lock()
        self._failure: UserError | None = None
        if self.parameters["autostart"]:
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=self.steady_clock)

    # What a subclass fills in; all of it runs in the executor's thread.

    def configure(self) -> None:
        """Take what the node needs: engine, source, publishers."""

    def activate(self) -> None:
        """Start working."""

    def deactivate(self) -> None:
        """Stop working; callable in any state."""

    def cleanup(self) -> None:
        """Give back what `configure` took; callable in any state."""

    def check_parameters(self, proposed: Values, changed: frozenset[str]) -> None:
        """Raise a UserError to refuse the `changed` parameters with the `proposed` values."""

    def parameters_changed(self, changed: frozenset[str]) -> None:
        """Take over parameters that have just been changed."""

    def transition_begins(self, meanwhile: str) -> None:
        """The node is about to change its state; it may not be able to answer for a while."""

    # Lifecycle

    def is_configured(self) -> bool:
        return self.state_label in ("inactive", "active")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._transition("configuring", "inactive", self.configure)
        if result != TransitionCallbackReturn.SUCCESS:
            self.cleanup()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("activating", "active", self.activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("deactivating", "inactive", self.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("cleaningup", "unconfigured", self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("shuttingdown", "finalized", self.deactivate, self.cleanup)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("errorprocessing", "unconfigured", self.deactivate, self.cleanup)

    def _transition(self, meanwhile: str, label: str, *hooks: Callable[[], None]) -> TransitionCallbackReturn:
        """Call `hooks` to reach the state `label`; `meanwhile` is what lifecycle nodes call the state in between."""
        self._failure = None
        self.transition_begins(meanwhile)
        try:
            for hook in hooks:
                hook()
        except UserError as error:
            self._failure = error
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception:  # rclpy would swallow it without a word
            if rclpy.ok():  # otherwise it was interrupted
                self.get_logger().error(traceback.format_exc())
            return TransitionCallbackReturn.ERROR
        self.state_label = label
        return TransitionCallbackReturn.SUCCESS

    def _warn_of_unknown_parameters(self) -> None:
        """ROS ignores a misspelt parameter without a word."""
        given = getattr(self, "_parameter_overrides", {})  # rclpy has no public way to ask
        for name in given:
            if not self.has_parameter(name) and not name.startswith("qos_overrides."):
                self.get_logger().warning(f"there is no parameter '{name}': see ros2 param list, or its spelling")

    def _autostart(self) -> None:
        self._autostart_timer.cancel()
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise self._failure or RuntimeError(f"{self.get_name()} could not start, see the log")

    # Background work

    def in_background(self, work: Callable[[], Result]) -> Future:
        """Run `work` in a thread of its own, one at a time; the future can be awaited in a service callback.

        The service needs a reentrant callback group, or nothing else would be called meanwhile. Awaiting raises nothing
        but UserErrors, so that a failed request does not end the node.
        """
        future = Future()

        def run() -> None:
            with self._background_lock:
                try:
                    future.set_result(work())
                except UserError as error:
                    future.set_exception(error)
                except Exception as error:
                    self.get_logger().error(traceback.format_exc())
                    future.set_exception(UserError(f"it failed in an unforeseen way ({error}): see the node's log"))
            if self.executor is not None:
                self.executor.wake()

        threading.Thread(target=run, name="background", daemon=True).start()
        return future

    @property
    def background_busy(self) -> bool:
        """Whether a background job is running."""
        return self._background_lock.locked()


def run_node(make_node: Callable[[], ManagedNode]) -> int:
    """Main function of a node: spin until interrupted.

    Returns the exit code: 0; 1 when a thread of the node crashed; 2 after an error the user can mend. Raises what is
    unforeseen in the main thread.
    """
    apply_dds_profile()
    keep_freed_memory()
    _leave_interrupts_to_rclpy()
    crashes: list[threading.ExceptHookArgs] = []
    threading.excepthook = partial(_end_after_crash, crashes)
    node, exit_code = None, 0
    executor = SingleThreadedExecutor()
    try:
        node = make_node()
        name_process(node.get_name())
        executor.add_node(node)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        executor.spin()
    except ExternalShutdownException:
        pass
    except UserError as error:
        if node is None:  # otherwise the node has logged it
            get_logger("muon_ad").error(str(error))
        exit_code = EXIT_USER_ERROR
    except Exception:
        if rclpy.ok():  # otherwise the interrupt came in the middle of a callback
            exit_code = 1
            raise
    finally:
        if node is not None:
            node.deactivate()
            node.cleanup()  # threads of a device's library must have ended before the interpreter goes
        exit_code = exit_code or (1 if crashes else 0)
        # Fast DDS 2.14 may wait for ever for a callback that waits for it, when others leave at the same time.
        end_within(MIDDLEWARE_PATIENCE, exit_code)
        if node is not None:
            node.destroy_node()
        # Before the context goes: collected later, the executor complains with a traceback.
        executor.shutdown(timeout_sec=EXECUTOR_PATIENCE)
        rclpy.try_shutdown()
    return exit_code


def _leave_interrupts_to_rclpy() -> None:
    """Start rclpy so that Ctrl-C ends its context, and with it spinning, but tears nothing apart that is being done.

    Python would raise a KeyboardInterrupt anywhere: between the making of a thread and its start, or in the clean-up.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the node spins: none breaks into its making
    signal.signal(signal.SIGINT, lambda *_: None)  # to ignore them would drop one that waits already
    rclpy.init()


def _end_after_crash(crashes: list[threading.ExceptHookArgs], crash: threading.ExceptHookArgs) -> None:
    """End the process when one of its threads has crashed: half a node would look alive and do nothing."""
    if rclpy.ok():  # otherwise it is being ended already
        threading.__excepthook__(crash)
        crashes.append(crash)
        rclpy.try_shutdown()
