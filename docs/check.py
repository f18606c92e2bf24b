"""What `make docs` has made, looked at once more: ``python docs/check.py build/docs``.

Links inside the site lead to pages and anchors that exist, also to those of the other language. No page takes a
script, a style, a font or a picture from elsewhere. Pictures have alternative texts, and frames titles. Each page in
Markdown is there.
"""

import argparse
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent
# By tag, the attribute that a browser fetches when it opens the page. What is behind a link of <a> it does not.
FETCHED = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "object": "data",
    "script": "src",
    "source": "src",
    "track": "src",
    "video": "src",
}
STYLES = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest"}
IN_CSS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)


class Page(HTMLParser):
    """The anchors, the links and the faults of one page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.faults: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors.update(found[name] for name in ("id", "name") if name in found)
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        fetched = found.get(FETCHED.get(tag, ""))
        if tag == "link" and STYLES & {*found.get("rel", "").split()}:
            fetched = found.get("href")
        if fetched:
            if urlsplit(fetched).netloc:
                self.faults.append(f"<{tag}> fetches {fetched}")
            elif not fetched.startswith("data:"):
                self.links.append(fetched)
        if "style" in found:
            self.faults += [f"<{tag}> fetches {url}" for url in IN_CSS.findall(found["style"])]
        if tag == "img" and not found.get("alt", "").strip():
            self.faults.append(f"no alternative text: {found.get('src', '')[:80]}")
        if tag == "iframe" and not found.get("title", "").strip():
            self.faults.append(f"no title: <iframe src={found.get('src', '')}>")
        if tag == "html" and not found.get("lang"):
            self.faults.append("no language: <html lang=...>")

    handle_startendtag = handle_starttag


def outside(target: str) -> bool:
    parts = urlsplit(target)
    return bool(parts.scheme or parts.netloc)


def faults(site: Path, sources: Path = HERE) -> Iterator[str]:
    """One line for each fault.

    Args:
        site: the folder that Sphinx has written.
        sources: the folder of the pages in Markdown.
    """
    files = {file.resolve() for file in site.rglob("*") if file.is_file()}
    pages = {file: Page(file.read_text("utf-8")) for file in sorted(files) if file.suffix == ".html"}
    home = site.resolve()
    for source in sorted(sources.rglob("*.md")):
        name = source.relative_to(sources)
        if not name.parts[0].startswith(("_", "locale")) and home / name.with_suffix(".html") not in pages:
            yield f"{name}: there is no such page"
    for file, page in pages.items():
        name = file.relative_to(home)
        yield from (f"{name}: {fault}" for fault in page.faults)
        for link in dict.fromkeys(page.links):
            if outside(link):
                continue
            parts = urlsplit(link)
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchor = unquote(parts.fragment)
            if target not in files:
                yield f"{name}: nothing is at {link}"
            elif not anchor or target not in pages or "_modules" in name.parts:
                continue  # source code leads back to what it defines by the name that it has there
            elif "_static" in {*name.parts, *target.parts}:
                continue  # figures say in the anchor what they show
            elif anchor not in pages[target].anchors:
                yield f"{name}: no such anchor, {link}"
    for style in sorted(file for file in files if file.suffix == ".css"):
        for url in IN_CSS.findall(style.read_text("utf-8")):
            yield f"{style.relative_to(home)}: fetches {url}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path, help="the folder that Sphinx has written")
    site = parser.parse_args().site
    found = [*faults(site)]
    print(*found, sep="\n", end="\n" if found else "")
    pages = sum(1 for file in site.rglob("*.html") if not {"_modules", "_static"} & {*file.parts})
    print(f"{pages} pages: {len(found)} faults" if found else f"{pages} pages, and all links inside them are there")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
