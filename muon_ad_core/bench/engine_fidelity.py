# SPDX-License-Identifier: Apache-2.0
"""How near the INT8 graphs come to the float network that they were made of, on photographs."""

from __future__ import annotations

import importlib.util

from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.errors import EngineError

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
SIZE = (320, 240)
EVERY_STYLE = 3
"""One style of so many is looked at."""


def int8_against_float(package: EnginePackage) -> dict[str, float | None]:
    """Mean SSIM a level, and the lowest of them; None without PyTorch, or without the student's weights."""
    names = [f"ssim_int8_float_{level.name}" for level in package.levels]
    if importlib.util.find_spec("torch") is None:
        return dict.fromkeys(["ssim_int8_float", *names])
    from muon_ad_core.distill.student_package import named_exit

    try:
        painters = [named_exit(package, level.name) for level in package.levels]
    except EngineError:
        return dict.fromkeys(["ssim_int8_float", *names])
    import cv2
    import numpy as np
    import torch

    from muon_ad_core.distill.pictures import to_picture, to_tensor
    from muon_ad_core.engine.finishing import Finisher
    from muon_ad_core.engine.grain import Grain, grain_of
    from muon_ad_core.metrics.image import ssim
    from muon_ad_core.sources.photographs import load_photograph
    from muon_ad_core.stylize import Stylizer

    stylizer, finish = Stylizer(package), Finisher()
    stylizer.set_most_pixels(SIZE[0] * SIZE[1])  # by every level as it is
    stylizer.set_palette(0.0)  # which is neither network's
    found: dict[str, list[float]] = {name: [] for name in names}
    for file in PHOTOGRAPHS:
        photograph = cv2.resize(load_photograph(file), SIZE, interpolation=cv2.INTER_AREA)
        grained = np.empty_like(photograph)
        Grain(grain_of(package), *photograph.shape[:2]).add(photograph, grained)
        for style in stylizer.style_names()[::EVERY_STYLE]:
            stylizer.set_style(style)
            code = torch.from_numpy(stylizer.style(style).code)[None]
            for painter, name in zip(painters, names):
                stylizer.set_level(painter.name)
                with torch.no_grad():
                    frame_code = code + painter.student.context(to_tensor([photograph]))
                    painted = to_picture(painter.student(to_tensor([grained]), frame_code, painter.exit)[0])
                expected = np.empty_like(photograph)
                finish.finish = painter.finish
                finish(painted, photograph, photograph, expected)
                found[name].append(ssim(stylizer.run(photograph), expected))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return {"ssim_int8_float": min(means.values()), **means}
