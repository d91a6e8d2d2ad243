# SPDX-License-Identifier: Apache-2.0
"""``muon-ad bench precision``: one level in several precisions, each in a process of its own."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")
pytest.importorskip("onnx", reason="the making wing needs onnx")
pytest.importorskip("openvino", reason="precisions are compared in OpenVINO")

from safetensors.numpy import save_file as save_arrays  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from muon_ad_core.bench.precision import FLOAT32, INT8, MIXED, describe, summarise  # noqa: E402
from muon_ad_core.cli import main  # noqa: E402
from muon_ad_core.distill.student_graphs import both_exits, export_levels  # noqa: E402
from muon_ad_core.distill.student_trainer import StyledStudent  # noqa: E402
from muon_ad_core.engine.package import write_package  # noqa: E402
from muon_ad_core.nets.student import StudentConfig  # noqa: E402


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained student with what the benchmark reads of a package."""
    root = tmp_path_factory.mktemp("engines") / "tiny"
    root.mkdir()
    torch.manual_seed(0)
    network = StyledStudent(StudentConfig(16, 1, 16, 16, 8), 1).eval()
    codes = {"plain": np.zeros(8, np.float32)}
    pictures = [np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8) for seed in range(3)]
    levels, _ = export_levels(both_exits(network.student), codes, lambda: pictures, pictures, root, lambda text: None)
    save_arrays(codes, root / "styles.safetensors")
    save_file(
        {name: value.half().contiguous() for name, value in network.state_dict().items()}, root / "weights.safetensors"
    )
    fields = {"name": "tiny", "version": "1", "task": "style", "licence": "Apache-2.0", "levels": levels,
              "network": network.student.config.to_dict(), "styles_file": "styles.safetensors",
              "code_length": 8}  # fmt: skip
    files = ["fast.onnx", "fine.onnx", "reference.safetensors", "styles.safetensors", "weights.safetensors"]
    write_package(root, fields, files)
    return root


def test_every_precision_is_timed_judged_and_weighed(package: Path, tmp_path: Path) -> None:
    command = ["bench", "precision", "--engine", str(package), "--rounds", "2", "--frames", "3", "--calibration", "4",
               "--count", "2", "--size", "160x120", "--threads", "1", "--json",
               str(tmp_path / "precision.json")]  # fmt: skip
    assert main(command) == 0
    result = json.loads((tmp_path / "precision.json").read_text(encoding="utf-8"))
    rows = {row["precision"]: row for row in result["results"]["rows"]}
    assert {FLOAT32, MIXED, INT8} <= rows.keys() <= {FLOAT32, "bfloat16", MIXED, INT8}
    assert rows[FLOAT32]["ssim"] > 0.999
    assert all(row["ms"] > 0 and 0.5 < row["ssim"] <= 1 and 20 < row["peak_mb"] < 2000 for row in rows.values())
    assert all(0 <= row["pool_free_share"] <= 1 for row in rows.values())
    assert rows[MIXED]["ssim"] >= min(0.995, rows[INT8]["ssim"]) - 0.003  # ranges are from other pictures
    assert len(result["samples"][INT8]["runs"]) == 2


def test_figures_of_the_summary() -> None:
    rows = [
        {
            "precision": name,
            "ms": ms,
            "ssim": 1.0,
            "peak_mb": 100.0,
            "pool_free_share": None,
            "page_faults_per_frame": 0.0,
        }
        for name, ms in ((FLOAT32, 8.0), (INT8, 2.0))
    ]
    summary = summarise(rows)
    assert summary["speedup_int8"] == 4.0 and "speedup_float32" not in summary
    text = describe(rows, {"float_layers": []})
    assert "none: INT8 is as faithful" in text and "-" in text


def test_nonsense_is_refused(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "precision", "--engine", str(package), "--fidelity", "2"]) == 2
    assert "--fidelity from 0 to 1" in capsys.readouterr().err
