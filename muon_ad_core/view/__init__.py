# SPDX-License-Identifier: Apache-2.0
"""The live view's web side: a page, who may see it, and what is sent to it. Knows nothing of ROS."""

from __future__ import annotations

import importlib.util

from muon_ad_core.errors import UserError


def require_web_server() -> None:
    """Raise UserError when the library the page is served with is not installed."""
    if importlib.util.find_spec("aiohttp") is None:
        raise UserError("the live view needs aiohttp, which is not installed: pip install -r requirements/view.txt")
