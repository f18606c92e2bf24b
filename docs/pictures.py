"""The pictures of the documentation, for light and for dark pages: ``python docs/pictures.py FOLDER``.

What they show is computed by the library when they are drawn.
"""

import argparse
import math
import re
import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import Tensor

import semihmm
from semihmm import warping
from semihmm.decoding import BeamSearch, Vocabulary, align
from semihmm.engine import Arcs, Banded, Dense, Diagonal, Grid, Map
from semihmm.engine.maps import Segmental
from semihmm.semirings import Boolean, SmoothMax
from semihmm.streaming import Stream

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


def spans(figure: Figure, theme: Theme) -> None:
    """What a network hears over time, and when each letter and word of a text is said."""
    tokens, said = "–edhlorw", "––hhheeellll–lloooo–––––wwwwoooorrrllllldd–––"
    generator = torch.Generator().manual_seed(2)
    clear = torch.stack([torch.eye(len(tokens))[tokens.index(c)] for c in said])
    blurred = torch.nn.functional.avg_pool1d(clear.T, 5, 1, padding=2, count_include_pad=False).T
    log_probs = (5 * blurred + 0.9 * torch.randn(clear.shape, generator=generator)).log_softmax(-1)
    letters = align(log_probs, torch.tensor([tokens.index(c) for c in "helloworld"]))
    words = letters.merge(torch.tensor([0] * 5 + [1] * 5))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    above.imshow(log_probs.exp().T, cmap=theme.heat, aspect="auto", vmin=0.0, vmax=1.0, interpolation="nearest")
    bare(above, theme)
    above.set_yticks(range(len(tokens)), list(tokens), fontsize=8, color=theme.ink)
    above.tick_params(length=0)
    bare(below, theme)
    below.axis("off")
    for row, (alignment, names) in enumerate([(letters, tokens), (words, ["hello", "world"])]):
        for span in alignment.spans(names):
            corner, width = (span.start - 0.5, -row), span.end - span.start
            below.add_patch(Rectangle(corner, width, 0.8, fc=theme.orange, alpha=span.confidence**2, lw=0))
            below.add_patch(Rectangle(corner, width, 0.8, fc="none", ec=theme.ink, lw=0.8))
            text = f"{span.label}\n{span.confidence:.2f}"
            below.text(corner[0] + width / 2, 0.39 - row, text, ha="center", va="center", fontsize=7, color=theme.ink)
    below.set(xlim=(-0.5, len(said) - 0.5), ylim=(-1.1, 0.9))


def streaming(figure: Figure, theme: Theme) -> None:
    """What is known when a frame comes, a little later, and for good."""
    steps, ahead, emission = 120, 6, evidence(3, 120, seed=5, sharpness=0.35)
    stream = Stream(semihmm.HMM(torch.zeros(3), sticky(3, 4.0), emission[:1]), lookahead=ahead)
    updates = [stream.push(frame.unsqueeze(0)) for frame in emission]
    now = torch.cat([u.filtered for u in updates if u.filtered is not None]).exp()
    later = torch.cat([u.smoothed for u in updates if u.smoothed is not None])[ahead:].exp()
    told = torch.tensor([len(u.committed.states) for u in updates]).cumsum(0)
    one, two, three = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1, 2))
    for axes, x, title in ((one, now, "as a frame comes"), (two, later, f"{ahead} frames later")):
        axes.imshow(x.T, aspect="auto", cmap=theme.heat, vmin=0, vmax=1, interpolation="nearest", origin="lower")
        bare(axes, theme, title)
    frames = torch.arange(1, steps + 1)
    three.fill_between(frames, told, frames, step="post", color=theme.paper, lw=0)
    three.plot(frames, frames, color=theme.faint, lw=0.9)
    three.step(frames, told, where="post", color=theme.orange, lw=1.2)
    bare(three, theme, "frames with a state for good, and frames that have come")
    three.set(xlim=(0, steps), ylim=(0, steps * 1.05))


Draw = Callable[[Figure, Theme], None]


def decoding(figure: Figure, theme: Theme) -> None:
    """What a network says, and a beam at work on it."""
    letters = Vocabulary(["-", " ", *"acehmnost"], delimiter=" ")
    generator = torch.Generator().manual_seed(5)
    frames = torch.tensor([token for letter in letters.spell("the cat sat on") for token in (0, letter, letter, 0)])
    scores = 4.0 * torch.eye(len(letters.tokens))[frames]
    log_probs = (scores + 1.5 * torch.randn(scores.shape, generator=generator)).log_softmax(-1)
    search = BeamSearch(letters, lexicon=["a", "at", "cat", "chat", "mat", "not", "on", "sat", "seat", "the"])
    stream, beams = search.stream(), list[dict[str, float]]()
    for frame in log_probs.split(1):
        stream.push(frame)
        found = stream.hypotheses(search.beam)
        beams.append(dict(zip(letters.texts(found)[0], found.confidence[0].tolist(), strict=False)))
    best = search(log_probs, count=20)
    sentences = list(dict.fromkeys(" ".join(text.split()) for text in letters.texts(best)[0]))[:3]
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.2, 1))
    heat(above, theme, log_probs.exp().T, "what the network says, and what was found", 1.0)
    above.set_yticks(range(len(letters.tokens)), ["–", "␣", *letters.tokens[2:]], color=theme.ink, fontsize=6)
    said = slice(int(best.lengths[0]))
    above.plot(best.frames[0, said], best.labels[0, said], "o", mfc="none", mec=theme.orange, ms=5, mew=1.2)
    bare(below, theme, "how much of the beam agrees so far")
    for sentence, colour in zip(sentences, (theme.orange, theme.blue, theme.green), strict=False):
        agrees = [sum(p for text, p in beam.items() if sentence.startswith(" ".join(text.split()))) for beam in beams]
        below.plot(agrees, color=colour, lw=1.4, label=sentence)
    below.legend(frameon=False, labelcolor=theme.ink, fontsize=7, loc="lower left")
    below.set(ylim=(0, 1.05), yticks=[0, 1])
    below.set_xlabel("frame", color=theme.ink)
    below.tick_params(colors=theme.ink, labelsize=7)


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
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "heartbeats.py"))
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


PICTURES: dict[str, tuple[Draw, tuple[float, float]]] = {
    "trellis": (trellis, (7.2, 2.4)),
    "questions": (questions, (7.2, 3.2)),
    "maps": (maps, (8.6, 1.85)),
    "strategies": (strategies, (9.2, 2.6)),
    "structures": (structures, (7.2, 6.6)),
    "temperature": (temperature, (7.2, 1.6)),
    "decoding": (decoding, (7.2, 3.4)),
    "spans": (spans, (7.2, 3.0)),
    "streaming": (streaming, (7.2, 3.2)),
    "warping": (warped, (7.2, 2.6)),
    "windows": (windows, (9.2, 2.0)),
    "barycenters": (barycenters, (7.2, 3.6)),
    "search": (stretches, (9.2, 1.8)),
}


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
            for name, (fill, size) in PICTURES.items():
                figure = Figure(figsize=size, layout="constrained")
                fill(figure, theme)
                save(figure, f"{name}-{theme.name}")
        with matplotlib.rc_context(STYLE | theme.style):
            for name, figure in of_page(Path(__file__).with_name("plots.md")):
                save(figure, f"{name}-{theme.name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", default="svg", choices=("svg", "png", "pdf"))
    arguments = parser.parse_args()
    draw(arguments.folder, arguments.kind)
