"""The pictures of the examples gallery and what the examples print: ``python docs/pages/thumbnails.py [NAME ...]``.

Runs each example of gallery/index.md, or those that are named, as its page says, and writes
``docs/gallery/thumbnails/NAME-THEME.png`` and ``docs/gallery/printed/NAME.txt``. An example draws what it found by its
function ``picture(file, ...)``, which is called once for light pages and once for dark ones. Some need data or packages
of their own, which they name, and all of them take some minutes.
"""

import argparse
import importlib.util
import io
import sys
from contextlib import redirect_stdout
from pathlib import Path

import matplotlib
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages.common import DARK, LIGHT, STYLE, Theme
from pages.gallery import GALLERY, ROOT, cards

COLOURS, WIDTHS, LIMIT = 64, (960, 840, 720, 600), 40_000  # of a picture: dots, and bytes


def style(theme: Theme) -> dict[str, object]:
    """What `semihmm.plots` and the examples take from matplotlib's settings."""
    cycle = matplotlib.cycler(color=[theme.blue, theme.orange, theme.green, theme.faint])
    saved = {"savefig.transparent": True, "savefig.dpi": 160}
    return {**STYLE, **theme.style, **saved, "axes.prop_cycle": cycle, "axes.titlesize": "medium"}


def small(image: Image.Image) -> bytes:
    """A PNG of few colours, as wide as the limit lets it be."""
    for width in WIDTHS:
        scaled, file = image.convert("RGBA"), io.BytesIO()
        scaled.thumbnail((width, width), Image.Resampling.LANCZOS)
        few = scaled.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(file, "PNG", optimize=True)
        if file.tell() <= LIMIT:
            break
    return file.getvalue()


def run(name: str, arguments: list[str]) -> None:
    """Run an example, draw its picture in both themes, and keep what it prints."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    draw = module.picture

    def in_both_themes(file: Path, *shown: object) -> None:
        for theme in (LIGHT, DARK):
            with matplotlib.rc_context(style(theme)):
                drawn = io.BytesIO()
                drawn.name = file.name  # by which matplotlib knows the kind
                draw(drawn, *shown)
            (GALLERY / "thumbnails" / f"{name}-{theme.name}.png").write_bytes(small(Image.open(drawn)))

    module.picture = in_both_themes
    sys.argv = [f"examples/{name}.py", *arguments, "--picture", f"{name}.png"]
    torch.manual_seed(0)
    with redirect_stdout(io.StringIO()) as printed:
        module.main()
    (GALLERY / "printed" / f"{name}.txt").write_text(printed.getvalue(), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="examples; all of them")
    named = parser.parse_args().names
    known = cards((GALLERY / "index.md").read_text("utf-8"))
    for folder in ("thumbnails", "printed"):
        (GALLERY / folder).mkdir(exist_ok=True)
    for theme in (LIGHT, DARK):
        matplotlib.colormaps.register(theme.heat, name=f"heat-{theme.name}")
    for name in named or known:
        print(name, flush=True)
        run(name, known[name].arguments.split())
