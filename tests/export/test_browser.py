"""The page of spoken digits, in headless Chromium: its front end is Python's, and so are the states that it finds.

Chromium is Debian's ``chromium`` and ``chromium-driver``; `make web-digits` fetches onnxruntime-web, with npm.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

pytest.importorskip("soundfile", reason="the speech extra is not installed")

import soundfile

from semihmm.models import HMM
from semihmm.speech import FrontEnd

FLAGS = (
    "headless=new no-sandbox disable-dev-shm-usage disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync autoplay-policy=no-user-gesture-required window-size=1200,900"
)
HEAR = """
import { readFileSync } from "node:fs";
import { FrontEnd } from %s;
const signals = JSON.parse(readFileSync(0));
const found = signals.map(({ tables, samples, cuts }) => {
  const frontEnd = new FrontEnd(tables);
  const frames = cuts.slice(1).flatMap((end, i) => frontEnd.push(Float32Array.from(samples.slice(cuts[i], end))));
  return [...frames, ...frontEnd.end()].map((frame) => Array.from(frame));
});
console.log(JSON.stringify(found));
"""


@pytest.fixture(scope="module")
def make(repository):
    """The script that makes what the page needs."""
    spec = importlib.util.spec_from_file_location("make_digits", repository / "web" / "digits" / "make.py")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_front_end_of_the_page_is_pythons_on_random_signals_in_random_blocks(make, repository):
    generator = torch.Generator().manual_seed(0)
    other = FrontEnd(noise_removal=False, mean_normalisation=False, padded=False, lifter=22, differences=((-1, 0, 1),))
    signals, expected = [], []
    for number in range(50):
        front_end = other if number % 5 == 0 else make.FRONT_END
        count = int(torch.randint(front_end._window_samples, 3000, (), generator=generator))
        wave = torch.randn(count, generator=generator) * 10 ** -float(4 * torch.rand((), generator=generator))
        cuts = torch.randint(count + 1, (number % 7,), generator=generator).sort().values.tolist()
        tables = make.described(front_end)
        signals.append({"tables": tables, "samples": wave.tolist(), "cuts": [0, *cuts, count]})
        expected.append(front_end(wave.double()))
    program = HEAR % json.dumps((repository / "web" / "digits" / "src" / "features.js").as_uri())
    command = ["node", "--input-type=module", "--eval", program]
    heard = subprocess.run(command, input=json.dumps(signals), capture_output=True, text=True, timeout=60, check=True)
    for found, wanted in zip(json.loads(heard.stdout), expected, strict=True):
        torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), wanted, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def folder(make, repository, tmp_path_factory):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason="the export extra is not installed")
    if not (repository / "web" / "digits" / "node_modules").is_dir():
        pytest.skip("onnxruntime-web is not there: make web-digits fetches it")
    folder = tmp_path_factory.mktemp("digits")
    generator = torch.Generator().manual_seed(0)
    make.make(folder, make.synthetic(generator), "a synthetic voice", generator)
    return folder


@pytest.fixture(scope="module")
def browser():
    pytest.importorskip("selenium", reason="selenium is not installed")
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS.split():
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


class Quiet(SimpleHTTPRequestHandler):
    """What ``python -m http.server`` answers."""

    def log_message(self, *_):
        pass


class Page:
    def __init__(self, driver, address):
        self.driver, self.address = driver, address

    def open(self, query=""):
        self.driver.get_log("browser")
        self.driver.get(f"{self.address}/{query}")
        return self.wait("ready", "failed")

    def wait(self, *states):
        return self.until(lambda: (now := self.run("return document.body.dataset.state")) in states and now)

    def until(self, condition):
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, 60, poll_frequency=0.02).until(lambda _: condition())

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self, name):
        return self.run("return document.getElementById(arguments[0]).textContent", name)

    def click(self, name):
        self.driver.find_element("id", name).click()


@pytest.fixture
def page(browser, folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Page(browser, f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()


FOUND = "return { path: digits.path, logProb: digits.logProb, filtered: digits.filtered.map((p) => Array.from(p)) }"

FOUND = "return { path: digits.path, logProb: digits.logProb, filtered: digits.filtered.map((p) => Array.from(p)) }"
WATCH = """
globalThis.seen = [];
const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
new MutationObserver(() => {
  const canvas = document.getElementById("states");
  Object.assign(copy.canvas, { width: canvas.width, height: canvas.height });
  copy.drawImage(canvas, 0, 0);
  const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data;
  const columns = new Set();
  pixels.forEach((value, place) => place % 4 === 3 && value > 0 && columns.add((place >> 2) % canvas.width));
  seen.push([digits.filtered.length, digits.path.length, columns.size, document.getElementById("now").textContent]);
}).observe(document.getElementById("time"), { childList: true });
"""


def test_the_states_that_the_page_finds_are_pythons_and_are_shown_as_they_come(page, folder, make):
    assert page.open("?pace=0") == "ready"
    page.run(WATCH)
    page.click("play")
    assert page.wait("done", "failed") == "done"
    found, seen = page.run(FOUND), page.run("return seen")
    wave = torch.from_numpy(soundfile.read(folder / "digits.wav", dtype="float32")[0])
    model, x = HMM.load(folder / "model.safetensors"), make.FRONT_END(wave)
    filtered = model.filter(x)
    assert found["path"] == model.predict(x).tolist()
    torch.testing.assert_close(torch.tensor(found["filtered"]), filtered, rtol=0, atol=1e-3)
    assert found["logProb"] == pytest.approx(model.score(x), rel=1e-5)
    said = " ".join(make.WORDS[digit] for digit in make.SAID)
    assert page.text("status").startswith(f"Heard: {said}. ")

    assert len(seen) > 100
    for frames, settled, columns, now in seen[:-1]:  # at the end, the rest of the path is known
        state = int(filtered[frames - 1].argmax()) if frames else make.PAUSE
        assert (settled, columns) == (max(0, frames - make.LAG), frames)
        assert now == ("–" if state == make.PAUSE else str(state // make.STATES))
    assert page.driver.get_log("browser") == []


def test_sound_is_heard_as_fast_as_it_is_played(page, folder, make):
    page.open("?pace=8")
    begun = page.run("return performance.now()")
    page.click("play")
    assert page.wait("done", "failed") == "done"
    wave, rate = soundfile.read(folder / "digits.wav")
    assert page.run("return performance.now()") - begun >= 1000 * len(wave) / rate / 8
    assert page.text("time") == f"{len(wave) / rate:.2f} s"
    assert page.driver.get_log("browser") == []


def test_what_is_no_sound_is_said_and_the_page_goes_on(page, folder, tmp_path):
    page.open("?pace=0")
    (tmp_path / "a.wav").write_text("no sound")
    page.driver.find_element("id", "file").send_keys(str(tmp_path / "a.wav"))
    assert page.wait("done", "failed") == "failed"
    assert page.text("status").startswith("That did not work: ")
    wave, rate = soundfile.read(folder / "digits.wav")
    soundfile.write(tmp_path / "b.wav", wave[: 2 * rate].repeat(2)[:, None].repeat(2, 1), 2 * rate)  # stereo, 16 kHz
    page.driver.find_element("id", "file").send_keys(str(tmp_path / "b.wav"))
    assert page.wait("done") == "done"
    assert page.text("status").startswith("Heard: three one")
