# SPDX-License-Identifier: Apache-2.0
"""A child process whose output is read line by line, and which does not outlive its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class ChildProcess:
    """One process, in a session of its own: Ctrl-C reaches the parent alone, which passes it on."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], listens: bool = False) -> None:
        """`listens`: whether it reads from its standard input what `tell` says; else there is nothing to read."""
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE if listens else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._partial_line = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> int:
        """File descriptor of its output."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    @property
    def running(self) -> bool:
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._process.poll()

    def tell(self, line: str) -> bool:
        """Send it a line, the last it will get; returns whether there was somebody to read it."""
        assert self._process.stdin is not None
        try:
            with self._process.stdin as channel:
                channel.write(line.encode() + b"\n")
        except BrokenPipeError:
            return False
        return self.running

    def read_lines(self) -> list[str]:
        """Whole lines of output since the last call; the rest of it once the process has closed its output."""
        chunks = [self._partial_line]
        try:
            while chunk := os.read(self.output, 65536):
                chunks.append(chunk)
            chunks.append(b"\n" if chunks[-1] else b"")  # closed: what is left is a line too
        except BlockingIOError:
            pass
        *whole, self._partial_line = b"".join(chunks).split(b"\n")
        return [line.decode(errors="replace") for line in whole]

    def close_output(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()

    def send(self, number: int) -> None:
        """Send a signal to it, if it still runs."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it by force."""
        self._process.kill()
        self._process.wait()


def _die_with_parent() -> None:
    """In the child: be interrupted when the parent dies, however it dies."""
    # A shell that starts this in the background has interrupts ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
