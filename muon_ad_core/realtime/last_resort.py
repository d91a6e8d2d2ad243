# SPDX-License-Identifier: Apache-2.0
"""End this process after a while even where a library never returns and holds Python's lock."""

from __future__ import annotations

import ctypes
import sys

_CLOCK_MONOTONIC = 1  # see clock_gettime(2)
_SIGEV_THREAD = 2  # see sigevent(7)
_libc = ctypes.CDLL(None)


class _SignalEvent(ctypes.Structure):
    """The C library's struct sigevent, for SIGEV_THREAD."""

    _fields_ = [
        ("value", ctypes.c_size_t),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("rest", ctypes.c_char * 32),
    ]


class _TimerTimes(ctypes.Structure):
    """struct itimerspec: the interval, then the first time, both in seconds and nanoseconds."""

    _fields_ = [("times", ctypes.c_long * 4)]


def end_within(seconds: float, exit_code: int) -> bool:
    """Have the process end with `exit_code` (0 to 255) after `seconds`, unless it has ended by then.

    No Python code runs at that time: a thread of the C library's calls ``_exit``, so nothing is cleaned up either.
    Returns whether that could be arranged; a C library older than glibc 2.34 keeps its timers elsewhere.
    """
    sys.stdout.flush()
    if not hasattr(_libc, "timer_create"):
        return False
    leave = ctypes.cast(_libc._exit, ctypes.c_void_p)
    event = _SignalEvent(value=exit_code, notify=_SIGEV_THREAD, function=leave)
    timer = ctypes.c_void_p()
    if _libc.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
        return False
    whole, part = divmod(seconds, 1.0)
    times = _TimerTimes((0, 0, int(whole), int(part * 1e9)))
    return not _libc.timer_settime(timer, 0, ctypes.byref(times), None)
