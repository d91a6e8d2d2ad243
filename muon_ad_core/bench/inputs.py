# SPDX-License-Identifier: Apache-2.0
"""Which files a measurement read: names, sizes and full SHA-256 sums, so that others can tell they have the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from muon_ad_core.errors import SourceError

_BLOCK = 1 << 20


def describe_input(path: Path | str, name: str = "") -> dict[str, Any]:
    """Name, files, bytes and SHA-256 of a file, or of a folder with all that is in it.

    A folder's sum is that of the lines "sum  relative/path" of its files in the order of their paths, which
    ``find . -type f | sort | xargs sha256sum | sha256sum`` repeats up to the leading "./".
    Raises SourceError when something cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            lines = (f"{hash_file(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
            digest = hashlib.sha256("".join(lines).encode()).hexdigest()
        else:
            files, digest = [path], hash_file(path)
        size = sum(file.stat().st_size for file in files)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    return {"name": name or path.name, "files": len(files), "bytes": size, "sha256": digest}


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
