# SPDX-License-Identifier: Apache-2.0
"""Photographs and styles that a benchmark paints: from folders, or of scikit-image where none is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.errors import ParameterError
from muon_ad_core.sources.photographs import load_photograph

CONTENTS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
STYLES = ("hubble_deep_field.jpg", "ihc.png", "retina.jpg")

NamedPicture = tuple[str, "NDArray[np.uint8]"]
"""What a picture is called, and RGB uint8 (H, W, 3)."""


def named_pictures(folder: Path | None, otherwise: Sequence[str]) -> list[NamedPicture]:
    """Names and pictures of a folder, or scikit-image's of the names `otherwise`; ParameterError without any."""
    if folder is None:
        return [(Path(name).stem, load_photograph(name)) for name in otherwise]
    from muon_ad_core.distill.pictures import list_pictures, read_picture

    found = [(path.stem, read_picture(path)) for path in list_pictures(folder)]
    known = [(name, picture) for name, picture in found if picture is not None]
    if not known:
        raise ParameterError(f"{folder} has no pictures that can be read: name a folder with some")
    return known


def evenly_chosen(pictures: Sequence[NamedPicture], count: int) -> list[NamedPicture]:
    """At most `count` of them, evenly spread over their order."""
    if count >= len(pictures):
        return list(pictures)
    return [pictures[index * len(pictures) // count] for index in range(count)]


def mixed_pairs(
    contents: Sequence[NamedPicture], styles: Sequence[NamedPicture]
) -> list[tuple[NamedPicture, NamedPicture]]:
    """Every content with every style, in an order in which a beginning of any length has most of both."""
    return [(content, styles[(row + turn) % len(styles)])
            for turn in range(len(styles)) for row, content in enumerate(contents)]  # fmt: skip
