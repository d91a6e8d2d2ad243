# SPDX-License-Identifier: Apache-2.0
"""Scheduling parameters of a worker: it applies them to itself and knows what was granted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from muon_ad_core.errors import ParameterError
from muon_ad_core.realtime.memory import freeze_garbage_collector, lock_working_set, return_freed_memory, unlock
from muon_ad_core.realtime.policy import (
    MAX_NICE,
    MAX_PRIORITY,
    MIN_PRIORITY,
    POLICIES,
    PolicyGrant,
    PolicyRequest,
    apply_policy,
    holds,
    read_policy,
)

from .parameters import ParameterSpec, Values

SCHEDULING_PARAMETERS = (
    ParameterSpec(
        "scheduling.policy",
        "OTHER",
        "Scheduling policy of this process; what the kernel granted is in ~/status.",
        choices=tuple(POLICIES),
    ),
    ParameterSpec(
        "scheduling.priority",
        50,
        "Real-time priority under FIFO and RR, and of the helper threads under DEADLINE.",
        minimum=MIN_PRIORITY,
        maximum=MAX_PRIORITY,
    ),
    ParameterSpec(
        "scheduling.affinity",
        [],
        "Numbers of the CPUs this process may use; empty for all.",
        item=int,
        minimum=0,
        maximum=(os.cpu_count() or 1) - 1,
    ),
    ParameterSpec(
        "scheduling.nice",
        0,
        "Added to the nice value under OTHER and BATCH; only a privileged process lowers it again.",
        minimum=0,
        maximum=MAX_NICE,
    ),
    ParameterSpec(
        "scheduling.runtime_ms",
        10.0,
        "Budget in each period under DEADLINE, in milliseconds.",
        minimum=0.01,
        maximum=4000.0,
    ),
    ParameterSpec(
        "scheduling.period_ms",
        33.0,
        "Period under DEADLINE, in milliseconds.",
        minimum=0.1,
        maximum=4000.0,
    ),
    ParameterSpec("scheduling.lock_memory", True, "Keep the pages in use in RAM while the policy is a real-time one."),
)


def policy_request(values: Values) -> PolicyRequest:
    """The request the scheduling parameters make; raises ParameterError when they do not fit together."""
    try:
        return PolicyRequest(
            values["scheduling.policy"],
            values["scheduling.priority"],
            tuple(values["scheduling.affinity"]),
            values["scheduling.nice"],
            values["scheduling.runtime_ms"],
            values["scheduling.period_ms"],
        )
    except ValueError as error:
        raise ParameterError(f"the scheduling parameters do not fit together: {error}") from None


class OwnPolicy:
    """Keeps this process under the requested policy and reports the grant.

    `tell` is given each new reason why a request was not granted in full.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._lead: int | None = None
        self._lock_memory = False
        self._locked = False
        self._memory_reason = ""
        self.request = PolicyRequest()
        self.grant: PolicyGrant = read_policy()

    def ask(self, values: Values) -> None:
        """Apply the policy the parameters ask for; raises ParameterError as `policy_request` does."""
        self.request = policy_request(values)
        self._lock_memory = values["scheduling.lock_memory"] and self.request.is_real_time
        self._apply()

    def lead(self, thread: int) -> None:
        """Tell which thread works on frames: DEADLINE is for it alone."""
        self._lead = thread

    def warm(self) -> None:
        """The process has everything it works with: what is alive now is left out of garbage collection."""
        freeze_garbage_collector()

    @contextmanager
    def unlocked(self) -> Iterator[None]:
        """While an engine takes another's place: pages that are freed cannot go back to the system while locked."""
        if self._locked:
            unlock()
        return_freed_memory()
        try:
            yield
        finally:
            return_freed_memory()
            if self._locked:
                self._memory_reason = lock_working_set()

    def keep(self) -> None:
        """Bring threads that were started since under the policy, and read the grant anew."""
        if not self.grant.reason and not holds(self.request, self._lead):
            self._apply()

    def _apply(self) -> None:
        refused_before = self.grant.reason
        grant = apply_policy(self.request, self._lead)
        self._lock(grant.is_real_time)
        reason = "; ".join(filter(None, (grant.reason, self._memory_reason)))
        self.grant = replace(grant, reason=reason)
        if reason and reason != refused_before:
            self._tell(reason)

    def _lock(self, real_time: bool) -> None:
        """Locking serves a real-time process only: any other waits for the processor longer than for a page."""
        wanted = self._lock_memory and real_time
        if wanted == self._locked:
            return
        self._memory_reason = lock_working_set() if wanted else ""
        self._locked = wanted and not self._memory_reason
        if not wanted:
            unlock()
