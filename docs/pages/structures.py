"""The picture of structures.md."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor

import semihmm
from pages.common import Pictures, Theme, bare, evidence, heat, sticky


def bump(rows: int, columns: int, slope: float = 1.0) -> Tensor:
    """Log-weights that are large along a bent diagonal."""
    along = torch.linspace(0, 1, columns)
    centre = (rows - 1) * (along + 0.12 * torch.sin(6.3 * along))
    return -slope * (torch.arange(rows).unsqueeze(-1) - centre).square()


def hmm_panel(axes: Axes, theme: Theme) -> None:
    hmm = semihmm.HMM(torch.zeros(5), sticky(5, 2.0), evidence(5, 24, seed=1, sharpness=0.7))
    heat(axes, theme, semihmm.marginals(hmm).emission.T, "HMM: state × time", 1.0)
    axes.step(range(24), semihmm.viterbi(hmm).event, where="mid", color=theme.orange, lw=1.4)


def hsmm_panel(axes: Axes, theme: Theme) -> None:
    duration = -0.15 * (torch.arange(1.0, 13.0) - 6.0).square().expand(5, 12)
    apart = torch.where(torch.eye(5, dtype=torch.bool), -torch.inf, 0.0)
    hsmm = semihmm.HSMM(torch.zeros(5), apart, duration, evidence(5, 24, seed=1, sharpness=0.7))
    heat(axes, theme, semihmm.marginals(hsmm).emission.T, "HSMM: segments of about 6 steps", 1.0)
    for state, start, length in semihmm.viterbi(hsmm).event.tolist():
        if state >= 0:
            axes.add_patch(Rectangle((start - 0.5, state - 0.5), length, 1, fill=False, ec=theme.orange, lw=1.4))


def ctc_panel(axes: Axes, theme: Theme) -> None:
    targets = torch.tensor([2, 4, 1, 3])
    spoken = torch.tensor([0, 0, 2, 2, 2, 0, 0, 4, 4, 0, 1, 1, 1, 0, 0, 0, 3, 3, 0, 0])
    noise = torch.randn(20, 5, generator=torch.Generator().manual_seed(4))
    ctc = semihmm.CTC(2.0 * torch.eye(5)[spoken] + 0.8 * noise, targets)
    heat(axes, theme, semihmm.marginals(ctc).emission.T, "CTC: token × time, blank on top", 1.0)
    axes.step(range(20), semihmm.viterbi(ctc).event[:, 0], where="mid", color=theme.orange, lw=1.4)


def monotonic_panel(axes: Axes, theme: Theme) -> None:
    alignment = semihmm.MonotonicAlignment(bump(7, 24, 0.6).T)
    heat(axes, theme, semihmm.marginals(alignment).emission.T, "MonotonicAlignment: token × frame", 1.0)
    axes.step(range(24), semihmm.viterbi(alignment).event, where="mid", color=theme.orange, lw=1.4)


def dtw_panel(axes: Axes, theme: Theme) -> None:
    time = torch.linspace(0, 6.0, 18)
    dtw = semihmm.DTW(4.0 * (time.sin().unsqueeze(-1) - (time - 0.9).sin()).square(), "symmetric1")
    heat(axes, theme, semihmm.marginals(dtw).cost, "DTW: query × reference", 1.0)
    pairs = semihmm.viterbi(dtw).event
    axes.plot(*pairs[pairs[:, 0] >= 0].T.flip(0), color=theme.orange, lw=1.4)


def rnnt_panel(axes: Axes, theme: Theme) -> None:
    label = bump(6, 18, 1.2).T
    rnnt = semihmm.RNNT(label=label, blank=torch.zeros(18, 7))
    heat(axes, theme, semihmm.marginals(rnnt).label.T, "RNNT: label × frame", 1.0)
    axes.plot(semihmm.viterbi(rnnt).event, range(6), "o-", ms=3, color=theme.orange, lw=1.2)


def edit_panel(axes: Axes, theme: Theme) -> None:
    source, target = "intention", "execution"
    edit = semihmm.EditDistance.between(torch.tensor([*source.encode()]), torch.tensor([*target.encode()]))
    sharp = edit.replace(**{name: 2.0 * x for name, x in edit.potentials.items()})
    heat(axes, theme, semihmm.marginals(sharp).substitution, "EditDistance: substitutions", 1.0)
    axes.set_xticks(range(len(target)), target, color=theme.ink, fontsize=7)
    axes.set_yticks(range(len(source)), source, color=theme.ink, fontsize=7)
    axes.tick_params(length=0, pad=2)
    kept = [(i, j) for i, j in semihmm.viterbi(edit).event.tolist() if i >= 0 and j >= 0]
    axes.scatter([j for _, j in kept], [i for i, _ in kept], s=16, color=theme.orange)


def lattice_panel(axes: Axes, theme: Theme) -> None:
    places = [(0, 0), (1, 0.8), (1.2, -0.7), (2.2, 0.9), (2.1, 0.05), (2.4, -0.9), (3.4, 0.5), (3.3, -0.5), (4.4, 0)]
    arcs = [(0, 1), (0, 2), (1, 3), (1, 4), (2, 4), (2, 5), (3, 6), (4, 6), (4, 7), (5, 7), (6, 8), (7, 8), (1, 6)]
    weights = torch.randn(len(arcs), generator=torch.Generator().manual_seed(3))
    lattice = semihmm.Lattice(*torch.tensor(arcs).T, weights)
    best = semihmm.viterbi(lattice).event.tolist()
    for number, ((a, b), share) in enumerate(zip(arcs, semihmm.marginals(lattice).log_weight.tolist(), strict=True)):
        colour = theme.orange if number in best else theme.blue
        look = {"arrowstyle": "-|>", "mutation_scale": 7, "shrinkA": 5, "shrinkB": 5}
        axes.add_patch(FancyArrowPatch(places[a], places[b], color=colour, lw=0.5 + 3 * share, **look))
    axes.scatter(*zip(*places, strict=True), s=45, color=theme.paper, edgecolors=theme.ink, lw=0.9, zorder=3)
    bare(axes, theme, "Lattice: any acyclic graph")
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, color=theme.paper, zorder=-1))
    axes.set(xlim=(-0.3, 4.7), ylim=(-1.3, 1.3))


PANELS = (hmm_panel, hsmm_panel, ctc_panel, monotonic_panel, dtw_panel, rnnt_panel, edit_panel, lattice_panel)


def structures(figure: Figure, theme: Theme) -> None:
    """For each structure the marginals, and over them the best path."""
    for axes, fill in zip(figure.subplots(4, 2).flat, PANELS, strict=True):
        fill(axes, theme)


PICTURES: Pictures = {
    "structures": (structures, (7.2, 6.6)),
}
