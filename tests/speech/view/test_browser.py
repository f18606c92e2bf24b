"""The page at work, in headless Chromium (Debian: ``chromium`` and ``chromium-driver``; Python: ``selenium``)."""

import shutil
from dataclasses import replace

import pytest

pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from semihmm.speech import Alignment, Interval, read_textgrid, save_textgrid, view_results
from semihmm.speech.files.textgrid import read_tiers

pytestmark = [
    pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed"),
    pytest.mark.skipif(not shutil.which("chromedriver"), reason="chromedriver is not installed"),
]
FLAGS = (
    "headless=new no-sandbox disable-dev-shm-usage disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync autoplay-policy=no-user-gesture-required"
)
INK = """
const found = [];
for (const canvas of arguments[0].querySelectorAll(arguments[1])) {
    if (!canvas.width) continue;
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    found.push(pixels.filter((value, place) => place % 4 === 3 && value > 0).length / (canvas.width * canvas.height));
}
return found;
"""


class Page:
    """A browser, and what a person does with it."""

    def __init__(self, driver, downloads):
        self.driver, self.downloads = driver, downloads

    def open(self, folder, address, *, width=1200, height=800, dark=False):
        self.driver.get("about:blank")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.get_log("browser")
        self.driver.get(f"{folder.as_uri()}/{address}")
        if self.driver.find_elements(By.CSS_SELECTOR, ".wave"):
            self.wait_for_sound()
        return self

    def wait_for_sound(self):
        self.wait(lambda: self.find(".wave").get_attribute("data-ready"))

    def wait(self, condition):
        return WebDriverWait(self.driver, 10, poll_frequency=0.02).until(lambda _: condition())

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        """At one moment: the page may make them anew at the next."""
        script = "return [...document.querySelectorAll(arguments[0])].map((found) => found.textContent)"
        return self.driver.execute_script(script, selector)

    @property
    def inside(self):
        """What is drawn over the axis of time."""
        return self.find(".wave > div").shadow_root

    def items(self, tier):
        return self.inside.find_elements(By.CSS_SELECTOR, f"[aria-label='tier {tier}'] .item")

    def labels(self, tier):
        return [item.text for item in self.items(tier) if item.text]

    def item(self, tier, label):
        return next(item for item in self.items(tier) if item.text == label)

    def keys(self, *keys, ctrl=False, shift=False):
        chain = ActionChains(self.driver, duration=20)
        held = [key for key, is_held in ((Keys.CONTROL, ctrl), (Keys.SHIFT, shift)) if is_held]
        for key in held:
            chain.key_down(key)
        chain.send_keys(*keys)
        for key in held:
            chain.key_up(key)
        chain.perform()

    def drag(self, tier, label, pixels, alt=False):
        edge = self.item(tier, label).find_element(By.CSS_SELECTOR, ".edge")
        chain = ActionChains(self.driver, duration=20)
        if alt:
            chain.key_down(Keys.ALT)
        chain.click_and_hold(edge).move_by_offset(pixels, 0).release()
        if alt:
            chain.key_up(Keys.ALT)
        chain.perform()

    def save(self):
        for path in self.downloads.iterdir():
            path.unlink()
        self.find(".save").click()
        (path,) = self.wait(lambda: list(self.downloads.glob("*.TextGrid")))
        return path

    @property
    def seconds(self):
        """Where the cursor is."""
        return float(self.find(".time").text.split(" ")[0].split(":")[1])

    @property
    def warns(self):
        """Whether the page would ask before it is left."""
        return self.driver.execute_script("return !dispatchEvent(new Event('beforeunload', {cancelable: true}))")

    def log(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    downloads = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS.split():
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield Page(driver, downloads)
    driver.quit()


@pytest.fixture(scope="module")
def pages(results, corpus, aligner, tmp_path_factory):
    """One page for all, with everything that a page can have."""
    folder = tmp_path_factory.mktemp("pages")
    for name in results.rglob("*.json"):
        alignment = Alignment.load(name)
        doubt = replace(alignment.words[0], label="not what was said")
        words = (replace(alignment.words[0], match=0.2), *alignment.words[1:])
        kept = name.relative_to(results)
        if kept.stem == "wrong":
            alignment = replace(alignment, match=0.3, suspicious=(doubt,), words=words)
        alignment.save(folder / "results" / kept.with_suffix(".TextGrid"), folder / "results" / kept)
    list(view_results(folder / "results", folder / "all.html", audio=corpus, aligner=aligner, nbest=3))
    list(view_results(folder / "results" / "good.json", folder / "linked.html", audio=corpus, link_audio=True))
    return folder


@pytest.fixture
def good(browser, pages):
    """The recording "good", as it was aligned."""
    return browser.open(pages, "all.html#2")


def test_the_sound_the_posteriors_and_every_label_are_drawn(good):
    root = good.inside.find_element(By.CSS_SELECTOR, ".wrapper")
    for canvas in (".canvases canvas", ".posteriors canvas", ".wrapper > div:nth-last-child(2) canvas"):
        found = good.wait(lambda canvas=canvas: good.driver.execute_script(INK, root, canvas))
        assert all(0.005 < share < 0.9 for share in found), canvas
    assert good.labels("words") == ["ah", "see"]
    assert good.labels("phones") == ["AA", "S", "IY"]
    assert good.labels("written") == ["Ah,", "see!"]
    assert good.texts(".row-name")[:6] == ["waveform", "spectrogram", "posteriors", "words", "phones", "written"]
    assert good.texts(".row-phone") == ["pause", "AA", "S", "IY"]
    assert good.item("words", "ah").get_attribute("aria-label").startswith("ah, 0.")
    assert good.log() == []


def test_what_is_not_edited_is_saved_to_the_byte(good, pages):
    saved = good.save()
    assert saved.name == "good.TextGrid"
    assert saved.read_bytes() == (pages / "results" / "good.TextGrid").read_bytes()


def test_a_corrected_textgrid_is_what_our_reader_reads_and_our_writer_writes(good, tmp_path):
    good.drag("words", "see", 40)
    good.item("words", "ah").click()
    good.keys(Keys.ENTER)
    good.keys('oh "no" ü', Keys.ENTER)
    assert good.labels("words") == ['oh "no" ü', "see"]
    saved = good.save()
    tiers = read_tiers(saved)
    duration = tiers[0][1][-1].end
    save_textgrid(
        tmp_path / "again.TextGrid", {name: [i for i in items if i.label] for name, items in tiers}, duration=duration
    )
    assert saved.read_bytes() == (tmp_path / "again.TextGrid").read_bytes()
    assert [word.label for word in read_textgrid(saved).words] == ['oh "no" ü', "see"]


def test_a_dragged_edge_takes_those_at_the_same_time_along_or_not(good, pages):
    before = read_textgrid(pages / "results" / "good.TextGrid")
    scale = good.inside.find_element(By.CSS_SELECTOR, ".wrapper").size["width"] / 2.0
    good.drag("words", "see", 50)
    after = read_textgrid(good.save())
    assert after.words[1].start - before.words[1].start == pytest.approx(50 / scale, abs=1 / scale)
    assert after.phones[1].start == after.words[1].start
    good.drag("words", "see", -50, alt=True)
    alone = read_textgrid(good.save())
    assert alone.words[1].start == pytest.approx(before.words[1].start, abs=2 / scale)
    assert alone.phones[1].start == after.phones[1].start


def test_an_edge_does_not_pass_its_neighbour(good):
    good.drag("phones", "IY", -300)
    _, s, iy = read_textgrid(good.save()).phones
    assert s.end == iy.start == pytest.approx(s.start + 0.001, abs=1e-4)


def test_every_edit_can_be_undone_and_done_again(good, pages):
    original = (pages / "results" / "good.TextGrid").read_bytes()
    good.drag("words", "see", 40)
    good.keys(Keys.DELETE)
    good.item("phones", "IY").click()
    good.keys(Keys.ENTER)
    good.keys("EH", Keys.ENTER)
    edited = good.save().read_bytes()
    good.keys("zzz", ctrl=True)
    assert good.save().read_bytes() == original
    good.keys("yyy", ctrl=True)
    assert good.save().read_bytes() == edited != original


def test_leaving_with_edits_that_are_not_saved_takes_a_second_thought(good):
    assert not good.warns
    good.drag("words", "see", 40)
    assert good.warns and "unsaved" in good.find(".save").get_attribute("class")
    good.save()
    assert not good.warns


def test_keys_step_from_edge_to_edge_split_join_and_move_them(good):
    item = good.item("words", "see")
    item.click()
    start = float(item.get_attribute("aria-label").split(", ")[1].split()[0])
    good.keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert good.find("input.label").get_attribute("value") == "IY"
    good.keys(Keys.ARROW_LEFT, ".")
    words = read_textgrid(good.save()).words
    assert words[1].start == pytest.approx(start + 0.005, abs=0.001)
    good.keys(Keys.ARROW_UP)
    good.keys("<")
    assert read_textgrid(good.save()).words[1].start == pytest.approx(words[1].start - 0.001, abs=1e-4)
    good.keys(Keys.DELETE)
    assert len(good.items("words")) == 4
    root = good.inside.find_element(By.CSS_SELECTOR, ".wrapper")
    ActionChains(good.driver, duration=20).move_to_element_with_offset(
        root, 0, 40 - root.size["height"] // 2
    ).click().perform()
    good.keys("s")
    assert len(good.items("words")) == 5


def test_tab_goes_from_label_to_label(good):
    good.item("words", "ah").click()
    seen = []
    for _ in range(4):
        good.keys(Keys.TAB)
        seen.append(good.find("input.label").get_attribute("value"))
    assert seen == ["see", "AA", "S", "IY"]


def test_zoom_keeps_the_place_and_shows_what_is_in_sight_alone(good):
    wrapper = good.inside.find_element(By.CSS_SELECTOR, ".wrapper")
    whole = wrapper.size["width"]
    good.item("words", "see").click()
    good.keys("++++++")
    good.wait(lambda: wrapper.size["width"] == pytest.approx(whole * 1.5**6, rel=0.01) or wrapper.size["width"] > 7000)
    assert "see" in good.labels("words") and "ah" not in good.labels("words")
    good.keys("0")
    good.wait(lambda: wrapper.size["width"] == whole)
    assert good.labels("words") == ["ah", "see"]


def test_space_plays_from_the_cursor_and_pauses(good):
    good.item("words", "see").click()
    start = good.seconds
    good.all("[aria-label=speed] option")[0].click()  # half the speed: time to press a key on a busy machine
    good.find("h1").click()
    good.keys(" ")
    good.wait(lambda: good.seconds > start)
    assert good.find(".play").text == "❚❚"
    good.keys(" ")
    good.wait(lambda: good.find(".play").text == "▶")
    assert start < good.seconds < 2.0


def test_a_label_is_played_alone(good):
    good.item("words", "ah").click()
    start = good.seconds
    good.keys(" ", shift=True)
    good.wait(lambda: good.seconds > start and good.find(".play").text == "▶")
    assert 0.65 < good.seconds < 0.85


def test_a_question_mark_explains_the_keys(good):
    good.keys("?")
    assert "play, pause" in good.find("dialog[open]").text
    good.keys(Keys.ESCAPE)
    assert good.all("dialog[open]") == []


def test_the_overview_has_the_worst_first_and_sorts_by_every_column(browser, pages):
    page = browser.open(pages, "all.html")

    def names():
        return page.texts("tbody a")

    assert names()[0] == "deep/wrong"
    for number, head in enumerate(("name", "duration", "match", "confidence", "suspicious", "per_frame")):
        page.all("thead button")[number].click()
        once = names()
        page.all("thead button")[number].click()
        assert sorted(once) == ["alone", "deep/wrong", "good"], head
        if head in ("name", "duration"):
            assert names() == once[::-1]
    page.find("input[type=search]").send_keys("WRO")
    assert names() == ["deep/wrong"]
    page.find("tbody a").click()
    page.wait_for_sound()
    assert "</script>" in page.find(".text").text
    assert page.find(".back").text == "‹ overview"


def test_edits_are_kept_while_another_recording_is_shown(good):
    good.drag("words", "see", 40)
    before = good.save().read_bytes()
    good.drag("words", "see", 40)
    good.find(".back").click()
    good.wait(lambda: good.all(".overview"))
    assert good.warns
    good.driver.back()
    good.wait_for_sound()
    assert good.warns
    good.keys("z", ctrl=True)
    assert good.save().read_bytes() == before


def test_what_is_doubtful_is_seen_without_colours_and_can_be_listened_to(browser, pages):
    page = browser.open(pages, "all.html#1")
    assert page.driver.execute_script("return globalThis.hacked") is None
    doubtful = [item.text for item in page.items("words") if "doubtful" in item.get_attribute("class")]
    assert doubtful[0] == "ahee"
    shades = [item.value_of_css_property("background-color") for item in page.items("words") if item.text]
    assert len(set(shades)) > 1
    page.find(".suspicious button").click()
    first, last = (float(time) for time in page.find(".suspicious button").text.removesuffix(" s").split("–"))
    page.wait(lambda: page.seconds > first and page.find(".play").text == "▶")
    assert abs(page.seconds - last) < 0.1 and page.log() == []


def test_colours_can_be_those_of_the_confidence_or_none(good):
    def background():
        return good.item("phones", "S").value_of_css_property("background-color")

    assert good.find(".legend").is_displayed()
    option = {item.text: item for item in good.all(".legend option")}
    assert list(option) == ["match", "confidence", "none"]
    seen = {background()}
    for name in ("confidence", "none"):
        option[name].click()
        seen.add(background())
    assert len(seen) >= 2 and not good.find(".legend .bar").is_displayed()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_page_has_the_colours_that_the_reader_prefers(browser, pages, dark):
    page = browser.open(pages, "all.html#2", dark=dark)

    def ground():
        return page.find("body").value_of_css_property("background-color")

    assert (ground() == "rgba(255, 255, 255, 1)") == (not dark)
    page.find(".theme").click()
    page.find(".theme").click()
    assert ground() != "rgba(255, 255, 255, 1)"


def test_a_page_fits_a_telephone(browser, pages):
    for address in ("all.html", "all.html#2"):
        page = browser.open(pages, address, width=390, height=844)
        assert page.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth"), address
    assert page.labels("words") == ["ah", "see"]
    assert page.item("words", "see").size["width"] > 30


def test_a_long_recording_has_elements_for_what_is_in_sight_alone(browser, tmp_path):
    items = ((0.4 * place, 0.4 * place + 0.3, f"w{place}", float(place != 700)) for place in range(4000))
    words = tuple(Interval(start, end, label, match=match) for start, end, label, match in items)
    alignment = Alignment("", 1600.0, words, (), 160000, -1e7)
    alignment.save(tmp_path / "a.TextGrid", tmp_path / "a.json")
    list(view_results(tmp_path, tmp_path / "a.html"))
    page = browser.open(tmp_path, "a.html")
    assert "no sound" in page.find(".notes").text and not page.find(".play").is_enabled()
    assert page.labels("words")[0] == "w0" and 20 < len(page.items("words")) < 100
    page.keys("0")
    page.wait(lambda: page.inside.find_elements(By.CSS_SELECTOR, ".dense"))
    assert len(page.items("words")) <= 1
    row = page.inside.find_element(By.CSS_SELECTOR, "[aria-label='tier words']")
    colours = """const canvas = arguments[0].querySelector("canvas");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, 1).data;
    return [...new Set(Array.from({length: canvas.width}, (_, x) => pixels.slice(4 * x, 4 * x + 3).join()))]"""
    assert "232,118,44" in page.driver.execute_script(colours, row)  # one doubtful word among 4000


def test_alternatives_are_ghosts_whose_differences_stand_out(browser, pages):
    page = browser.open(pages, "all.html#0")
    assert page.texts(".row-name")[-1].startswith("2nd, ")
    ghosts = page.inside.find_elements(By.CSS_SELECTOR, ".ghost .item")
    assert len(ghosts) == 2 and any("differs" in ghost.get_attribute("class") for ghost in ghosts)


def test_pages_of_a_folder_lead_to_each_other(browser, results, corpus, tmp_path):
    list(view_results(results, tmp_path / "out", audio=corpus))
    page = browser.open(tmp_path, "out/index.html")
    page.find("tbody a").click()
    page.wait(lambda: page.all(".wave"))
    page.wait_for_sound()
    page.find(".back").click()
    page.wait(lambda: page.all(".overview"))


def test_linked_sound_plays_and_has_its_outline(browser, pages):
    page = browser.open(pages, "linked.html")
    wrapper = page.inside.find_element(By.CSS_SELECTOR, ".wrapper")
    assert page.wait(lambda: page.driver.execute_script(INK, wrapper, ".canvases canvas"))[0] > 0.01
    page.keys(" ")
    page.wait(lambda: page.seconds > 0.05)
    page.keys(" ")
    assert page.log() == []
