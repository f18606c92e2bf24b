"""docs/_static/figures/trellis.html: its numbers against semihmm's, and the page as a reader uses it."""

import functools
import hashlib
import http.server
import importlib.util
import io
import json
import math
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import semihmm

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "web" / "figures"
FIGURES = ROOT / "docs" / "_static" / "figures"
LETTERS = ["-", "a", "b", "c"]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


presets = load(SOURCES / "presets.py")
chromium = load(Path(__file__).with_name("chromium.py"))


def written(values):
    """For JSON, which has no infinity."""
    if isinstance(values, dict):
        return {name: written(value) for name, value in values.items()}
    if isinstance(values, list):
        return [written(value) for value in values]
    return "-inf" if values == -math.inf else values


def read(values):
    if isinstance(values, dict):
        return {name: read(value) for name, value in values.items()}
    if isinstance(values, list):
        return [read(value) for value in values]
    return -math.inf if values == "-inf" else values


@pytest.fixture(scope="module")
def solve():
    """Answers of the figure's own program: of its sources in node, or of the built page in Chromium."""
    if shutil.which("node"):
        runner = ["node", str(Path(__file__).with_name("recursions.mjs"))]

        def ask(cases):
            said = json.dumps(written(cases))
            done = subprocess.run(runner, input=said, capture_output=True, text=True, check=True, timeout=120)
            return read(json.loads(done.stdout))

        yield ask
        return
    browser = chromium.start()
    browser.get((FIGURES / "trellis.html").as_uri())
    yield lambda cases: read(
        json.loads(browser.execute_script("return figure.solve(arguments[0])", json.dumps(written(cases))))
    )
    browser.quit()


def random_case(number):
    """One of the four structures; weights are real, or whole, so that there are ties, and some are minus infinity."""
    g = torch.Generator().manual_seed(number)
    kind = ("hmm", "hsmm", "ctc", "dtw")[number % 4]

    def upto(low, high):
        return int(torch.randint(low, high + 1, (), generator=g))

    whole, hole = number % 3 == 0, 0.15 if number % 5 == 0 else 0.0

    def weights(*shape):
        x = torch.randn(shape, generator=g, dtype=torch.float64)
        x = x.round() if whole else x
        return x.masked_fill(torch.rand(shape, generator=g) < hole, -math.inf).tolist()

    steps, states = upto(1, 5), upto(1, 3)
    if kind == "dtw":
        cost = torch.tensor(weights(upto(1, 4), upto(1, 4)), dtype=torch.float64).abs()
        return {"kind": kind, "potentials": {"cost": cost.masked_fill(cost.isinf(), 3.0).tolist()}}
    if kind == "ctc":
        targets = torch.randint(1, 4, (upto(1, 2),), generator=g).tolist()
        potentials = {"emission": weights(upto(3, 5), 4)}  # two equal tokens need three frames
        return {"kind": kind, "potentials": potentials, "options": {"targets": targets, "letters": LETTERS}}
    potentials = {"initial": weights(states), "transition": weights(states, states)}
    potentials |= {"duration": weights(states, upto(1, 3))} if kind == "hsmm" else {}
    return {"kind": kind, "potentials": potentials | {"emission": weights(steps, states)}}


ASKED = {"log": {}, "max": {}, "count": {}, "topk": {"k": presets.MOST}, "smooth": {"gamma": 0.5}}


def expected(case, name):
    made = presets.structure(case["kind"], case["potentials"], case.get("options", {}).get("targets"))
    answer = presets.answers(case["kind"], made, "smooth 0.5" if name == "smooth" else name)
    if name == "topk":
        answer |= {part: presets.only_real(answer[part]) for part in ("alpha", "beta", "total")}
    return answer


def assert_alike(ours, theirs, where="", tolerance=1e-9):
    """Numbers, and lists and tables of them; entries of the start and the end are not in Python's tables."""
    if isinstance(theirs, dict):
        for name, value in theirs.items():
            assert_alike(ours[name], value, f"{where}.{name}", tolerance)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), f"{where}: {ours} != {theirs}"
        for place, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_alike(a, b, f"{where}[{place}]", tolerance)
    elif isinstance(theirs, (int, str)):
        assert ours == theirs, f"{where}: {ours} != {theirs}"
    else:
        assert ours == pytest.approx(theirs, rel=0, abs=tolerance), f"{where}: {ours} != {theirs}"


