# SPDX-License-Identifier: Apache-2.0
"""Styles, an engine's and the user's own: the code that an engine's encoder made of a picture, and its palette.

A style of the user's own is a file of about a kilobyte. They lie beside the engine package in the user's data
folder, so that an engine that cannot be written, or is replaced by a newer one, keeps or refuses them knowingly. A code
means something only to engines that have the encoder it is of.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from muon_ad_core.engine.package import WRITTEN_BY_WRITE_PACKAGE, EnginePackage, write_package
from muon_ad_core.errors import StyleError
from muon_ad_core.palette import Palette

SUFFIX = ".safetensors"
FORMAT = "muon-ad-style"
PALETTE_FIELD = "palette"
"""Of a style, in its file and in an engine's manifest; those made by older releases have none."""
_NAME = re.compile(r"[\w][\w .-]{0,63}")


@dataclass(frozen=True, eq=False)
class Style:
    """What an engine knows of a style: its code (code_length,) float32, and its palette where that was kept."""

    code: np.ndarray
    palette: Palette | None = None

    def mixed(self, other: Style, share: float) -> Style:
        """With a share, from 0 to 1, of another style."""
        palette = self.palette.mixed(other.palette, share) if self.palette and other.palette else None
        return Style((1 - share) * self.code + share * other.code, palette)


def mean_style(styles: Sequence[Style]) -> Style:
    """The mean of one or several."""
    palettes = [style.palette for style in styles if style.palette]
    code = np.mean([style.code for style in styles], axis=0)
    return Style(code, Palette.mean_of(palettes) if len(palettes) == len(styles) else None)


def style_folder(package: EnginePackage) -> Path:
    """Where the user's styles for engines of this name lie."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(data) / "muon_ad/style_codes" / package.name


def style_path(package: EnginePackage, name: str) -> Path:
    """The file of one of the user's styles; raises StyleError for a name that cannot be one."""
    if not _NAME.fullmatch(name):
        raise StyleError(f"'{name}' cannot name a style: use letters, digits, '_', '-', '.' and blanks, at most 64")
    return style_folder(package) / f"{quote(name)}{SUFFIX}"


def write_style(path: Path, package: EnginePackage, name: str, style: Style) -> None:
    """Write a style file; raises StyleError when the folder cannot be written."""
    about = {
        "format": FORMAT,
        "name": name,
        "engine": f"{package.name} {package.version}",
        "encoder": _encoder(package),
    }
    arrays = {"code": np.ascontiguousarray(style.code, np.float32)}
    if style.palette:
        arrays[PALETTE_FIELD] = style.palette.to_array()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, path, metadata=about)
    except (OSError, SafetensorError) as error:
        raise StyleError(f"{path} cannot be written ({error}): check the folder's permissions") from None


def read_style(path: Path, package: EnginePackage) -> tuple[str, Style]:
    """Name and style of a style file; raises StyleError when it is damaged or not for this engine."""
    try:
        with safe_open(path, "numpy") as stream:
            about = stream.metadata() or {}
            code = stream.get_tensor("code")
            has_palette = PALETTE_FIELD in list(stream.keys())
            palette = Palette.from_array(stream.get_tensor(PALETTE_FIELD)) if has_palette else None
    except (OSError, SafetensorError, ValueError) as error:
        raise StyleError(f"{path} cannot be read as a style ({error}): make it again with muon-ad style add") from None
    if about.get("format") != FORMAT:
        raise StyleError(f"{path} is not a style file: make one with muon-ad style add")
    if about.get("encoder") != _encoder(package):
        raise StyleError(
            f"style {path} was made for engine {about.get('engine')}, {package.name} {package.version} has another "
            "encoder: make it again from its picture with muon-ad style add"
        )
    if code.shape != (package.manifest["code_length"],):
        raise StyleError(f"style {path} holds a code of another length: make it again with muon-ad style add")
    return about.get("name", path.stem), Style(code.astype(np.float32), palette)


def _encoder(package: EnginePackage) -> str:
    """Checksum of the package's encoder, which tells what its codes mean."""
    return str(package.manifest["files"][package.manifest["encoder"]])


def user_style_files(package: EnginePackage) -> list[Path]:
    """The files in the user's folder, also those that belong to other encoders."""
    try:
        return sorted(style_folder(package).glob(f"*{SUFFIX}"))
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return []


def user_styles(package: EnginePackage) -> dict[str, Style]:
    """The user's styles that this engine can use; the others wait until their engine is used again."""
    styles = {}
    for path in user_style_files(package):
        try:
            name, style = read_style(path, package)
        except StyleError:
            continue
        styles[name] = style
    return styles


def shipped_styles(package: EnginePackage) -> dict[str, Style]:
    """The styles in the package; raises StyleError for a palette that is none."""
    entries = {style["name"]: style for style in package.manifest["styles"]}
    codes = load_file(package.path(package.manifest["styles_file"]))
    return {name: Style(code, _palette_of(entries.get(name, {}), package)) for name, code in codes.items()}


def _palette_of(entry: Mapping[str, Any], package: EnginePackage) -> Palette | None:
    if PALETTE_FIELD not in entry:
        return None
    try:
        return Palette.from_array(np.array(entry[PALETTE_FIELD], np.float32))
    except (TypeError, ValueError) as error:
        raise StyleError(
            f"the palette of style {entry['name']} in engine {package.name} is damaged ({error}): copy the engine again"
        ) from None


def write_shipped(package: EnginePackage, styles: Mapping[str, Style]) -> None:
    """Make `styles` those of the package itself, and its manifest right again.

    Raises StyleError when the package cannot be written.
    """
    known = {style["name"]: style for style in package.manifest["styles"]}
    fields = {key: value for key, value in package.manifest.items() if key not in WRITTEN_BY_WRITE_PACKAGE}
    names = [name for name in known if name in styles] + [name for name in styles if name not in known]
    fields["styles"] = [style_entry(known.get(name, {"name": name}), styles[name]) for name in names]
    try:
        # Written beside and moved: a broken off write must not leave half an engine.
        part = package.root / "styles.part"
        save_file({name: style.code for name, style in styles.items()}, part)
        os.replace(part, package.path(package.manifest["styles_file"]))
        write_package(package.root, json.loads(json.dumps(fields)), package.manifest["files"])
    except (OSError, SafetensorError) as error:
        raise StyleError(f"engine {package.root} cannot be written ({error}): leave out --in-package") from None


def style_entry(origin: Mapping[str, Any], style: Style) -> dict[str, Any]:
    """For an engine's manifest: a style with its name, and artist and work where `origin` tells them."""
    entry = {"name": origin["name"], "artist": "", "work": "", **origin}
    if style.palette:
        entry[PALETTE_FIELD] = np.round(style.palette.to_array().astype(float), 1).tolist()
    return entry
