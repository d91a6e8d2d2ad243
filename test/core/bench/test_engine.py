# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the style engine: what its figures are made of, and a short run of its own."""

import json
from pathlib import Path

import numpy as np
import pytest

from muon_ad_core.bench.engine import read_size
from muon_ad_core.bench.engine_figures import HD, VGA, Contender, make_rows, make_summary, panning, time_in_turns
from muon_ad_core.bench.style_peers import export_peers, open_peers
from muon_ad_core.cli import main
from muon_ad_core.errors import ParameterError


def contender(name: str, milliseconds: float, level: str = "", backend: str = "", threads: int = 0) -> Contender:
    return Contender(name, lambda frame: frame, level, backend, threads, [[milliseconds, 1e9, milliseconds]])


def test_summary_takes_our_first_runtime_and_the_peers_best() -> None:
    vga = [
        contender("fast 1", 6.0, "fast", "openvino", 1), contender("fast 2", 4.0, "fast", "openvino", 2),
        contender("fast ort", 2.0, "fast", "onnxruntime", 2), contender("fine 2", 8.0, "fine", "openvino", 2),
        contender("Johnson, ONNX Runtime float32", 800.0), contender("Johnson, OpenVINO int8", 40.0),
        contender("MicroAST-shaped, OpenVINO int8", 1.0), contender("Muon-AD smoothed fine", 9.5),
    ]  # fmt: skip
    measured = {VGA: vga, HD: [contender("fast 2", 10.0, "fast", "openvino", 2)]}
    summary = make_summary(measured)
    assert summary["ms_640x480"] == 4.0 and summary["fine_ms_640x480"] == 8.0
    assert summary["speedup_johnson_ort"] == 200.0 and summary["speedup_johnson_best"] == 10.0
    assert summary["fine_speedup_johnson_best"] == 5.0
    assert summary["fine_smoothing_ms"] == 1.5 and summary["smoothing_ms"] is None
    assert summary["fps_720p"] == 100.0 and summary["fps_1080p"] is None
    rows = make_rows(measured)
    assert [row["times_our_fast"] for row in rows[4:6]] == [200.0, 10.0]


def test_each_contender_has_its_turn_in_every_round() -> None:
    seen: list[str] = []
    contenders = [Contender(name, lambda frame, name=name: seen.append(name)) for name in "abc"]
    rounds: list[int] = []
    time_in_turns(contenders, np.zeros((4, 4, 3), np.uint8), 3, 5, lambda: rounds.append(1))
    assert len(rounds) == 3
    assert all([len(turn) for turn in entry.times] == [5, 5, 5] for entry in contenders)
    assert all(seen.count(name) == 2 + 3 * 6 for name in "abc")


def test_a_panning_camera_moves_there_and_back() -> None:
    frame = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    seen: list[np.ndarray] = []
    paint = panning(seen.append)
    for _ in range(3):
        paint(frame)
    assert np.array_equal(seen[0][1:, 1:], frame[:-1, :-1])
    assert seen[1] is frame and np.array_equal(seen[2], seen[0])


def test_sizes_are_checked() -> None:
    assert read_size("640x480") == (640, 480)
    for text in ("640", "640x0", "axb", "640x480x3", "9000x10"):
        with pytest.raises(ParameterError, match="--sizes must be like 640x480"):
            read_size(text)


def test_peers_paint_frames_of_their_size_in_every_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="the peers are exported by PyTorch")
    monkeypatch.setattr("muon_ad_core.nets.peers.NormalisedResidual", lambda channels: torch.nn.Identity())
    graphs, left_out = export_peers(tmp_path)
    assert not left_out
    names = []
    for name, paint in open_peers(graphs, 1):
        names.append(name)
        result = paint(np.full((40, 56, 3), 90, np.uint8))
        painted = result if isinstance(result, np.ndarray) else next(iter(result.values()))
        assert painted.shape == (1, 40, 56, 3) and painted.dtype == np.uint8
    assert {"Johnson, ONNX Runtime float32", "Johnson, OpenVINO int8", "MicroAST-shaped, OpenVINO int8"} <= {*names}


def test_the_command_writes_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "engine.json"
    assert main(["bench", "engine", "--no-peers", "--sizes", "64x48", "--rounds", "2", "--frames", "2", "--threads",
                 "1", "--json", str(file)]) == 0  # fmt: skip
    document = json.loads(file.read_text())
    assert document["benchmark"] == "engine"
    assert any("Muon-AD fast" in name for name in document["samples"])
    assert document["summary"]["speedup_johnson_ort"] is None
    assert document["summary"]["style_encode_ms"] > 0
    assert "peers were not asked for" in capsys.readouterr().out
