# SPDX-License-Identifier: Apache-2.0
"""What paints the photographs that are judged: levels of ours, a trained network for each style, the palette alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.bench.style_peers import recipe_of
from muon_ad_core.engine.finishing import Finish, Finisher
from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph
from muon_ad_core.palette import Palette, move_colours

if TYPE_CHECKING:
    from muon_ad_core.stylize import Stylizer

Pixels = NDArray[np.uint8]
JOHNSON, PALETTE = "Johnson", "palette"


@dataclass(frozen=True)
class Contender:
    """paint: RGB uint8 frame (H, W, 3) and the name of a style -> the painted frame; level: of ours, else empty."""

    name: str
    paint: Callable[[Pixels, str], Pixels]
    level: str = ""


def our_levels(stylizer: Stylizer, levels: list[str]) -> Iterator[Contender]:
    """Levels of the engine."""
    for level in levels:

        def paint(frame: Pixels, style: str, level: str = level) -> Pixels:
            stylizer.set_level(level)
            stylizer.set_style(style)
            return stylizer.run(frame).copy()

        yield Contender(f"Muon-AD {level}", paint, level)


def johnson_networks(graphs: Mapping[str, Path], threads: int = 0) -> Contender:
    """Networks in floating point by style, shown as they were trained to be; one is open at a time."""
    opened: dict[str, tuple[OnnxRuntimeGraph, Callable[[Pixels, Pixels], Pixels]]] = {}

    def paint(frame: Pixels, style: str) -> Pixels:
        if style not in opened:
            opened.clear()
            opened[style] = OnnxRuntimeGraph(graphs[style], threads), _finishing(recipe_of(graphs[style]))
        network, finished = opened[style]
        painted = network.run({"frame": frame[None]})["painted"][0]
        return finished(np.ascontiguousarray(painted[: frame.shape[0], : frame.shape[1]]), frame)

    return Contender(JOHNSON, paint)


def _finishing(recipe: Mapping[str, Any]) -> Callable[[Pixels, Pixels], Pixels]:
    """What the recipe of a training says is done to what is painted of a frame: (painted, frame) -> shown."""
    finisher, share = Finisher(Finish(**recipe.get("finish", {}))), recipe.get("palette_share", 0.0)
    wanted = Palette.from_array(np.array(recipe["palette"])) if share else None

    def finished(painted: Pixels, frame: Pixels) -> Pixels:
        if wanted is not None:
            move_colours(painted, Palette.of(painted), wanted, share)
        shown = np.empty_like(painted)
        finisher(painted, frame, frame, shown)
        return shown

    return finished


def palette(styles: Mapping[str, Pixels]) -> Contender:
    """AdaIN on pixels: each channel with the style's mean and deviation."""
    from muon_ad_core.distill.style_baselines import match_colour_moments

    return Contender(PALETTE, lambda frame, style: match_colour_moments(frame, styles[style]))


def photograph_itself() -> Contender:
    """The photograph as it is: what any measure says of it."""
    return Contender("photograph", lambda frame, style: frame)


def mixed(photograph: Pixels, painted: Pixels, share: float) -> Pixels:
    """The photograph with a share (0..1) of the painted picture, as a stylizer's strength."""
    return np.asarray(((1 - share) * photograph + share * painted.astype(np.float32)).round(), np.uint8)
