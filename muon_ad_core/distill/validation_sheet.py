# SPDX-License-Identifier: Apache-2.0
"""Sheets of what a student paints, written as its training goes on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from muon_ad_core.distill.pictures import list_pictures, read_picture, to_picture, to_tensor
from muon_ad_core.distill.student_trainer import StudentTrainer
from muon_ad_core.engine.grain import Grain
from muon_ad_core.nets.student import LEVELS

CELL = (320, 240)
PHOTOGRAPHS = 4


class SheetWriter:
    """Follows a training: every so many steps a sheet of photographs (rows) under the shipped styles (columns)."""

    def __init__(self, trainer: StudentTrainer, photographs: Path, target: Path, every: int) -> None:
        """photographs: folder, of which some are shown at both levels; target: folder of the sheets."""
        self._trainer, self._target, self._every = trainer, target, every
        paths = list_pictures(photographs)
        chosen = (read_picture(path) for path in paths[:: -(-len(paths) // PHOTOGRAPHS)])
        self._photographs = [cv2.resize(p, CELL, interpolation=cv2.INTER_AREA) for p in chosen if p is not None]

    def _grained(self, photograph: np.ndarray) -> np.ndarray:
        result = np.empty_like(photograph)
        Grain(self._trainer.grain, *photograph.shape[:2]).add(photograph, result)
        return result

    def after_step(self) -> None:
        """Write a sheet when it is time."""
        if self._trainer.step % self._every == 0:
            self.write(self._target / f"sheet_{self._trainer.step:06d}.jpg")

    def save(self, file: Path) -> None:
        """Nothing to keep: sheets follow from the trainer's state."""

    def load(self, file: Path) -> None:
        """Nothing was kept."""

    @torch.no_grad()
    def write(self, path: Path) -> None:
        """One sheet of the averaged weights; two rows a photograph: level fast beside the original, level fine."""
        codes = [torch.from_numpy(code)[None] for code in self._trainer.style_codes().values()]
        student = self._trainer.average.student
        rows = []
        for photograph in self._photographs:
            for level in LEVELS:
                cells = [photograph if level == LEVELS[0] else np.full_like(photograph, 255)]
                context = student.context(to_tensor([photograph]))
                picture = to_tensor([self._grained(photograph)])
                cells += [to_picture(student(picture, code + context, level)[0]) for code in codes]
                rows.append(np.concatenate(cells, axis=1))
        sheet = cv2.cvtColor(np.concatenate(rows, axis=0), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])
