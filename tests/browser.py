"""A real browser for tests: headless Chromium that the system has, driven by selenium.

    with chromium(tmp_path, width=1280, dark=True) as browser:
        browser.get(page.as_uri())

Nothing is downloaded. Where the browser, its driver or selenium is missing, the test is skipped and says so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
    " --host-resolver-rules=MAP\x20*\x20~NOTFOUND"
)


def find() -> tuple[str, str]:
    """(browser, driver), or the test is skipped."""
    pytest.importorskip("selenium", reason="needs selenium: pip install 'tmcli[test]'")
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    return browser, driver


@contextmanager
def chromium(
    folder: Path, *, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False
) -> Iterator[Any]:
    """A browser with a new profile in `folder`, its console kept."""
    browser, driver = find()
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in FLAGS.replace("\x20*\x20", "\0").split():
        options.add_argument(flag.replace("\0", " * "))
    options.add_argument(f"--user-data-dir={folder / 'profile'}")
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if phone:
        metrics = {"width": width, "height": height, "pixelRatio": 2.0, "mobile": True}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    os.environ["SE_OFFLINE"] = "true"  # selenium would look for browsers and drivers of its own
    driven = webdriver.Chrome(options, Service(driver))
    try:
        wishes = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        driven.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": features}
        )  # nothing moves under a click
        driven.set_script_timeout(60)
        yield driven
    finally:
        driven.quit()
