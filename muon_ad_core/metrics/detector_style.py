# SPDX-License-Identifier: Apache-2.0
"""Style distance by the features of the detector that ships: a judge that no network that paints has learned from.

Needs torch, but no weights of others.
"""

from __future__ import annotations

from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muon_ad_core.distill.detector_package import read_network
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.metrics.perceptual import gram_distance
from muon_ad_core.nets.detector import INPUT_BLOCK
from muon_ad_core.nets.student import pack_pixels


class DetectorStyle:
    """Compares Gram matrices (Gatys et al., 2016) after the stem and each stage, at 1/4 to 1/32 resolution."""

    name = "detector"

    def __init__(self, package: EnginePackage | None = None) -> None:
        """package: a detector, None for the one that ships; raises EngineError where it is not installed."""
        self._network = read_network(package or EnginePackage.load(find_engine(self.name))).eval()
        self._style: NDArray[np.uint8] | None = None
        self._wanted: list[Tensor] = []

    def style_distance(self, picture: NDArray[np.uint8], style: NDArray[np.uint8]) -> float:
        """Relative squared distance of two pictures RGB uint8 (H, W, 3), mean over layers; 0: equal; >= 0.

        What a style has is kept for the next picture that is compared with the same array, which must not change.
        """
        if style is not self._style:
            self._style, self._wanted = style, self._features(style)
        pairs = zip(self._features(picture), self._wanted, strict=True)
        return fmean(float(gram_distance(found, wanted)[0]) for found, wanted in pairs)

    @torch.inference_mode()
    def _features(self, picture: NDArray[np.uint8]) -> list[Tensor]:
        """Of whole blocks of the picture: a last part of one is left out."""
        height, width = (side // INPUT_BLOCK * INPUT_BLOCK for side in picture.shape[:2])
        whole = torch.from_numpy(np.ascontiguousarray(picture[:height, :width])).permute(2, 0, 1)[None]
        features = self._network.stem(pack_pixels(whole.float() / 255, INPUT_BLOCK))
        found = [features]
        for stage in self._network.stages:
            features = stage(features)
            found.append(features)
        return found
