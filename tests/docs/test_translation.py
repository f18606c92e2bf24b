"""Translated pages: code, formulas, links and roles are the English page's, and most of its prose is translated."""

import re
from collections import Counter
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from markdown_it import MarkdownIt

DOCS = Path(__file__).parents[2] / "docs"
CATALOGUES = sorted(DOCS.glob("locale/*/LC_MESSAGES/**/*.po"))
KOREAN = DOCS / "locale/ko/LC_MESSAGES"
PAGES = ["index", "start/index", "start/install", "start/first", "start/which", "start/cheatsheet"]
PAGES += ["tutorials/forward_backward", "tutorials/semirings", "tutorials/scan"]

FENCE = re.compile(r"^(`{3,}|:{3,})(.*)\n((?:.*\n)*?)\1$", re.MULTILINE)
DISPLAYED = re.compile(r"^\$\$\n(.*?)\n\$\$$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?:\{[\w:-]+\})?(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)  # and roles, {name}`...`
MATH = re.compile(r"\$[^$]+\$")
LINK = re.compile(r"\]\(([^()\s]+)\)")
DIRECTIVE = re.compile(r"^\{(\S+)\} *(.*)$")
PARSER = MarkdownIt("commonmark").enable("table")


def named(path: Path) -> str:
    return path.relative_to(DOCS / "locale").with_suffix("").as_posix().replace("/LC_MESSAGES", "")


def catalogue(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file)


def pairs(path: Path) -> list[tuple[str, str]]:
    return [(str(message.id), str(message.string)) for message in catalogue(path) if message.id]


def kept(text: str) -> Counter[str]:
    """Code spans and roles, formulas, where links lead, and how much is emphasised."""
    code = [match[0] for match in CODE.finditer(text)]
    rest = CODE.sub("code", text)
    math = MATH.findall(rest)
    rest = MATH.sub("0", rest)
    emphasis = [
        token.type
        for token in PARSER.parseInline(rest)[0].children or ()
        if token.type.endswith(("em_open", "strong_open"))
    ]
    return Counter([*code, *math, *LINK.findall(rest), *emphasis])


def formulas(page: Path) -> set[str]:
    return set(DISPLAYED.findall(page.read_text("utf-8")))


def paragraphs(markdown: str) -> list[str]:
    """The prose of a page, as Sphinx asks for it: paragraphs, titles, cells of tables, and those inside directives."""
    found: list[str] = []

    def inside(match: re.Match[str]) -> str:
        directive = DIRECTIVE.match(match[2].strip())
        if directive and directive[1] not in {"code-cell", "raw", "toctree"}:
            body = re.sub(r"\A(?::[\w-]+:.*\n)+|^\|.*\n", "", match[3], flags=re.MULTILINE)  # Sphinx leaves such tables
            found.extend(paragraphs(body + ("" if directive[1] in {"div", "picture"} else f"\n{directive[2]}\n")))
        return ""

    prose = FENCE.sub(inside, DISPLAYED.sub("", re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)))
    found += [re.sub(r"\s*\n\s*", " ", token.content) for token in PARSER.parse(prose) if token.type == "inline"]
    return [text for text in found if re.search(r"[A-Za-z]{2}", MATH.sub("", CODE.sub("", text)))]


def test_pages_of_start_and_the_first_tutorials_are_translated() -> None:
    assert [page for page in PAGES if not (KOREAN / f"{page}.po").is_file()] == []


@pytest.mark.parametrize("path", CATALOGUES, ids=named)
def test_every_message_is_translated(path: Path) -> None:
    assert [text for text, translation in pairs(path) if not translation.strip()] == []
    assert [message.id for message in catalogue(path) if message.id and message.fuzzy] == []


@pytest.mark.parametrize("path", CATALOGUES, ids=named)
def test_what_is_no_prose_is_kept(path: Path) -> None:
    page = DOCS / re.sub(r"^\w+/", "", named(path) + ".md")
    displayed = formulas(page)
    for text, translation in pairs(path):
        if text in displayed or not re.search(r"[A-Za-z]{2}", MATH.sub("", CODE.sub("", text))):
            assert translation == text
        else:
            assert kept(translation) == kept(text), translation


@pytest.mark.parametrize("path", CATALOGUES, ids=named)
def test_most_of_a_page_is_translated(path: Path) -> None:
    """What is new in English shows in English. When that is a tenth of a page, it is due: `make docs-catalogues`."""
    page = DOCS / re.sub(r"^\w+/", "", named(path) + ".md")
    known = dict(pairs(path))
    texts = paragraphs(page.read_text("utf-8"))
    missing = [text for text in texts if text not in known]
    assert texts
    assert len(missing) <= max(1, len(texts) // 10), missing


def test_what_a_translation_must_keep() -> None:
    assert kept("A `b` in $c$, see [d](e.md#f) and {doc}`g`.") == kept("{doc}`g`, `b`: [라](e.md#f)의 $c$")
    for changed in ("A `b`.", "A `c` $d$.", "A `b` $e$.", "A `b` $d$ [e](f.md).", "A {doc}`b` $d$.", "A *`b`* $d$."):
        assert kept(changed) != kept("A `b` $d$.")
    # A `*` between a bracket and a letter closes nothing.
    assert kept("*구조*(structure)는") == kept("a *structure*") != kept("*구조(structure)*는")


def test_prose_is_found_in_directives_and_tables() -> None:
    text = "# Title\n\n| `a` | word |\n| --- | --- |\n| $b$ | cell |\n\n$$\nx\n$$\n"
    more = "\n````{dropdown} More\n**1.** Text\nof it.\n\n```python\ncode\n```\n````\n"
    assert sorted(paragraphs(text + more)) == ["**1.** Text of it.", "More", "Title", "cell", "word"]
