"""A trigram CRF: what a state weighs depends on the two before it.

Run it: ``python examples/trigram.py`` (``--smoke`` changes nothing, ``--picture FILE`` draws what is learnt).

On paper, with a(i, j, k) the log-weight of k after j after i, and b(t, k) that of what is seen at step t in state k:

    f(0, #, k) = a0(k) + b(0, k)
    f(t, j, k) = logsumexp over i of f(t-1, i, j) + a(i, j, k), + b(t, k)

What a path must remember is the pair (i, j): those are the slots, and # stands for "nothing yet". An arc of the first
map leads from (i, j) to (j, k), whatever i was; the second map adds b(t, k), which all pairs that end in k share.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
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
class Trigram(semihmm.Structure):
    """Every sequence of S states, each weighed by the two before it.

    Args:
        initial: log-weight of the first state ``(..., S)``.
        trigram: log-weight of ``[before the last, last, next]``, ``(..., S + 1, S, S)``; S, before the last: nothing.
        emission: log-weight of each step's observation under each state, ``(..., T, S)``.
        lengths: steps in use, at least 1.

    An event is the states, int64 ``(..., T)``, -1 after the end. Work per step is (S + 1) S^2.
    """

    initial: Tensor
    trigram: Tensor
    emission: Tensor
    lengths: Tensor | None = None
    observed: ClassVar[str] = "emission"
    ranks: ClassVar[dict[str, int]] = {"initial": 1, "trigram": 3, "emission": 2}
    ragged: ClassVar[dict[str, dict[str, int]]] = {"lengths": {"emission": -2}}

    def __post_init__(self) -> None:
        settle(self, "initial", "trigram", "emission")
        settle_indices(self, "lengths")
        steps, states = self.emission.shape[-2:]
        check_shape(self, "(..., T, S)", "initial", self.initial, (states,))
        check_shape(self, "(..., T, S)", "trigram", self.trigram, (states + 1, states, states))
        check_lengths("Trigram", self.lengths, self.batch_shape, steps)

    def chain(self) -> Chain:
        """Slot ``i S + j``: j is the state, i the one before it, S for none."""
        steps, states = self.emission.shape[-2:]
        before, last, following = (torch.tensor(x) for x in zip(*self._triples(), strict=True))
        pairs = (states + 1) * states
        weight = self.trigram.flatten(-3).unsqueeze(-2)  # one more axis: time, of size 1
        arcs = Arcs(before * states + last, last * states + following, weight, pairs)
        state = torch.arange(states).repeat(states + 1)
        nothing = torch.full_like(self.initial, -torch.inf).repeat(*(1,) * (self.initial.ndim - 1), states)
        return Chain(
            start=(torch.cat([nothing, self.initial], -1), self.emission[..., 0, :].index_select(-1, state)),
            steps=arcs @ Diagonal(self.emission[..., 1:, :], state.unsqueeze(0)),
            lengths=None if self.lengths is None else self.lengths - 1,
            length=steps - 1,
        )

    def _triples(self) -> Iterator[tuple[int, ...]]:
        states = self.emission.shape[-1]
        return product(range(states + 1), range(states), range(states))

    def event(self, path: Path) -> Tensor:
        """The states without what was before them."""
        return torch.where(path.slots < 0, -1, path.slots % self.emission.shape[-1])

    def path(self, event: Tensor) -> Path:
        """Each state, and the one before it."""
        states = self.emission.shape[-1]
        before = pad(event[..., :-1], (1, 0), value=states)
        return Path.through(torch.where((event >= 0) & (event < states), before * states + event, -1))


def paths(item: Trigram) -> Iterator[tuple[object, list[float]]]:
    """All paths of one sequence from the definition alone."""
    steps, states = item.emission.shape
    length = steps if item.lengths is None else int(item.lengths)
    for event in product(range(states), repeat=length):
        triples = zip((states, *event), event, event[1:], strict=False)
        weights = [float(item.initial[event[0]]), *(float(item.emission[t, s]) for t, s in enumerate(event))]
        yield [*event, *[-1] * (steps - length)], weights + [float(item.trigram[triple]) for triple in triples]


def main() -> None:
    """Checks the structure, then learns which trigrams there are in a cycle of three states."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="for the tests: it is short anyway")
    parser.add_argument("--picture", type=File, metavar="FILE", help="draw the weights that are learnt")
    arguments = parser.parse_args()
    g = torch.Generator().manual_seed(0)
    shapes = ((2,), (3, 2, 2), (2, 4, 2))
    small = Trigram(*(torch.randn(s, generator=g, dtype=torch.float64) for s in shapes), lengths=torch.tensor([4, 2]))
    check_structure(small, paths=paths, samples=500)
    print("Every answer is that of its paths, listed one by one.")

    labels = torch.tensor([0, 0, 1] * 10)  # after 0 comes 0 or 1: only the state before tells which
    trigram = torch.zeros(3, 2, 2, requires_grad=True)
    optimizer = torch.optim.Adam([trigram], lr=0.3)
    for _ in range(40):
        crf = Trigram(torch.zeros(2), trigram, torch.zeros(30, 2))
        loss = -semihmm.log_prob(crf, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"probability of the labels after training: {float(semihmm.log_prob(crf, labels).exp().detach()):.3f}")
    assert (
        semihmm.viterbi(Trigram(torch.tensor([1.0, 0.0]), trigram, torch.zeros(30, 2))).event.tolist()
        == labels.tolist()
    )
    if arguments.picture:
        picture(arguments.picture, trigram.detach())


def picture(file: File, trigram: Tensor) -> None:
    """What follows the last two states: the weights, in nats."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    rows = ["0 0", "0 1", "1 0", "1 1", "# 0", "# 1"]
    image = axes.imshow(trigram.flatten(0, 1), aspect="auto")
    axes.figure.colorbar(image, ax=axes, label="log-weight (nats)")
    axes.set_yticks(range(6), rows)
    axes.set_xticks([0, 1])
    axes.set(xlabel="next state", ylabel="the two before it")
    axes.figure.savefig(file)


if __name__ == "__main__":
    main()
