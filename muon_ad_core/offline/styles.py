# SPDX-License-Identifier: Apache-2.0
"""What a user may name as a style: one of the engine's, one of the user's, a style file, or any picture."""

from __future__ import annotations

from pathlib import Path

from muon_ad_core.errors import StyleError
from muon_ad_core.offline.stills import read_still
from muon_ad_core.style_files import SUFFIX, read_style
from muon_ad_core.stylize import Stylizer


def resolve_style(stylizer: Stylizer, text: str) -> str:
    """The style's name in `stylizer`; a picture is encoded on the spot. Raises StyleError or SourceError."""
    if text in stylizer.style_names():
        return text
    path = Path(text).expanduser()
    if not path.is_file():
        raise StyleError(
            f"'{text}' is neither a style nor a file: name a picture, or one of {', '.join(stylizer.style_names())}"
        )
    if path.suffix == SUFFIX:
        stylizer.keep_style(text, read_style(path, stylizer.package)[1])
    else:
        stylizer.add_style(text, read_still(path).rgb)
    return text
