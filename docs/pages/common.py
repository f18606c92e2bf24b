"""What the pictures of all pages have in common: two sets of colours, bare axes, and data that is made up."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",
    "svg.hashsalt": "semihmm",  # the same picture is the same file
    "axes.linewidth": 0.6,
}


@dataclass(frozen=True)
class Theme:
    """Colours on one kind of page; heat maps run from `paper` to `blue`."""

    name: str
    ink: str
    faint: str
    paper: str
    blue: str
    orange: str
    green: str

    @property
    def style(self) -> dict[str, object]:
        """Of what draws in the colours of its surroundings."""
        ink = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), self.ink)
        return {**ink, "axes.edgecolor": self.faint, "axes.facecolor": self.paper, "image.cmap": f"heat-{self.name}"}

    @property
    def heat(self) -> LinearSegmentedColormap:
        return LinearSegmentedColormap.from_list("heat", [self.paper, self.blue])


LIGHT = Theme(
    "light", ink="#33383f", faint="#a9b0ba", paper="#f1f4f8", blue="#2f6db3", orange="#d9772b", green="#2f8f7a"
)
DARK = Theme("dark", ink="#d3d8df", faint="#68707b", paper="#20252c", blue="#6aa9e9", orange="#f0a05a", green="#58bfa6")


def sticky(states: int, stay: float = 1.5) -> Tensor:
    """Transitions that would rather stay."""
    return (stay * torch.eye(states)).log_softmax(-1)


def evidence(states: int, steps: int, seed: int, sharpness: float = 1.5) -> Tensor:
    """Emissions that wander through the states, with noise."""
    generator = torch.Generator().manual_seed(seed)
    centre = (states - 1) * (0.5 - 0.5 * torch.cos(torch.linspace(0, 1.6 * math.pi, steps)))
    distance = (torch.arange(states) - centre.unsqueeze(-1)).square()
    return -sharpness * distance + 1.2 * torch.randn(steps, states, generator=generator)


def bare(axes: Axes, theme: Theme, title: str = "") -> None:
    """No ticks, a thin frame, a title on the left."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(theme.faint)
    if title:
        axes.set_title(title, loc="left", color=theme.ink, fontsize=9, pad=5)


def heat(axes: Axes, theme: Theme, values: Tensor, title: str = "", largest: float | None = None) -> None:
    """A table ``(rows, columns)`` as shades."""
    axes.imshow(values, cmap=theme.heat, aspect="auto", vmin=0.0, vmax=largest, interpolation="nearest")
    bare(axes, theme, title)


# By its name, what draws a picture, and its size in inches.
Pictures = dict[str, tuple[Callable[[Figure, Theme], None], tuple[float, float]]]
