# SPDX-License-Identifier: Apache-2.0
"""A node that accounts for its frames, runs under the scheduling policy it is told, and reports both on ~/status."""

from __future__ import annotations

import time
from collections.abc import Sequence

from muon_ad_msgs.msg import WorkerStatus

from muon_ad_core.realtime.complaints import Complaints
from muon_ad_core.realtime.ledger import FrameLedger

from . import qos
from .managed import ManagedNode
from .own_policy import SCHEDULING_PARAMETERS, OwnPolicy, policy_request
from .parameters import ParameterSpec, Values
from .status import STATUS_PERIOD, StatusReporter


class ReportingNode(ManagedNode):
    """Common base of the workers and the sources."""

    role = ""  # "source", "style" or "detection", as in WorkerStatus

    def __init__(self, name: str, specs: Sequence[ParameterSpec]) -> None:
        super().__init__(name, (*specs, *SCHEDULING_PARAMETERS))
        self.ledger = FrameLedger()
        self._tell_refusal = self.get_logger().warning
        self.policy = OwnPolicy(lambda reason: self._tell_refusal(reason))
        self.policy.ask(self.parameters.values)
        self._tell_refusal = self.get_logger().info  # who asks later reads it on ~/status, and warns once for all
        self.reporter = StatusReporter(self.get_fully_qualified_name(), self.role, self.ledger)
        self._complaints = Complaints()
        self._status_publisher = self.create_publisher(WorkerStatus, "~/status", qos.result_data())
        self.create_timer(STATUS_PERIOD, self._report, clock=self.steady_clock)

    def describe(self, status: WorkerStatus) -> None:
        """Add to `status` what only the subclass knows; called twice a second in the executor's thread."""

    def check_parameters(self, proposed: Values, changed: frozenset[str]) -> None:
        policy_request(proposed)

    def parameters_changed(self, changed: frozenset[str]) -> None:
        if any(name.startswith("scheduling.") for name in changed):
            self.policy.ask(self.parameters.values)

    def drop(self, cause: str, sentence: str) -> None:
        """Count a frame as dropped and say why, once."""
        self.ledger.dropped(cause)
        self.complain(cause, sentence)

    def fault(self, cause: str, sentence: str) -> None:
        """Count a fault that cost no frame and say it, once."""
        self.ledger.faulty(cause)
        self.complain(cause, sentence)

    def complain(self, cause: str, sentence: str) -> None:
        """Log a fault: once, and again at most once a minute after things went well."""
        if self._complaints.should_say(cause, time.monotonic()):
            self.get_logger().warning(sentence)

    def went_well(self) -> None:
        """A frame passed without a fault: faults may be said anew."""
        self._complaints.recovered()

    def transition_begins(self, meanwhile: str) -> None:
        """Say so, because the executor does not report until it is over."""
        self._publish_status(meanwhile)

    def _report(self) -> None:
        if not self.background_busy:  # threads of an engine that is being loaded stay out of the way of frames
            self.policy.keep()
        self._publish_status(self.state_label)

    def _publish_status(self, state: str) -> None:
        stamp = self.get_clock().now().to_msg()
        status = self.reporter.message(stamp, state, self.policy.request, self.policy.grant)
        self.describe(status)
        self._status_publisher.publish(status)
