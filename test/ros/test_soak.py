# SPDX-License-Identifier: Apache-2.0
"""A short soak: the joint task recovers from faults of every kind of a seed, and no frame is unaccounted for."""

import json
import subprocess
import sys
from pathlib import Path

from muon_ad_core.bench.soak import holds
from muon_ad_ros.environment import child_environment


def soak(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "muon_ad_core.cli", "soak", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False, timeout=800)


def test_a_short_soak_holds(tmp_path: Path) -> None:
    done = soak("--minutes", "1", "--seed", "2", "--output", str(tmp_path), "--json", str(tmp_path / "soak.json"))
    assert done.returncode in (0, 1), done.stdout + done.stderr
    summary = json.loads((tmp_path / "soak.json").read_text())["summary"]
    assert summary["unaccounted_frames"] == 0
    assert summary["recoveries"] == summary["faults"] > 0
    assert done.returncode == (0 if holds(summary) else 1)  # growth is not to be judged by a minute
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"fault", "status", "process"}


def test_a_senseless_length_is_refused(tmp_path: Path) -> None:
    done = soak("--minutes", "0", "--output", str(tmp_path))
    assert done.returncode == 2
    assert "minutes" in done.stderr