def assert_paths_alike(ours, theirs):
    """Paths whose scores differ by rounding alone may come in any order, and at the end either may be left out."""
    scores = [path["score"] for path in theirs]
    assert [path["score"] for path in ours] == pytest.approx(scores, rel=0, abs=1e-9)
    groups = [sorted(b["event"] for b in theirs if abs(b["score"] - score) < 1e-9) for score in scores]
    found = [sorted(a["event"] for a in ours if abs(a["score"] - score) < 1e-9) for score in scores]
    for score, a, b in zip(scores, found, groups, strict=True):
        assert a == b or (len(theirs) == presets.MOST and abs(score - scores[-1]) < 1e-9)


@pytest.mark.parametrize("name", ASKED)
def test_two_hundred_random_structures_have_the_answers_of_semihmm(solve, name):
    cases = [random_case(number) for number in range(200)]
    answers = solve([case | {"semiring": {"name": name, **ASKED[name]}} for case in cases])
    for number, (case, ours) in enumerate(zip(cases, answers, strict=True)):
        theirs = expected(case, name)
        if name == "topk" and number % 3:
            assert_paths_alike(ours.pop("paths"), theirs.pop("paths"))
        assert_alike(ours, theirs, f"{number} {case['kind']}")


@pytest.mark.parametrize("number", range(12))
def test_paths_are_drawn_as_often_as_they_are_probable(solve, number):
    case = random_case(number)
    made = presets.structure(case["kind"], case["potentials"], case.get("options", {}).get("targets"))
    paths = semihmm.topk(made, 1000)
    probability = {
        str(presets.event_of(case["kind"], event)): float(p)
        for event, p in zip(paths.event, paths.score.softmax(0), strict=True)
        if p > 0
    }
    assert len(probability) < 1000
    (drawn,) = solve([case | {"draws": 4000, "seed": number}])
    assert len(drawn) == (4000 if probability else 0)  # nothing is drawn where there is no path
    counts = dict.fromkeys(probability, 0)
    for event in drawn:
        counts[str(event)] += 1  # a path that is not there is a KeyError
    often = [name for name, p in probability.items() if 4000 * p >= 5]
    surprise = sum((counts[name] - 4000 * probability[name]) ** 2 / (4000 * probability[name]) for name in often)
    freedom = max(len(often), 1)
    assert surprise < freedom + 5 * math.sqrt(2 * freedom)  # the seed is fixed: this never fails by chance


def test_presets_hold_what_semihmm_computes():
    kept = json.loads(presets.FILE.read_text())
    assert_alike(kept, json.loads(json.dumps(presets.presets())), tolerance=2e-6)
    assert {preset["kind"] for preset in kept} == {"hmm", "hsmm", "ctc", "dtw"}


# What is committed.


def digest(name):
    """As web/figures/build.js makes it."""
    found = hashlib.sha256()
    folders = [
        sorted(path for path in (SOURCES / "src" / part).rglob("*") if path.is_file()) for part in ("shared", name)
    ]
    for source in [SOURCES / "build.js", SOURCES / "package-lock.json", *folders[0], *folders[1]]:
        found.update(source.read_bytes())
    return found.hexdigest()


