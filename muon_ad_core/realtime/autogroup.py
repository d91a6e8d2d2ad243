# SPDX-License-Identifier: Apache-2.0
"""Autogroups: where the kernel groups threads by session, a nice value counts only within the session.

Each session (see setsid(2)) then gets an equal share of the processors, so that raising the nice value of a process
which has a session of its own changes nothing. The session has a nice value too, which may be raised by anyone.
"""

from __future__ import annotations

import os
from pathlib import Path

ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")
OWN = Path("/proc/self/autogroup")


def yield_to_other_sessions(nice: int) -> bool:
    """Give this process's session the nice value 0..19 where that matters; whether it was done.

    Nothing is done when the session has other members to consider (this process does not lead it), where sessions are
    not grouped, or when lowering the value again is refused for lack of privilege.
    """
    try:
        if os.getsid(0) != os.getpid() or ENABLED.read_text(encoding="ascii").strip() != "1" or read() == nice:
            return False
        OWN.write_text(str(nice), encoding="ascii")
    except OSError:
        return False
    return True


def read() -> int:
    """The nice value of this process's session; raises OSError where it is in no group of that kind.

    The file is there but empty for a process which a control group holds, as containers' processes often are.
    """
    words = OWN.read_text(encoding="ascii").split()
    if not words:
        raise OSError(f"{OWN} is empty: this process is in no session's group.")
    return int(words[-1])
