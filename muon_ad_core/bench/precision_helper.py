# SPDX-License-Identifier: Apache-2.0
"""One graph in a process of its own, so that its memory can be told from others': times, peak, pools, page faults."""

from __future__ import annotations

import ctypes
import resource
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from muon_ad_core.bench.helper_process import Message, serve
from muon_ad_core.engine.openvino_runtime import OpenVinoGraph

WARM_UPS = 5
FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
"""Of glibc's mallinfo2(3)."""


class _AllocatorState(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


class Server:
    """Answers `open`, then any number of `run`, `paint` and `memory`."""

    def __init__(self) -> None:
        self._graph: OpenVinoGraph | None = None
        self._inputs: dict[str, np.ndarray] = {}

    def answer(self, request: Message) -> Message:
        """The reply to one request; see the methods."""
        if request["do"] == "open":
            return self.open(request)
        if request["do"] == "paint":
            return self.paint(request)
        return self.run(request["frames"]) if request["do"] == "run" else memory()

    def open(self, request: Message) -> Message:
        """Load a graph (`graph`, `precision`, `threads`) for the inputs in the file `inputs`, and warm up."""
        self._inputs = load_file(request["inputs"])
        self._graph = OpenVinoGraph(Path(request["graph"]), request["threads"], request["precision"])
        self.run(WARM_UPS)
        return {"open": True}

    def run(self, frames: int) -> Message:
        """Milliseconds of each frame, and how often the kernel had to give the process a page meanwhile."""
        assert self._graph is not None
        faults, times = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, []
        for _ in range(frames):
            began = time.perf_counter()
            self._graph.run(self._inputs)
            times.append(1e3 * (time.perf_counter() - began))
        return {"times": times, "page_faults": resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults}

    def paint(self, request: Message) -> Message:
        """Results for the inputs in one file, written to another."""
        assert self._graph is not None
        results = self._graph.run(load_file(request["inputs"]))
        save_file({name: np.array(result) for name, result in results.items()}, request["outputs"])
        return {"done": True}


def memory() -> Message:
    """Most memory held so far, and what the C library's pools hold: MB in all, and the part of it that lies free."""
    read = getattr(ctypes.CDLL(None), "mallinfo2", None)
    pool_mb = free = None
    if read is not None:  # glibc 2.33 and newer
        read.restype = _AllocatorState
        state = read()
        pool_mb, free = state.arena / 1e6, state.fordblks / max(1, state.arena)
    # Unlike ru_maxrss, this does not begin with what the process that started this one held.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak_mb = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
    return {"peak_mb": peak_mb, "pool_mb": pool_mb, "pool_free_share": free}


if __name__ == "__main__":
    serve(Server().answer)
