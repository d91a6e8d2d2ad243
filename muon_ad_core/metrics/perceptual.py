# SPDX-License-Identifier: Apache-2.0
"""Metrics on the features of SqueezeNet 1.1: LPIPS, style distance, and features for FID. Needs torch.

Weights are read from files the user names; nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muon_ad_core.distill.features import SqueezeNetFeatures, load_feature_network
from muon_ad_core.distill.losses import moment_distance, moments
from muon_ad_core.errors import UserError

NAME = "squeeze"
LPIPS_TAPS = (1, 4, 7, 9, 10, 11, 12)  # the ReLU outputs that Zhang et al. compare
STYLE_TAPS = (1, 4, 7, 9)
POOLED_TAP = 12
HEAD_FILES = {"lpips": "weights/v0.1/squeeze.pth", "torchmetrics": "functional/image/lpips_models/squeeze.pth"}
EPSILON = 1e-10


class PerceptualNetwork:
    """The feature network, and what is measured with it. Pictures: (B, H, W, 3) uint8 RGB, or (B, 3, H, W) in -1..1."""

    name = NAME

    def __init__(self, weights: Path, heads: Path | None = None) -> None:
        """`weights`: SqueezeNet 1.1 (safetensors, torchvision's names). `heads`: linear heads of LPIPS v0.1.

        Without `heads` those of an installed lpips or torchmetrics package are taken once LPIPS is asked for.
        Raises UserError when a file is missing or holds something else.
        """
        self._network: SqueezeNetFeatures = load_feature_network(weights)
        self._heads_file = heads
        self._heads: list[Tensor] = []

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features for FID: means over positions of the last layer's features, (B, 512)."""
        return self._features(pictures, (POOLED_TAP,))[POOLED_TAP].mean(dim=(2, 3)).numpy()

    def lpips(self, a: NDArray[np.uint8] | Tensor, b: NDArray[np.uint8] | Tensor) -> NDArray[np.float64]:
        """LPIPS[squeeze] v0.1 of each pair, (B,), >= 0 (Zhang et al., 2018). Raises UserError without heads."""
        self._heads = self._heads or load_heads(self._heads_file)
        found, wanted = (self._features(pictures, LPIPS_TAPS) for pictures in (a, b))
        total = torch.zeros(len(a))
        for tap, head in zip(LPIPS_TAPS, self._heads, strict=True):
            difference = (_unit(found[tap]) - _unit(wanted[tap])).square()
            total += (difference * head).sum(1).mean(dim=(1, 2))
        return total.numpy().astype(np.float64)

    def style_distance(self, pictures: NDArray[np.uint8], style: NDArray[np.uint8], kind: str = "gram") -> Any:
        """Relative squared distance of feature statistics, (B,), mean over layers; 0: equal; >= 0.

        style: pictures (1, H, W, 3) or (B, H, W, 3), of any size. kind: "gram" compares products of features
        (Gatys et al., 2016), "moments" means and covariances.
        """
        found, wanted = self._features(pictures, STYLE_TAPS), self._features(style, STYLE_TAPS)
        measure = {"gram": gram_distance, "moments": _moment_distance}[kind]
        return torch.stack([measure(found[tap], wanted[tap]) for tap in STYLE_TAPS]).mean(0).numpy().astype(np.float64)

    def _features(self, pictures: NDArray[np.uint8] | Tensor, taps: tuple[int, ...]) -> dict[int, Tensor]:
        if not isinstance(pictures, Tensor):
            pictures = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        with torch.inference_mode():
            return self._network(pictures, taps)


def load_heads(path: Path | None = None) -> list[Tensor]:
    """The seven linear heads of LPIPS[squeeze] v0.1, (C, 1, 1) each; raises UserError when they cannot be had."""
    path = path or _installed_heads()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return [content[f"lin{number}.model.1.weight"][0] for number in range(len(LPIPS_TAPS))]
    except (OSError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError):
        raise UserError(f"{path} does not hold LPIPS heads: give squeeze.pth of the lpips package (v0.1)") from None


def _installed_heads() -> Path:
    """The file in an installed package, which need not be importable itself."""
    for package, file in HEAD_FILES.items():
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (Path(folder) / file).is_file():
                return Path(folder) / file
    raise UserError("LPIPS needs its linear heads: pip install --no-deps lpips, or name squeeze.pth by --lpips-heads")


def _unit(features: Tensor) -> Tensor:
    """Features (B, C, H, W) scaled to length 1 along the channels."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + EPSILON)


def _gram(features: Tensor) -> Tensor:
    flat = features.flatten(2).double()
    return flat @ flat.mT / flat.shape[2]


def gram_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Relative squared distance (B,) of the Gram matrices of features (B, C, H, W); their sizes may differ."""
    target = _gram(wanted)
    return (_gram(found) - target).square().sum((1, 2)) / target.square().sum((1, 2))


def _moment_distance(found: Tensor, wanted: Tensor) -> Tensor:
    return moment_distance(moments(found), moments(wanted)).double()
