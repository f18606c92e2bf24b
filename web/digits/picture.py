"""Draws the page of digits for the documentation, in headless Chromium, with more than half of a recording heard.

Run it behind ``make web-digits``: ``python web/digits/picture.py build/digits docs/_static/digits.png``.
"""

import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "headless=new no-sandbox disable-dev-shm-usage disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync autoplay-policy=no-user-gesture-required window-size=1200,960"
)
HALF = "const path = globalThis.digits?.path ?? []; return globalThis.digits && path.length > 0.6 * digits.frames"


def main() -> None:
    """Serve the page, play what it has, and take the picture."""
    folder, picture = sys.argv[1:]
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS.split():
        options.add_argument(f"--{flag}")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with webdriver.Chrome(options=options, service=service) as driver:
            driver.get(f"http://127.0.0.1:{server.server_address[1]}/?pace=1")
            waiting = WebDriverWait(driver, 60, poll_frequency=0.02)
            waiting.until(lambda _: driver.execute_script("return document.body.dataset.state") == "ready")
            driver.find_element("id", "play").click()
            waiting.until(lambda _: driver.execute_script(HALF))
            driver.save_screenshot(picture)
        server.shutdown()


if __name__ == "__main__":
    main()
