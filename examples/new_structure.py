"""A structure of your own: piecewise-constant signals with at most k jumps, and where those jumps are.

Run it: ``python examples/new_structure.py`` (``--smoke`` for a short signal, ``--picture FILE`` for where it
jumps).

A structure says which paths there are and what they weigh, as a chain of linear maps, and how a path through that chain
reads in its own terms. It knows no semiring, no loop over time and no gradient; in return every question, strategy and
gradient of the library works with it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path as File
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

import semihmm
from semihmm.engine import Arcs, Chain, Diagonal, Path
from semihmm.structures.authoring import check_lengths, check_shape, settle, settle_indices
from semihmm.testing import check_structure


@dataclass(frozen=True, repr=False)
class AtMostKJumps(semihmm.Structure):
    """Every sequence of levels that changes k times or less. An HMM cannot count; this one does.

    Args:
        jump: log-weight of changing ``[from, to]``, ``(..., S, S)``; staying costs nothing, so its
            diagonal does not count.
        emission: log-weight of each step's observation at each level, ``(..., T, S)``.
        most: k.
        lengths: steps in use, ``1 <= lengths <= T``.

    An event is the levels, int64 ``(..., T)``, -1 after the end. A slot is a level and how many jumps led to it, so
    there are ``(k + 1) S`` slots and ``S (k + 1 + k (S - 1))`` arcs.
    """

    jump: Tensor
    emission: Tensor
    most: int
    lengths: Tensor | None = None
    observed: ClassVar[str] = "emission"
    ranks: ClassVar[dict[str, int]] = {"jump": 2, "emission": 2}
    ragged: ClassVar[dict[str, dict[str, int]]] = {"lengths": {"emission": -2}}

    def __post_init__(self) -> None:
        settle(self, "jump", "emission")
        settle_indices(self, "lengths")
        steps, levels = self.emission.shape[-2:]
        check_shape(self, "(..., T, S)", "jump", self.jump, (levels, levels))
        check_lengths("AtMostKJumps", self.lengths, self.batch_shape, steps)

    def chain(self) -> Chain:
        """Stay, or jump to another level and count; then the emission, whatever the count."""
        steps, levels = self.emission.shape[-2:]
        slots = (self.most + 1) * levels  # slot: jumps * levels + level
        stay = [(s, s) for s in range(slots)]
        pairs = [(i, j) for i, j in product(range(levels), repeat=2) if i != j]
        jumps = [(c * levels + i, (c + 1) * levels + j) for c in range(self.most) for i, j in pairs]
        source, target = torch.tensor(stay + jumps, device=self.emission.device).unbind(-1)
        # A weight is one potential, or a constant 0: staying is free. Sums happen in the semiring, never here.
        off_diagonal = self.jump.flatten(-2)[..., [i * levels + j for i, j in pairs]]
        free = off_diagonal.new_zeros(*off_diagonal.shape[:-1], slots)
        weight = torch.cat([free, *[off_diagonal] * self.most], -1).unsqueeze(-2)  # one more axis: time, shared
        emission = self.emission.repeat(*(1,) * (self.emission.ndim - 1), self.most + 1)
        no_jump_yet = emission.new_zeros(slots)
        no_jump_yet[levels:] = -math.inf
        return Chain(
            start=(no_jump_yet, emission[..., 0, :]),
            steps=Arcs(source, target, weight, slots) @ Diagonal(emission[..., 1:, :]),
            lengths=None if self.lengths is None else self.lengths - 1,
            length=steps - 1,
        )

    def event(self, path: Path) -> Tensor:
        """The levels, without the counts."""
        return torch.where(path.slots < 0, -1, path.slots % self.emission.shape[-1])

    def path(self, event: Tensor) -> Path:
        """The levels, and how many jumps led to each."""
        levels = self.emission.shape[-1]
        jumps = pad(event.diff(dim=-1) != 0, (1, 0)).cumsum(-1)
        return Path.through(torch.where((event >= 0) & (event < levels), jumps * levels + event, -1))

    def filtered(self, vectors: Tensor) -> Tensor:
        """The weight of each level so far, over all counts."""
        levels = self.emission.shape[-1]
        return vectors.reshape(*vectors.shape[:-1], self.most + 1, levels).logsumexp(-2)


def paths(item: AtMostKJumps) -> Iterator[tuple[object, list[float]]]:
    """All paths of one sequence from the definition alone: what `check_structure` compares every answer with."""
    steps, levels = item.emission.shape
    length = steps if item.lengths is None else int(item.lengths)
    for event in product(range(levels), repeat=length):
        jumps = [(i, j) for i, j in pairwise(event) if i != j]
        if len(jumps) <= item.most:
            weights = [float(item.emission[t, s]) for t, s in enumerate(event)]
            yield [*event, *[-1] * (steps - length)], weights + [float(item.jump[i, j]) for i, j in jumps]


def main() -> None:
    """Checks the structure, then looks for jumps in a noisy signal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a short signal")
    parser.add_argument("--picture", type=File, metavar="FILE", help="draw the signal with one to three jumps")
    arguments = parser.parse_args()
    repeat = 3 if arguments.smoke else 20

    generator = torch.Generator().manual_seed(0)
    small = AtMostKJumps(
        torch.randn(3, 3, generator=generator, dtype=torch.float64),
        torch.randn(2, 4, 3, generator=generator, dtype=torch.float64),
        most=2,
        lengths=torch.tensor([4, 3]),
    )
    check_structure(small, paths=paths, samples=500)
    print("Every answer is that of its paths, listed one by one.")

    truth = torch.tensor([1, 3, 0, 2]).repeat_interleave(repeat)
    signal = truth + 0.8 * torch.randn(len(truth), generator=generator)
    levels = torch.arange(5.0)
    emission = (-0.5 * ((signal.unsqueeze(-1) - levels) / 0.8).square()).requires_grad_()
    jump = torch.full((5, 5), -2.0)
    print(f"{len(truth)} steps with jumps at {(truth.diff().nonzero().flatten() + 1).tolist()}:")
    for most in range(7):
        structure = AtMostKJumps(jump, emission, most)
        best = semihmm.viterbi(structure)
        places = (best.event.diff().nonzero().flatten() + 1).tolist()
        ways, spread = float(semihmm.log_count(structure)), float(semihmm.entropy(structure).detach())
        print(f"  at most {most}: exp({ways:5.1f}) paths, entropy {spread:5.2f} nats, best jumps at {places}")

    structure = AtMostKJumps(jump, emission, 3)
    expected = semihmm.marginals(structure)
    off_diagonal = expected.jump.detach().fill_diagonal_(0.0)
    print(f"jumps to expect where 3 are allowed: {float(off_diagonal.sum()):.3f}")
    drawn = semihmm.sample(structure, (1000,), generator=generator).event
    share = (drawn.diff(dim=-1) != 0).float().mean(0)
    print(f"most often in 1000 draws: step {int(share.argmax()) + 1} ({float(share.max()):.0%})")
    (gradient,) = torch.autograd.grad(semihmm.log_partition(structure), emission)
    torch.testing.assert_close(gradient, expected.emission.detach())
    assert float(semihmm.log_count(AtMostKJumps(jump, emission, len(truth) - 1))) > len(truth) * math.log(5) - 1e-3
    assert 2.0 < float(off_diagonal.sum()) < 3.001, "the signal has three jumps, and no more are allowed"
    if arguments.picture:
        picture(arguments.picture, signal, [AtMostKJumps(jump, emission.detach(), most) for most in (1, 2, 3)])


def picture(file: File, signal: Tensor, structures: list[AtMostKJumps]) -> None:
    """The best levels for each number of jumps, and how probable a jump is at each step."""
    from matplotlib.figure import Figure

    above, below = Figure(figsize=(6, 3.4), layout="constrained").subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.plot(signal, ".", color="0.6")
    generator = torch.Generator().manual_seed(0)
    for structure in structures:
        best = semihmm.viterbi(structure).event
        above.step(range(len(best)), best, where="mid", label=f"at most {structure.most}")
        drawn = semihmm.sample(structure, (2000,), generator=generator).event
        below.plot(torch.arange(1, len(best)) - 0.5, (drawn.diff(dim=-1) != 0).float().mean(0))
    above.set_ylabel("signal")
    above.legend(frameon=False, fontsize="small", title="jumps")
    below.set(xlabel="step", ylabel="share of draws\nthat jump")
    above.figure.savefig(file)


if __name__ == "__main__":
    main()
