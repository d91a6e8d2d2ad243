# SPDX-License-Identifier: Apache-2.0
"""Who takes part in the detector benchmark: levels of one engine, pruned packages, and peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from muon_ad_core.engine.package import MANIFEST, EnginePackage, Level, find_engine, list_engines
from muon_ad_core.errors import ParameterError

OURS, PRUNED, PEER = "ours", "pruned", "peer"
DEFAULT_PRUNED = "detector_pruned"
"""Engine that is taken as the pruned one, where it is installed and none is named."""
PRUNED_RATE = 0.4
"""Methods are compared at the rate nearest to this one."""
OUR_METHOD = "gradual"
NOT_PRUNED = "none"


@dataclass(frozen=True)
class Contender:
    """One level of a package.

    method, rate: how it was pruned, and how much of it (0..1). origin: what was pruned, and the run that pruned it and
    trained what was left. optimizer: that trained it, "" where it is not told.
    """

    name: str
    kind: str
    package: EnginePackage
    level: Level
    method: str = NOT_PRUNED
    rate: float = 0.0
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def optimizer(self) -> str:
        return str(self.package.manifest.get("training", {}).get("optimizer", ""))


def our_contenders(package: EnginePackage) -> list[Contender]:
    """The engine's levels, the first one first; those that its manifest calls pruned as such."""
    entries = {entry["name"]: entry for entry in package.manifest["levels"]}
    return [
        _pruned(f"{package.name} {level.name}", package, level, entries[level.name]["pruning"])
        if "pruning" in entries[level.name]
        else Contender(f"{package.name} {level.name}", OURS, package, level)
        for level in package.levels
    ]


def pruned_contenders(names: Sequence[str]) -> list[Contender]:
    """The first level of every package that is named: a package, or all in a folder of packages.

    Without names, DEFAULT_PRUNED if it is installed. Raises ParameterError for a folder without packages, EngineError
    for packages that are missing or damaged.
    """
    if not names:
        return [_whole_package(folder) for name, folder in list_engines().items() if name == DEFAULT_PRUNED]
    found = []
    for name in names:
        folder = Path(name)
        if folder.is_dir() and not (folder / MANIFEST).is_file():
            members = [path.parent for path in sorted(folder.glob(f"*/{MANIFEST}"))]
            if not members:
                raise ParameterError(f"there is no engine package in {folder}: name a package or a folder of packages")
            found += [_whole_package(member) for member in members]
        else:
            found.append(_whole_package(find_engine(name)))
    return found


def peer_contenders(folder: Path, packages: Path) -> list[Contender]:
    """The peers in a folder, as detector_peers.open_peers finds them; `packages` is a folder to write to."""
    from muon_ad_core.bench.detector_peers import open_peers

    peers = open_peers(folder, packages).items()
    return [Contender(name, PEER, package, package.levels[0]) for name, package in peers]


def shown_pruned(contenders: Sequence[Contender]) -> Contender | None:
    """The pruned contender that stands for all: the first one."""
    return next((contender for contender in contenders if contender.kind == PRUNED), None)


def twins(contenders: Sequence[Contender], method: str) -> list[tuple[Contender, Contender]]:
    """Pairs pruned by this project's method and by another, of the same network, at the same rate (that nearest to
    PRUNED_RATE), in runs of the same length with the same optimiser."""
    pruned = [each for each in contenders if each.kind == PRUNED and each.origin]
    pairs = [
        (ours, other)
        for ours in pruned
        for other in pruned
        if (ours.method, other.method) == (OUR_METHOD, method)
        and (ours.origin, ours.optimizer, ours.rate) == (other.origin, other.optimizer, other.rate)
    ]
    nearest = min((abs(ours.rate - PRUNED_RATE) for ours, _ in pairs), default=0.0)
    return [(ours, other) for ours, other in pairs if abs(ours.rate - PRUNED_RATE) == nearest]


def _whole_package(folder: Path) -> Contender:
    package = EnginePackage.load(folder)
    level = package.levels[0]
    return _pruned(folder.resolve().name, package, level, package.manifest.get("pruning", {}))


def _pruned(name: str, package: EnginePackage, level: Level, pruning: dict[str, Any]) -> Contender:
    method, rate = str(pruning.get("method", NOT_PRUNED)), float(pruning.get("rate", 0))
    origin: dict[str, Any] = {key: pruning[key] for key in ("start", "run") if key in pruning}
    return Contender(name, PRUNED, package, level, method, rate, origin)
