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

from muon_ad_core.realtime import autogroup, sched_attr
from muon_ad_core.realtime.sched_attr import SCHED_DEADLINE, ThreadAttributes

POLICIES = {
    "OTHER": os.SCHED_OTHER,
    "BATCH": os.SCHED_BATCH,
    "IDLE": os.SCHED_IDLE,
    "FIFO": os.SCHED_FIFO,
    "RR": os.SCHED_RR,
    "DEADLINE": SCHED_DEADLINE,
}
FIXED_PRIORITY_POLICIES = ("FIFO", "RR")
SHARING_POLICIES = ("OTHER", "BATCH")
REAL_TIME_POLICIES = (*FIXED_PRIORITY_POLICIES, "DEADLINE")
MIN_PRIORITY = os.sched_get_priority_min(os.SCHED_FIFO)
MAX_PRIORITY = os.sched_get_priority_max(os.SCHED_FIFO)
MAX_NICE = 19

_NAMES = {number: name for name, number in POLICIES.items()}
_CAP_SYS_NICE = 23  # bit number in the capability masks, see capability(7)
_RT_RUNTIME = "/proc/sys/kernel/sched_rt_runtime_us"
_STARTED_NICE = os.getpriority(os.PRIO_PROCESS, 0)


@dataclass(frozen=True)
class PolicyRequest:
    """What is asked for.

    policy: a key of `POLICIES`. priority: 1..99, used by the real-time policies. affinity: CPU numbers, empty for every
    CPU the process may use. nice: 0..19, added under OTHER and BATCH to the nice value the process was started with
    (raising it needs no privilege; lowering it again does). runtime_ms, period_ms: DEADLINE's budget in every period.

    DEADLINE goes to the leading thread alone (see `apply_policy`), because the kernel admits only as many threads as
    their budgets fit into the processors; the other threads run FIFO.
    """

    policy: str = "OTHER"
    priority: int = 0
    affinity: tuple[int, ...] = ()
    nice: int = 0
    runtime_ms: float = 0.0
    period_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"unknown scheduling policy '{self.policy}': use one of {', '.join(POLICIES)}")
        if self.is_real_time and not MIN_PRIORITY <= self.priority <= MAX_PRIORITY:
            raise ValueError(
                f"priority {self.priority} is outside {MIN_PRIORITY}..{MAX_PRIORITY} for policy '{self.policy}'"
            )
        if not 0 <= self.nice <= MAX_NICE:
            raise ValueError(f"nice {self.nice} is outside 0..{MAX_NICE}")
        if self.policy == "DEADLINE" and not 0.0 < self.runtime_ms <= self.period_ms:
            raise ValueError(
                f"DEADLINE needs 0 < runtime_ms <= period_ms, not {self.runtime_ms:g} and {self.period_ms:g}"
            )

    @property
    def is_real_time(self) -> bool:
        return self.policy in REAL_TIME_POLICIES

    def __str__(self) -> str:
        return _in_words(self.policy, self.priority, self.nice)

    def attributes(self, leads: bool) -> ThreadAttributes:
        """What one thread is to get; `leads` says whether it is the leading one."""
        if self.policy == "DEADLINE" and leads:
            return ThreadAttributes(SCHED_DEADLINE, runtime_ms=self.runtime_ms, period_ms=self.period_ms)
        if self.is_real_time:
            name = self.policy if self.policy in FIXED_PRIORITY_POLICIES else "FIFO"
            return ThreadAttributes(POLICIES[name], priority=self.priority)
        started = _STARTED_NICE if _has_cap_sys_nice() else max(0, _STARTED_NICE)  # new threads begin at 0 at best
        nice = min(started + self.nice, MAX_NICE)
        return ThreadAttributes(POLICIES[self.policy], nice=nice)


@dataclass(frozen=True)
class PolicyGrant:
    """What the kernel really uses; `reason` is empty when that is what was asked for."""

    policy: str
    priority: int
    affinity: tuple[int, ...]
    nice: int = 0
    reason: str = ""

    @property
    def is_real_time(self) -> bool:
        return self.policy in REAL_TIME_POLICIES

    def __str__(self) -> str:
        return _in_words(self.policy, self.priority, self.nice)


def apply_policy(request: PolicyRequest, lead: int | None = None) -> PolicyGrant:
    """Give every thread of this process the requested policy and CPU set; never raises for lack of privilege.

    `lead` is the kernel id of the thread that DEADLINE is for; the other threads run FIFO then. Threads started later
    begin as "OTHER" (SCHED_RESET_ON_FORK): a helper thread or a child process does not silently become real-time.
    Call again once long-lived threads have been added.

    Returns the grant read back from the kernel, with the reason where it differs from the request.
    """
    reasons = []
    affinity_error = _for_each_thread(lambda thread: _set_affinity(thread, request.affinity))
    if affinity_error is not None:
        reasons.append(_explain_affinity_refusal(request.affinity))
    policy_error = _for_each_thread(lambda thread: _set_policy(thread, request.attributes(thread == lead)))
    if policy_error is not None:
        reasons.append(_explain_policy_refusal(request, policy_error))
    autogroup.yield_to_other_sessions(MAX_NICE if request.policy == "IDLE" else request.nice)
    granted = read_policy(lead)
    reason = "; ".join(reasons) or granted.reason
    return PolicyGrant(granted.policy, granted.priority, granted.affinity, granted.nice, reason)


