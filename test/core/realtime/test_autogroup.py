# SPDX-License-Identifier: Apache-2.0
"""The nice value of a session: raised by the process that leads it, and by nobody else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from muon_ad_core.realtime import autogroup

YIELD = """
import json, sys
from pathlib import Path
from muon_ad_core.realtime import autogroup
autogroup.ENABLED = Path(sys.argv[1])
try:
    before = autogroup.read()
except OSError:
    print("null")
else:
    print(json.dumps({"done": autogroup.yield_to_other_sessions(before + 7), "added": autogroup.read() - before}))
"""


def run_in_child(enabled: Path, own_session: bool) -> dict:
    if not autogroup.OWN.exists():
        pytest.skip("this kernel does not group sessions (CONFIG_SCHED_AUTOGROUP)")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", YIELD, str(enabled)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=True, start_new_session=own_session
    )
    result = json.loads(done.stdout)
    if result is None:
        pytest.skip("this process is in no session's group (a control group holds it)")
    return result


@pytest.fixture()
def enabled(tmp_path: Path) -> Path:
    file = tmp_path / "enabled"
    file.write_text("1\n")
    return file


def test_a_process_with_a_session_of_its_own_yields(enabled: Path) -> None:
    assert run_in_child(enabled, own_session=True) == {"done": True, "added": 7}


def test_a_shared_session_is_left_alone(enabled: Path) -> None:
    assert run_in_child(enabled, own_session=False) == {"done": False, "added": 0}


def test_a_process_in_no_group_has_no_value_to_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "autogroup").write_text("")
    monkeypatch.setattr(autogroup, "OWN", tmp_path / "autogroup")
    with pytest.raises(OSError, match="in no session's group"):
        autogroup.read()


def test_nothing_is_done_where_sessions_are_not_grouped(enabled: Path) -> None:
    enabled.write_text("0\n")
    assert run_in_child(enabled, own_session=True) == {"done": False, "added": 0}
