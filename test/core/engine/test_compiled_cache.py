# SPDX-License-Identifier: Apache-2.0
"""Compiled graphs in the cache folder: found again, checked, bounded, and never needed."""

from pathlib import Path

import numpy as np
import pytest

from muon_ad_core.engine import compiled_cache
from muon_ad_core.engine.compiled_cache import CompiledCache, cache_folder
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.engine.runtime import available_backends, open_graph


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "some.onnx"
    path.write_bytes(b"a graph")
    return path


def test_what_was_written_is_read_for_the_same_graph_compiler_and_shapes(graph: Path) -> None:
    cache = CompiledCache(graph, "compiler 1")
    assert not cache.filled
    assert cache.read("1x2") is None
    cache.write("1x2", b"compiled")
    assert cache.filled
    assert CompiledCache(graph, "compiler 1").read("1x2") == b"compiled"
    assert cache.read("2x2") is None
    assert CompiledCache(graph, "compiler 2").read("1x2") is None
    graph.write_bytes(b"another graph")
    assert CompiledCache(graph, "compiler 1").read("1x2") is None


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 100])
def test_a_damaged_file_is_not_used(graph: Path, damage: bytes) -> None:
    cache = CompiledCache(graph, "compiler")
    cache.write("1x2", b"compiled")
    (path,) = cache_folder().iterdir()
    path.write_bytes(damage)
    assert cache.read("1x2") is None
    cache.write("1x2", b"compiled")
    assert cache.read("1x2") == b"compiled"


def test_only_so_many_files_are_kept(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_cache, "MOST_KEPT", 3)
    cache = CompiledCache(graph, "compiler")
    for shape in range(10):
        cache.write(str(shape), b"compiled")
    assert len(list(cache_folder().iterdir())) == 3
    assert cache.read("9") == b"compiled"


def test_a_folder_that_cannot_be_made_is_done_without(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(graph))  # a file
    cache = CompiledCache(graph, "compiler")
    cache.write("1x2", b"compiled")
    assert not cache.filled
    assert cache.read("1x2") is None


@pytest.mark.skipif("openvino" not in available_backends(), reason="OpenVINO is not installed")
def test_openvino_gives_the_same_picture_compiled_from_the_cache_and_after_damage() -> None:
    package = EnginePackage.load(find_engine("student"))
    path = package.path(package.levels[0].graph)
    random = np.random.default_rng(0)
    inputs = {
        "pixels": random.integers(0, 256, (1, 8, 8, 48), dtype=np.uint8),
        "code": random.normal(size=(1, package.manifest["code_length"])).astype(np.float32),
    }

    def paint() -> np.ndarray:
        return open_graph(path, "openvino", 1).run(inputs)["painted"].copy()

    compiled = paint()
    (kept,) = cache_folder().iterdir()
    made = kept.stat().st_ino
    np.testing.assert_array_equal(paint(), compiled)
    assert kept.stat().st_ino == made  # it was read, not made again
    kept.write_bytes(b"damaged")
    np.testing.assert_array_equal(paint(), compiled)
    assert kept.stat().st_size > len(b"damaged")