FIGURE_NAMES = sorted(path.parent.name for path in (SOURCES / "src").glob("*/page.html"))


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_a_figure_is_built_from_its_sources(name):
    page = (FIGURES / f"{name}.html").read_text()
    assert f"sources {digest(name)}" in page, f"{name}.html is not of these sources: make figures"


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_a_figure_is_one_file(name):
    page = (FIGURES / f"{name}.html").read_text()
    head = re.sub(r"<script>.*</script>", "", page, flags=re.DOTALL)
    assert "<link" not in head.replace('<link rel="icon" href="data:,">', "")
    assert not re.search(r"""\bsrc=|@import|url\((?!["']?data:)""", head)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|importScripts)\b\(", page)
    assert "d3 7.9.0 (ISC)" in page  # the licence goes along


# The page at work.

PAGE = FIGURES / "trellis.html"
ADDRESS = PAGE.as_uri()
VIEWS = {
    "log": ("alpha", "beta", "marginal"),
    "max": ("alpha", "beta", "marginal", "paths"),
    "count": ("alpha", "beta", "marginal"),
    "topk": ("alpha", "beta", "paths"),
    "sample": ("alpha", "marginal", "paths"),
    "smooth": ("alpha", "beta", "marginal"),
}


class Figure:
    """A browser, and what a person does with the figure."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, state="", **window):
        chromium.look(self.driver, f"{ADDRESS}#{state}", **window)
        return self

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def click(self, selector):
        self.find(selector).click()

    def choose(self, value):
        self.click(f".choices [data-value={value}]")

    def keys(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver, duration=10).send_keys(*keys).perform()

    def drag(self, element, right, down):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver, duration=20).click_and_hold(element).move_by_offset(right, down).release().perform()

    def text(self, selector):
        return self.driver.execute_script("return document.querySelector(arguments[0]).textContent", selector)

    @property
    def state(self):
        return self.driver.execute_script("return figure.state")

    @property
    def link(self):
        return self.driver.execute_script("return figure.link()")

    @property
    def nodes(self):
        """What stands in each node, by its key."""
        script = """return Object.fromEntries([...document.querySelectorAll("g.node")].map((node) =>
            [node.dataset.key, [...node.querySelectorAll("tspan")].map((line) => line.textContent)]))"""
        return self.driver.execute_script(script)

    @property
    def total(self):
        return float(self.text(".answers .total").replace("−", "-"))

    @property
    def log(self):
        return chromium.complaints(self.driver)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = chromium.start(tmp_path_factory.mktemp("profile"))
    yield Figure(driver)
    driver.quit()


@pytest.fixture(scope="module")
def kept():
    return {preset["name"]: preset for preset in read(json.loads(presets.FILE.read_text()))}


def shown(value):
    """As the figure writes a number."""
    if value == -math.inf:
        return "−∞"
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return (text.replace("-", "") if float(text) == 0 else text).replace("-", "−")


def as_javascript_rounds(value):
    """Both ways that a number which lies between two may go."""
    return {shown(value), shown(value + 5e-7), shown(value - 5e-7)} if isinstance(value, float) else {shown(value)}


@pytest.mark.parametrize("kind", ["hmm", "hsmm", "ctc", "dtw"])
def test_every_view_of_every_preset_opens_without_complaint(browser, kept, kind):
    browser.open()
    for name in (name for name, preset in kept.items() if preset["kind"] == kind):
        for semiring, views in VIEWS.items():
            for view in views:
                browser.driver.execute_script(
                    "location.hash = arguments[0]", f"kind={kind}&preset={name}&semiring={semiring}&view={view}&step=2"
                )
                state = browser.driver.execute_async_script("setTimeout(() => arguments[0](figure.state))")
                assert (state["preset"], state["semiring"], state["view"]) == (name, semiring, view)
                assert browser.text(".symbols"), (name, semiring, view)
    assert browser.log == []


@pytest.mark.parametrize("name", ["equations", "onward", "lasting", "ab", "shifted"])
@pytest.mark.parametrize("semiring", ["log", "max", "count", "smooth"])
def test_the_drawn_numbers_of_a_preset_are_those_of_python(browser, kept, name, semiring):
    kind, tables = kept[name]["kind"], kept[name]["tables"]["smooth 0.5" if semiring == "smooth" else semiring]
    for view, step in (("alpha", 99), ("beta", 0)):
        browser.open(f"kind={kind}&preset={name}&semiring={semiring}&view={view}&step={step}&gamma=0.5")
        drawn = browser.nodes
        assert drawn.pop("start") and drawn.pop("end")
        assert set(drawn) == set(tables[view])
        for key, value in tables[view].items():
            assert drawn[key][0] in as_javascript_rounds(value), (key, drawn[key], value)


def test_a_step_on_shows_the_next_column_and_its_formula(browser):
    browser.open("kind=hmm&preset=equations&step=1")
    known = lambda: sorted(key for key, lines in browser.nodes.items() if lines not in (["·"], [""]))  # noqa: E731
    assert known() == ["1,1", "1,2", "1,3", "start"]
    browser.click(".stepper .on")
    assert known() == ["1,1", "1,2", "1,3", "2,1", "2,2", "2,3", "start"]
    assert browser.text(".symbols") == "α2(1) = ( α1(1) ⊗ A11 ⊕ α1(2) ⊗ A21 ⊕ α1(3) ⊗ A31 ) ⊗ e2(1)"
    assert browser.text(".numbers") == "α2(1) = log( e0.68 + 0.57 + e0.81 + 0.40 + e−3.25 − 0.40 ) + 0.12 = 2.05"
    browser.click(".stepper .back")
    assert browser.state["step"] == 1
    browser.keys("\ue014")  # right
    browser.keys("\ue014")
    assert browser.state["step"] == 3
    browser.keys("\ue012")  # left
    assert browser.state["step"] == 2
    browser.keys("\ue010")  # End
    assert "α(end)" in browser.text(".numbers") and browser.text(".numbers").endswith("= 6.70")
    browser.keys("\ue011")  # Home
    assert browser.state["step"] == 0 and "empty product" in browser.text(".symbols")
    slider = browser.find(".steps")
    browser.driver.execute_script(
        "arguments[0].value = 4; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))", slider
    )
    assert browser.state["step"] == 4 and slider.get_attribute("aria-valuetext") == "column 4 of 6"
    browser.click("g.node[data-key='2,3']")
    assert browser.text(".symbols").startswith("α2(3) =")
    browser.find(".trellis").send_keys("\ue013")  # up
    assert browser.text(".symbols").startswith("α2(2) =")
    assert browser.text(".spoken") == "node 2 (2): alpha 1.20"
    assert browser.log == []


def test_it_plays_to_the_end(browser):
    browser.open("kind=dtw&preset=equal&step=5")
    browser.keys(" ")
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser.driver, 15).until(lambda _: browser.state["step"] == 8 and browser.text(".play") == "Play")


@pytest.mark.parametrize(
    ("semiring", "formula"),
    [
        ("max", "α2(1) = max( 0.68 + 0.57 , 0.81 + 0.40 , −3.25 − 0.40 ) + 0.12 = 1.37"),
        ("count", "α2(1) = ( 1 · 1 + 1 · 1 + 1 · 1 ) · 1 = 3"),
        ("topk", "α2(1) = best 3 of ( {0.68} + 0.57 , {0.81} + 0.40 , {−3.25} − 0.40 ) + 0.12 = {1.37, 1.33, −3.53}"),
        (
            "smooth",
            "α2(1) = 0.5 log( e(0.68 + 0.57) / 0.5 + e(0.81 + 0.40) / 0.5 + e(−3.25 − 0.40) / 0.5 ) + 0.12 = 1.70",
        ),
    ],
)
def test_a_formula_has_the_numbers_of_its_semiring(browser, semiring, formula):
    browser.open(f"kind=hmm&preset=equations&step=2&semiring={semiring}")
    assert re.sub(r"\s+", " ", browser.text(".numbers")) == formula


def test_marginals_and_pointers_have_formulas_too(browser):
    browser.open("kind=hmm&preset=equations&step=4&view=marginal")
    assert browser.text(".numbers") == "p4(1) = exp( 4.67 + 1.22 − 6.70 ) = .44"
    browser.open("kind=hmm&preset=equations&step=2&view=paths&semiring=max")
    assert "argmax" in browser.text(".symbols")
    assert re.sub(r"\s+", " ", browser.text(".numbers")).endswith("→ α1(2)")
    browser.open("kind=hmm&preset=equations&step=2&view=paths&semiring=sample")
    assert "drawn: α1(" in re.sub(r"\s+", " ", browser.text(".numbers"))


def test_a_bar_is_dragged_or_typed_and_the_total_is_that_of_semihmm(browser):
    browser.open("kind=hmm&preset=equations")
    before = browser.total
    bar = browser.find("[data-place='transition 0 1']")
    browser.drag(bar, 0, -26)
    assert browser.state["w"]["transition"][0][1] == pytest.approx(-0.1, abs=0.11)
    assert browser.total > before
    bar.click()
    browser.keys("-1.25", "\ue007")
    assert browser.state["w"]["transition"][0][1] == -1.25
    browser.keys("\ue013")  # up: a bar has the focus, and no step is taken
    assert browser.state["w"]["transition"][0][1] == pytest.approx(-1.15) and browser.state["step"] == 3
    browser.find("[data-place='emission 2 0']").send_keys("\ue017")  # Delete forbids
    assert browser.text("[data-place='emission 2 0'] .text") == "−∞"
    assert "x" in browser.link.split("&w=")[1].split(",")
    weights = browser.driver.execute_script(
        "return JSON.stringify(figure.state.w, (_, x) => x === -Infinity ? '-inf' : x)"
    )
    made = presets.structure("hmm", read(json.loads(weights)))
    assert browser.total == pytest.approx(float(semihmm.log_partition(made)), abs=6e-4)
    assert "Weights were changed" in browser.text(".source")
    browser.click(".reset")
    assert browser.total == before and browser.state["w"] is None
    assert browser.log == []


def test_points_of_a_series_are_dragged(browser):
    browser.open("kind=dtw&preset=shifted&semiring=max")
    browser.drag(browser.find("[data-point='reference 2']"), 0, -20)
    moved = browser.state["w"]
    assert moved["reference"][2] > 1.0 and moved["query"] == [0.0, 1.5, 2.0, 0.5, 0.0]
    cost = (torch.tensor(moved["query"])[:, None] - torch.tensor(moved["reference"])).abs()
    best = semihmm.viterbi(semihmm.DTW(cost.double(), step_pattern="symmetric1"))
    assert browser.total == pytest.approx(float(best.score), abs=6e-4)
    assert browser.log == []


@pytest.mark.parametrize("semiring", ["max", "topk", "sample"])
@pytest.mark.parametrize("kind", ["hmm", "hsmm", "ctc", "dtw"])
def test_paths_are_listed_and_drawn(browser, kind, semiring):
    browser.open(f"kind={kind}&semiring={semiring}&view=paths&step=0&k=4&n=20")
    events = browser.all(".paths .event")
    assert len(events) == {"max": 1, "topk": 4}.get(semiring, len(events)) and events
    assert len(browser.all("path.path")) == {"max": 1, "topk": 4, "sample": 20}[semiring]
    events[-1].click()
    assert browser.all(".paths .event")[-1].get_attribute("aria-pressed") == "true"
    if semiring == "sample":
        drawn = browser.driver.execute_script(
            "return [...document.querySelectorAll('.paths tbody td:first-child')].map((td) => parseInt(td.textContent))"
        )
        assert sum(drawn) == 20
    assert browser.log == []


def test_the_link_has_all_of_the_state(browser):
    browser.open("kind=ctc&preset=aa&semiring=topk&view=paths&k=5&step=3&path=2")
    browser.find("[data-place='emission 1 0']").send_keys("\ue017")
    browser.find("[data-place='emission 1 1']").send_keys("\ue013")
    state, link, nodes = browser.state, browser.link, browser.nodes
    assert browser.open(link).state == state
    assert browser.nodes == nodes
    for semiring, more in (("smooth", "gamma=2"), ("sample", "n=7&seed=9")):
        browser.open(f"kind=hsmm&semiring={semiring}&{more}&view=alpha&step=4&node=1")
        state, link = browser.state, browser.link
        assert more in link
        assert browser.open(link).state == state


@pytest.mark.parametrize(
    "link",
    [
        "kind=no&semiring=%3Cb%3E",
        "w=1,2,x",
        "step=-3&k=999&gamma=nan&path=77&view=paths",
        "preset=ab",
        "semiring=topk&k=2&path=77&view=paths&step=2",
        "preset=equations&w=" + "1e999," * 26 + "0",
        "preset=equal&w=" + "x," * 7 + "x",
        *(
            f"preset=sticky&w={'x,' * 17}x&view={view}&semiring={semiring}"
            for semiring in VIEWS
            for view in VIEWS[semiring]
        ),
    ],
)
def test_a_wrong_link_opens_something_and_one_without_paths_says_so(browser, link):
    browser.open(link)
    assert browser.text(".symbols") and browser.log == []
    assert not re.search("NaN|Infinity|undefined", browser.text("main"))
    if "sticky" in link and re.search("view=(paths|marginal)", link):
        assert browser.text(".symbols") == "There is no path."


def test_the_link_is_copied(browser):
    browser.open("kind=hmm&step=2")
    browser.click(".copy")
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser.driver, 5).until(lambda _: browser.text(".status"))
    assert browser.text(".status") in ("Link copied", "Copy the link from the address bar")


def test_everything_has_a_name_and_can_be_reached_by_keys(browser):
    browser.open("kind=hsmm&semiring=topk")
    script = """return [...document.querySelectorAll("button, input, select, [tabindex='0'], [role=button]")]
        .filter((item) => !(item.getAttribute("aria-label") || item.textContent.trim() || item.closest("label")))
        .map((item) => item.outerHTML)"""
    assert browser.driver.execute_script(script) == []
    assert browser.find("html").get_attribute("lang") == "en"
    seen = set()
    for _ in range(60):
        browser.keys("\ue004")  # Tab
        seen.add(
            browser.driver.execute_script(
                "return document.activeElement.className.baseVal ?? document.activeElement.className"
            )
        )
    assert {"copy", "full", "trellis", "play", "steps", "weight-bar"} <= seen


@pytest.mark.parametrize("kind", ["hmm", "hsmm", "ctc", "dtw"])
@pytest.mark.parametrize("large", [0, 1])
def test_a_phone_shows_it_without_scrolling_sideways(browser, kind, large):
    browser.open(f"kind={kind}&semiring=topk&view=paths&k=8&large={large}", width=390, height=844)
    assert browser.driver.execute_script("return document.documentElement.scrollWidth") == 390


def test_the_class_sees_it_larger(browser):
    browser.open("kind=hmm")
    size = lambda: browser.find("g.node rect").size["height"]  # noqa: E731
    before = size()
    browser.click(".full")
    assert browser.state["large"] and size() > 1.2 * before and "large=1" in browser.link
    browser.click(".full")
    assert not browser.state["large"] and size() == pytest.approx(before)
    for width, height in ((1280, 720), (1920, 1080)):
        for kind in ("hmm", "hsmm", "ctc", "dtw"):
            browser.open(f"kind={kind}&large=1", width=width, height=height)
            assert (
                browser.driver.execute_script(
                    "return document.querySelector('.formula').getBoundingClientRect().bottom"
                )
                <= height
            )


def brightness(figure):
    """Of the page: its background."""
    colour = figure.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3


def test_it_is_dark_where_the_system_is(browser):
    assert brightness(browser.open()) > 240
    assert brightness(browser.open(dark=True)) < 40


@pytest.fixture
def site(tmp_path):
    """A page of a site made with furo, which has the figure in a frame."""
    shutil.copy(PAGE, tmp_path)
    (tmp_path / "index.html").write_text(
        '<body data-theme="dark"><iframe src="trellis.html#kind=ctc" width="900"></iframe>'
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html", (tmp_path / "index.html").as_uri()
        server.shutdown()


def test_in_a_frame_it_has_the_theme_of_the_page_and_its_whole_height(browser, site):
    served, file = site
    chromium.look(browser.driver, served)
    browser.driver.switch_to.frame(0)
    assert brightness(browser) < 40
    browser.driver.switch_to.default_content()
    browser.driver.execute_script("document.body.dataset.theme = 'light'")
    browser.driver.switch_to.frame(0)
    browser.driver.execute_async_script("setTimeout(arguments[0], 50)")
    assert brightness(browser) > 240
    inside, body = browser.driver.execute_script("return [innerHeight, document.body.getBoundingClientRect().height]")
    assert inside >= body > 700
    assert browser.find(".editing").get_attribute("open") is None
    assert browser.find(".alone").is_displayed()
    chromium.look(browser.driver, file, dark=True)  # a file may not look at another: as the system
    browser.driver.switch_to.frame(0)
    assert brightness(browser) < 40 and browser.nodes
    browser.driver.switch_to.default_content()


SCREENS = {
    "hmm": ("kind=hmm&preset=equations&step=3", {}),
    "hsmm": ("kind=hsmm&view=marginal", {"dark": True}),
    "ctc": ("kind=ctc&semiring=sample&view=paths&step=0", {}),
    "dtw": ("kind=dtw&semiring=max&view=paths&step=3", {}),
    "phone": ("kind=hmm&semiring=topk", {"width": 390, "height": 844}),
    "class": ("kind=hmm&semiring=max&large=1", {"width": 1920, "height": 1080, "dark": True}),
}
SHOTS = Path(__file__).with_name("screenshots")


def tiles(picture):
    """Mean colours of tiles: letters of another font are nearly the same there, a thing that is elsewhere is not."""
    return np.asarray(picture.convert("RGB").resize((36, 14), resample=4), dtype=np.float64)  # 4: mean of boxes


@pytest.mark.parametrize("name", SCREENS)
def test_a_screenshot_looks_as_it_did(browser, name):
    """SEMIHMM_SCREENSHOTS=1 keeps what is seen now: look at the pictures before they are committed."""
    image = pytest.importorskip("PIL.Image")
    state, window = SCREENS[name]
    browser.open(state, **window)
    now = image.open(io.BytesIO(browser.find(".scan .scroller").screenshot_as_png)).convert("RGB")
    path = SHOTS / f"trellis-{name}.png"
    if os.environ.get("SEMIHMM_SCREENSHOTS"):
        path.parent.mkdir(exist_ok=True)
        now.resize((now.width // 2, now.height // 2), resample=1).quantize(64).save(path, optimize=True)
    difference = np.abs(tiles(now) - tiles(image.open(path)))
    assert difference.mean() < 2.5, f"{name}: looks unlike {path}"
