# SPDX-License-Identifier: Apache-2.0
"""The table of pruned students."""

from pathlib import Path

import pytest

from muon_ad_core.bench.style_pruning import describe, pruned_packages, summarise, table
from muon_ad_core.engine.package import EnginePackage, write_package
from muon_ad_core.errors import ParameterError


def write(root: Path, network: dict[str, object], pruning: dict[str, object] | None) -> EnginePackage:
    root.mkdir(parents=True)
    (root / "fine.onnx").write_bytes(b"graph")
    level = {"name": "fine", "graph": "fine.onnx", "precision": "int8", "width": 64, "parameters": 10, "macs": 20}
    fields: dict[str, object] = {
        "name": root.name, "version": "1.0.0", "task": "style", "licence": "Apache-2.0", "levels": [level],
        "network": network,
    }  # fmt: skip
    write_package(root, fields | ({"pruning": pruning} if pruning else {}), ["fine.onnx"])
    return EnginePackage.load(root)


def test_packages_tell_what_was_pruned(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", {"width": 64, "blocks": 2}, None)
    write(tmp_path / "table/a", {"width": 32, "blocks": 1, "inner": [32]}, {"method": "gradual", "rate": 0.4})
    write(tmp_path / "table/b", {"width": 64, "blocks": 1, "inner": []}, {"method": "layerdrop", "rate": 0.4})
    packages = pruned_packages([str(tmp_path / "table")])
    rows = [describe(package, "fine") for package in (whole, *packages)]
    assert [row["name"] for row in rows] == ["whole", "gradual 40%", "layerdrop 40%"]
    for index, row in enumerate(rows):
        row |= {"content": 0.1 * index, "sliced_wasserstein": 0.1 * (1 + index), "ms": 4.0 / (1 + index)}
    summary = summarise(rows)
    assert summary["speedup_40"] == pytest.approx(2.0) and summary["swd_ratio_40"] == pytest.approx(2.0)
    assert set(summary) == {"ms_whole", "speedup_40", "swd_ratio_40", "content_40"}
    assert any("1 blocks of 32 [32]" in line for line in table(rows))
    with pytest.raises(ParameterError, match="is no pruned student"):
        pruned_packages([str(whole.root)])
