# SPDX-License-Identifier: Apache-2.0
"""The order in which people number files."""

from __future__ import annotations

import re
from pathlib import Path


def natural_order(path: Path) -> list[str | int]:
    """Sorting key by file name in which numbers count as numbers: frame2 before frame10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", path.name)]
