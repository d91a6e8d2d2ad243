# SPDX-License-Identifier: Apache-2.0
"""Print what an engine package holds: levels, classes or styles, decoder, metrics, licence. Without one, list them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muon_ad_core.engine.package import EnginePackage

MOST_NAMES = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad engine info``."""
    parser.add_argument("engine", nargs="?", help="folder or name of a package (default: list those that are found)")


def run(args: argparse.Namespace) -> int:
    """Print it; returns 0. Raises EngineError for a package that is missing or damaged."""
    from muon_ad_core.engine.package import EnginePackage, find_engine, list_engines

    if args.engine is None:
        for name, folder in list_engines().items():
            print(f"{name:20} {folder}")
        return 0
    for line in describe(EnginePackage.load(find_engine(args.engine))):
        print(line)
    return 0


def describe(package: EnginePackage) -> Iterator[str]:
    """The package line by line."""
    manifest = package.manifest
    size = sum((package.root / name).stat().st_size for name in manifest["files"])
    yield f"{package.name} {package.version}: {package.task}. {manifest.get('description', '')}".strip()
    yield f"{'folder':12} {package.root} ({len(manifest['files'])} files, {size / 1e6:.1f} MB)"
    yield f"{'licence':12} {manifest['licence']}"
    yield f"{'level':12} {'precision':12} {'parameters':>12} {'GMAC':>8}  graph"
    for level in package.levels:
        parameters = f"{level.parameters:,}" if level.parameters else "-"
        macs = f"{level.macs / 1e9:.2f}" if level.macs else "-"
        yield f"{level.name:12} {level.precision:12} {parameters:>12} {macs:>8}  {level.graph}"
    if "decoder" in manifest:
        rows, columns = manifest["input_size"]
        yield f"{'input':12} {columns}x{rows} pixels{_settings(manifest, 'preprocessing')}"
        strides = _joined(manifest["strides"])
        yield f"{'decoder':12} {manifest['decoder']}, strides {strides}{_settings(manifest, 'decoding')}"
        yield f"{'classes':12} {_names(manifest['classes'])}"
    if "styles" in manifest:
        yield f"{'styles':12} {_names([style['name'] for style in manifest['styles']])}"
    for title in ("pruning", "metrics"):
        if manifest.get(title):
            yield f"{title:12} {', '.join(f'{key} {value}' for key, value in manifest[title].items())}"


def _settings(manifest: Mapping[str, Any], entry: str) -> str:
    settings = manifest.get(entry, {})
    return "".join(f", {key} {_joined(value) if isinstance(value, list) else value}" for key, value in settings.items())


def _joined(values: list[Any]) -> str:
    return " ".join(map(str, values))


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return f"{len(names)}: {shown}{', ...' if len(names) > MOST_NAMES else ''}"
