# SPDX-License-Identifier: Apache-2.0
"""Keep this process's memory from making frames late: pages locked in RAM, the garbage collector at rest."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from muon_ad_core.realtime.policy import has_capability

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # see mallopt(3)
_LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; glibc takes no larger one
_DEFAULT_MMAP_THRESHOLD = 128 << 10  # bytes
_KEPT = 64 << 20  # bytes of freed memory an arena may keep
_ARENAS = 2  # so that threads seldom wait for each other
_CAP_IPC_LOCK = 14  # see capability(7)
_libc = ctypes.CDLL(None, use_errno=True)


def lock_working_set() -> str:
    """Keep every page this process has touched, or will touch, in RAM; returns why not, empty when it is done.

    Pages never touched (the unused part of thread stacks) take no memory: MCL_ONFAULT. A process with a limit on locked
    memory is left alone, because once the limit is reached the kernel would refuse it all further memory.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit != resource.RLIM_INFINITY and not has_capability(_CAP_IPC_LOCK):
        return (
            f"memory is not locked: the memlock limit is {limit // 1024} kB and the process lacks CAP_IPC_LOCK; allow "
            "it with a line '<user> - memlock unlimited' in /etc/security/limits.d and a new login, or start the "
            "container with --ulimit memlock=-1"
        )
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        return f"memory is not locked: {os.strerror(ctypes.get_errno())}"
    return ""


def unlock() -> None:
    """Undo `lock_working_set`."""
    _libc.munlockall()


def keep_freed_memory() -> bool:
    """Have the C library (glibc) keep freed memory for what is allocated next, in few arenas; returns whether it does.

    Call it before the process has threads.

    By default it maps the memory of every camera frame anew, and the kernel clears it page by page: of a message of
    1 MB that costs more than copying it. Up to 64 MB for each arena are kept, until `return_freed_memory`. Also by
    default, threads get arenas of their own, up to eight for each processor: an engine that is loaded by other threads
    than the one it replaces takes new memory then, while what the former left lies about in pieces.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is None:
        return False
    return all(
        mallopt(option, value)
        for option, value in (
            (_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
            (_M_TRIM_THRESHOLD, _KEPT),
            (_M_ARENA_MAX, _ARENAS),
        )
    )


@contextmanager
def separate_memory() -> Iterator[None]:
    """While something large and long-lived is allocated in a process that keeps freed memory: larger blocks get
    mappings of their own (glibc), which leave the process whole when they are freed.

    In the heap they would leave gaps, over which the memory of frames then spreads.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _DEFAULT_MMAP_THRESHOLD)
    try:
        yield
    finally:
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)


def return_freed_memory() -> None:
    """Give memory that was freed back to the system, as far as the C library can (glibc); locked pages stay."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


def locked_mb() -> float:
    """Memory of this process that is locked in RAM, in 1e6 bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmLck:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def freeze_garbage_collector() -> int:
    """Collect once, then let the collector overlook all that is alive now; returns how many objects that are.

    Modules, engines and message types live as long as the process. Without this, a full collection walks them all in
    the middle of some frame. Call it once the process is warm.
    """
    gc.collect()
    gc.freeze()
    return gc.get_freeze_count()
