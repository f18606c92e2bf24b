"""The page itself: one HTML file that holds everything, the program and its style too, and asks no network."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from semihmm._files import atomically
from semihmm.speech.view.sheet import Sheet

# The browser is to run this program alone, and to fetch nothing: whatever stands in a transcript or a file's name.
_POLICY = (
    "default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
    "media-src 'self' file: data: blob:; connect-src blob: data:; base-uri 'none'; form-action 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main id="page"><noscript>This page needs JavaScript, all of which it brings along.</noscript></main>
<script type="application/json" id="content">{content}</script>
<script>{program}</script>
</body>
</html>
"""


def write_page(
    path: Path,
    sheets: Iterable[Sheet] = (),
    *,
    rows: Sequence[Mapping[str, Any]] = (),
    title: str,
    overview: str | None = None,
) -> None:
    """Write recordings, or an overview of them, or both, as one page.

    Args:
        path: written whole or not at all.
        sheets: the recordings; with several, the page begins with an overview of them.
        rows: of an overview of recordings that have pages of their own (`Sheet.row`).
        title: of the page.
        overview: address of the overview that this page is one of, relative to it.
    """
    sheets = list(sheets)
    if len(sheets) > 1:
        rows = [sheet.row(f"#{number}") for number, sheet in enumerate(sheets)]
    content = {
        "title": title,
        "overview": overview,
        "rows": list(rows),
        "sheets": [sheet.content() for sheet in sheets],
    }
    program, style = (Path(__file__).with_name(f"page.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    digest = b64encode(sha256(program.encode()).digest()).decode("ascii")
    html = _PAGE.format(
        policy=_POLICY.format(digest=digest),
        title=escape(title),
        style=style,
        content=_harmless(content),
        program=program,
    )
    with atomically(path) as temporary:
        # A name that is not UTF-8 has surrogates, which only JSON's escape can write.
        temporary.write_bytes(html.encode("utf-8", "backslashreplace"))


def _harmless(content: object) -> str:
    """JSON that cannot end the element that it stands in, nor begin a comment there."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
