"""Alignment with affine gaps: to open a gap costs more than to go on with it (Gotoh 1982).

Run it: ``python examples/gotoh.py`` (``--smoke`` changes nothing, ``--picture FILE`` draws the alignment).

On paper, with three best scores for each cell (i, j), by how the last pair of it was made:

    M(i, j) = max of M, D, R at (i-1, j-1), + match(i, j)        item i with item j
    D(i, j) = max of M, R at (i-1, j) + open, D there + extend   item i with nothing
    R(i, j) = max of M, D at (i, j-1) + open, R there + extend   nothing with item j

Read as a semiring the "max" may be any sum. A cell depends on the two anti-diagonals before it, so time is i + j, and
a slot is (layer, row): that is what `Grid` goes through. Its tables say for each slot where arcs come from, which plane
of weights they read, and in which columns they are there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as File
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

import semihmm
from semihmm import plots
from semihmm.engine import Chain, Grid, Path
from semihmm.structures.authoring import check_shape, packed, settle, spread
from semihmm.testing import check_structure

PAIR, DOWN, RIGHT = range(3)  # the layers: how the last pair was made
MATCH, OPEN, EXTEND = 0, 1, 3  # planes of weights; two of the latter, down and right


@dataclass(frozen=True, repr=False)
class AffineGaps(semihmm.Structure):
    """Every alignment of N items with M others.

    Args:
        match: log-weight of item i with item j, ``(..., N, M)``.
        opening, extension: log-weights of a gap's first item and of each other one, ``(..., 2)``: items of the first
            sequence with nothing, items of the second one.

    An event is the pairs in order, int64 ``(..., N + M, 2)``: ``(i, j)``, ``(i, -1)`` or ``(-1, j)``; ``(-1, -1)``
    after the end.
    """

    match: Tensor
    opening: Tensor
    extension: Tensor
    lengths: ClassVar[None] = None
    observed: ClassVar[str] = "match"
    ranks: ClassVar[dict[str, int]] = {"match": 2, "opening": 1, "extension": 1}

    def __post_init__(self) -> None:
        settle(self, "match", "opening", "extension")
        for name in ("opening", "extension"):
            check_shape(self, "(..., N, M)", name, getattr(self, name), (2,))

    def chain(self) -> Chain:
        """Slot ``layer (N + 1) + i``; time ``i + j``."""
        n, m = self.match.shape[-2:]
        rows, columns = n + 1, m + 1
        row = torch.arange(rows).repeat(3)
        source, plane = torch.full((3 * rows, 3), -1), torch.zeros(3 * rows, 3, dtype=torch.int64)
        low = torch.zeros_like(source)
        for to, (down, right) in enumerate(((1, 1), (1, 0), (0, 1))):
            here, delay = slice(to * rows, (to + 1) * rows), down + right
            for layer in range(3):  # the latest step's slots come first, then those of the step before
                above = torch.arange(rows) - down
                source[here, layer] = torch.where(above < 0, -1, (delay - 1) * 3 * rows + layer * rows + above)
                plane[here, layer] = MATCH if to == PAIR else (EXTEND if layer == to else OPEN) + to - DOWN
            low[here] = right  # a move to the right cannot end in the first column
        each = self.expanded_potentials  # with all batch axes
        gaps = torch.cat([each["opening"], each["extension"]], -1)[..., None, None]
        gaps = gaps.expand(*self.batch_shape, 4, rows, columns)
        weight = torch.cat([pad(self.match, (1, 0, 1, 0)).unsqueeze(-3), gaps], -3)
        factor, high = torch.ones(source.shape, dtype=torch.float64), torch.full_like(source, columns)
        corner = torch.full((3 * rows,), -torch.inf, dtype=self.match.dtype)
        corner[0] = 0.0
        done = torch.full((3, rows), -torch.inf, dtype=self.match.dtype)
        done[:, n] = 0.0
        steps = Grid(weight, row, source, plane, factor, low, high, memory=2)
        return Chain((corner,), steps, (done.flatten(),), length=n + m)

    def event(self, path: Path) -> Tensor:
        """What was taken at each time at which the path stands in a slot."""
        rows = self.match.shape[-2] + 1
        slots = path.slots[..., 1:]
        layer, row = slots // rows, slots % rows
        column = torch.arange(1, slots.shape[-1] + 1) - row
        pair = torch.stack([torch.where(layer == RIGHT, -1, row - 1), torch.where(layer == DOWN, -1, column - 1)], -1)
        return packed(pair, path.choices >= 0, slots.shape[-1])

    def path(self, event: Tensor) -> Path:
        """How many items are done after each pair, and by which kind of pair."""
        n, m = self.match.shape[-2:]
        taken = event >= 0
        done, used = taken.cumsum(-2), taken.any(-1)
        fine = ((event == done - 1) | (event == -1)).all((-2, -1)) & (used[..., 1:] <= used[..., :-1]).all(-1)
        fine = fine & (taken.sum(-2) == torch.tensor([n, m])).all(-1)
        layer = torch.where(taken.all(-1), PAIR, torch.where(taken[..., 0], DOWN, RIGHT))
        slot = spread(layer * (n + 1) + done[..., 0], torch.where(used, done.sum(-1) - 1, -1), n + m)
        return Path.through(torch.where(fine.unsqueeze(-1), pad(slot, (1, 0)), -1))


def paths(item: AffineGaps) -> Iterator[tuple[object, list[float]]]:
    """All alignments from the definition alone."""
    n, m = item.match.shape

    def rest(i: int, j: int, last: int) -> Iterator[tuple[list[list[int]], list[float]]]:
        if (i, j) == (n, m):
            yield [], []
        for kind, (down, right) in enumerate(((1, 1), (1, 0), (0, 1))):
            if i + down > n or j + right > m:
                continue
            if kind == PAIR:
                weight = item.match[i, j]
            else:
                weight = (item.extension if last == kind else item.opening)[kind - DOWN]
            pair = [i if down else -1, j if right else -1]
            for pairs, weights in rest(i + down, j + right, kind):
                yield [pair, *pairs], [float(weight), *weights]

    for pairs, weights in rest(0, 0, PAIR):
        yield [*pairs, *[[-1, -1]] * (n + m - len(pairs))], weights


def main() -> None:
    """Checks the structure, then aligns two words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="for the tests: it is short anyway")
    parser.add_argument("--picture", type=File, metavar="FILE", help="draw the alignment")
    arguments = parser.parse_args()
    g = torch.Generator().manual_seed(0)
    small = AffineGaps(*(torch.randn(s, generator=g, dtype=torch.float64) for s in ((2, 2, 2), (2, 2), (2,))))
    check_structure(small, paths=paths, samples=500)
    print("Every answer is that of its paths, listed one by one.")

    one, other = "GATTACA", "GACA"
    match = torch.tensor([[1.0 if a == b else -1.0 for b in other] for a in one])
    gaps = AffineGaps(match, torch.tensor([-2.0, -2.0]), torch.tensor([-0.25, -0.25]))
    best = semihmm.viterbi(gaps)
    pairs = [pair for pair in best.event.tolist() if pair != [-1, -1]]
    print("".join(one[i] if i >= 0 else "-" for i, _ in pairs))
    print("".join(other[j] if j >= 0 else "-" for _, j in pairs))
    print(f"score {float(best.score):g}; expected number of gaps {float(semihmm.marginals(gaps).opening.sum()):.2f}")
    assert float(best.score) == 4 - 2 - 0.5  # one gap of three
    if arguments.picture:
        picture(arguments.picture, gaps, one, other)


def picture(file: File, gaps: AffineGaps, one: str, other: str) -> None:
    """How probable each pair is, and the pairs of the best alignment."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    pairs = semihmm.viterbi(gaps).event
    plots.alignment(semihmm.marginals(gaps).match, label="posterior of the pair", names=list(other), ax=axes)
    axes.plot(
        *pairs[(pairs >= 0).all(-1)].T.numpy(), "o", markersize=14, fillstyle="none", markeredgewidth=2, color="C1"
    )
    axes.set_xticks(range(len(one)), list(one))
    axes.set(xlabel="rings: pairs of the best alignment", ylabel="")
    axes.figure.savefig(file)


if __name__ == "__main__":
    main()
