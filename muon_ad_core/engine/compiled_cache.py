# SPDX-License-Identifier: Apache-2.0
"""Compiled graphs in the user's cache folder: a node that is started again need not compile its engine again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from muon_ad_core.engine.package import sha256

MOST_KEPT = 32
"""Files in the folder, each of some megabytes; those that were used longest ago go."""
_DIGEST_SIZE = 32


def cache_folder() -> Path:
    """Where compiled graphs are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "muon_ad/compiled"


class CompiledCache:
    """The compiled forms of one graph file, one for each set of input shapes.

    A form is used only by the library, on the processor and with the settings that made it, and only while its
    checksum is right. Where the folder cannot be written, nothing is kept, and graphs are compiled each time.
    """

    def __init__(self, graph: Path, compiler: str) -> None:
        """`compiler`: everything besides the graph and its shapes that the compiled form depends on, in words.

        Raises OSError when the graph cannot be read.
        """
        self._prefix = hashlib.sha256(f"{sha256(graph)} {compiler}".encode()).hexdigest()[:32]

    @property
    def filled(self) -> bool:
        """Whether some compiled form is there; the graph was understood then."""
        try:
            return any(cache_folder().glob(f"{self._prefix}-*"))
        except (OSError, RuntimeError):  # RuntimeError: a user without a home
            return False

    def read(self, shapes: str) -> bytes | None:
        """The compiled form for these input shapes; None when there is none, or it is damaged."""
        try:
            path = self._path(shapes)
            content = path.read_bytes()
            os.utime(path)
        except (OSError, RuntimeError):
            return None
        digest, compiled = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
        return compiled if hashlib.sha256(compiled).digest() == digest else None

    def write(self, shapes: str, compiled: bytes) -> None:
        """Keep a compiled form. Other processes see all of it or nothing."""
        with contextlib.suppress(OSError, RuntimeError):
            path = self._path(shapes)
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
                part.write(hashlib.sha256(compiled).digest() + compiled)
            os.replace(part.name, path)
            _thin_out(path.parent)

    def _path(self, shapes: str) -> Path:
        return cache_folder() / f"{self._prefix}-{hashlib.sha256(shapes.encode()).hexdigest()[:32]}"


def _thin_out(folder: Path) -> None:
    """Remove what was used longest ago, parts that a killed process has left among it."""
    newest_last = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    for path in newest_last[:-MOST_KEPT]:
        path.unlink(missing_ok=True)
