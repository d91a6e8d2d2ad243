# SPDX-License-Identifier: Apache-2.0
"""Decoders by the name that a manifest gives in "decoder"; its entry "decoding" holds the decoder's settings."""

from __future__ import annotations

from muon_ad_core.detect.decoders.anchors import AnchorDecoder
from muon_ad_core.detect.decoders.base import Decoder
from muon_ad_core.detect.decoders.distribution import DistributionDecoder
from muon_ad_core.detect.decoders.fastestdet import FastestDetDecoder
from muon_ad_core.detect.decoders.yolox import YoloxDecoder

DECODERS: dict[str, type[Decoder]] = {
    "muon_ad_dfl": DistributionDecoder,
    "nanodet": DistributionDecoder,
    "yolox": YoloxDecoder,
    "fastestdet": FastestDetDecoder,
    "yolo_fastestv2": AnchorDecoder,
}
