"""Headless Chromium (Debian: ``chromium`` and ``chromium-driver``; Python: ``selenium``), for tests of figures."""

import shutil
from pathlib import Path

import pytest

FLAGS = (
    "headless=new no-sandbox disable-dev-shm-usage disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync hide-scrollbars force-device-scale-factor=1 force-color-profile=srgb "
    "font-render-hinting=none"
)


def start(profile: Path | None = None):
    """A driver; the test is skipped by name where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS.split():
        options.add_argument(f"--{flag}")
    if profile:
        options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def look(driver, address, *, width=1400, height=1000, dark=False):
    """Opens an address anew, in a window of this size."""
    driver.get("about:blank")
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    driver.get_log("browser")
    driver.get(address)


def complaints(driver):
    """What the browser has logged since `look`."""
    return [entry["message"] for entry in driver.get_log("browser")]
