# SPDX-License-Identifier: Apache-2.0
"""The engine package: a folder with a manifest, ONNX graphs and safetensors, verified when it is loaded.

manifest.json holds `format`, `format_version`, name, version, task ("style", "detection" or "teacher"), description,
levels, what the task needs (styles or classes), training data, metrics, licence, and the SHA-256 of every other file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from muon_ad_core.engine.frames import MAX_PIXELS
from muon_ad_core.errors import EngineError

FORMAT = "muon-ad-engine"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
REQUIRED = ("format", "format_version", "name", "version", "task", "levels", "licence", "files")
TASKS = ("style", "detection", "teacher")


@dataclass(frozen=True)
class Level:
    """One graph of a package.

    width: channels of its body; parameters: weights; macs: multiply-accumulates of one 640x480 frame (style) or one
    network input (detection); input_block, output_block: pixels along one side of the blocks that are packed into
    channels at the graph's input and output (1: not packed); exit: of the student that paints it, where the level is
    called otherwise; weights: file of that student's weights, where they are not the package's own; scale: of the size
    at which it paints, to that of the frame; most_pixels: what has more after that is painted at a half, a third, ...
    of the frame's size; local_contrast: as of `finishing.Finish`, where a level has its own (None: the package's).
    """

    name: str
    graph: str
    precision: str
    width: int
    parameters: int
    macs: int
    input_block: int = 1
    output_block: int = 1
    exit: str = ""
    weights: str = ""
    most_pixels: int = MAX_PIXELS
    scale: float = 1.0
    local_contrast: float | None = None


@dataclass(frozen=True)
class EnginePackage:
    """A verified engine package. `manifest` is the manifest as read; the common parts have names of their own."""

    root: Path
    name: str
    version: str
    task: str
    levels: tuple[Level, ...]
    manifest: Mapping[str, Any]

    @classmethod
    def load(cls, root: Path | str) -> EnginePackage:
        """Read and verify a package folder; raises EngineError with one sentence when anything is wrong."""
        root = Path(root)
        manifest = _read_manifest(root)
        _verify_files(root, manifest["files"])
        return cls(
            root,
            manifest["name"],
            str(manifest["version"]),
            manifest["task"],
            _levels(root, manifest),
            manifest,
        )

    def level(self, name: str) -> Level:
        """The level of that name; raises EngineError when there is none."""
        for level in self.levels:
            if level.name == name:
                return level
        known = ", ".join(level.name for level in self.levels)
        raise EngineError(f"engine {self.name} has no level '{name}': choose one of {known}")

    def path(self, file: str) -> Path:
        """Where a file of the package lies; raises EngineError for one the manifest does not list."""
        if file not in self.manifest["files"]:
            raise EngineError(f"engine package {self.root} does not list the file {file}: export the engine again")
        return self.root / file


def find_engine(name_or_path: str) -> Path:
    """Folder of an engine package, given its path or its name in one of the model folders.

    Raises EngineError naming the engines that were found instead.
    """
    direct = Path(name_or_path).expanduser()
    if (direct / MANIFEST).is_file():
        return direct
    for folder in model_folders():
        if (folder / name_or_path / MANIFEST).is_file():
            return folder / name_or_path
    found = ", ".join(list_engines())
    raise EngineError(f"no engine '{name_or_path}': give a package folder or one of: {found or 'none found'}")


def list_engines() -> dict[str, Path]:
    """Folders of the engine packages in the model folders by name, sorted; of equal names the first counts."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
            found.setdefault(manifest.parent.name, manifest.parent)
    return dict(sorted(found.items()))


def model_folders() -> list[Path]:
    """Where engines are looked up by name: $MUON_AD_MODELS, the source tree, the installation, the user's folder."""
    here = Path(__file__).resolve()
    folders = [Path(entry) for entry in os.environ.get("MUON_AD_MODELS", "").split(os.pathsep) if entry]
    folders.append(here.parents[2] / "models")
    installed = "share/muon_ad_ros/models"
    folders += [parent / installed for parent in here.parents] + [Path(sys.prefix) / installed]
    folders.append(Path.home() / ".local/share/muon_ad/models")
    return [folder for folder in folders if folder.is_dir()]


WRITTEN_BY_WRITE_PACKAGE = ("format", "format_version", "files")
"""Fields of a manifest that `write_package` adds."""


def write_package(root: Path, manifest_fields: Mapping[str, Any], files: Iterable[str]) -> None:
    """Write manifest.json beside files that are already in `root`; format, version and checksums are added here.

    Raises EngineError when the result would not load.
    """
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, **manifest_fields}
    manifest["files"] = {name: sha256(root / name) for name in sorted(files)}
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    # Number lists on one line keep a manifest readable.
    text = re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)
    (root / MANIFEST).write_text(text + "\n", encoding="utf-8")
    EnginePackage.load(root)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_manifest(root: Path) -> dict[str, Any]:
    path = root / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise EngineError(f"no engine package at {root}: {MANIFEST} cannot be read there") from None
    except ValueError as error:
        raise EngineError(f"{path} is damaged ({error}): copy the engine package again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise EngineError(f"{path} is not the manifest of a Muon-AD engine: its format must be '{FORMAT}'")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise EngineError(
            f"{path} has format version {manifest.get('format_version')}, this release reads version {FORMAT_VERSION}: "
            "update muon_ad, or export the engine again with this release"
        )
    missing = [key for key in REQUIRED if key not in manifest]
    if missing:
        raise EngineError(f"{path} lacks '{missing[0]}': export the engine again")
    if manifest["task"] not in TASKS:
        raise EngineError(f"{path} is for the task '{manifest['task']}', known tasks are {', '.join(TASKS)}")
    return manifest


def _levels(root: Path, manifest: Mapping[str, Any]) -> tuple[Level, ...]:
    known = {field.name for field in fields(Level)}
    try:
        levels = tuple(Level(**{k: v for k, v in entry.items() if k in known}) for entry in manifest["levels"])
    except (TypeError, AttributeError) as error:
        raise EngineError(f"{root / MANIFEST} describes a level wrongly ({error}): export the engine again") from None
    if not levels:
        raise EngineError(f"{root / MANIFEST} has no level: export the engine again")
    for level in levels:
        if not isinstance(level.most_pixels, int) or level.most_pixels < 1:
            raise EngineError(
                f"'most_pixels' of level {level.name} in {root / MANIFEST} must be a whole number from 1 on, "
                f"got {level.most_pixels!r}"
            )
        if not isinstance(level.scale, (int, float)) or not 0 < level.scale <= 1:
            raise EngineError(
                f"'scale' of level {level.name} in {root / MANIFEST} must be above 0 and at most 1, got {level.scale!r}"
            )
    return levels


def _verify_files(root: Path, files: Mapping[str, str]) -> None:
    for name, expected in files.items():
        path = root / name
        if root.resolve() not in path.resolve().parents:
            raise EngineError(f"{root / MANIFEST} names a file outside the package ({name}): do not use this engine")
        if not path.is_file():
            raise EngineError(f"engine package {root} lacks {name}: copy the engine package again")
        if sha256(path) != expected:
            raise EngineError(
                f"{path} is damaged (its checksum differs from the manifest): copy the engine package again"
            )
