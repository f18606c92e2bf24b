"""A factorial HMM: several chains at once, which meet in what is seen (Ghahramani & Jordan 1997).

Run it: ``python examples/factorial.py`` (``--smoke`` changes nothing, ``--picture FILE`` draws the signal).

On paper, for two chains with states i and j, and b(t, i, j) the log-weight of what is seen under both:

    f(t, i, j) = logsumexp over i', j' of f(t-1, i', j') + a1(i', i) + a2(j', j), + b(t, i, j)

What a path must remember are both states, so a slot is a pair (i, j). The sum over both is a sum over j' of a sum over
i': first each i' becomes an i whatever j' is, then each j' a j. So a step moves one axis of the pair at a time, which
takes 2 S^3 products where a matrix of all pairs takes S^4; then comes what is seen. (`semihmm.FactorialHMM` is this for
any number of chains, which may also move each other.)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path as File
from typing import ClassVar

import torch
from torch import Tensor

import semihmm
from semihmm.engine import Axes, Chain, Diagonal, Path
from semihmm.structures.authoring import check_shape, settle
from semihmm.testing import check_structure


@dataclass(frozen=True, repr=False)
class Pair(semihmm.Structure):
    """Every way through two chains of S states each.

    Args:
        first, second: log-weight of each chain's ``[from, to]``, ``(..., S, S)``.
        emission: log-weight of each step's observation under both states, ``(..., T, S, S)``.

    An event is both states of each step, int64 ``(..., T, 2)``.
    """

    first: Tensor
    second: Tensor
    emission: Tensor
    lengths: ClassVar[None] = None
    observed: ClassVar[str] = "emission"
    ranks: ClassVar[dict[str, int]] = {"first": 2, "second": 2, "emission": 3}

    def __post_init__(self) -> None:
        settle(self, "first", "second", "emission")
        for name in ("first", "second"):
            check_shape(self, "(..., T, S, S)", name, getattr(self, name), tuple(self.emission.shape[-2:]))

    def chain(self) -> Chain:
        """Slot: i S + j."""
        emission = self.emission.flatten(-2)
        moves = Axes((self.first.unsqueeze(-3), self.second.unsqueeze(-3)))
        return Chain(start=(emission[..., 0, :],), steps=moves @ Diagonal(emission[..., 1:, :]))

    def event(self, path: Path) -> Tensor:
        """A slot, taken apart."""
        states = self.emission.shape[-1]
        pair = torch.stack([path.slots // states, path.slots % states], -1)
        return torch.where(path.slots.unsqueeze(-1) < 0, -1, pair)

    def path(self, event: Tensor) -> Path:
        """And put together."""
        states = self.emission.shape[-1]
        inside = ((event >= 0) & (event < states)).all(-1)
        return Path.through(torch.where(inside, event[..., 0] * states + event[..., 1], -1))


def paths(item: Pair) -> Iterator[tuple[object, list[float]]]:
    """All paths of one sequence from the definition alone."""
    steps, states, _ = item.emission.shape
    for event in product(product(range(states), repeat=2), repeat=steps):
        weights = [float(item.emission[(t, *pair)]) for t, pair in enumerate(event)]
        for (i, j), (k, m) in pairwise(event):
            weights += [float(item.first[i, k]), float(item.second[j, m])]
        yield event, weights


def main() -> None:
    """Checks the structure, then hears two switches in one signal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="for the tests: it is short anyway")
    parser.add_argument("--picture", type=File, metavar="FILE", help="draw the signal and both switches")
    arguments = parser.parse_args()
    g = torch.Generator().manual_seed(0)
    draws = [torch.randn(s, generator=g, dtype=torch.float64) for s in ((2, 2), (2, 2), (2, 3, 2, 2))]
    check_structure(Pair(*draws), paths=paths)
    print("Every answer is that of its paths, listed one by one.")

    truth = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 0]]).repeat_interleave(10, 0)
    loud = torch.tensor([1.0, 2.5])  # what each switch adds when it is on
    signal = (truth * loud).sum(-1) + 0.3 * torch.randn(40, generator=g)
    on = torch.tensor([0.0, 1.0])
    heard = on.unsqueeze(-1) * loud[0] + on * loud[1]
    emission = -0.5 * ((signal[:, None, None] - heard) / 0.3).square()
    sticky = torch.tensor([[0.0, -4.0], [-4.0, 0.0]])
    found = semihmm.viterbi(Pair(sticky, sticky, emission)).event
    print(f"steps at which both switches are found: {int((found == truth).all(-1).sum())} of {len(truth)}")
    assert torch.equal(found, truth)
    if arguments.picture:
        picture(arguments.picture, signal, found, loud)


def picture(file: File, signal: Tensor, found: Tensor, loud: Tensor) -> None:
    """The signal with what the switches add up to, and each switch alone."""
    from matplotlib.figure import Figure

    above, *below = Figure(figsize=(6, 3.4), layout="constrained").subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
    above.plot(signal, "o", color="0.6", markersize=4)
    above.step(range(len(signal)), (found * loud).sum(-1), where="mid", linewidth=2)
    above.set_ylabel("signal")
    for number, axes in enumerate(below):
        axes.fill_between(range(len(found)), found[:, number], step="mid", color=f"C{number + 1}", linewidth=0)
        axes.set_yticks([0.5], [f"switch {number + 1}"])
        axes.set_ylim(0, 1.1)
    below[-1].set_xlabel("step")
    above.figure.savefig(file)


if __name__ == "__main__":
    main()