def read_policy(lead: int | None = None) -> PolicyGrant:
    """Read the policy in force from the kernel: the leading thread's if it runs under DEADLINE.

    Where the threads differ otherwise, the weakest is reported (a process is only as prompt as its slowest thread) and
    `reason` says how many threads run under it.
    """
    threads = {thread: state for thread in thread_ids() if (state := _thread_state(thread)) is not None}
    if lead in threads and threads[lead][0] == "DEADLINE":
        return PolicyGrant(*threads[lead])
    weakest = min(threads.values(), key=_strength)
    behind = sum(state == weakest for state in threads.values())
    reason = "" if behind == len(threads) else f"{behind} of {len(threads)} threads run under this policy"
    return PolicyGrant(*weakest, reason)


def holds(request: PolicyRequest, lead: int | None = None) -> bool:
    """Whether every thread of this process runs as requested now."""
    for thread in thread_ids():
        wanted = request.attributes(thread == lead)
        try:
            present = _read_attributes(thread)
        except ProcessLookupError:  # the thread ended meanwhile
            continue
        if (present.policy, present.priority) != (wanted.policy, wanted.priority):
            return False
        if request.policy in SHARING_POLICIES and present.nice != wanted.nice:
            return False
        if wanted.runtime_ms and present.runtime_ms != wanted.runtime_ms:
            return False
    return True


def thread_ids() -> list[int]:
    """Kernel ids of all threads of this process."""
    return sorted(int(name) for name in os.listdir("/proc/self/task"))


def may_use_real_time(priority: int) -> bool:
    """Whether the limits of this process permit real-time `priority` (the kernel may still refuse)."""
    return _has_cap_sys_nice() or _real_time_limit() >= priority


def _in_words(policy: str, priority: int, nice: int) -> str:
    if policy in FIXED_PRIORITY_POLICIES:
        return f"{policy} {priority}"
    return f"{policy} nice {nice}" if nice and policy in SHARING_POLICIES else policy


def _thread_state(thread: int) -> tuple[str, int, tuple[int, ...], int] | None:
    try:
        present = _read_attributes(thread)
        affinity = tuple(sorted(os.sched_getaffinity(thread)))
    except ProcessLookupError:  # the thread ended meanwhile
        return None
    return _NAMES.get(present.policy, f"policy {present.policy}"), present.priority, affinity, present.nice


def _read_attributes(thread: int) -> ThreadAttributes:
    if sched_attr.available():
        return sched_attr.get_attributes(thread)
    number = os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK
    nice = os.getpriority(os.PRIO_PROCESS, thread)
    return ThreadAttributes(number, os.sched_getparam(thread).sched_priority, nice)


def _strength(state: tuple[str, int, tuple[int, ...], int]) -> tuple[bool, int, int]:
    policy, priority, _, nice = state
    return policy in REAL_TIME_POLICIES, MAX_PRIORITY + 1 if policy == "DEADLINE" else priority, -nice


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


def _set_policy(thread: int, wanted: ThreadAttributes) -> None:
    """The flag RESET_ON_FORK stays set for "OTHER" too: an unprivileged process may never clear it."""
    if sched_attr.available():
        sched_attr.set_attributes(thread, wanted)
        return
    os.sched_setscheduler(thread, wanted.policy | os.SCHED_RESET_ON_FORK, os.sched_param(wanted.priority))
    if wanted.nice:
        os.setpriority(os.PRIO_PROCESS, thread, wanted.nice)


def _set_affinity(thread: int, affinity: tuple[int, ...]) -> None:
    os.sched_setaffinity(thread, affinity or range(os.cpu_count() or 1))


def _explain_policy_refusal(request: PolicyRequest, error: OSError) -> str:
    if error.errno == errno.EBUSY and request.policy == "DEADLINE":
        return (
            f"DEADLINE with {request.runtime_ms:g} ms in every {request.period_ms:g} ms was refused: the processors' "
            "real-time budget is taken; ask for less, or for FIFO"
        )
    if error.errno != errno.EPERM:
        return f"{request} was refused by the kernel: {error.strerror}"
    if not request.is_real_time:
        return (
            f"{request} was refused: only a privileged process leaves IDLE or lowers its nice value; restart the node"
        )
    if may_use_real_time(request.priority):
        return f"{request} was refused although the limits permit it: {_explain_hidden_refusal(request)}"
    return (
        f"{request} was refused: the rtprio limit is {_real_time_limit()} and the process lacks CAP_SYS_NICE; "
        f"allow it with a line '<user> - rtprio {max(request.priority, 60)}' in /etc/security/limits.d and a new "
        "login, or start the container with --cap-add SYS_NICE"
    )


def _explain_hidden_refusal(request: PolicyRequest) -> str:
    if request.policy == "DEADLINE" and (request.affinity or not _has_cap_sys_nice()):
        return "DEADLINE needs CAP_SYS_NICE, and a thread that may run on every CPU (no affinity)"
    with open(_RT_RUNTIME, encoding="ascii") as runtime:
        if runtime.read().strip() == "0":
            return f"{_RT_RUNTIME} is 0, which forbids real-time threads"
    return "the control group has no real-time budget (cpu.rt_runtime_us) or a seccomp filter forbids it"


def _explain_affinity_refusal(affinity: tuple[int, ...]) -> str:
    allowed = ", ".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
    asked = ", ".join(str(cpu) for cpu in affinity)
    return f"CPU set {asked} was refused: the CPUs in use are {allowed} of {os.cpu_count()}"


def _real_time_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    return MAX_PRIORITY if soft == resource.RLIM_INFINITY else soft


def _has_cap_sys_nice() -> bool:
    return has_capability(_CAP_SYS_NICE)


def has_capability(number: int) -> bool:
    """Whether this process has a capability in force; `number` is its bit in capability(7)."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False
