"""The documentation's site: what it vendors, what `docs/check.py` finds and, once built, each page in a browser."""

import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
KATEX = ROOT / "docs" / "_static" / "katex"
SITE = Path(os.environ.get("SEMIHMM_SITE", ""))  # set by `make test-docs`: a folder that is there may be an old one
PHONE = 390


def check() -> Any:
    spec = importlib.util.spec_from_file_location("check", ROOT / "docs" / "check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_katex_is_that_of_the_lock_file() -> None:
    """`make math` writes these files. Nobody may change them by hand, or the lock file without them."""
    vendored = json.loads((KATEX / "vendored.json").read_text())
    locked = json.loads((ROOT / "web" / "math" / "package-lock.json").read_text())["packages"]["node_modules/katex"]
    assert (vendored["version"], vendored["integrity"]) == (locked["version"], locked["integrity"])
    there = {str(file.relative_to(KATEX)): file for file in KATEX.rglob("*") if file.is_file()}
    del there["vendored.json"]
    digests = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in there.items()}
    assert digests == vendored["files"]
    assert "MIT" in (KATEX / "LICENSE").read_text()
    fonts = set(re.findall(r"url\(([^)]*)\)", (KATEX / "katex.min.css").read_text()))
    assert fonts == {name for name in digests if name.startswith("fonts/")}  # each font is there, and none is elsewhere


