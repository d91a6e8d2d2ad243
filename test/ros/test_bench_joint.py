# SPDX-License-Identifier: Apache-2.0
"""The joint benchmark on real nodes, as short as it gets: every condition is measured and summed up."""

import json
import subprocess
import sys
from pathlib import Path

from muon_ad_ros.environment import child_environment


def test_every_condition_is_measured(tmp_path: Path) -> None:
    options = ["--quick", "--seconds", "1", "--loads", "none", "--overload", "0"]
    files = ["--json", str(tmp_path / "joint.json"), "--html", str(tmp_path / "joint.html")]
    command = [sys.executable, "-m", "muon_ad_core.cli", "bench", "joint", *options, *files]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "joint.json").read_text())
    conditions = document["results"]["conditions"]
    assert len(conditions) == 3 * 2
    for entry in conditions:
        assert (entry["style"]["frames"] > 0) == (entry["task"] != "detection")
        assert entry["detection"]["frames"] == 0 or entry["task"] != "style"
    wanted = {"p99_ratio", "added_ms_median", "missed_deadlines", "ratio_without_policies", "witness_stalls"}
    assert wanted <= document["summary"].keys()
    assert "Table XII" in (tmp_path / "joint.html").read_text()
