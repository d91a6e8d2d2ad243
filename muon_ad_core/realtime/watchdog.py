# SPDX-License-Identifier: Apache-2.0
"""Tell a worker that hangs from one that is busy, starved, slow, idle, or stands still with the whole machine."""

from __future__ import annotations

from muon_ad_core.realtime.process_state import ProcessState

LONGEST_BUSY = 60.0  # seconds a worker may be busy (with loading an engine, say) without a sign of progress
ON_TIME = 0.4  # seconds between two looks; when there are more, the watcher itself was starved or stood still
LATE_LOOK = 0.05  # seconds that a late look counts
STARVED_SHARE = 0.5  # of the time between two looks; a watcher that waited longer for a processor hears too little
STOPPED = 0.3  # seconds in which every look finds the process stopped
BUSY_SHARE = 0.25  # of a processor; the middleware's threads use less while a worker's own hang
STUCK = 3.0  # times the silence without a finished frame; workers held to a low rate finish some


class Watchdog:
    """Watches one worker by its reports and by looks at its process; times are monotonic seconds.

    A worker hangs when it has been silent for `silence` seconds in which its process hardly ran, nor waited for a
    processor; or when it reports, but has finished nothing for three times as long while frames were superseded, which
    only happens when its working thread does not take them, and did not want to run either. One that is busy, starved
    by others, or said that it changes its state, is left alone for `LONGEST_BUSY`. One that a signal has stopped hangs
    sooner, after `STOPPED` seconds: no load does that to a process.

    Look five times a second. A look that comes late counts little: what delayed it, a machine that stood still or one
    with far too much to do, may have delayed the worker as well. So does one by a watcher that mostly waited for a
    processor: beside workers that use all of it, reports came which it had no time to hear.
    """

    def __init__(self, silence: float, now: float) -> None:
        self.silence = silence
        self._looked_at = now
        self._cpu_seconds: float | None = None
        self._waited = 0.0
        self._silent = 0.0  # seconds since the last report
        self._stuck = 0.0  # since a report of progress
        self._idle = 0.0  # since the process was seen to run
        self._stopped: float | None = None  # since it was first seen stopped; None when it runs
        self._changing = False
        self._finished = -1
        self._superseded = 0

    def heard(self, finished: int, superseded: int, changing: bool = False) -> None:
        """A report came: counts of frames finished in whatever way and of frames superseded, and whether the worker
        begins to change its state, in which it may wait for a device and report nothing."""
        self._silent = 0.0
        self._changing = changing
        if finished != self._finished or superseded == self._superseded:
            self._stuck = 0.0
        self._finished, self._superseded = finished, superseded

    def verdict(self, process: ProcessState, now: float, waited: float = 0.0) -> str:
        """Look at the process: why the worker counts as hanging; empty when it does not.

        `waited`: seconds that the watcher has waited for a processor since it was started.
        """
        elapsed, self._looked_at = now - self._looked_at, now
        starved, self._waited = waited - self._waited > STARVED_SHARE * elapsed, waited
        step = LATE_LOOK if starved or elapsed > ON_TIME else elapsed
        self._silent += step
        self._stuck += step
        self._idle = self._idle + step if self._stood_still(process, elapsed) else 0.0
        if self._was_stopped(process, elapsed):
            return "stopped by a signal"
        if self._silent >= LONGEST_BUSY:
            return f"silent for {self._silent:.0f} s"
        if self._changing:
            return ""
        stood_still = self._idle >= self.silence
        if self._silent >= self.silence and stood_still:
            return f"silent for {self._silent:.1f} s without running"
        longest = STUCK * self.silence if stood_still else LONGEST_BUSY
        if self._silent < self.silence and self._stuck >= longest:
            return f"no frame finished for {self._stuck:.1f} s while newer ones came"
        return ""

    def _was_stopped(self, process: ProcessState, elapsed: float) -> bool:
        """Whether the process has been stopped for long enough; a late look does not count in full here either."""
        if not process.stopped:
            self._stopped = None
        elif self._stopped is None:
            self._stopped = 0.0
        else:
            self._stopped += min(elapsed, ON_TIME)
        return self._stopped is not None and self._stopped >= STOPPED

    def _stood_still(self, process: ProcessState, elapsed: float) -> bool:
        """Whether the process hardly ran since the last look, and does not want to now."""
        before, self._cpu_seconds = self._cpu_seconds, process.cpu_seconds
        if before is None or process.runnable:
            return False
        return process.cpu_seconds - before <= BUSY_SHARE * elapsed
