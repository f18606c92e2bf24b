"""The pages of the examples gallery: ``:::{example} NAME`` in gallery/index.md, and gallery/NAME.md of each script.

A page is written before Sphinx reads: title and text are the docstring's, then come the picture, the command, what it
prints and the code. Pictures and what is printed are of `thumbnails.py`, which runs the examples; a build does not.
"""

import ast
import re
from pathlib import Path
from typing import ClassVar, NamedTuple

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx_design.grids import GridItemCardDirective

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "docs" / "gallery"
CARD = re.compile(
    r"^:::\{example\} (?P<name>\w+)\n(?P<options>(?::\w+: .*\n)*)\n?(?P<text>(?:.*\n)*?):::$", re.MULTILINE
)


class Card(NamedTuple):
    """What gallery/index.md says of an example."""

    title: str
    alt: str
    arguments: str


def cards(index: str) -> dict[str, Card]:
    """The cards of a page in Markdown, by the example's name."""
    found = {}
    for card in CARD.finditer(index):
        name, options = card["name"], dict(re.findall(r"^:(\w+): (.*)$", card["options"], re.MULTILINE))
        found[name] = Card(options.get("title") or title(name), options["alt"], options.get("with", ""))
    return found


def parsed(name: str) -> ast.Module:
    """An example's code."""
    return ast.parse((ROOT / "examples" / f"{name}.py").read_text("utf-8"))


def docstring(name: str) -> list[str]:
    """The paragraphs of an example's docstring."""
    text = ast.get_docstring(parsed(name))
    assert text, f"examples/{name}.py has no docstring"
    return text.split("\n\n")


def title(name: str) -> str:
    """The first line of the docstring up to a colon, a question mark or the end."""
    found = re.match(r"[^:?.]+\??", docstring(name)[0])
    assert found
    return found[0]


def page(name: str, card: Card) -> str:
    """The Markdown of an example's page."""
    lead, *rest = docstring(name)
    command = " ".join(["python", f"examples/{name}.py", *card.arguments.split(), "--picture", f"{name}.svg"])
    how = [text for text in rest if text.startswith("Run it")]
    lines = [f"# {card.title}", "", lead, "", "\n\n".join(text for text in rest if text not in how), ""]
    for theme in ("light", "dark"):
        picture = f"```{{image}} thumbnails/{name}-{theme}.png"
        lines += [picture, f":alt: {card.alt}", f":class: only-{theme}", "```", ""]
    usual = re.compile(r"^Run it: ``python examples/\w+\.py`` \((.*?)\)", re.DOTALL)
    lines += ["## How to run it", "", "```bash", command, "```", ""]
    lines += ["\n\n".join(usual.sub(r"Options: \1", text) for text in how), ""]
    lines += ["## What it prints", "", f"```{{literalinclude}} printed/{name}.txt", ":language: text", "```", ""]
    whole = f"{{download}}`examples/{name}.py <../../examples/{name}.py>`"
    code = (parsed(name).body[0].end_lineno or 0) + 2  # below the docstring and an empty line
    lines += ["## Its code", "", f"Without the text above, which is the docstring of {whole}.", ""]
    lines += [f"```{{literalinclude}} ../../examples/{name}.py", ":language: python", f":lines: {code}-", "```", ""]
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

    Options are ``alt``, what the picture shows, ``with``, the arguments that the example is run with, and ``title``,
    where the docstring's is long.
    """

    required_arguments = 1
    optional_arguments = 0
    option_spec: ClassVar[dict[str, object]] = GridItemCardDirective.option_spec | {
        "alt": directives.unchanged_required,
        "title": directives.unchanged_required,
        "with": directives.unchanged_required,
    }

    def run_with_defaults(self) -> list[nodes.Node]:
        (name,) = self.arguments
        self.arguments = [self.options.get("title") or title(name)]
        self.options |= {"link": f"/gallery/{name}", "link-type": "doc", "link-alt": self.arguments[0]}
        (column,) = super().run_with_defaults()
        for place, theme in enumerate(("light", "dark")):
            picture = nodes.image(uri=f"/gallery/thumbnails/{name}-{theme}.png", alt=self.options["alt"])
            picture["classes"] += ["sd-card-img-top", f"only-{theme}"]
            column[0].insert(place, picture)
        return [column]


def setup(app: Sphinx) -> None:
    """For the setup of conf.py."""
    app.add_directive("example", Example)
    app.connect("builder-inited", write)
