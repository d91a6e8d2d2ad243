# SPDX-License-Identifier: Apache-2.0
"""The optional library pyrealsense2."""

from __future__ import annotations

from typing import Any

from muon_ad_core.errors import SourceError


def load_library() -> Any:
    """The module pyrealsense2. Raises SourceError with the remedy when it cannot be imported."""
    try:
        import pyrealsense2
    except ModuleNotFoundError:
        raise SourceError(
            "RealSense cameras need pyrealsense2, which is not installed: run 'pip install pyrealsense2'"
        ) from None
    except ImportError as error:
        raise SourceError(
            f"pyrealsense2 cannot be loaded ({error}): try 'sudo apt-get install -y libusb-1.0-0'"
        ) from None
    return pyrealsense2
