# SPDX-License-Identifier: Apache-2.0
"""A process ends when it was told to, also while a library holds Python's lock; one that ends by itself does so."""

import subprocess
import sys

import pytest

HELD = "import ctypes; ctypes.PyDLL(None).pause()"  # with Python's lock


@pytest.mark.parametrize("rest, exit_code", [(HELD, 7), ("raise SystemExit(3)", 3)])
def test_a_process_ends_as_it_was_told_to_unless_it_ends_before(rest: str, exit_code: int) -> None:
    script = f"from muon_ad_core.realtime.last_resort import end_within; print(end_within(1.5, 7), flush=True); {rest}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (exit_code, "True\n", "")
