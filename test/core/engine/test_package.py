# SPDX-License-Identifier: Apache-2.0
"""Engine packages: round trip, lookup by name, and one clear sentence for everything that can be wrong."""

import json
from pathlib import Path

import pytest

from muon_ad_core.engine.package import EnginePackage, find_engine, write_package
from muon_ad_core.errors import EngineError

FIELDS = {
    "name": "sample",
    "version": "1.2.0",
    "task": "style",
    "licence": "Apache-2.0",
    "levels": [
        {
            "name": "fast",
            "graph": "fast.onnx",
            "precision": "int8",
            "width": 64,
            "parameters": 10,
            "macs": 20,
            "input_block": 4,
        }
    ],
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "sample"
    root.mkdir()
    (root / "fast.onnx").write_bytes(b"graph")
    write_package(root, FIELDS, ["fast.onnx"])
    return root


def edit_manifest(root: Path, **changes: object) -> None:
    path = root / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_round_trip(package: Path) -> None:
    loaded = EnginePackage.load(package)
    assert (loaded.name, loaded.version, loaded.task) == ("sample", "1.2.0", "style")
    assert loaded.level("fast").input_block == 4
    assert loaded.level("fast").output_block == 1
    assert loaded.path("fast.onnx").read_bytes() == b"graph"


def test_unknown_level_names_the_known_ones(package: Path) -> None:
    with pytest.raises(EngineError, match=r"no level 'huge'.*fast"):
        EnginePackage.load(package).level("huge")


def test_file_that_is_not_listed_is_refused(package: Path) -> None:
    with pytest.raises(EngineError, match=r"does not list the file other\.onnx"):
        EnginePackage.load(package).path("other.onnx")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format_version": 99}, "format version 99.*update muon_ad"),
        ({"format": "something"}, "not the manifest of a Muon-AD engine"),
        ({"task": "speech"}, "task 'speech'"),
        ({"levels": []}, "has no level"),
        ({"levels": [{"name": "fast"}]}, "describes a level wrongly"),
        *(
            ({"levels": [{**FIELDS["levels"][0], "most_pixels": value}]}, "'most_pixels' of level fast .* from 1 on")
            for value in (0, -5, 1.5, "many")
        ),
        *(
            ({"levels": [{**FIELDS["levels"][0], "scale": value}]}, "'scale' of level fast .* at most 1")
            for value in (0, -0.5, 1.5, "half")
        ),
        ({"files": {"../outside": "00"}}, "outside the package"),
        ({"files": {"gone.onnx": "00"}}, r"lacks gone\.onnx"),
    ],
)
def test_wrong_manifest_gets_one_sentence(package: Path, changes: dict[str, object], sentence: str) -> None:
    edit_manifest(package, **changes)
    with pytest.raises(EngineError, match=sentence) as caught:
        EnginePackage.load(package)
    assert "\n" not in str(caught.value)


def test_damaged_file_is_found_by_its_checksum(package: Path) -> None:
    (package / "fast.onnx").write_bytes(b"grape")
    with pytest.raises(EngineError, match=r"fast\.onnx is damaged"):
        EnginePackage.load(package)


def test_broken_json_and_missing_folder(package: Path, tmp_path: Path) -> None:
    (package / "manifest.json").write_text('{"format":')
    with pytest.raises(EngineError, match="is damaged"):
        EnginePackage.load(package)
    with pytest.raises(EngineError, match="no engine package at"):
        EnginePackage.load(tmp_path / "nowhere")


def test_lookup_by_path_and_by_name(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_engine(str(package)) == package
    monkeypatch.setenv("MUON_AD_MODELS", str(package.parent))
    assert find_engine("sample") == package
    with pytest.raises(EngineError, match=r"no engine 'absent'.*sample"):
        find_engine("absent")
