#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make docs/images/view.jpg: the live view of the joint task on its emulated camera, as Chromium shows it.

. ./env.sh && python scripts/view_picture.py     (needs requirements/test.txt, a Chromium and an idle machine)
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

from muon_ad_core.bench.view_page import STYLISED_PICTURE, find_chromium
from muon_ad_ros.bringup import joint_task, parameter_file
from muon_ad_ros.environment import child_environment
from muon_ad_ros.starter import Starter, StartOptions

PICTURE = Path(__file__).resolve().parents[1] / "docs/images/view.jpg"
PORT = 8198
STYLE = "hokusai_great_wave"
SIZE = {"width": 1360, "height": 1180}
SETTLE = 50.0  # seconds, so that the plots are full
PATIENCE_MS = 120_000.0
JPEG_QUALITY = 82


def main() -> None:
    chromium = find_chromium()
    if chromium is None:
        sys.exit("no Chromium is installed: sudo apt-get install -y chromium")
    options = StartOptions(
        namespace="view_picture",
        parameter_file=parameter_file("joint_task"),
        overrides={"live_view": {"port": str(PORT)}, "style_transfer": {"style": STYLE}},
    )
    starter = Starter(joint_task(view=True), options, child_environment(), io.StringIO())
    starter.start()
    try:
        wait(starter, 15.0)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=PATIENCE_MS)
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(PATIENCE_MS)
            page.goto(f"http://127.0.0.1:{PORT}/")
            page.wait_for_selector(STYLISED_PICTURE)
            wait(starter, SETTLE)
            save(page)
            browser.close()
    finally:
        starter.stop()


def wait(starter: Starter, seconds: float) -> None:
    """Let the nodes run for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        starter.step(0.1)


def save(page: Page) -> None:
    """Write what the page shows."""
    shown = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    cv2.imwrite(str(PICTURE), shown, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


if __name__ == "__main__":
    main()
