#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make docs/images/styles.jpg: a photograph that ships with scikit-image, in every style of the student.

. ./env.sh && python scripts/styles_picture.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from skimage import data

from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.stylize import Stylizer

PICTURE = Path(__file__).resolve().parents[1] / "docs/images/styles.jpg"
COLUMNS = 4
SHOWN = (320, 240)  # pixels of each picture, painted at twice that size
CAPTION = 22  # pixels below each
JPEG_QUALITY = 84


def main() -> None:
    stylizer = Stylizer(EnginePackage.load(find_engine("student")))
    stylizer.set_level("fine")
    frame = cv2.resize(data.chelsea()[:, 25:425], (2 * SHOWN[0], 2 * SHOWN[1]), interpolation=cv2.INTER_CUBIC)
    tiles = [painted(stylizer, frame, name) for name in stylizer.style_names()]
    rows = [np.hstack(tiles[first : first + COLUMNS]) for first in range(0, len(tiles), COLUMNS)]
    sheet = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(PICTURE), sheet, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def painted(stylizer: Stylizer, frame: np.ndarray, style: str) -> np.ndarray:
    """The frame in a style, made smaller, above the style's name: (H, W, 3) uint8."""
    stylizer.set_style(style)
    picture = cv2.resize(stylizer.run(frame), SHOWN, interpolation=cv2.INTER_AREA)
    caption = np.full((CAPTION, SHOWN[0], 3), 255, np.uint8)
    cv2.putText(caption, style, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([picture, caption])


if __name__ == "__main__":
    main()