GOOD = """<html lang="en"><head><link rel="stylesheet" href="a.css"></head><body>
<a href="#here" id="here">x</a><a href="sub/two.html#there">y</a><a href="https://example.org">z</a>
<img src="p.png" alt="A picture."><iframe src="sub/two.html" title="Two"></iframe></body></html>"""
FAULTS = {
    '<a href="three.html">': "one.html: nothing is at three.html",
    '<a href="#nowhere">': "one.html: no such anchor, #nowhere",
    '<a href="sub/two.html#nowhere">': "one.html: no such anchor, sub/two.html#nowhere",
    '<img src="p.png" alt=" ">': "one.html: no alternative text: p.png",
    '<img src="p.png">': "one.html: no alternative text: p.png",
    '<iframe src="sub/two.html"></iframe>': "one.html: no title: <iframe src=sub/two.html>",
    '<script src="https://cdn.org/x.js"></script>': "one.html: <script> fetches https://cdn.org/x.js",
    '<link rel="stylesheet" href="//cdn.org/x.css">': "one.html: <link> fetches //cdn.org/x.css",
    '<img src="http://cdn.org/p.png" alt="A">': "one.html: <img> fetches http://cdn.org/p.png",
    '<p style="background: url(https://cdn.org/p.png)">': "one.html: <p> fetches https://cdn.org/p.png",
    '<script src="x.js"></script>': "one.html: nothing is at x.js",
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A site without faults."""
    (tmp_path / "site" / "sub").mkdir(parents=True)
    (tmp_path / "site" / "one.html").write_text(GOOD)
    (tmp_path / "site" / "sub" / "two.html").write_text('<html lang="en"><h1 id="there">Two</h1></html>')
    (tmp_path / "site" / "p.png").touch()
    (tmp_path / "site" / "a.css").write_text("p { background: url(p.png) }")
    (tmp_path / "docs" / "_static").mkdir(parents=True)
    (tmp_path / "docs" / "one.md").touch()
    (tmp_path / "docs" / "_static" / "no.md").touch()
    return tmp_path


def test_a_good_site_has_no_faults(small: Path) -> None:
    assert [*check().faults(small / "site", small / "docs")] == []


@pytest.mark.parametrize("html", FAULTS)
def test_each_fault_of_a_page_is_found(small: Path, html: str) -> None:
    (small / "site" / "one.html").write_text(GOOD.replace("</body>", f"{html}</body>"))
    assert [*check().faults(small / "site", small / "docs")] == [FAULTS[html]]


def test_faults_of_the_whole_site_are_found(small: Path) -> None:
    (small / "docs" / "lost.md").touch()
    (small / "site" / "a.css").write_text(
        '@import "https://cdn.org/x.css"; @font-face { src: url("//cdn.org/x.woff2") }'
    )
    (small / "site" / "sub" / "two.html").write_text('<html><h1 id="there">Two</h1></html>')
    assert [*check().faults(small / "site", small / "docs")] == [
        "lost.md: there is no such page",
        "sub/two.html: no language: <html lang=...>",
        "a.css: fetches https://cdn.org/x.css",
        "a.css: fetches //cdn.org/x.woff2",
    ]


def pages() -> list[str]:
    """Those with an address of their own: no source code, and no figure, which has tests of its own."""
    found = (
        (str(file.relative_to(SITE)) for file in sorted(SITE.rglob("*.html"))) if os.environ.get("SEMIHMM_SITE") else ()
    )
    return [name for name in found if not name.removeprefix("ko/").startswith("_")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium. It takes what it needs from the site's files: there is no network for it."""
    if not os.environ.get("SEMIHMM_SITE"):
        pytest.skip("the site is looked at by make test-docs")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    flags = "headless=new no-sandbox disable-dev-shm-usage disable-gpu no-first-run disable-background-networking"
    for flag in flags.split():
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def open_page(browser: Any, name: str, width: int = PHONE) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")
    path, mark, query = name.partition("?")
    browser.get((SITE.resolve() / path).as_uri() + mark + query)


LOOK = """
const scrolls = "pre, .table-wrapper, .katex-display, .cell_output";
const wide = [...document.querySelectorAll("article *")]
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(scrolls));
return {
    width: document.scrollingElement.scrollWidth,
    wide: wide.slice(0, 3).map((one) => one.outerHTML.slice(0, 120)),
    fetched: performance.getEntriesByType("resource").map((one) => one.name).filter((url) => !/^(file|data)/.test(url)),
    wrong: [...document.querySelectorAll(".katex-error")].map((one) => one.title),
    formulas: document.querySelectorAll(".math").length,
    drawn: document.querySelectorAll(".math > .katex, .math > .katex-display").length,
};
"""


@pytest.mark.parametrize("name", pages() or ["no page"])
def test_a_page_fits_a_phone_and_fetches_nothing(browser: Any, name: str) -> None:
    open_page(browser, name)
    seen = browser.execute_script(LOOK)
    assert seen["wrong"] == [] and seen["formulas"] == seen["drawn"]
    assert seen["fetched"] == []
    assert seen["width"] <= PHONE, seen["wide"]
    assert [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_formulas_have_their_own_fonts(browser: Any) -> None:
    open_page(browser, "tutorials/equations.html", 1400)
    loaded = "[...document.fonts].filter((one) => one.status === 'loaded').map((one) => one.family)"
    families = browser.execute_script(f"return document.fonts.ready.then(() => {loaded})")
    assert {"KaTeX_Main", "KaTeX_Math", "KaTeX_Size2"} <= {*families}


def test_the_search_finds_a_name_from_a_file(browser: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    open_page(browser, "search.html?q=viterbi", 1400)
    found = "return [...document.querySelectorAll('#search-results li a')].map((one) => one.textContent)"
    wait = WebDriverWait(browser, 20)
    assert any("viterbi" in title for title in wait.until(lambda _: browser.execute_script(found)))


def test_the_first_key_leads_to_the_content(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    open_page(browser, "index.html", 1400)
    focused = "return document.activeElement.className + ' ' + document.activeElement.getAttribute('aria-label')"
    ActionChains(browser).send_keys(Keys.TAB).perform()
    reached = [browser.execute_script(focused)]
    for _ in range(120):  # on to the switch of the theme, which is a button
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.append(browser.execute_script(focused))
    assert any("skip-to-content" in one for one in reached[:4])
    assert any("theme-toggle" in one for one in reached)


def test_long_lines_of_code_scroll_by_themselves(browser: Any) -> None:
    open_page(browser, "reference/questions.html")
    wide = "[...document.querySelectorAll('pre')].filter((one) => one.scrollWidth > one.clientWidth)"
    found = browser.execute_script(f"return {wide}.map((one) => [one.tabIndex, getComputedStyle(one).overflowX])")
    assert found and {(tab, overflow) for tab, overflow in found} == {(0, "auto")}


@pytest.mark.parametrize("language", ["", "ko/"])
def test_the_cheat_sheet_is_one_page_of_a4(browser: Any, language: str) -> None:
    open_page(browser, f"{language}start/cheatsheet.html", 1400)
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    width, height = (float(x) for x in re.search(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", printed).groups())  # type: ignore[union-attr]
    assert (round(width), round(height)) == (595, 842)
