"""The scan animator and the alignment viewer in headless Chromium, against the engine and against Python's answers."""

import importlib.util
import io
import json
import math
import os
import shutil
from base64 import b64decode
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("selenium", reason="selenium is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import semihmm
from semihmm.engine import Chain, Dense
from semihmm.engine.strategies import STRATEGIES, State
from semihmm.errors import SemihmmError
from semihmm.semirings import Semiring, SmoothMax
from semihmm.testing import paths_of

pytestmark = [
    pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed"),
    pytest.mark.skipif(not shutil.which("chromedriver"), reason="chromedriver is not installed"),
]
ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "_static" / "figures"
SCREENSHOTS = Path(__file__).parent / "screenshots"
SOURCES = ROOT / "web" / "figures"
FLAGS = (
    "headless=new no-sandbox disable-dev-shm-usage disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync hide-scrollbars autoplay-policy=no-user-gesture-required"
)


class Page:
    """A figure, and what a reader does with it."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, name, state="", *, width=1300, height=900, dark=False):
        self.driver.get("about:blank")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.get_log("browser")
        self.driver.get(f"{(FIGURES / name).as_uri()}.html#{state}")
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def keys(self, *keys):
        ActionChains(self.driver, duration=20).send_keys(*keys).perform()

    def wait(self, condition):
        return WebDriverWait(self.driver, 20, poll_frequency=0.05).until(lambda _: condition())

    def set_slider(self, selector, value):
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
        self.run(script, self.find(selector), value)

    @property
    def link(self):
        """The state in the link, which follows what the reader does a little later."""
        self.run("return new Promise((done) => setTimeout(done, 450))")
        text = self.run("return location.hash.slice(1)")
        return dict(part.split("=") for part in text.split("&"))

    @property
    def overflow(self):
        """By how many pixels the page is wider than the window."""
        return self.run("return document.documentElement.scrollWidth - innerWidth")

    def counter(self, name, column="so-far"):
        return int(self.text(f"[data-count={name}] .{column}").replace(",", ""))

    def log(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS.split():
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield Page(driver)
    driver.quit()


@pytest.fixture
def scan(browser):
    page = browser.open("scan")
    yield page
    assert page.log() == []


@pytest.fixture
def alignment(browser):
    page = browser.open("alignment")
    page.wait(lambda: "…" not in page.text(".readings"))  # which are made anew then
    yield page
    assert page.log() == []


# The scan animator


@dataclass(frozen=True)
class Counting(Semiring):
    """The best path, with every product counted: how many operations each call makes, side by side."""

    calls: list = field(default_factory=list, hash=False, compare=False)
    zero = -math.inf
    one = 0.0
    selective = True
    idempotent = True

    def lift(self, log_weight, *features):
        return log_weight

    def lower(self, value):
        return value

    def times(self, a, b):
        return a + b

    def sum(self, x, dim):
        return x.amax(dim)

    def choose(self, x, dim, generator=None):
        best, index = x.max(dim)
        return best, index.unsqueeze(0)

    def vecmat(self, vector, matrix):
        return self._counted((vector.unsqueeze(-1) + matrix).amax(-2), matrix)

    def matmul(self, a, b):
        return self._counted((a.unsqueeze(-1) + b.unsqueeze(-3)).amax(-2), b)

    def _counted(self, product, matrix):
        self.calls.append(product.numel() * (2 * matrix.shape[-2] - 1))
        return product


def counted(strategy, length, states, keep):
    """What the engine does for a chain: rounds, one call each, and operations."""
    semiring = Counting()
    chain = Chain((torch.zeros(states),), Dense(torch.randn(length, states, states)), length=length)
    if keep == "total":
        state = State(torch.zeros(1, states), torch.zeros((), dtype=torch.float64))
        STRATEGIES[strategy](semiring, (chain.steps,), length, state, None, False)
    else:
        paths_of(chain, semiring, strategy=strategy, blocks=0 if keep == "checkpoints" else None)
    return [len(semiring.calls), sum(semiring.calls)]


LENGTHS = (2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 24, 31, 36, 64)


@pytest.mark.parametrize("keep", ["total", "all", "checkpoints"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_rounds_and_operations_are_those_of_the_engine(scan, strategy, keep):
    cases = list(product(LENGTHS, (1, 2, 3)))  # two numbers of states tell products of vectors from those of matrices
    script = "return arguments[0].map((x) => figure.counts(x)).map(({ depth, work }) => [depth, work])"
    found = scan.run(script, [{"strategy": strategy, "length": t, "states": s, "keep": keep} for t, s in cases])
    assert found == [counted(strategy, t, s, keep) for t, s in cases]


def test_counts_follow_their_formulas(scan):
    def counts(strategy, length, states, keep="all", **more):
        script = "return figure.counts(arguments[0])"
        return scan.run(script, {"strategy": strategy, "length": length, "states": states, "keep": keep, **more})

    for exponent, states in product(range(1, 7), (2, 5)):
        length = 2**exponent
        vector, matrix = states * (2 * states - 1), states**2 * (2 * states - 1)
        found = counts("sequential", length, states)
        assert (found["vectors"], found["matrices"], found["depth"]) == (length, 0, length)
        assert found["peak"] == (length + 1) * states
        assert counts("sequential", length, states, "total")["peak"] == 2 * states

        # Each map becomes a matrix; Blelloch's scan takes 2 T - 2 - log2 T products in 2 log2 T - 1 rounds.
        found = counts("associative", length, states)
        products = length + 2 * length - 2 - exponent
        assert (found["vectors"], found["matrices"], found["depth"]) == (length, products, 2 * exponent + 1)
        assert found["work"] == length * vector + products * matrix
        assert found["time"] == vector + 2 * exponent * matrix
        found = counts("associative", length, states, "total")
        assert (found["vectors"], found["matrices"], found["depth"]) == (1, 2 * length - 1, exponent + 2)

        for chunk in (2, 3, 8):
            if chunk > length:
                continue
            chunks, rest = divmod(length, chunk)
            found = counts("chunked", length, states, chunk=chunk)
            assert found["matrices"] == chunks * chunk
            assert found["vectors"] == chunks + length
            assert found["depth"] == 2 * chunk + chunks + rest

    for root in range(2, 9):  # sqrt(T) blocks: the vector in front of each, those of one block, and the last
        found = counts("sequential", root**2, 3, "checkpoints")
        assert (found["vectors"], found["depth"], found["peak"]) == (2 * root**2, 2 * root**2, 3 * (2 * root + 1))


@pytest.mark.parametrize("processors", [1, 3, 16])
@pytest.mark.parametrize("keep", ["total", "all", "checkpoints"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_product_joins_neighbours_that_are_known_and_held(scan, strategy, keep, processors):
    for length in (2, 6, 16, 23):
        options = {"strategy": strategy, "length": length, "states": 2, "keep": keep, "processors": processors}
        run = scan.run("return JSON.parse(JSON.stringify(figure.schedule(arguments[0])))", options)
        values, ticks = run["values"], run["ticks"]
        dies = [math.inf if value["dies"] is None else value["dies"] for value in values]  # JSON has no infinity
        assert sorted(i for tick in ticks for i in tick["products"]) == list(range(1, len(values)))
        for at, tick in enumerate(ticks):
            assert 1 <= len(tick["products"]) <= processors
            for number in tick["products"]:
                value = values[number]
                spans = []
                for of in value["from"]:
                    if of < 0:
                        spans.append((-of, -of))
                        continue
                    assert values[of]["born"] < at <= dies[of]
                    spans.append((values[of]["first"], values[of]["last"]))
                (first, _), (_, last) = spans[0], spans[-1]
                assert [value["first"], value["last"]] == [first, last]
                assert len(spans) == 1 or spans[0][1] + 1 == spans[1][0]
                assert value["kind"] == ("vector" if first == 0 else "matrix")
        vectors = {value["last"] for value in values if value["kind"] == "vector"}
        assert vectors == set(range(length + 1)) or (keep == "total" and length in vectors)
        at_the_end = {value["last"] for value, end in zip(values, dies, strict=True) if end == math.inf}
        assert at_the_end == (set(range(length + 1)) if keep == "all" else {length})


def test_keys_step_and_the_counters_follow(scan):
    scan.find("[data-value=chunked]").click()
    for selector, value in (("label[title^='How many maps'] input", 16), ("label[title^='How many states'] input", 3)):
        scan.set_slider(selector, value)
    scan.keys(Keys.HOME)
    assert [scan.counter(name) for name in ("vectors", "matrices", "work", "depth", "held")] == [0, 0, 0, 0, 3]
    scan.keys(Keys.ARROW_RIGHT)
    assert (scan.counter("matrices"), scan.counter("work"), scan.counter("depth")) == (4, 4 * 45, 1)
    assert scan.text(".now").startswith("Round 1 of 12.") and "4 matrix–matrix products" in scan.text(".now")
    assert len(scan.all(".product.now")) == len(scan.all(".product.held")) == 4
    scan.keys(Keys.END)
    assert scan.counter("work") == scan.counter("work", "all") == counted("chunked", 16, 3, "all")[1]
    assert scan.counter("depth") == 12
    assert len(scan.all(".known.vector.held")) == 17
    scan.keys(Keys.ARROW_LEFT)
    assert scan.counter("depth") == 11
    assert scan.link["step"] == "11"
    (chosen,) = scan.all(".compare tr.chosen")
    assert chosen.get_attribute("data-strategy") == "chunked"


def test_playing_goes_to_the_end(scan):
    scan.keys(Keys.END, Keys.ARROW_LEFT, Keys.ARROW_LEFT, " ")
    assert scan.find(".play").text == "Pause"
    scan.wait(lambda: scan.find(".play").text == "Play")
    assert scan.counter("depth") == scan.counter("depth", "all")


def test_what_is_not_kept_is_dropped(scan):
    scan.open("scan", "strategy=sequential&length=9&states=2&keep=checkpoints")
    scan.keys(*[Keys.ARROW_RIGHT] * 9)
    assert [len(scan.all(f".known.vector.{kind}")) for kind in ("held", "gone", "later")] == [5, 5, 0]
    assert scan.counter("held") == 10  # v8, read last, is held as well
    scan.keys(Keys.ARROW_RIGHT)
    assert "Steps 7 to 9 again" in scan.text(".now")


STATES = {
    "scan": "strategy=chunked&length=21&states=4&processors=8&chunk=5&keep=checkpoints&step=7",
    "alignment": "sentence=austen-0870&temperature=10&rows=phone&sound=spectrogram&reading=3&from=2.500&to=4.000"
    "&frame=300&row=2",
}


@pytest.mark.parametrize("name", STATES)
def test_a_link_has_the_whole_state(browser, name):
    page = browser.open(name, STATES[name])
    assert page.link == dict(part.split("=") for part in STATES[name].split("&"))
    first = page.link
    page.keys(Keys.ARROW_RIGHT)
    assert page.link != first
    page.run("location.hash = arguments[0]", STATES[name])
    assert page.link == first
    assert page.log() == []


NONSENSE = {
    "scan": ["length=x&step=-3&strategy=none&keep=1", "length=999999&states=1e9&step=999999&processors=7", "%"],
    "alignment": ["temperature=x&frame=-3&sentence=none&rows=1", "temperature=1e9&frame=1e9&row=1e9&from=9&to=1", "%"],
}


@pytest.mark.parametrize(("name", "state"), [(name, state) for name in NONSENSE for state in NONSENSE[name]])
def test_a_link_that_makes_no_sense_shows_the_figure_all_the_same(browser, name, state):
    page = browser.open(name, state)
    assert page.all(".drawing svg .product" if name == "scan" else ".stage .axis .tick")
    assert page.log() == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", STATES)
def test_a_telephone_shows_all_of_it(browser, name, dark):
    page = browser.open(name, STATES[name], width=390, height=800, dark=dark)
    assert page.overflow <= 0
    assert page.run("return document.documentElement.dataset.theme") == ("dark" if dark else "light")
    assert page.log() == []


@pytest.mark.parametrize("name", STATES)
def test_everything_that_can_be_used_has_a_name(browser, name):
    page = browser.open(name, STATES[name])
    if name == "alignment":
        page.wait(lambda: "…" not in page.text(".readings"))
    for element in page.all("button, input, select, [tabindex='0'], svg[role]"):
        assert element.accessible_name.strip(), element.get_attribute("outerHTML")[:200]


@pytest.mark.parametrize("name", STATES)
def test_full_screen_has_larger_letters(browser, name):
    page = browser.open(name)
    page.keys("f")
    page.wait(lambda: page.run("return document.documentElement.classList.contains('large')"))
    page.wait(lambda: page.find(".full").get_attribute("aria-pressed") == "true")
    assert page.overflow <= 0
    page.keys("f")
    page.wait(lambda: not page.run("return document.documentElement.classList.contains('large')"))
    assert page.log() == []


# The alignment viewer


def sentences():
    return json.loads((SOURCES / "src" / "alignment" / "sentences.json").read_text(encoding="utf-8"))


def hmm_of(raw):
    """The HMM that the page has, read by another program."""
    peaks = np.frombuffer(b64decode(raw["peaks"]), "<f4").astype(float)
    below = np.frombuffer(b64decode(raw["below"]), "<i2").reshape(raw["frames"], -1) * raw["step"]
    emission = torch.tensor((peaks[:, None] + below)[:, raw["column"]])
    weight = torch.tensor(np.frombuffer(b64decode(raw["weight"]), "<f8").copy())
    ends = torch.full((2, len(raw["node"])), -math.inf, dtype=torch.float64)
    for row, name in enumerate(("starts", "ends")):
        for state, value in raw[name]:
            ends[row, state] = value
    arcs = (torch.tensor(raw["source"]), torch.tensor(raw["target"]))
    return semihmm.HMM(ends[0], weight, emission, final=ends[1], arcs=arcs)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0, 10.0, 50.0])
@pytest.mark.parametrize("raw", sentences(), ids=lambda raw: raw["name"])
def test_the_page_computes_what_semihmm_computes(alignment, raw, temperature):
    script = """
        const sentence = figure.opened(arguments[0]);
        const answer = figure.answers(sentence, arguments[1]);
        const { posterior, total, entropy, words } = answer;
        return { posterior: [...posterior], total, entropy, words, readings: figure.readingsOf(sentence, answer) };
    """
    found = alignment.run(script, raw["name"], temperature)
    hmm = hmm_of(raw)
    total = semihmm.total(hmm, SmoothMax(temperature))
    assert found["total"] == pytest.approx(float(total), rel=1e-12)

    cooled = semihmm.HMM(
        hmm.initial / temperature,
        hmm.transition / temperature,
        hmm.emission / temperature,
        final=hmm.final / temperature,
        arcs=hmm.arcs,
    )
    assert found["entropy"] == pytest.approx(float(semihmm.entropy(cooled)), abs=1e-6)
    node, word = torch.tensor(raw["node"]), torch.tensor([word for word, _ in raw["nodes"]])
    states = semihmm.marginals(cooled).emission
    expected = states.new_zeros(raw["frames"], len(word)).index_add_(1, node, states)
    posterior = torch.tensor(found["posterior"], dtype=torch.float64).reshape(expected.shape)
    torch.testing.assert_close(posterior, expected, rtol=0, atol=1e-6)

    path = word[node[semihmm.viterbi(hmm).event]]
    for number, confidence in enumerate(found["words"]):
        assert confidence == pytest.approx(float(expected[path == number][:, word == number].sum(1).mean()), abs=1e-6)
    for reading, probability in zip(raw["readings"], found["readings"], strict=True):
        allowed = torch.isin(node, torch.tensor(reading["nodes"])).expand(raw["frames"], -1)
        share = semihmm.log_partition(semihmm.condition(cooled, allowed)) - semihmm.log_partition(cooled)
        assert probability == pytest.approx(float(share.exp()), abs=1e-6)


@pytest.mark.parametrize("raw", sentences(), ids=lambda raw: raw["name"])
def test_the_sentences_are_what_the_aligner_hears(raw):
    spec = importlib.util.spec_from_file_location("alignment_data", SOURCES / "alignment_data.py")
    data = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(data)
    try:
        aligner = semihmm_aligner()
    except SemihmmError as error:
        pytest.skip(f"no acoustic model is installed: {error}")
    if aligner.model.name != raw["model"]:
        pytest.skip(f"the sentences were heard by {raw['model']}, here there is {aligner.model.name}")
    sentence, readings = data.sentence(raw["name"], aligner)
    now, kept = sentence.hmm, hmm_of(raw)
    torch.testing.assert_close(now.emission, kept.emission, rtol=1e-5, atol=2 * raw["step"])
    torch.testing.assert_close(now.transition.double(), kept.transition)
    made = data.content(sentence, readings)
    for name in ("text", "words", "nodes", "node", "column", "source", "target", "best", "readings", "sound"):
        assert made[name] == raw[name], name

    # And the page's confidences are those that `semihmm align` writes, whose graph has free speech at its ends as well.
    aligned = aligner(sentence.wave, sentence.sample_rate, sentence.text)
    node, word = torch.tensor(raw["node"]), torch.tensor([word for word, _ in raw["nodes"]])
    posterior, path = semihmm.marginals(kept).emission, word[node[semihmm.viterbi(kept).event]]
    for number, item in enumerate(aligned.words):
        ours = float(posterior[path == number][:, word[node] == number].sum(1).mean())
        assert ours == pytest.approx(item.confidence, abs=2e-3)


def semihmm_aligner():
    speech = pytest.importorskip("semihmm.speech")
    return speech.Aligner()


def test_temperature_changes_what_is_drawn_and_said(alignment):
    before = alignment.text(".entropy"), alignment.text(".least")
    ghost = "return document.querySelector('.ghost').getAttribute('opacity')"
    alignment.wait(lambda: "…" not in alignment.text(".readings"))
    faint = float(alignment.run(ghost))
    alignment.keys("]" * 10)
    alignment.wait(lambda: alignment.text(".gamma") == "γ = 10")
    alignment.wait(lambda: "…" not in alignment.text(".readings") and alignment.text(".entropy") != before[0])
    assert float(alignment.text(".entropy")) > float(before[0]) and alignment.text(".least") < before[1]
    assert float(alignment.run(ghost)) > faint
    assert alignment.link["temperature"] == "10"
    probabilities = [float(cell.text) for cell in alignment.all(".readings td.number")]
    assert probabilities == sorted(probabilities, reverse=True) and 0.99 < sum(probabilities) <= 1.001


def test_pointing_and_arrow_keys_read_posteriors_out(alignment):
    alignment.open("alignment", "frame=50&row=2")
    said = alignment.text(".detail")
    assert said.startswith("Frame 51 of 298") and "P(IY of “he”) = " in said
    alignment.keys(Keys.ARROW_RIGHT)
    assert alignment.text(".detail").startswith("Frame 52 of 298")
    alignment.keys(Keys.ARROW_DOWN)
    assert "P(pause) = " in alignment.text(".detail")
    stage = alignment.find(".stage")
    ActionChains(alignment.driver, duration=20).move_to_element(stage).perform()
    alignment.wait(lambda: 120 < int(alignment.text(".detail").split()[1]) < 160)
    assert "Most probable: " in alignment.text(".detail")


def test_zoom_pan_and_the_whole(alignment):
    def sight():
        link = alignment.link
        return float(link.get("from", 0)), float(link.get("to", 2.98))

    alignment.keys("++")
    begin, end = sight()
    assert end - begin == pytest.approx(2.98 / 1.6**2, rel=0.02)
    assert "he" not in [item.text for item in alignment.all(".item.word text")]
    ActionChains(alignment.driver, duration=50).drag_and_drop_by_offset(alignment.find(".stage"), 100, 0).perform()
    moved = sight()
    assert moved[0] < begin - 0.05 and moved[1] - moved[0] == pytest.approx(end - begin, abs=0.01)
    alignment.keys("0")
    assert "from" not in alignment.link
    assert "he" in [item.text for item in alignment.all(".item.word text")]


def test_a_word_is_played(alignment):
    word = next(item for item in alignment.all(".item.word") if item.accessible_name.startswith("not, 0.5"))
    assert "confidence 0.98" in word.accessible_name
    word.click()
    alignment.wait(lambda: alignment.all("line.playing"))
    alignment.wait(lambda: not alignment.all("line.playing"))
    assert alignment.text(".detail").startswith("Frame 57 of 298")


def test_a_reading_is_drawn_over_the_map(alignment):
    assert not alignment.all(".way.other")
    alignment.find("[data-reading='1'] button").click()
    assert len(alignment.all(".way.other")) == 1
    assert alignment.link["reading"] == "2"
    assert alignment.run("return document.activeElement.closest('[data-reading]').dataset.reading") == "1"
    alignment.find("[data-reading='1'] button").click()
    assert not alignment.all(".way.other")


def test_rows_are_places_or_phones(alignment):
    places = [name.text for name in alignment.all(".row-name")]
    assert places.count("pause") > 1
    alignment.find("[data-value=phone]").click()
    phones = [name.text for name in alignment.all(".row-name")]
    assert len(phones) == len(set(phones)) == len(set(places))


def test_a_stretch_shows_the_rows_of_its_own_words(alignment):
    def names():
        return alignment.run("return [...document.querySelectorAll('.row-name')].map((name) => name.textContent)")

    whole = names()
    alignment.open("alignment", "from=1.200&to=1.400")
    assert names() == ["AE", "N", "AH", "N", "pause", "IH", "L"]  # "an", in two pronunciations, and "ill"
    assert len(whole) == 39
    alignment.keys("0")
    alignment.wait(lambda: names() == whole)


# Pictures


LOOKS = {
    "scan-tree": ("scan", "strategy=associative&length=16&states=2&step=6", False, ".drawing svg"),
    "scan-sequential": ("scan", "strategy=sequential&length=24&step=15&keep=checkpoints", False, ".drawing svg"),
    "scan-chunked-dark": ("scan", "strategy=chunked&length=16&states=2&processors=3&step=11", True, ".drawing svg"),
    "alignment": ("alignment", "temperature=10&frame=150&row=14", False, ".stage"),
    "alignment-dark": ("alignment", "sentence=austen-0870&sound=spectrogram&rows=phone&from=2&to=4", True, ".stage"),
}


def coarse(picture):
    """The mean colours of 40 by 24 parts: letters differ from machine to machine."""
    return np.asarray(picture.convert("RGB").resize((40, 24), Image.Resampling.BOX), dtype=float)


@pytest.mark.parametrize("name", LOOKS)
def test_the_picture_is_as_it_was_looked_at(browser, name):
    """With ``SEMIHMM_SCREENSHOTS=write`` in the environment the pictures are made anew: look at them."""
    figure, state, dark, selector = LOOKS[name]
    page = browser.open(figure, state, dark=dark)
    if figure == "alignment":
        page.wait(lambda: "…" not in page.text(".readings"))
    picture = Image.open(io.BytesIO(page.find(selector).screenshot_as_png))
    kept = SCREENSHOTS / f"{name}.png"
    if os.environ.get("SEMIHMM_SCREENSHOTS") == "write":
        SCREENSHOTS.mkdir(exist_ok=True)
        size = 400, round(400 * picture.height / picture.width)
        picture.convert("RGB").resize(size, Image.Resampling.BOX).save(kept, optimize=True)
    difference = np.abs(coarse(picture) - coarse(Image.open(kept)))
    assert difference.mean() < 5 and difference.max() < 70, (difference.mean(), difference.max())
    assert page.log() == []
