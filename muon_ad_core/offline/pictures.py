# SPDX-License-Identifier: Apache-2.0
"""A picture, or every picture below a folder, stylised into another file or folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from muon_ad_core.errors import SourceError, UserError
from muon_ad_core.offline.stills import Still, read_still, write_still
from muon_ad_core.offline.tiles import stylize_picture
from muon_ad_core.sources.natural import natural_order
from muon_ad_core.sources.pictures import SUFFIXES
from muon_ad_core.stylize import Stylizer

Report = Callable[[int, int, str], None]
"""Called with the number of files done, of all, and a sentence about the last one when it was refused."""


def stylize_file(stylizer: Stylizer, source: Path, target: Path) -> None:
    """Stylise one picture; its transparency is kept. Raises SourceError when a file cannot be read or written."""
    if target.resolve() == source.resolve():
        raise SourceError(f"the result would replace {source}: choose another file with -o")
    still = read_still(source)
    write_still(target, Still(stylize_picture(stylizer, still.rgb), still.alpha))


def find_pictures(folder: Path) -> list[Path]:
    """Picture files below a folder, in natural order; raises SourceError when there is none."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not found:
        raise SourceError(f"the folder {folder} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return sorted(found, key=lambda path: (path.parent, natural_order(path)))


def stylize_folder(stylizer: Stylizer, source: Path, target: Path, report: Report) -> list[str]:
    """Stylise every picture below `source` under its own name below `target`; returns why files were refused.

    Raises SourceError when there is no picture, or `target` is `source`.
    """
    if target.resolve() == source.resolve():
        raise SourceError(f"the results would replace the pictures in {source}: choose another folder with -o")
    paths = [path for path in find_pictures(source) if target.resolve() not in path.resolve().parents]
    refused: list[str] = []
    for done, path in enumerate(paths, 1):
        problem = ""
        try:
            stylize_file(stylizer, path, target / path.relative_to(source))
        except UserError as error:
            problem = str(error)
            refused.append(problem)
        report(done, len(paths), problem)
    return refused
