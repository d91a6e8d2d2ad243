# SPDX-License-Identifier: Apache-2.0
"""What several runs trained, in one package: levels of pruned students, and an encoder that was trained by itself."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from muon_ad_core.engine.finishing import CONTRAST_FIELD
from muon_ad_core.engine.frames import VGA, painted_size
from muon_ad_core.engine.model_card import ENCODER_FIELD, model_card
from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph
from muon_ad_core.engine.package import MANIFEST, WRITTEN_BY_WRITE_PACKAGE, EnginePackage, write_package
from muon_ad_core.engine.self_check import REFERENCE_FILE, reference_of
from muon_ad_core.errors import EngineError

WEIGHTS_FILE = "weights.safetensors"
CARD = "README.md"
ENCODER_WEIGHTS = ("encoder.", "offsets")
"""Beginnings of the names of weights that make codes of pictures."""
CODE_TOLERANCE = 0.05
"""Codes go through float16 when a student is pruned."""


@dataclass(frozen=True)
class _Source:
    """A level that the result may have: its package, its entry there, its name, what tells its package from the others,
    and what its new entry says otherwise of the size at which it paints."""

    package: EnginePackage
    entry: dict[str, Any]
    name: str
    label: str = ""
    size: Mapping[str, Any] = field(default_factory=dict)


def merge_levels(
    whole: EnginePackage, pruned: Sequence[EnginePackage], target: Path, levels: Sequence[str] = ()
) -> EnginePackage:
    """Write a package with levels of the whole student and of the pruned ones, which are named LEVEL_RATE (fine_40), or
    LEVEL_RATE_2 and so on where several packages have one rate.

    levels: which of them, as NAME, or NEW=NAME to call it otherwise, with @SCALE (0.75) behind to paint smaller than
    the frame, or @PIXELS to paint at most so many, or both (default: all). They come in the order of their
    multiply-accumulates, the fastest first. Raises EngineError for a package that is not pruned, or whose style codes
    are not those of `whole`, and for unknown levels, names that come twice, or what is no size.
    """
    if target.resolve() == whole.root.resolve():
        raise EngineError(f"{target} is the engine that levels are added to: name another folder for the result")
    _check(whole, pruned)
    chosen = _chosen([*_own(whole), *_of_pruned(pruned)], levels)
    target.mkdir(parents=True, exist_ok=True)
    graphs = {entry["graph"] for entry in whole.manifest["levels"]}
    files = {file for file in whole.manifest["files"] if file not in graphs}
    for file in files:
        shutil.copyfile(whole.root / file, target / file)
    entries, metrics = [], _without_levels(whole.manifest.get("metrics", {}), whole)
    for source in chosen:
        entry, added = _copied(source, whole, target)
        entries.append(entry)
        files |= added
        told = f"ssim_int8_float_{source.entry['name']}"
        if told in source.package.manifest.get("metrics", {}):
            metrics[f"ssim_int8_float_{source.name}"] = source.package.manifest["metrics"][told]
    entries.sort(key=lambda entry: int(entry["macs"]))
    if REFERENCE_FILE in files:
        inputs = {name: value for name, value in load_file(target / REFERENCE_FILE).items() if "/" not in name}
        opened = {entry["name"]: OnnxRuntimeGraph(target / entry["graph"], 1) for entry in entries}
        save_file(reference_of(dict(opened), inputs), target / REFERENCE_FILE)
    kept = {key: value for key, value in whole.manifest.items() if key not in WRITTEN_BY_WRITE_PACKAGE}
    fields = {**kept, "name": target.name, "levels": entries, "metrics": metrics}
    if "training" in fields:
        (target / CARD).write_text(model_card(fields), encoding="utf-8")
    write_package(target, fields, files - {MANIFEST})
    return EnginePackage.load(target)


def put_encoder(package: EnginePackage, trained: EnginePackage) -> EnginePackage:
    """Give a package the encoder of another one, which learned it for the same student and styles.

    Raises EngineError for a package whose style codes are not those of `package`.
    """
    _check_codes(package, trained)
    shutil.copyfile(trained.path(trained.manifest["encoder"]), package.path(package.manifest["encoder"]))
    learned = {
        name: value for name, value in load_file(trained.path(WEIGHTS_FILE)).items() if name.startswith(ENCODER_WEIGHTS)
    }
    for file in {WEIGHTS_FILE, *(level.weights for level in package.levels if level.weights)}:
        save_file({**load_file(package.path(file)), **learned}, package.path(file))
    fields = {key: value for key, value in package.manifest.items() if key not in WRITTEN_BY_WRITE_PACKAGE}
    fields[ENCODER_FIELD] = _of_a_part(trained.manifest["training"])
    (package.root / CARD).write_text(model_card(fields), encoding="utf-8")
    write_package(package.root, fields, set(package.manifest["files"]) - {MANIFEST})
    return EnginePackage.load(package.root)


def _of_a_part(training: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest tells of the training of a part: where the pictures come from is told of the whole."""
    return {key: value for key, value in training.items() if key != "data_note"}


