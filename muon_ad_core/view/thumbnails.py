# SPDX-License-Identifier: Apache-2.0
"""Thumbnails of styles: one photograph, painted by the engine itself, once for each engine and style.

A helper process of the lowest priority paints them, so that the view itself never loads an engine; they stay in the
user's cache folder. Usage of the helper: ``python -m muon_ad_core.view.thumbnails JOB``, JOB being JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

import cv2

from muon_ad_core.engine.package import MANIFEST, EnginePackage, find_engine, sha256
from muon_ad_core.errors import UserError
from muon_ad_core.sources.photographs import load_photograph
from muon_ad_core.stylize import Stylizer

PHOTOGRAPH = "coffee.png"
PAINTED_SIZE = (384, 288)  # width, height
SIZE = (192, 144)
NICENESS = 19


def cache_folder() -> Path:
    """Where thumbnails are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "muon_ad/thumbnails"


class Thumbnails:
    """The thumbnails of one engine's styles."""

    def __init__(self, engine: str, folder: Path, changed: Callable[[], None]) -> None:
        """`engine` is a name or folder; `changed` is called, in another thread, when new ones are there.

        Raises EngineError when the engine is not on this machine, or damaged.
        """
        package = EnginePackage.load(find_engine(engine))
        self.origins = {style["name"]: _origin(style) for style in package.manifest.get("styles", ())}
        """What each style was made of: artist and work, where the manifest tells."""
        self._engine = package.root
        self._folder = folder / sha256(package.root / MANIFEST)[:16]
        self._changed = changed
        self._asked: set[str] = set()

    def path(self, style: str) -> Path | None:
        """The thumbnail's file, None while there is none."""
        path = self._folder / file_name(style)
        return path if path.is_file() else None

    def paint_missing(self, styles: Iterable[str], pictures: Mapping[str, Path]) -> None:
        """Have the missing ones painted; `pictures` are those of styles that are not part of the engine."""
        missing = [style for style in styles if style not in self._asked and self.path(style) is None]
        if missing:
            self._asked.update(missing)
            added = {style: str(pictures[style]) for style in missing if style in pictures}
            job = {"engine": str(self._engine), "folder": str(self._folder), "styles": missing, "pictures": added}
            threading.Thread(target=self._run, args=(json.dumps(job),), name="thumbnails", daemon=True).start()

    def renew(self, style: str) -> None:
        """The style has been made anew: its thumbnail is out of date."""
        self._asked.discard(style)
        (self._folder / file_name(style)).unlink(missing_ok=True)

    def _run(self, job: str) -> None:
        command = [sys.executable, "-m", "muon_ad_core.view.thumbnails", job]
        subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        self._changed()


def file_name(style: str) -> str:
    """A file name that any style name can have."""
    return f"{quote(style, safe='')}.jpg"


def paint(engine: Path, folder: Path, styles: Iterable[str], pictures: Mapping[str, str]) -> None:
    """Write `folder`/STYLE.jpg for every style the engine has or can make of its picture."""
    stylizer = Stylizer(EnginePackage.load(engine), threads=1)
    stylizer.set_level(stylizer.levels()[-1])
    photograph = cv2.resize(load_photograph(PHOTOGRAPH), PAINTED_SIZE, interpolation=cv2.INTER_AREA)
    folder.mkdir(parents=True, exist_ok=True)
    for style in styles:
        picture = cv2.imread(pictures[style], cv2.IMREAD_COLOR) if style in pictures else None
        if picture is not None:
            stylizer.add_style(style, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        if style not in stylizer.style_names():
            continue  # somebody made it at the node from a picture we do not know
        stylizer.set_style(style)
        small = cv2.resize(stylizer.run(photograph), SIZE, interpolation=cv2.INTER_AREA)
        unfinished = folder / f".{os.getpid()}.jpg"
        cv2.imwrite(str(unfinished), cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
        unfinished.rename(folder / file_name(style))


def _origin(style: Mapping[str, str]) -> dict[str, str]:
    return {key: style[key] for key in ("artist", "work") if style.get(key)}


def main() -> None:
    os.nice(NICENESS)
    job = json.loads(sys.argv[1])
    try:
        paint(Path(job["engine"]), Path(job["folder"]), job["styles"], job["pictures"])
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
