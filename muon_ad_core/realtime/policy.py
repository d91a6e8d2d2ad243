# SPDX-License-Identifier: Apache-2.0
"""Apply a scheduling policy to this process and report what the kernel granted.

A Linux scheduling policy belongs to a thread, so "the process runs FIFO 50" means that every thread
listed in ``/proc/self/task`` does. Only one's own process is ever touched.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass

POLICIES = {
    "OTHER": os.SCHED_OTHER,
    "BATCH": os.SCHED_BATCH,
    "FIFO": os.SCHED_FIFO,
    "RR": os.SCHED_RR,
}
REAL_TIME_POLICIES = ("FIFO", "RR")
MIN_PRIORITY = os.sched_get_priority_min(os.SCHED_FIFO)
MAX_PRIORITY = os.sched_get_priority_max(os.SCHED_FIFO)

_NAMES = {number: name for name, number in POLICIES.items()}
_CAP_SYS_NICE = 23  # bit number in the capability masks, see capability(7)


@dataclass(frozen=True)
class PolicyRequest:
    """What is asked for: `policy` (a key of `POLICIES`), `priority` (1..99, used by FIFO and RR only) and
    `affinity` (CPU numbers, empty for every CPU the process may use)."""

    policy: str = "OTHER"
    priority: int = 0
    affinity: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"unknown scheduling policy '{self.policy}': use one of {', '.join(POLICIES)}")
        if self.is_real_time and not MIN_PRIORITY <= self.priority <= MAX_PRIORITY:
            raise ValueError(
                f"priority {self.priority} is outside {MIN_PRIORITY}..{MAX_PRIORITY} for policy '{self.policy}'"
            )

    @property
    def is_real_time(self) -> bool:
        return self.policy in REAL_TIME_POLICIES

    def __str__(self) -> str:
        return f"{self.policy} {self.priority}" if self.is_real_time else self.policy


@dataclass(frozen=True)
class PolicyGrant:
    """What the kernel really uses; `reason` is empty when that is what was asked for."""

    policy: str
    priority: int
    affinity: tuple[int, ...]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.policy} {self.priority}" if self.policy in REAL_TIME_POLICIES else self.policy


def apply_policy(request: PolicyRequest) -> PolicyGrant:
    """Give every thread of this process the requested policy and CPU set; never raises for lack of privilege.

    Threads started later begin as "OTHER" (SCHED_RESET_ON_FORK): a helper thread or a child process does not
    silently become real-time. Call again once long-lived threads have been added.

    Returns the grant read back from the kernel, with the reason where it differs from the request.
    """
    reasons = []
    policy_error = _for_each_thread(lambda thread: _set_policy(thread, request))
    if policy_error is not None:
        reasons.append(_explain_policy_refusal(request, policy_error))
    affinity_error = _for_each_thread(lambda thread: _set_affinity(thread, request.affinity))
    if affinity_error is not None:
        reasons.append(_explain_affinity_refusal(request.affinity))
    granted = read_policy()
    return PolicyGrant(granted.policy, granted.priority, granted.affinity, "; ".join(reasons) or granted.reason)


def read_policy() -> PolicyGrant:
    """Read the policy in force from the kernel.

    Where the threads differ, the weakest is reported (a process is only as prompt as its slowest thread) and
    `reason` says how many threads run under it.
    """
    threads = [state for state in map(_thread_state, thread_ids()) if state is not None]
    weakest = min(threads, key=lambda state: (state[0] in REAL_TIME_POLICIES, state[1]))
    behind = sum(state == weakest for state in threads)
    reason = "" if behind == len(threads) else f"{behind} of {len(threads)} threads run under this policy"
    return PolicyGrant(*weakest, reason)


def holds(request: PolicyRequest) -> bool:
    """Whether every thread of this process runs as requested now."""
    granted = read_policy()
    wanted_priority = request.priority if request.is_real_time else 0
    return (granted.policy, granted.priority, granted.reason) == (request.policy, wanted_priority, "")


def thread_ids() -> list[int]:
    """Kernel ids of all threads of this process."""
    return sorted(int(name) for name in os.listdir("/proc/self/task"))


def may_use_real_time(priority: int) -> bool:
    """Whether the limits of this process permit real-time `priority` (the kernel may still refuse)."""
    return _has_cap_sys_nice() or _real_time_limit() >= priority


def _thread_state(thread: int) -> tuple[str, int, tuple[int, ...]] | None:
    try:
        number = os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK
        priority = os.sched_getparam(thread).sched_priority
        affinity = tuple(sorted(os.sched_getaffinity(thread)))
    except ProcessLookupError:  # the thread ended meanwhile
        return None
    return _NAMES.get(number, f"policy {number}"), priority, affinity


def _for_each_thread(change: Callable[[int], None]) -> OSError | None:
    """Call `change(thread id)` for every thread, again for those that appear meanwhile; the first refusal."""
    done: set[int] = set()
    while pending := set(thread_ids()) - done:
        for thread in pending:
            try:
                change(thread)
            except ProcessLookupError:
                pass
            except OSError as error:
                return error
        done |= pending
    return None


def _set_policy(thread: int, request: PolicyRequest) -> None:
    priority = request.priority if request.is_real_time else 0
    # The flag stays set for "OTHER" too: an unprivileged process may never clear it.
    os.sched_setscheduler(thread, POLICIES[request.policy] | os.SCHED_RESET_ON_FORK, os.sched_param(priority))


def _set_affinity(thread: int, affinity: tuple[int, ...]) -> None:
    os.sched_setaffinity(thread, affinity or range(os.cpu_count() or 1))


def _explain_policy_refusal(request: PolicyRequest, error: OSError) -> str:
    if error.errno != errno.EPERM:
        return f"{request} was refused by the kernel: {error.strerror}"
    if may_use_real_time(request.priority):
        return (
            f"{request} was refused although the limits permit it: the control group has no real-time budget "
            "(cpu.rt_runtime_us) or a seccomp filter forbids it"
        )
    return (
        f"{request} was refused: the rtprio limit is {_real_time_limit()} and the process lacks CAP_SYS_NICE; "
        f"allow it with a line '<user> - rtprio {max(request.priority, 60)}' in /etc/security/limits.d and a new "
        "login, or start the container with --cap-add SYS_NICE"
    )


def _explain_affinity_refusal(affinity: tuple[int, ...]) -> str:
    allowed = ", ".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
    asked = ", ".join(str(cpu) for cpu in affinity)
    return f"CPU set {asked} was refused: the CPUs in use are {allowed} of {os.cpu_count()}"


def _real_time_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    return MAX_PRIORITY if soft == resource.RLIM_INFINITY else soft


def _has_cap_sys_nice() -> bool:
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_NICE & 1)
    return False
