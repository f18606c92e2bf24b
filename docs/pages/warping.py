"""The pictures of warping.md."""

import runpy
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import semihmm
from pages.common import Pictures, Theme, bare, heat
from semihmm import warping


def curves() -> tuple[Tensor, Tensor]:
    """Two bumps each, at different times."""
    time = torch.linspace(0, 1, 80).double()

    def bump(at: float, width: float) -> Tensor:
        return torch.exp(-(((time - at) / width) ** 2))

    return bump(0.25, 0.06) + 0.6 * bump(0.7, 0.12), bump(0.4, 0.1) + 0.6 * bump(0.62, 0.05)


def warped(figure: Figure, theme: Theme) -> None:
    """A pair of series, pairs of items between them, and the path on its costs."""
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    x, y = curves()
    path = [pair for pair in warping.dtw(x, y).path.tolist() if pair[0] >= 0]
    up = 1.6  # what the query is drawn above the reference
    for i, j in path[::2]:
        left.plot([i, j], [float(x[i]) + up, float(y[j])], color=theme.faint, linewidth=0.6)
    left.plot(x + up, color=theme.blue, linewidth=1.6)
    left.plot(y, color=theme.orange, linewidth=1.6)
    left.text(0, up + 0.12, "query", color=theme.blue)
    left.text(0, -0.28, "reference", color=theme.orange)
    left.set_axis_off()
    cost = semihmm.squared_distances(x.unsqueeze(-1), y.unsqueeze(-1)).requires_grad_()
    (share,) = torch.autograd.grad(warping.soft_dtw(cost, gamma=0.02), cost)
    heat(right, theme, share.sqrt(), "gamma 0.02, and the best path")
    right.plot([j for _, j in path], [i for i, _ in path], color=theme.orange, linewidth=1.4)
    right.set_xlabel("reference", color=theme.ink)
    right.set_ylabel("query", color=theme.ink)


def windows(figure: Figure, theme: Theme) -> None:
    """The cells that some paths go through, in several windows and slopes."""
    kinds: list[tuple[str, dict[str, object]]] = [
        ("anywhere", {}),
        ("window=8", {"window": 8}),
        ('window="itakura"', {"window": "itakura"}),
        ("symmetricP05", {"step_pattern": "symmetricP05"}),
        ("symmetricP2", {"step_pattern": "symmetricP2"}),
        ("mori2006", {"step_pattern": "mori2006"}),
    ]
    for axes, (title, given) in zip(figure.subplots(1, 6), kinds, strict=True):
        dtw = semihmm.DTW(torch.zeros(30, 36).double(), **{"step_pattern": "symmetric1", **given})
        through = semihmm.marginals(dtw).cost.abs()
        heat(axes, theme, (through / through.amax()).pow(0.25), title)


def stretches(figure: Figure, theme: Theme) -> None:
    """A query and where it is found."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 6), sharey=True)
    query = curves()[0]
    long = 0.1 * torch.randn(4000, generator=torch.Generator().manual_seed(3)).double()
    for start, tempo in ((500, 1.0), (1700, 0.7), (2900, 1.6)):
        size = int(80 * tempo)
        long[start : start + size] += torch.nn.functional.interpolate(query[None, None], size, mode="linear")[0, 0]
    left.plot(query, color=theme.orange)
    right.plot(long, color=theme.faint, linewidth=0.5)
    for start, stop, distance in zip(*(x.tolist() for x in warping.search(query, long, 3)), strict=True):
        right.plot(range(start, stop), long[start:stop], color=theme.orange, linewidth=1)
        right.text((start + stop) / 2, 1.35, f"{start} to {stop}, {distance:.2f}", color=theme.ink, ha="center")
    right.set_ylim(-0.5, 1.6)
    for axes in (left, right):
        bare(axes, theme)


def barycenters(figure: Figure, theme: Theme) -> None:
    """Kinds of heartbeats: a warped pair, and the means of all."""
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "heartbeats.py"))
    series, kinds = example["beats"]()
    names = ["3a normal", "3a ventricular", "3b up"]
    for name, (above, below) in zip(names, figure.subplots(2, len(names)).T, strict=True):
        some = [x for x, kind in zip(series, kinds, strict=True) if kind == name]
        x, y = torch.from_numpy(some[0]), torch.from_numpy(some[1])
        up = 1.4 * float(y.max() - y.min())
        for i, j in [pair for pair in warping.dtw(x, y).path.tolist() if pair[0] >= 0][::3]:
            above.plot([i, j], [float(x[i]) + up, float(y[j])], color=theme.faint, linewidth=0.5)
        above.plot(x + up, color=theme.blue, linewidth=1.4)
        above.plot(y, color=theme.orange, linewidth=1.4)
        above.set_title(name, fontsize=9, color=theme.ink)
        stretched = example["stretched"]
        below.plot(stretched(some).T, color=theme.faint, linewidth=0.4, alpha=0.5)
        below.plot(stretched(some).mean(0), color=theme.blue, linewidth=1.6, label="plain mean")
        mean = warping.barycenter(some, init=example["middle"](some)).series
        below.plot(stretched([mean.numpy()])[0], color=theme.orange, linewidth=1.6, label="barycenter")
        for axes in (above, below):
            axes.set_axis_off()
    below.legend(frameon=False, fontsize=8, labelcolor=theme.ink, loc="upper right")


PICTURES: Pictures = {
    "warping": (warped, (7.2, 2.6)),
    "windows": (windows, (9.2, 2.0)),
    "search": (stretches, (9.2, 1.8)),
    "barycenters": (barycenters, (7.2, 3.6)),
}
