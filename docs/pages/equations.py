"""The pictures of equations.md."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from torch import Tensor

import semihmm
from pages.common import Pictures, Theme, bare, evidence, heat, sticky
from semihmm.engine import Arcs, Banded, Dense, Diagonal, Grid, Map
from semihmm.engine.maps import Segmental
from semihmm.semirings import Boolean, SmoothMax


def node(axes: Axes, theme: Theme, x: float, y: float, text: str, colour: str, width: float = 0.62) -> None:
    """A rounded box with a label."""
    corner, style = (x - width / 2, y - 0.21), "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch(corner, width, 0.42, boxstyle=style, fc=theme.paper, ec=colour, lw=1.1))
    axes.text(x, y - 0.015, text, ha="center", va="center", color=theme.ink, fontsize=8)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """From one box to another."""
    look = {"arrowstyle": "-|>", "mutation_scale": 7, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(start, end, lw=0.9, color=colour, **look))


def trellis(figure: Figure, theme: Theme) -> None:
    """All paths of an HMM; the wider an arc, the more probable; the best path on top."""
    states, steps = 3, 7
    transition = sticky(states).expand(steps - 1, states, states)
    hmm = semihmm.HMM(torch.zeros(states), transition, evidence(states, steps, seed=3, sharpness=1.0))
    counts, best = semihmm.marginals(hmm), semihmm.viterbi(hmm).event.tolist()
    axes = figure.add_subplot()
    axes.axis("off")
    for step, arcs in enumerate(counts.transition):
        for source in range(states):
            for target in range(states):
                share = float(arcs[source, target])
                look = {"color": theme.blue, "lw": 0.5 + 6 * share, "alpha": 0.25 + 0.6 * share}
                axes.plot([step, step + 1], [-source, -target], **look)
    axes.plot(range(steps), [-s for s in best], color=theme.orange, lw=1.8, zorder=3)
    for step, posterior in enumerate(counts.emission):
        for state, share in enumerate(posterior.tolist()):
            on_path = state == best[step]
            edge = theme.orange if on_path else theme.blue
            axes.scatter(step, -state, s=330, color=theme.paper, edgecolors=edge, lw=1.2, zorder=4)
            look = {"ha": "center", "va": "center", "fontsize": 6.5, "color": theme.ink, "zorder": 5}
            axes.text(step, -state - 0.01, f"{share:.2f}", **look)
    labels = [r"$\alpha \otimes e_1$", *(rf"$A \otimes \mathrm{{diag}}(e_{t})$" for t in range(2, steps + 1))]
    for step, label in enumerate(labels):
        place = (step - 0.5 if step else -0.25, -states + 0.28)
        axes.text(*place, label, ha="center", va="center", fontsize=7.5, color=theme.ink)
    for state in range(states):
        axes.text(-0.45, -state, f"state {state}", ha="right", va="center", fontsize=8, color=theme.ink)
    axes.set(xlim=(-1.2, steps - 0.6), ylim=(-states + 0.05, 0.4))


def questions(figure: Figure, theme: Theme) -> None:
    """One structure, four answers."""
    states, steps = 6, 48
    emission = evidence(states, steps, seed=1, sharpness=0.6)
    hmm = semihmm.HMM(torch.zeros(states), sticky(states, 2.5), emission)
    drawn = semihmm.sample(hmm, (40,), generator=torch.Generator().manual_seed(0)).event
    panels = figure.subplots(2, 2, sharex=True, sharey=True).flat
    heat(panels[0], theme, emission.softmax(-1).T, "what each step says alone: softmax(emission)", 1.0)
    heat(panels[1], theme, semihmm.filtering(hmm).exp().T, "with all that came before: filtering", 1.0)
    heat(panels[2], theme, semihmm.smoothing(hmm).exp().T, "with all steps: marginals", 1.0)
    heat(panels[3], theme, torch.zeros(states, steps), "paths: 40 samples, and the best one: viterbi", 1.0)
    jitter = torch.linspace(-0.25, 0.25, len(drawn)).unsqueeze(-1)
    panels[3].plot((drawn + jitter).T, color=theme.blue, lw=0.5, alpha=0.45)
    panels[3].plot(semihmm.viterbi(hmm).event, color=theme.orange, lw=1.8)
    for panel in (panels[0], panels[2]):
        panel.set_ylabel("state", color=theme.ink)
    for panel in (panels[2], panels[3]):
        panel.set_xlabel("time", color=theme.ink)


def pattern(steps: Map, time: int = 0) -> Tensor:
    """Which entries of one step's matrix on its carry space are not zero."""
    size = steps.memory * steps.slots
    carry = torch.eye(size, dtype=torch.bool).unflatten(-1, (steps.memory, steps.slots))
    tables = zip(steps.tables(), steps.table_ranks, strict=True)
    now = (x.select(-1 - rank, min(time, x.shape[-1 - rank] - 1)) for x, rank in tables)
    vector = steps.step(Boolean(), carry, tuple(Boolean().lift(x) if x.is_floating_point() else x for x in now))
    return torch.cat([vector.unsqueeze(-2), carry[:, :-1]], -2).flatten(-2)


