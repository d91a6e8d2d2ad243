# SPDX-License-Identifier: Apache-2.0
"""A soak run: the joint task with random faults, one after the other, and its figures."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muon_ad_core.bench.benchmark import Measurement
from muon_ad_core.bench.soak_faults import FAULTS, HOME_SIZE, RECOVERY_S, Fault, began_camera_anew, picture_size_after
from muon_ad_core.bench.soak_ledger import FrameAccounts, Ledger, Row, growth
from muon_ad_core.bench.task_session import TaskSession
from muon_ad_core.bench.witness import Witness
from muon_ad_core.errors import UserError

PATIENCE = 60.0  # seconds for a recovery, then it has failed
CALM_S = (2.0, 6.0)  # between a recovery and the next fault
MEMORY_GROWTH = 0.02  # share
DESCRIPTOR_GROWTH = 0.1  # share; a peer that comes back moves it by one or two of about forty


class Soak:
    """One run; `run` returns its measurement."""

    def __init__(self, seconds: float, seed: int, folder: Path) -> None:
        self._seconds = seconds
        self._chance = random.Random(seed)
        self._config = {"seconds": seconds, "seed": seed}
        self._folder = folder
        self._faults: list[Row] = []
        self._accounts = FrameAccounts()
        self._processes: list[Row] = []
        self._size = HOME_SIZE
        self._began = 0.0

    def run(self) -> Measurement:
        """Run it. Raises UserError when the joint task does not start."""
        with (
            Witness() as witness,
            Ledger(self._folder / "ledger.jsonl") as ledger,
            TaskSession("motorcycle", {}, self._folder / "log.txt") as session,
        ):
            session.wait_until_delivering()
            self._began = time.monotonic()
            queue: list[Fault] = []
            while self._elapsed() < self._seconds:
                queue = queue or self._chance.sample(FAULTS, len(FAULTS))  # every kind in turn
                self._calm(session, ledger, self._chance.uniform(*CALM_S))
                self._inflict(session, ledger, queue.pop())
            self._calm(session, ledger, CALM_S[0])
        summary = self._summarise(len(witness.stalls.events))
        results = {"faults": self._faults, "memory_growth": growth(self._processes, "own_mb")}
        return Measurement(self._config, results, summary, describe(summary, self._faults), stalls=witness.stalls)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _calm(self, session: TaskSession, ledger: Ledger, seconds: float) -> None:
        """Let it run undisturbed, and note what every process tells and takes."""
        session.pause(seconds)
        for status in session.ask("history")["rows"]:
            row = {name: status[name] for name in ("node", "pid", "frames_in", "frames_out", "drops")}
            self._accounts.add(row)
            ledger.write("status", row)
        for node, pid in session.pids().items():
            samples = session.monitor.processes.get(node)
            if pid is None or not samples or samples[-1].pid != pid:
                continue
            rss_mb, shared_mb = samples[-1].rss_mb, shared_memory_mb(pid)
            row = {
                "at_s": round(self._elapsed(), 2),
                "node": node,
                "pid": pid,
                "picture_size": self._size,
                "rss_mb": rss_mb,
                "own_mb": rss_mb - shared_mb,
                "descriptors": count_descriptors(pid),
            }
            self._processes.append(row)
            ledger.write("process", row)

    def _inflict(self, session: TaskSession, ledger: Ledger, fault: Fault) -> None:
        """Do it, and wait until both workers deliver again."""
        at = self._elapsed()
        try:
            detail = fault.inflict(session, self._chance)
        except UserError as error:  # a node that was asked did not answer: the recovery below will tell
            detail = str(error)
        inflicted, inflicted_ns = time.monotonic(), time.time_ns()
        camera_began_anew = began_camera_anew(fault, detail)
        self._size = picture_size_after(fault, detail, self._size)
        recovered: float | None = None
        while recovered is None and time.monotonic() - inflicted < PATIENCE:
            session.pause(0.1)
            # Frames that a camera sent before it ended are still on their way; the new one's clock is right.
            newer = {"stamped_since_ns": inflicted_ns} if camera_began_anew else {}
            heard = session.ask("heard", since=inflicted + 0.05, **newer)
            if all(first is not None for first in heard.values()) and self._all_run(session):
                recovered = max(heard.values()) - inflicted
        row = {
            "at_s": round(at, 2),
            "fault": fault.name,
            "detail": detail,
            "recovered_s": None if recovered is None else round(recovered, 3),
            "late": recovered is None or recovered > RECOVERY_S,
        }
        self._faults.append(row)
        ledger.write("fault", row)
        print(f"{at:8.1f} s  {fault.name:18} {_recovery(row)}  {detail}", flush=True)

    def _all_run(self, session: TaskSession) -> bool:
        """Whether every process runs, none stopped: results of the others alone are no recovery."""
        return all(pid is not None and process_state(pid) not in "TtZX" for pid in session.pids().values())

    def _summarise(self, stalls: int) -> dict[str, Any]:
        memory, descriptors = growth(self._processes, "own_mb"), growth(self._processes, "descriptors")
        recovered = [row for row in self._faults if row["recovered_s"] is not None]
        return {
            "seconds": round(self._elapsed(), 1),
            "faults": len(self._faults),
            "recoveries": len(recovered),
            "recoveries_late": sum(row["late"] for row in self._faults),
            "recovery_worst_s": max((row["recovered_s"] for row in recovered), default=None),
            "unaccounted_frames": self._accounts.unaccounted,
            "frames": self._accounts.frames,
            "memory_growth": max(memory.values(), default=None),
            "descriptor_growth": max(descriptors.values(), default=None),
            "rss_mb_most": max((row["rss_mb"] for row in self._processes), default=None),
            "witness_stalls": stalls,
        }


def holds(summary: Row) -> bool:
    """Whether what must always hold did: no frame unaccounted for, every fault recovered from, no growth."""
    flat = all(
        summary[name] is None or summary[name] < most
        for name, most in (("memory_growth", MEMORY_GROWTH), ("descriptor_growth", DESCRIPTOR_GROWTH))
    )
    return not summary["unaccounted_frames"] and summary["recoveries"] == summary["faults"] and flat


def count_descriptors(pid: int) -> int:
    """Open file descriptors of a process; 0 when it has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def shared_memory_mb(pid: int) -> float:
    """Resident memory (1e6 bytes) of a process that is shared with others: the middleware's segments, of fixed size.

    They fill up while pictures go through them, and each process that reads from one counts it as its own.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("RssShmem:"))


def process_state(pid: int) -> str:
    """State letter of a process as in proc(5), "X" when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def describe(summary: Row, faults: Sequence[Row]) -> str:
    """The figures for a terminal."""
    lines = [f"{name:20} {'-' if value is None else value}" for name, value in summary.items()]
    late = [f"late: {row['fault']} at {row['at_s']} s, {_recovery(row)}" for row in faults if row["late"]]
    verdict = "Everything held." if holds(summary) else "Something that must always hold did not."
    return "\n".join(["", *lines, *late, verdict])


def _recovery(row: Row) -> str:
    return "not recovered" if row["recovered_s"] is None else f"recovered in {row['recovered_s']:.2f} s"
