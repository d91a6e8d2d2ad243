# SPDX-License-Identifier: Apache-2.0
"""The photographs inside the installed scikit-image; nothing is downloaded, scikit-image is not imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.errors import SourceError


def photograph_path(file: str) -> Path:
    """Path of a picture in scikit-image's data folder; SourceError when it is not there."""
    spec = importlib.util.find_spec("skimage")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "data" / file
        if path.is_file():
            return path
    raise SourceError(
        f"the picture {file} of scikit-image is not on this machine: install it with "
        "'pip install scikit-image', or name a video, a picture or a camera as source"
    )


def load_photograph(file: str) -> NDArray[np.uint8]:
    """RGB picture, uint8, height x width x 3."""
    picture = cv2.imread(str(photograph_path(file)), cv2.IMREAD_COLOR)
    if picture is None:
        raise SourceError(f"the picture {photograph_path(file)} cannot be read: reinstall scikit-image")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