def maps(figure: Figure, theme: Theme) -> None:
    """One step of each kind of map, as a matrix on its carry."""
    arcs = torch.tensor([0, 0, 1, 2, 2, 3, 4, 5, 6, 6, 7, 7]), torch.tensor([0, 4, 2, 2, 3, 6, 1, 5, 0, 7, 3, 7])
    kinds = {
        "Dense\nall arcs: S²": Dense(torch.zeros(1, 8, 8)),
        "Diagonal\nemissions: S": Diagonal(torch.zeros(1, 8)),
        "Banded (0, 1, 2)\nleft to right: S K": Banded((0, 1, 2), torch.zeros(1, 8, 3)),
        "Arcs\nany graph: A": Arcs(*arcs, torch.zeros(1, 12), 8),
        "Segmental\ndurations: S² + S D": Segmental.of(torch.zeros(1, 2, 2), torch.zeros(1, 3, 2), torch.zeros(6, 2)),
        "Grid\nanti-diagonals: I K": Grid.of(((1, 0), (0, 1), (1, 1)), torch.zeros(3, 5, 5)),
    }
    for place, (title, steps) in enumerate(kinds.items(), 1):
        axes = figure.add_subplot(1, len(kinds), place)
        filled = pattern(steps.unrolled(), time=2).float()  # a Grid takes its steps unrolled
        axes.imshow(filled, cmap=theme.heat, vmin=0.0, vmax=1.25, interpolation="nearest")
        edges = torch.arange(-0.5, len(filled))
        axes.hlines(edges, -0.5, len(filled) - 0.5, color=theme.faint, lw=0.25)
        axes.vlines(edges, -0.5, len(filled) - 0.5, color=theme.faint, lw=0.25)
        for border in range(1, steps.memory):  # where one vector of the carry ends
            axes.axhline(border * steps.slots - 0.5, color=theme.orange, lw=1.0)
            axes.axvline(border * steps.slots - 0.5, color=theme.orange, lw=1.0)
        bare(axes, theme)
        axes.set_title(title, color=theme.ink, fontsize=8, pad=6)


def strategies(figure: Figure, theme: Theme) -> None:
    """The same product of eight maps, bracketed in three ways."""
    left, middle, right = figure.subplots(1, 3)
    for axes, title in (
        (left, "sequential: 8 rounds of vector × map"),
        (middle, "associative: log₂ 8 = 3 rounds of map × map"),
        (right, "chunked: chunks side by side, then across"),
    ):
        axes.axis("off")
        axes.set_title(title, color=theme.ink, fontsize=8.5)
        axes.set(xlim=(-0.1, 8.6), ylim=(-4.4, 0.5))
    for t in range(1, 9):
        node(left, theme, t, 0, f"$M_{t}$", theme.blue)
        level = -0.48 * t - 0.1
        left.scatter(t, level, s=16, color=theme.orange, zorder=3)
        left.plot([t, t], [-0.21, level], color=theme.faint, lw=0.8)
        left.plot([t - 1, t], [level + 0.48, level], color=theme.orange, lw=1.2)
        node(middle, theme, t, 0, f"$M_{t}$", theme.blue)
        node(right, theme, t, 0, f"$M_{t}$", theme.blue)
    left.scatter(0, -0.1, s=16, color=theme.orange)
    products = [(float(t), t, t) for t in range(1, 9)]
    for level in range(1, 4):
        pairs = list(zip(products[::2], products[1::2], strict=True))
        products = [((a[0] + b[0]) / 2, a[1], b[2]) for a, b in pairs]
        for pair, (x, first, last) in zip(pairs, products, strict=True):
            for above, *_ in pair:
                arrow(middle, (above, -1.25 * (level - 1) - 0.21), (x, -1.25 * level + 0.21), theme.faint)
            node(middle, theme, x, -1.25 * level, rf"$M_{{{first}:{last}}}$", theme.green, width=1.0)
    for first in (1, 5):
        for step in range(3):
            arrow(right, (first + step + 0.31, 0), (first + step + 0.69, 0), theme.green)
        middle_of = first + 1.5
        node(right, theme, middle_of, -1.6, rf"$M_{{{first}:{first + 3}}}$", theme.green, width=1.1)
        for step in range(4):
            right.plot([first + step, middle_of], [-0.21, -1.39], color=theme.faint, lw=0.8)
        right.plot([middle_of] * 2, [-1.81, -3.0], color=theme.faint, lw=0.8)
        right.scatter(middle_of, -3.0, s=16, color=theme.orange, zorder=3)
    right.scatter(0.4, -3.0, s=16, color=theme.orange)
    right.plot([0.4, 6.5], [-3.0, -3.0], color=theme.orange, lw=1.2)


def temperature(figure: Figure, theme: Theme) -> None:
    """The gradient of SmoothMax totals: from the one best path to all paths alike."""
    states, steps = 12, 40
    emission = evidence(states, steps, seed=5, sharpness=0.12)
    moves = torch.zeros(states, 3)
    for axes, gamma in zip(figure.subplots(1, 4), (0.05, 1.0, 5.0, 1000.0), strict=True):
        seen = emission.clone().requires_grad_()
        hmm = semihmm.HMM(torch.zeros(states), moves, seen, offsets=(-1, 0, 1))
        semihmm.total(hmm, SmoothMax(gamma)).backward()
        heat(axes, theme, seen.grad.T, rf"$\gamma$ = {gamma:g}")


PICTURES: Pictures = {
    "trellis": (trellis, (7.2, 2.4)),
    "questions": (questions, (7.2, 3.2)),
    "temperature": (temperature, (7.2, 1.6)),
    "maps": (maps, (8.6, 1.85)),
    "strategies": (strategies, (9.2, 2.6)),
}
