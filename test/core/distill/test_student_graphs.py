# SPDX-License-Identifier: Apache-2.0
"""Levels of a student as graphs: INT8, or mixed where INT8 is not faithful enough."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")
pytest.importorskip("onnx", reason="the making wing needs onnx")

from muon_ad_core.distill.student_graphs import both_exits, export_levels, written_files  # noqa: E402
from muon_ad_core.nets.student import LEVELS, Student, StudentConfig  # noqa: E402


@pytest.mark.parametrize(("fidelity", "precision"), [(None, "int8"), (0.1, "int8"), (1.0, "mixed")])
def test_sensitive_layers_stay_in_floating_point_on_request(
    tmp_path: Path, fidelity: float | None, precision: str
) -> None:
    torch.manual_seed(0)
    student = Student(StudentConfig(16, 1, 16, 16, 8)).eval()
    torch.nn.init.normal_(student.context.second.weight)
    codes = {"a": np.zeros(8, np.float32), "b": np.ones(8, np.float32)}
    pictures = [np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8) for seed in range(2)]
    exits = both_exits(student)
    levels, metrics = export_levels(
        exits, codes, lambda: pictures, pictures, tmp_path, lambda text: None, fidelity=fidelity
    )
    assert [level["name"] for level in levels] == list(LEVELS)
    assert all(level["precision"] == precision for level in levels)
    assert all(bool(level.get("float_layers")) == (precision == "mixed") for level in levels)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(written_files(exits))
    if precision == "mixed":  # every layer, and a picture is rounded to whole numbers all the same
        assert min(metrics.values()) > 0.995
