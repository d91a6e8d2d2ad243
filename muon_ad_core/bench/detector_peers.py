# SPDX-License-Identifier: Apache-2.0
"""Small published detectors to compare with, found in a folder by their usual file names, as engine packages."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from muon_ad_core.detect.foreign import ForeignDetector, write_foreign_package
from muon_ad_core.distill.coco_classes import COCO_CLASSES
from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.engine.runtime import NCNN_SUFFIX
from muon_ad_core.errors import ParameterError

# YOLOX before release 0.1.1, its focus layer taken out of the graph: ImageNet's mean and deviation, RGB.
YOLOX_WITHOUT_FOCUS = {
    "layout": "focus",
    "channels": "RGB",
    "mean": [123.675, 116.28, 103.53],
    "deviation": [58.395, 57.12, 57.375],
}


def known_peers(folder: Path) -> Mapping[str, ForeignDetector]:
    """All peers that this module knows, by name, as their files would lie in `folder`."""
    return {
        "FastestDet": ForeignDetector(folder / "FastestDet.onnx", "fastestdet", COCO_CLASSES, licence="BSD-3-Clause"),
        "Yolo-FastestV2": ForeignDetector(folder / "yolo-fastestv2-opt.param", "yolo-fastestv2", COCO_CLASSES),
        "NanoDet-m": ForeignDetector(folder / "nanodet-m.param", "nanodet", COCO_CLASSES),
        "NanoDet-m-416": ForeignDetector(folder / "nanodet-m-416.param", "nanodet", COCO_CLASSES, size=(416, 416)),
        "YOLOX-nano": ForeignDetector(
            folder / "yolox-nano-nofocus.param", "yolox", COCO_CLASSES, weights=folder / "yolox-nano.bin",
            preprocessing=YOLOX_WITHOUT_FOCUS,
        ),
    }  # fmt: skip


def open_peers(folder: Path, packages: Path) -> dict[str, EnginePackage]:
    """Packages, written below `packages`, of the peers whose files lie in `folder`; its own packages come as they are.

    Those that only ncnn reads are left out where it is not installed, and standard error says so. Raises ParameterError
    when there is none.
    """
    found = {path.parent.name: EnginePackage.load(path.parent) for path in sorted(folder.glob("*/manifest.json"))}
    for name, peer in known_peers(folder).items():
        if not peer.file.is_file():
            continue
        if peer.file.suffix == NCNN_SUFFIX and not importlib.util.find_spec("ncnn"):
            print(f"{name} is left out: it needs ncnn (pip install ncnn)", file=sys.stderr)
        else:
            found[name] = write_foreign_package(peer, packages / name)
    if not found:
        files = ", ".join(peer.file.name for peer in known_peers(folder).values())
        raise ParameterError(f"there is no peer in {folder}: it needs engine packages, or files named {files}")
    return found
