# SPDX-License-Identifier: Apache-2.0
"""Ids of DDS participants for the processes of a run, so that none takes over the ports of one that was killed.

The id decides the ports. By default Fast DDS takes the lowest free id, which is that of the process that has just
ended. Others then go on sending to what is left of its shared-memory ports for up to three seconds; once they have
noticed, they and the new process may each make the port anew, and never meet. An id that is taken does no harm: Fast
DDS goes on to the next.
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


class Participants:
    """Gives each process an id, that which has been free for longest, through a DDS profile of its own.

    A profile that the user chose stays as it is, without ids.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: of the processes."""
        self._environment = dict(environment)
        self._free = deque(IDS)
        self._taken: dict[Hashable, int] = {}
        shipped = Machine(environment=environment).dds_profile() == str(dds_profile())
        self._profile = dds_profile().read_text(encoding="utf-8") if shipped else ""
        self._folder = tempfile.TemporaryDirectory(prefix="muon_ad_dds_")

    def next_environment(self) -> dict[str, str]:
        """The environment of the process that is started next; tell then which one it is, by `started`."""
        if not self._profile:
            return self._environment
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

    def close(self) -> None:
        """Remove the profiles; all processes have ended."""
        self._folder.cleanup()
