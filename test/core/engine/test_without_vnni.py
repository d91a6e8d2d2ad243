# SPDX-License-Identifier: Apache-2.0
"""INT8 graphs on processors whose INT8 convolutions overflow: x86 without VNNI, emulated."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino", reason="of what OpenVINO does without VNNI")

from muon_ad_core.engine.openvino_runtime import OpenVinoGraph, computes_any_int8
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.machine import Machine

EMULATOR = shutil.which("qemu-x86_64")
SCRIPT = """
import sys
from muon_ad_core.machine import Machine
Machine.processor_flags = lambda self: set(sys.argv[2].split())  # the emulator shows those of this machine
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.engine.runtime import open_graph
from muon_ad_core.engine.self_check import check_graph
from muon_ad_core.errors import EngineError
package = EnginePackage.load(find_engine(sys.argv[1]))
level = package.levels[0]
try:
    check_graph(package, level, open_graph(package.path(level.graph), "openvino", 1))
    print("right")
except EngineError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"sse4_1", "avx2", "fma"}, False),
        ({"sse4_1", "avx2", "avx512f"}, False),
        ({"sse4_1", "avx2", "avx_vnni"}, True),
        ({"sse4_1", "avx2", "avx512f", "avx512_vnni"}, True),
        ({"asimd", "asimddp"}, True),
    ],
)
def test_what_a_processor_must_have(monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: bool) -> None:
    monkeypatch.setattr(Machine, "processor_flags", lambda self: flags)
    assert computes_any_int8() is expected


@pytest.mark.parametrize(("name", "in_floating_point"), [("student", False), ("detector_pruned", True)])
@pytest.mark.parametrize("flags", [{"sse4_1", "avx2"}, {"sse4_1", "avx2", "avx512_vnni"}])
def test_int8_that_could_overflow_is_computed_in_floating_point(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], name: str, in_floating_point: bool
) -> None:
    monkeypatch.setattr(Machine, "processor_flags", lambda self: flags)
    package = EnginePackage.load(find_engine(name))
    for level in package.levels:
        if level.precision == "int8":
            identity = OpenVinoGraph(package.path(level.graph), 1).identity
            assert ("LP_TRANSFORMS_MODE" in identity) == (in_floating_point and "avx512_vnni" not in flags)


@pytest.mark.skipif(EMULATOR is None, reason="needs qemu-x86_64 (Debian: qemu-user), which emulates a processor")
@pytest.mark.parametrize(
    ("name", "flags", "expected"),
    [
        ("student", "sse4_1 avx2", "right"),
        ("detector", "sse4_1 avx2", "right"),
        ("detector", "sse4_1 avx2 avx_vnni", "computes level int8 of detector"),
    ],
)
def test_int8_comes_out_right_or_is_refused(tmp_path: Path, name: str, flags: str, expected: str) -> None:
    """The last run is told that the processor has VNNI: what it then computes wrongly is found by the self-check."""
    assert EMULATOR is not None
    command = [EMULATOR, "-cpu", "Haswell", os.path.realpath(sys.executable), "-c", SCRIPT, name, flags]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
