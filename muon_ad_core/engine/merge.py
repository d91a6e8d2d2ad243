# SPDX-License-Identifier: Apache-2.0
"""Levels of pruned students in the package of the whole one: several widths, one encoder, one code a style."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph
from muon_ad_core.engine.package import MANIFEST, EnginePackage, write_package
from muon_ad_core.engine.self_check import REFERENCE_FILE, reference_of
from muon_ad_core.errors import EngineError

CODE_TOLERANCE = 0.05
"""Codes go through float16 when a student is pruned."""


def merge_levels(whole: EnginePackage, pruned: Sequence[EnginePackage], target: Path) -> EnginePackage:
    """Write a package with the whole student's levels and those of the pruned ones, named LEVEL_RATE (fine_40).

    Levels come in the order of their multiply-accumulates, the fastest first. Raises EngineError for a package that is
    not pruned, or whose style codes are not those of `whole`.
    """
    if target.resolve() == whole.root.resolve():
        raise EngineError(f"{target} is the engine that levels are added to: name another folder for the result")
    _check(whole, pruned)
    target.mkdir(parents=True, exist_ok=True)
    for file in whole.manifest["files"]:
        shutil.copyfile(whole.root / file, target / file)
    entries, files = list(whole.manifest["levels"]), set(whole.manifest["files"])
    for package in pruned:
        for entry in package.manifest["levels"]:
            name = f"{entry['name']}_{round(100 * package.manifest['pruning']['rate'])}"
            if any(other["name"] == name for other in entries):
                raise EngineError(f"there would be two levels '{name}': merge one package of each rate")
            graph = f"{name}.onnx"
            shutil.copyfile(package.path(entry["graph"]), target / graph)
            files.add(graph)
            entries.append({**entry, "name": name, "graph": graph})
    entries.sort(key=lambda entry: int(entry["macs"]))
    if REFERENCE_FILE in files:
        inputs = {name: value for name, value in load_file(target / REFERENCE_FILE).items() if "/" not in name}
        graphs = {entry["name"]: OnnxRuntimeGraph(target / entry["graph"], 1) for entry in entries}
        save_file(reference_of(dict(graphs), inputs), target / REFERENCE_FILE)
    kept = {key: value for key, value in whole.manifest.items() if key not in ("format", "format_version", "files")}
    write_package(target, {**kept, "name": target.name, "levels": entries}, files - {MANIFEST})
    return EnginePackage.load(target)


def _check(whole: EnginePackage, pruned: Sequence[EnginePackage]) -> None:
    if whole.task != "style":
        raise EngineError(f"engine {whole.name} is for {whole.task}, not for style: choose a student")
    codes = load_file(whole.path(whole.manifest["styles_file"]))
    for package in pruned:
        if package.task != "style" or "pruning" not in package.manifest:
            raise EngineError(f"{package.root} is no pruned student: make one by muon-ad train student --prune")
        found = load_file(package.path(package.manifest["styles_file"]))
        same = found.keys() == codes.keys() and all(
            found[name].shape == code.shape and np.abs(found[name] - code).max() < CODE_TOLERANCE
            for name, code in codes.items()
        )
        if not same:
            raise EngineError(f"{package.root} has other style codes than {whole.name}: prune {whole.name} itself")
