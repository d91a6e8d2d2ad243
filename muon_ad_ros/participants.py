# SPDX-License-Identifier: Apache-2.0
"""Ids of DDS participants for the processes of a run, so that none takes over the ports of one that was killed.

The id decides the ports. By default Fast DDS takes the lowest free id, which is that of the process that has just
ended. Others then go on sending to what is left of its shared-memory ports for up to three seconds; once they have
noticed, they and the new process may each make the port anew, and never meet. A process that is killed while it makes
a port leaves one behind that stops whoever opens it: ids are passed over where there is a port already. One that is
taken in the meantime does no harm: Fast DDS goes on to the next.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Hashable, Mapping
from pathlib import Path

from muon_ad_core.machine import PROFILE_VARIABLES, Machine

from .environment import dds_profile

IDS = range(8, 32)
"""Other programs take the lowest ones; where discovery is limited to the own host, 32 are looked for."""
SHARED_MEMORY = Path("/dev/shm")


class Participants:
    """Gives each process an id, that which has been free for longest, through a DDS profile of its own.

    A profile that the user chose stays as it is, without ids.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: of the processes."""
        self._environment = dict(environment)
        self._free = deque(IDS)
        self._taken: dict[Hashable, int] = {}
        chosen = Path(Machine(environment=environment).dds_profile())
        shipped = chosen.is_file() and chosen.samefile(dds_profile())
        self._profile = chosen.read_text(encoding="utf-8") if shipped else ""
        self._folder = tempfile.TemporaryDirectory(prefix="muon_ad_dds_")

    def next_environment(self) -> dict[str, str]:
        """The environment of the process that is started next; tell then which one it is, by `started`."""
        if not self._profile:
            return self._environment
        for _ in IDS:
            if not self._has_port(self._free[0]):
                break
            self._free.rotate(-1)
        profile = Path(self._folder.name) / f"participant_{self._free[0]}.xml"
        identified = f"<participantID>{self._free[0]}</participantID></rtps>"
        profile.write_text(self._profile.replace("</rtps>", identified), encoding="utf-8")
        return {**self._environment, **dict.fromkeys(PROFILE_VARIABLES, str(profile))}

    def started(self, process: Hashable) -> None:
        """`process` uses the id in the latest environment."""
        self._taken[process] = self._free.popleft()

    def ended(self, process: Hashable) -> None:
        """Its id may be used again, after all the others."""
        self._free.append(self._taken.pop(process))

    def _has_port(self, number: int) -> bool:
        """Whether there is a shared-memory port for data to the participant of this id, by the port numbers of RTPS."""
        port = 7400 + 250 * int(self._environment.get("ROS_DOMAIN_ID") or 0) + 11 + 2 * number
        return any(SHARED_MEMORY.glob(f"*_port{port}"))

    def close(self) -> None:
        """Remove the profiles; all processes have ended."""
        self._folder.cleanup()