def _own(whole: EnginePackage) -> list[_Source]:
    return [_Source(whole, entry, entry["name"]) for entry in whole.manifest["levels"]]


def _of_pruned(packages: Sequence[EnginePackage]) -> list[_Source]:
    sources, rates = [], Counter[int]()
    for package in packages:
        rate = round(100 * package.manifest["pruning"]["rate"])
        rates[rate] += 1
        label = f"{rate}" if rates[rate] == 1 else f"{rate}_{rates[rate]}"
        sources += [_Source(package, entry, f"{entry['name']}_{label}", label) for entry in package.manifest["levels"]]
    return sources


def _chosen(sources: Sequence[_Source], levels: Sequence[str]) -> list[_Source]:
    """The sources that `levels` asks for, under their new names."""
    known = {source.name: source for source in sources}
    chosen: dict[str, _Source] = {}
    for wish in levels or known:
        named, *sizes = wish.split("@")
        name, _, asked = named.partition("=")
        if (asked or name) not in known:
            raise EngineError(f"there is no level '{asked or name}' to merge: choose of {', '.join(known)}")
        if name in chosen:
            raise EngineError(f"there would be two levels '{name}': name each once")
        source = known[asked or name]
        size = {field: number for each in sizes for field, number in _size(wish, each).items()}
        chosen[name] = replace(source, name=name, size=size)
    return list(chosen.values())


def _size(wish: str, size: str) -> dict[str, Any]:
    """What stands behind an @, as entries of a level."""
    try:
        number = float(size)
    except ValueError:
        number = 0.0
    if 0 < number <= 1:
        return {"scale": number}
    if number > 1 and number.is_integer():
        return {"most_pixels": int(number)}
    raise EngineError(f"'{wish}' wants a size that is none: write NAME@0.75 or NAME@600000, for example")


def _copied(source: _Source, whole: EnginePackage, target: Path) -> tuple[dict[str, Any], set[str]]:
    """The level's entry in the result, and the files that were copied for it."""
    graph = f"{source.name}.onnx"
    shutil.copyfile(source.package.path(source.entry["graph"]), target / graph)
    entry, files = {**source.entry, "name": source.name, "graph": graph}, {graph}
    if source.size:
        entry |= {**source.size, "macs": _macs(source)}
    if source.name != source.entry["name"]:
        entry.setdefault("exit", source.entry["name"])
    if source.package is not whole:
        manifest = source.package.manifest
        entry["pruning"] = manifest["pruning"]
        entry.setdefault(CONTRAST_FIELD, manifest.get(CONTRAST_FIELD, 0.0))
        if "training" in manifest:
            entry["training"] = _of_a_part(manifest["training"])
        weights = source.entry.get("weights") or WEIGHTS_FILE
        if weights in manifest["files"]:
            entry["weights"] = f"{Path(weights).stem}_{source.label}.safetensors"
            entry.setdefault("network", manifest["network"])
            shutil.copyfile(source.package.path(weights), target / entry["weights"])
            files.add(entry["weights"])
    return entry, files


def _macs(source: _Source) -> int:
    """Multiply-accumulates of a frame of 640x480 pixels, painted at another size than before."""
    level = source.package.level(source.entry["name"])
    before, after = (
        prod(painted_size(*VGA, each.most_pixels, each.scale)) for each in (level, replace(level, **source.size))
    )
    return int(source.entry["macs"]) * after // before


def _without_levels(metrics: dict[str, Any], package: EnginePackage) -> dict[str, Any]:
    """Metrics that are of no single level."""
    ends = tuple(f"_{level.name}" for level in package.levels)
    return {name: value for name, value in metrics.items() if not name.endswith(ends)}


def _check(whole: EnginePackage, pruned: Sequence[EnginePackage]) -> None:
    if whole.task != "style":
        raise EngineError(f"engine {whole.name} is for {whole.task}, not for style: choose a student")
    for package in pruned:
        if package.task != "style" or "pruning" not in package.manifest:
            raise EngineError(f"{package.root} is no pruned student: make one by muon-ad train student --prune")
        _check_codes(whole, package)


def _check_codes(whole: EnginePackage, other: EnginePackage) -> None:
    codes, found = (load_file(package.path(package.manifest["styles_file"])) for package in (whole, other))
    same = found.keys() == codes.keys() and all(
        found[name].shape == code.shape and np.abs(found[name] - code).max() < CODE_TOLERANCE
        for name, code in codes.items()
    )
    if not same:
        raise EngineError(f"{other.root} has other style codes than {whole.name}: train it from {whole.name} itself")
