"""The pages of the examples gallery: ``:::{example} NAME`` in gallery/index.md, and gallery/NAME.md of each script.

A page is written before Sphinx reads: title and text are the docstring's, then come the picture, the command, what it
prints and the code. Pictures and what is printed are of `thumbnails.py`, which runs the examples; a build does not.
"""

import ast
import re
from pathlib import Path
from typing import ClassVar, NamedTuple

from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx_design.grids import GridItemCardDirective

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "docs" / "gallery"
CARD = re.compile(
    r"^:::\{example\} (?P<name>\w+)\n(?P<options>(?::\w+: .*\n)*)\n?(?P<text>(?:.*\n)*?):::$", re.MULTILINE
)


class Card(NamedTuple):
    """What gallery/index.md says of an example."""

    alt: str
    arguments: str


def cards(index: str) -> dict[str, Card]:
    """The cards of a page in Markdown, by the example's name."""
    found = {}
    for card in CARD.finditer(index):
        options = dict(re.findall(r"^:(\w+): (.*)$", card["options"], re.MULTILINE))
        found[card["name"]] = Card(options["alt"], options.get("with", ""))
    return found


def docstring(name: str) -> list[str]:
    """The paragraphs of an example's docstring."""
    text = ast.get_docstring(ast.parse((ROOT / "examples" / f"{name}.py").read_text("utf-8")))
    assert text, f"examples/{name}.py has no docstring"
    return text.split("\n\n")


def title(name: str) -> str:
    """The first line of the docstring up to a colon, a question mark or the end."""
    found = re.match(r"[^:?.]+\??", docstring(name)[0])
    assert found
    return found[0]


def images(name: str, alt: str) -> list[str]:
    """Markdown of the picture, for light pages and for dark ones."""
    lines = []
    for theme in ("light", "dark"):
        lines += [
            f"```{{image}} /gallery/thumbnails/{name}-{theme}.png",
            f":alt: {alt}",
            f":class: only-{theme}",
            "```",
        ]
    return lines


def page(name: str, card: Card) -> str:
    """The Markdown of an example's page."""
    lead, *rest = docstring(name)
    command = " ".join(["python", f"examples/{name}.py", *card.arguments.split(), "--picture", f"{name}.svg"])
    how = [paragraph for paragraph in rest if paragraph.startswith("Run it")]
    lines = [f"# {title(name)}", "", lead if len(lead) > len(title(name)) + 1 else "", ""]
    lines += ["\n\n".join(paragraph for paragraph in rest if paragraph not in how), "", *images(name, card.alt), ""]
    lines += ["## How to run it", "", "```bash", command, "```", "", *how, ""]
    lines += ["## What it prints", "", f"```{{literalinclude}} printed/{name}.txt", ":language: text", "```", ""]
    lines += ["## Its code", "", f"{{download}}`examples/{name}.py <../../examples/{name}.py>`", ""]
    lines += [f"```{{literalinclude}} ../../examples/{name}.py", ":language: python", "```", ""]
    return "\n".join(lines)


def write(app: Sphinx) -> None:
    """Write each page that has changed, and remove those of examples that are gone."""
    pages = {name: page(name, card) for name, card in cards((GALLERY / "index.md").read_text("utf-8")).items()}
    for file in GALLERY.glob("*.md"):
        if file.stem not in (*pages, "index"):
            file.unlink()
    for name, text in pages.items():
        file = GALLERY / f"{name}.md"
        if not file.is_file() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")


class Example(GridItemCardDirective):
    """``:::{example} NAME``: a card in a grid, with the picture of an example, that leads to its page.

    Options are ``alt``, what the picture shows, and ``with``, the arguments that the example is run with.
    """

    required_arguments = 1
    optional_arguments = 0
    option_spec: ClassVar[dict[str, object]] = GridItemCardDirective.option_spec | {
        "alt": directives.unchanged_required,
        "with": directives.unchanged_required,
    }

    def run_with_defaults(self):  # type: ignore[no-untyped-def]
        (name,), source = self.arguments, self.content.source(0)
        self.options |= {"link": f"/gallery/{name}", "link-type": "doc", "link-alt": title(name)}
        self.arguments = [title(name)]
        self.content = StringList([*images(name, self.options["alt"]), "", *self.content], source)
        return super().run_with_defaults()


def setup(app: Sphinx) -> None:
    """For the setup of conf.py."""
    app.add_directive("example", Example)
    app.connect("builder-inited", write)
