"""The pictures of the documentation, for light and for dark pages: ``python docs/pictures.py FOLDER``.

What they show is computed by the library when they are drawn. What draws them lies in `pages`, a file for each page.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from pages import ctc, decoding, equations, start, streaming, structures, warping
from pages.common import DARK, LIGHT, STYLE

PAGES = (start, equations, structures, ctc, decoding, streaming, warping)


def of_page(page: Path) -> Iterator[tuple[str, Figure]]:
    """What the Python of a page has in ``axes`` when it comes to a ``{picture}``, by the picture's name."""
    names: dict[str, object] = {}
    blocks = re.finditer(
        r"^```python\n(.*?)^```$|^:::\{picture\} (\S+)$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    for code, name in (block.groups() for block in blocks):
        if code:
            exec(code, names)
        else:
            yield name, names["axes"].figure


def draw(folder: Path, kind: str = "svg") -> None:
    """Every picture in both themes, as ``NAME-THEME.KIND``."""
    folder.mkdir(parents=True, exist_ok=True)

    def save(figure: Figure, name: str) -> None:
        date = {"Date": None} if kind == "svg" else {}
        figure.savefig(folder / f"{name}.{kind}", transparent=True, metadata=date, dpi=150)

    for theme in (LIGHT, DARK):
        matplotlib.colormaps.register(theme.heat, name=f"heat-{theme.name}", force=True)
        with matplotlib.rc_context(STYLE):
            for name, (fill, size) in (picture for page in PAGES for picture in page.PICTURES.items()):
                figure = Figure(figsize=size, layout="constrained")
                fill(figure, theme)
                save(figure, f"{name}-{theme.name}")
        with matplotlib.rc_context(STYLE | theme.style):
            for name, figure in of_page(Path(__file__).with_name("guides") / "plots.md"):
                save(figure, f"{name}-{theme.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", default="svg", choices=("svg", "png", "pdf"))
    arguments = parser.parse_args()
    draw(arguments.folder, arguments.kind)
