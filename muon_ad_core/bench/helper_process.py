# SPDX-License-Identifier: Apache-2.0
"""A helper process that answers one JSON line for each JSON line it is sent, and ends with its parent."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from muon_ad_core.errors import UserError

Message = dict[str, Any]


class HelperProcess:
    """The parent's end; use it as a context manager."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._module = module
        self._environment = dict(environment)
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def __enter__(self) -> HelperProcess:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which then ends this one
        )
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, request: Message, patience: float, meanwhile: Callable[[], object]) -> Message:
        """Send a request and return the answer; `meanwhile` is called again and again until it is there.

        Raises UserError with the helper's own sentence, or when no answer came within `patience` seconds.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            meanwhile()
            try:
                answer: Message = json.loads(self._answers.get(timeout=0.02) or "{}")
            except queue.Empty:
                continue
            if "error" in answer or not answer:
                raise UserError(answer.get("error", f"{self._module} has ended: see its message above"))
            return answer
        raise UserError(f"{self._module} gave no answer within {patience:g} s: is the machine overloaded?")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")  # it has ended


def serve(answer: Callable[[Message], Message]) -> None:
    """The helper's end: answer requests until the parent closes its side."""
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except UserError as error:
            reply = {"error": str(error)}
        try:
            print(json.dumps(reply), flush=True)
        except BrokenPipeError:  # the parent has been killed
            return
