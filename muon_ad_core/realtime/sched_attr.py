# SPDX-License-Identifier: Apache-2.0
"""The system calls sched_setattr and sched_getattr, which Python's os module does not offer.

They know SCHED_DEADLINE, and set policy, priority, nice value and SCHED_RESET_ON_FORK in one step.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from dataclasses import dataclass

SCHED_DEADLINE = 6
RESET_ON_FORK = 1
NANOSECONDS_PER_MS = 1_000_000

_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}  # machine -> numbers of sched_setattr and sched_getattr
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class ThreadAttributes:
    """Scheduling of one thread: `policy` is a number of sched(7), times are in milliseconds.

    `runtime_ms` is the budget in each period under SCHED_DEADLINE.
    """

    policy: int
    priority: int = 0
    nice: int = 0
    runtime_ms: float = 0.0
    period_ms: float = 0.0


class _Structure(ctypes.Structure):
    """struct sched_attr, first published version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def available() -> bool:
    """Whether the calls are known for this machine's architecture."""
    return platform.machine() in _CALLS


def set_attributes(thread: int, wanted: ThreadAttributes) -> None:
    """Schedule a thread so; its children begin under SCHED_OTHER.

    Raises OSError as sched_setattr(2) does (ENOSYS where the call is not known).
    """
    period = round(wanted.period_ms * NANOSECONDS_PER_MS)
    attributes = _Structure(
        size=ctypes.sizeof(_Structure),
        policy=wanted.policy,
        flags=RESET_ON_FORK,
        nice=wanted.nice,
        priority=wanted.priority,
        runtime=round(wanted.runtime_ms * NANOSECONDS_PER_MS),
        deadline=period,
        period=period,
    )
    _call(0, thread, ctypes.byref(attributes), 0)


def get_attributes(thread: int) -> ThreadAttributes:
    """How a thread is scheduled; raises OSError as sched_getattr(2) does."""
    attributes = _Structure()
    _call(1, thread, ctypes.byref(attributes), ctypes.sizeof(_Structure), 0)
    return ThreadAttributes(
        attributes.policy,
        attributes.priority,
        attributes.nice,
        attributes.runtime / NANOSECONDS_PER_MS,
        attributes.period / NANOSECONDS_PER_MS,
    )


def _call(which: int, *arguments: object) -> None:
    if not available():
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if _libc.syscall(_CALLS[platform.machine()][which], *arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
