# SPDX-License-Identifier: Apache-2.0
"""The self-check: right runtimes pass, wrong ones are refused in one sentence, and a pass is remembered."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.engine.runtime import Arrays, Graph, available_backends, open_graph
from muon_ad_core.engine.self_check import check_graph
from muon_ad_core.errors import EngineError
from muon_ad_core.stylize import Stylizer


@pytest.fixture(scope="module")
def package() -> EnginePackage:
    return EnginePackage.load(find_engine("student"))


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


class Wrapped(Graph):
    """A runtime that changes what another one computes."""

    backend = "wrapped"

    def __init__(self, graph: Graph, change: object) -> None:
        self.graph, self.change, self.runs = graph, change, 0

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.graph.input_shapes

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        self.runs += 1
        return {name: self.change(array) for name, array in self.graph.run(inputs).items()}  # type: ignore[operator]


@pytest.mark.parametrize("backend", available_backends())
def test_installed_runtimes_pass(package: EnginePackage, backend: str) -> None:
    for level in package.levels:
        check_graph(package, level, open_graph(package.path(level.graph), backend, 1))


def every_fourth_is_lost(array: np.ndarray) -> np.ndarray:
    return np.where(np.arange(array.size).reshape(array.shape) % 4, array, 0).astype(array.dtype)


@pytest.mark.parametrize(
    "change",
    [lambda a: 255 - a, lambda a: np.roll(a, 1, 3), lambda a: a[:, 1:], np.zeros_like, every_fourth_is_lost],
)
def test_wrong_results_are_refused(package: EnginePackage, change: object) -> None:
    level = package.levels[0]
    graph = Wrapped(open_graph(package.path(level.graph), "onnxruntime", 1), change)
    with pytest.raises(EngineError, match=r"backend wrapped computes level fast of student wrongly .* choose another"):
        check_graph(package, level, graph)


def test_ordinary_rounding_passes(package: EnginePackage) -> None:
    level = package.levels[0]
    noise = np.random.default_rng(0)

    def rounded_otherwise(array: np.ndarray) -> np.ndarray:
        return np.clip(array + noise.normal(0, 0.08 * array.std(), array.shape), 0, 255).astype(array.dtype)

    check_graph(package, level, Wrapped(open_graph(package.path(level.graph), "onnxruntime", 1), rounded_otherwise))


def test_a_pass_is_remembered_for_that_library_only(package: EnginePackage) -> None:
    level = package.levels[0]
    graph = Wrapped(open_graph(package.path(level.graph), "onnxruntime", 1), np.copy)
    graph.identity = "library 1"
    for _ in range(2):
        check_graph(package, level, graph)
    assert graph.runs == 1
    graph.identity = "library 2"
    check_graph(package, level, graph)
    assert graph.runs == 2


def test_the_stylizer_checks_unless_told_not_to(package: EnginePackage, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(path: Path, backend: str, threads: int, of_pictures: bool = False) -> Graph:
        return Wrapped(open_graph(path, "onnxruntime", threads), lambda array: 255 - array)

    monkeypatch.setattr("muon_ad_core.stylize.open_graph", opened)
    with pytest.raises(EngineError, match="wrongly on this machine"):
        Stylizer(package)
    assert Stylizer(package, self_check=False).backend == "wrapped"
