"""The documentation: `make docs`. Pictures are drawn by the library itself, and nothing is fetched from elsewhere."""

import os
import re
import sys
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst.directives.images import Figure
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.ext.napoleon.docstring import GoogleDocstring

import semihmm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import pictures  # noqa: E402  # it lies beside this file
from pages import gallery, view  # noqa: E402

project = "semihmm"
author = "The semihmm authors"
project_copyright = "The semihmm authors"
release = version = semihmm.__version__

KOREAN = "korean" in tags  # type: ignore[name-defined]  # noqa: F821  # the second pass of `make docs`

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    *([] if KOREAN else ["sphinx.ext.viewcode"]),
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_pictures", "_templates", "locale"]
templates_path = ["_templates"]
language = "ko" if KOREAN else "en"
locale_dirs = ["locale"]  # the catalogues of sphinx-intl: `make docs-catalogues`
gettext_compact = False
gettext_uuid = False
gettext_location = False
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"  # a page runs again when its code changes, not when its prose does
nb_execution_cache_path = str(HERE.parent / "build" / "notebooks")
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_code_prompt_show = "코드 보기" if KOREAN else "Show code"
nb_code_prompt_hide = "코드 숨기기" if KOREAN else "Hide code"
# Kernels without the reader's own settings of IPython, and without a warning of sockets that stay on this machine.
os.environ["IPYTHONDIR"] = str(HERE.parent / "build" / "ipython")
SETTINGS = Path(os.environ["IPYTHONDIR"], "profile_default", "ipython_kernel_config.py")
SETTINGS.parent.mkdir(parents=True, exist_ok=True)
SETTINGS.write_text('c.IPKernelApp.log_level = "ERROR"\n')
default_role = "py:obj"  # a name in `single backticks` of a docstring links to what it names

autodoc_member_order = "groupwise"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Cost"]

html_theme = "furo"
html_title = f"semihmm {version}"
html_static_path = ["_static"]
html_css_files = ["semihmm.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_math_renderer = "katex"
pygments_style = "default"
pygments_dark_style = "github-dark"
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/languages.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_theme_options = {
    "light_css_variables": {"color-brand-primary": pictures.LIGHT.blue, "color-brand-content": pictures.LIGHT.blue},
    "dark_css_variables": {"color-brand-primary": pictures.DARK.blue, "color-brand-content": pictures.DARK.blue},
}


class Picture(Figure):
    """``{picture} NAME``: a figure of `pictures.py`, in the colours of the reader's theme."""

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        found = []
        for theme in ("light", "dark"):
            self.arguments[0] = f"/_pictures/{name}-{theme}.svg"
            self.options["figclass"] = [f"only-{theme}"]
            found += super().run()
        return found


def inline_math(translator, node: nodes.math) -> None:  # type: ignore[no-untyped-def]
    translator.body.append(f'<span class="math">{escape(node.astext(), quote=False)}</span>')
    raise nodes.SkipNode


def display_math(translator, node: nodes.math_block) -> None:  # type: ignore[no-untyped-def]
    tex = node.astext().strip()
    if "\\\\" in tex and r"\begin{" not in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    if number := node.get("number"):
        tex += rf"\tag{{{number}}}"
    name = escape(f"equation-{node['label']}", quote=True) if node.get("label") else ""
    target = f' id="{name}"' if name else ""
    translator.body.append(f'<div class="math"{target}>{escape(tex, quote=False)}</div>\n')
    raise nodes.SkipNode


def with_katex(app: Sphinx, pagename: str, template: str, context: dict[str, object], doctree: object) -> None:
    """A page that has formulas brings what draws them, `make math`; the others stay light."""
    if context.get("has_maths_elements"):
        app.add_css_file("katex/katex.min.css", priority=300)
        app.add_js_file("katex/katex.min.js", priority=300, defer="defer")
        app.add_js_file("math.js", defer="defer")


def in_prose(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Keep napoleon from reading ``type: description`` into the sentence of a property that has a colon."""
    if what in {"attribute", "property"}:
        lines.insert(0, "")


def returns_in_prose(self: GoogleDocstring, preprocess_types: bool = False) -> list[tuple[str, str, list[str]]]:
    """What a function returns is a sentence, which may have a colon; the type is in the signature."""
    text = self._dedent(self._consume_to_next_section())
    return [("", "", GoogleDocstring(text, self._config).lines())]


GoogleDocstring._consume_returns_section = returns_in_prose  # type: ignore[method-assign]


def axes_to_draw_on(app: Sphinx, doctree: nodes.document) -> None:
    """The ``Axes`` of a plot are matplotlib's, no map of the engine's: no link."""
    for node in list(doctree.findall(pending_xref)):
        if node["reftarget"] == "Axes" and node.get("py:module") == "semihmm.plots":
            node.replace_self(nodes.Text("Axes"))


def rest_of_folder(app: Sphinx, docname: str, source: list[str]) -> None:
    """In the toctrees of the front page, ``folder/*`` is what no line names, if anything: new pages appear there."""
    if docname == "index":
        named = {line for line in source[0].splitlines() if line in app.env.found_docs}

        def pages(line: re.Match[str]) -> str:
            found = {page for page in app.env.found_docs if re.fullmatch(rf"{line[1]}/\w+", page)}
            return "".join(f"{page}\n" for page in sorted(found - named))

        source[0] = re.sub(r"^(\w+)/\*\n", pages, source[0], flags=re.MULTILINE)


def pages_in_pages(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        view.write(Path(app.outdir, "_static", "austen.html"))


def setup(app: Sphinx) -> None:
    app.add_directive("picture", Picture)
    gallery.setup(app)
    app.add_html_math_renderer("katex", (inline_math, None), (display_math, None))
    app.connect("html-page-context", with_katex)
    app.connect("source-read", rest_of_folder)
    app.connect("doctree-read", axes_to_draw_on)
    app.connect("autodoc-process-docstring", in_prose, priority=400)  # before napoleon
    if not KOREAN:  # the first pass has drawn them
        app.connect("builder-inited", lambda _: pictures.draw(HERE / "_pictures"))
    app.connect("build-finished", pages_in_pages)
