# SPDX-License-Identifier: Apache-2.0
"""Made pictures and a feature network with random weights, for trainings of networks that paint."""

from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def painting_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos/ (6, and a broken one), styles/ (styles_0 to styles_2) and features.safetensors."""
    torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")
    from safetensors.torch import save_file

    from muon_ad_core.distill.features import SqueezeNetFeatures

    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for folder, count in (("photos", 6), ("styles", 3)):
        (root / folder).mkdir()
        for index in range(count):
            small = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            picture = cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(root / folder / f"{folder}_{index}.png"), picture)
    (root / "photos" / "broken.png").write_bytes(b"not a picture")
    torch.manual_seed(0)
    weights = {k: v for k, v in SqueezeNetFeatures().state_dict().items() if k.startswith("features.")}
    save_file(weights, root / "features.safetensors")
    return root
