# SPDX-License-Identifier: Apache-2.0
"""Background load on purpose: processes that take processors, memory bandwidth or the disk until told to stop."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

BLOCK = 64 * 2**20  # bytes; far more than processors' caches hold
WRITTEN = 256 * 2**20  # bytes of the file that is written again and again


def spin(stop: threading.Event) -> None:
    """Take one processor."""
    while not stop.is_set():
        sum(range(10_000))


def copy_memory(stop: threading.Event) -> None:
    """Take the bandwidth to main memory."""
    source, target = np.ones(BLOCK, np.uint8), np.empty(BLOCK, np.uint8)
    while not stop.is_set():
        np.copyto(target, source)


def write_disk(stop: threading.Event) -> None:
    """Write a file and force it to the disk, over and over."""
    block = os.urandom(2**20)
    with tempfile.TemporaryFile() as file:
        while not stop.is_set():
            file.seek(0)
            for _ in range(WRITTEN // len(block)):
                file.write(block)
                if stop.is_set():
                    return
            file.flush()
            os.fsync(file.fileno())


HOGS: dict[str, Callable[[threading.Event], None]] = {"cpu": spin, "memory": copy_memory, "disk": write_disk}
LOADS = ("none", *HOGS)


def hog_count(kind: str) -> int:
    """How many processes make a load: one for each processor, one for the disk."""
    return 1 if kind == "disk" else os.cpu_count() or 1


@contextmanager
def load(kind: str) -> Iterator[None]:
    """Run the processes of a kind of `LOADS` meanwhile; they also end when this process dies."""
    count = 0 if kind == "none" else hog_count(kind)
    command = [sys.executable, "-m", "muon_ad_core.bench.load", kind]
    hogs = [subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.communicate()


def main() -> None:
    """One process of a load; it ends when its standard input is closed."""
    stop = threading.Event()
    threading.Thread(target=HOGS[sys.argv[1]], args=(stop,), daemon=True).start()
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main()
