# SPDX-License-Identifier: Apache-2.0
"""What a run of hours has measured so far, in a folder: the same command goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.bench.synthesis_figures import Painted, PairResult
from muon_ad_core.distill.picture_files import write_rgb
from muon_ad_core.distill.pictures import read_picture
from muon_ad_core.errors import ParameterError

SETTINGS = "settings.json"
Row = list[NDArray[np.uint8]]
"""Square pictures of one size: photograph, style, and what was painted."""


class KeptPairs:
    """A file of figures and a picture for each pair that was painted."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """settings: plain values, which all pairs share. Raises ParameterError when the folder's are others."""
        self._folder = folder
        path = folder / SETTINGS
        if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != settings:
            raise ParameterError(f"{folder} was begun with other settings: give another folder to --run")
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=1), encoding="utf-8")

    def find(self, pair: str, content: NDArray[np.uint8], style: NDArray[np.uint8]) -> tuple[PairResult, Row] | None:
        """Figures and row of a pair, None where it was not measured, of other pictures, or its files are damaged."""
        figures, sheet = self._files(pair)
        try:
            values = json.loads(figures.read_text(encoding="utf-8"))
            painted = {name: [Painted(**each) for each in curve] for name, curve in values["painted"].items()}
            result = PairResult(values["pair"], Painted(**values["unchanged"]), painted)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        whole = read_picture(sheet)
        if whole is None:
            return None
        row = [np.ascontiguousarray(each) for each in np.split(whole, whole.shape[1] // whole.shape[0], axis=1)]
        return (result, row) if np.array_equal(row[:2], [content, style]) else None

    def keep(self, result: PairResult, row: Sequence[NDArray[np.uint8]]) -> None:
        """Write a pair; its figures last, so that a broken off one is measured again."""
        figures, sheet = self._files(result.pair)
        write_rgb(sheet, np.hstack(row))
        part = figures.with_suffix(".part")
        part.write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
        os.replace(part, figures)

    def _files(self, pair: str) -> tuple[Path, Path]:
        stem = self._folder / quote(pair, safe=" ")
        return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.png")
