# SPDX-License-Identifier: Apache-2.0
"""Scheduling parameters of a worker: it applies them to itself and knows what was granted."""

from __future__ import annotations

import os
from collections.abc import Callable

from muon_ad_core.realtime.policy import (
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
        "scheduling.priority", 50, "Real-time priority under FIFO and RR.", minimum=MIN_PRIORITY, maximum=MAX_PRIORITY
    ),
    ParameterSpec(
        "scheduling.affinity",
        [],
        "Numbers of the CPUs this process may use; empty for all.",
        item=int,
        minimum=0,
        maximum=(os.cpu_count() or 1) - 1,
    ),
)


class OwnPolicy:
    """Keeps this process under the requested policy and reports the grant."""

    def __init__(self, warn: Callable[[str], object]) -> None:
        self._warn = warn
        self.request = PolicyRequest()
        self.grant: PolicyGrant = read_policy()

    def ask(self, values: Values) -> None:
        """Apply the policy the parameters ask for, unless it is in force already."""
        self.request = PolicyRequest(
            values["scheduling.policy"], values["scheduling.priority"], tuple(values["scheduling.affinity"])
        )
        self._apply()

    def keep(self) -> None:
        """Bring threads that were started since under the policy, and read the grant anew."""
        if not self.grant.reason and not holds(self.request):
            self._apply()

    def _apply(self) -> None:
        refused_before = self.grant.reason
        self.grant = apply_policy(self.request)
        if self.grant.reason and self.grant.reason != refused_before:
            self._warn(self.grant.reason)
