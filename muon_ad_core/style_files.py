# SPDX-License-Identifier: Apache-2.0
"""Styles of the user's own: files of a few hundred bytes with the code that an engine's encoder made of a picture.

They lie beside the engine package in the user's data folder, so that an engine that cannot be written, or is replaced
by a newer one, keeps or refuses them knowingly. A code means something only to engines that have the encoder it is of.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from muon_ad_core.engine.package import EnginePackage, write_package
from muon_ad_core.errors import StyleError

SUFFIX = ".safetensors"
FORMAT = "muon-ad-style"
_NAME = re.compile(r"[\w][\w .-]{0,63}")


def style_folder(package: EnginePackage) -> Path:
    """Where the user's styles for engines of this name lie."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(data) / "muon_ad/style_codes" / package.name


def style_path(package: EnginePackage, name: str) -> Path:
    """The file of one of the user's styles; raises StyleError for a name that cannot be one."""
    if not _NAME.fullmatch(name):
        raise StyleError(f"'{name}' cannot name a style: use letters, digits, '_', '-', '.' and blanks, at most 64")
    return style_folder(package) / f"{quote(name)}{SUFFIX}"


def write_style(path: Path, package: EnginePackage, name: str, code: np.ndarray) -> None:
    """Write a style file; raises StyleError when the folder cannot be written."""
    about = {
        "format": FORMAT,
        "name": name,
        "engine": f"{package.name} {package.version}",
        "encoder": _encoder(package),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"code": np.ascontiguousarray(code, np.float32)}, path, metadata=about)
    except (OSError, SafetensorError) as error:
        raise StyleError(f"{path} cannot be written ({error}): check the folder's permissions") from None


def read_style(path: Path, package: EnginePackage) -> tuple[str, np.ndarray]:
    """Name and code (code_length,) of a style file; raises StyleError when it is damaged or not for this engine."""
    try:
        with safe_open(path, "numpy") as stream:
            about = stream.metadata() or {}
            code = stream.get_tensor("code")
    except (OSError, SafetensorError) as error:
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
    return about.get("name", path.stem), code.astype(np.float32)


def _encoder(package: EnginePackage) -> str:
    """Checksum of the package's encoder, which tells what its codes mean."""
    return str(package.manifest["files"][package.manifest["encoder"]])


def user_style_files(package: EnginePackage) -> list[Path]:
    """The files in the user's folder, also those that belong to other encoders."""
    try:
        return sorted(style_folder(package).glob(f"*{SUFFIX}"))
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return []


def user_codes(package: EnginePackage) -> dict[str, np.ndarray]:
    """Codes of the user's styles that this engine can use; the others wait until their engine is used again."""
    codes = {}
    for path in user_style_files(package):
        try:
            name, code = read_style(path, package)
        except StyleError:
            continue
        codes[name] = code
    return codes


def shipped_codes(package: EnginePackage) -> dict[str, np.ndarray]:
    """Codes of the styles in the package."""
    return dict(load_file(package.path(package.manifest["styles_file"])))


def write_shipped(package: EnginePackage, codes: Mapping[str, np.ndarray]) -> None:
    """Make `codes` the styles of the package itself, and its manifest right again.

    Raises StyleError when the package cannot be written.
    """
    known = {style["name"]: style for style in package.manifest["styles"]}
    fields = {key: value for key, value in package.manifest.items() if key not in ("format", "format_version", "files")}
    kept = [style for name, style in known.items() if name in codes]
    fields["styles"] = kept + [{"name": name, "artist": "", "work": ""} for name in codes if name not in known]
    try:
        # Written beside and moved: a broken off write must not leave half an engine.
        part = package.root / "styles.part"
        save_file(dict(codes), part)
        os.replace(part, package.path(package.manifest["styles_file"]))
        write_package(package.root, json.loads(json.dumps(fields)), package.manifest["files"])
    except (OSError, SafetensorError) as error:
        raise StyleError(f"engine {package.root} cannot be written ({error}): leave out --in-package") from None
