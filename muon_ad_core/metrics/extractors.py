# SPDX-License-Identifier: Apache-2.0
"""Feature extractors for FID: SqueezeNet weights, or any ONNX graph (an Inception network, for instance)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.errors import UserError
from muon_ad_core.metrics.distribution import FeatureExtractor


class OnnxExtractor:
    """A graph with one input (N, 3, H, W), RGB, uint8 in 0..255 or float32 in 0..1, and features (N, D) as output.

    Pictures are resized to the graph's H and W where these are fixed. The file's name is the extractor's.
    """

    def __init__(self, path: Path) -> None:
        """Raises UserError when the file is no such graph."""
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's exceptions have no common base
            raise UserError(f"{path} cannot be read as an ONNX graph: {str(error).splitlines()[0]}") from None
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] != 3:
            raise UserError(f"{path} must have one input of shape (N, 3, H, W) to extract features from pictures")
        self.name = path.stem
        self._input = inputs[0].name
        self._size = [side for side in inputs[0].shape[2:] if isinstance(side, int)]
        self._scaled = inputs[0].type != "tensor(uint8)"

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(self._size) == 2 and pictures.shape[1:3] != tuple(self._size):
            size = (self._size[1], self._size[0])
            pictures = np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures])
        batch = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
        values = batch.astype(np.float32) / 255.0 if self._scaled else batch
        features = self._session.run(None, {self._input: values})[0]
        return features.reshape(len(features), -1)


def open_extractor(path: Path) -> FeatureExtractor:
    """The extractor in a file: an .onnx graph, or SqueezeNet 1.1 weights (.safetensors; needs torch).

    Raises UserError when the file is neither.
    """
    if path.suffix == ".onnx":
        return OnnxExtractor(path)
    from muon_ad_core.metrics.perceptual import PerceptualNetwork

    return PerceptualNetwork(path)
