#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make docs/images/synthesis.jpg: photographs that ship with scikit-image, painted by `muon-ad synthesize`.

The paintings are not part of the project: name a folder of them, whose files are called as below.

. ./env.sh && pip install -r requirements/train.txt && python scripts/synthesis_picture.py PAINTINGS
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from muon_ad_core.distill.picture_files import read_rgb
from muon_ad_core.distill.synthesis import Synthesis
from muon_ad_core.distill.synthesis_inputs import SynthesisInputs
from muon_ad_core.distill.synthesis_settings import SynthesisSettings
from muon_ad_core.distill.teachers.loader import load_teacher
from muon_ad_core.engine.frames import central_square

PICTURE = Path(__file__).resolve().parents[1] / "docs/images/synthesis.jpg"
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")
PAINTINGS = ("van_gogh_starry_night", "hokusai_great_wave", "munch_scream", "kandinsky_composition_vii")
SIZE = 320
CAPTION = 22  # pixels below each column
JPEG_QUALITY = 88


def main(paintings: Path) -> None:
    teacher, settings = load_teacher("teacher"), SynthesisSettings(size=SIZE)
    columns = []
    for name in PAINTINGS:
        style = read_rgb(paintings / f"{name}.jpg")
        tiles = []
        for photograph in PHOTOGRAPHS:
            content = central_square(getattr(data, photograph)(), SIZE)
            tiles.append(Synthesis(teacher, SynthesisInputs((style,), content, SIZE, SIZE), settings).run().picture)
        columns.append(np.vstack([*tiles, caption(name)]))
    sheet = cv2.cvtColor(np.hstack(columns), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(PICTURE), sheet, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def caption(text: str) -> np.ndarray:
    """A white strip (CAPTION, SIZE, 3) with the text."""
    strip = np.full((CAPTION, SIZE, 3), 255, np.uint8)
    cv2.putText(strip, text, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return strip


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("name the folder of paintings: python scripts/synthesis_picture.py PAINTINGS")
    main(Path(sys.argv[1]))
