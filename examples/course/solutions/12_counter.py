"""Exercise 12: a structure with a constraint, checked and trained.

Labels of T steps, exactly k of which are 0 ("there are three faults in this record"). An HMM cannot count. But a
chain can remember anything finite: let its slot be the state *and* how many steps were in state 0 so far,

    slot = count * S + state,   count = 0, ..., k

A path begins with count 1 if its first state is 0, else with count 0. A transition to state 0 adds one to the count,
any other leaves it as it is. The path may end where the count is k.

A structure says this in three methods.

`chain` has a start, steps and an end. The start is one log-weight for each slot, -inf where no path begins. The steps
are `Arcs(source, target, weight, slots)`, whose ``weight`` (1, arcs) has one more axis in front for the time, of size
1 as all steps share it; and ``@ Diagonal(x)``, where x (T - 1, slots) adds to each slot the emission of its state.
The end is 0 or -inf for each slot: ``only(mask, like)`` of `semihmm.structures.authoring` makes that of a mask. Every
entry is one potential or a constant, so factors that add up stand side by side: ``start=(x, y)``. The first step is
in the start, so there are T - 1 steps.

`event` goes from ``path.slots``, int64 (..., T), -1 behind the end, to what a user reads: states. `path` goes from
states to slots, with -1 where a state is none, and returns ``Path.through(slots)``.

Then every question can be asked, and `check_structure` compares each answer with those of a list of all paths.

`fit` trains the structure: it looks for the ``initial`` (S,) and ``transition`` (S, S) with the greatest mean
`semihmm.log_prob` of some labels, by gradient steps of any optimiser.

Fill in `ExactlyK` and `fit`, then run this file. (`semihmm.constrain(hmm, semihmm.automata.exactly(k, 0))` is this
structure ready-made, and what the checker compares with.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

import semihmm
from semihmm.engine import Arcs, Chain, Diagonal, Path
from semihmm.structures.authoring import only


@dataclass(frozen=True, repr=False)
class ExactlyK(semihmm.Structure):
    """All states of T steps of which exactly k are 0.

    Args:
        initial: log-weight of each first state (S,).
        transition: log-weight of ``[from, to]``, (S, S).
        emission: log-weight of each step's observation in each state (T, S).
        k: how many steps are in state 0.
    """

    initial: Tensor
    transition: Tensor
    emission: Tensor
    k: int
    observed: ClassVar[str] = "emission"
    ranks: ClassVar[dict[str, int]] = {"initial": 1, "transition": 2, "emission": 2}
    lengths: ClassVar[None] = None

    def chain(self) -> Chain:
        """A slot for each state and count; the count is k at the end."""
        steps, states = self.emission.shape
        slots = (self.k + 1) * states
        state = torch.arange(slots) % states
        count = torch.arange(slots) // states
        source, target = torch.cartesian_prod(torch.arange(slots), torch.arange(slots)).unbind(-1)
        there = count[target] == count[source] + (state[target] == 0)
        source, target = source[there], target[there]
        weight = self.transition[state[source], state[target]].unsqueeze(0)
        return Chain(
            start=(self.initial[state], only(count == (state == 0), self.emission), self.emission[0, state]),
            steps=Arcs(source, target, weight, slots) @ Diagonal(self.emission[1:, state]),
            end=(only(count == self.k, self.emission),),
            length=steps - 1,
        )

    def event(self, path: Path) -> Tensor:
        """The states, without the counts."""
        return torch.where(path.slots < 0, -1, path.slots % self.emission.shape[-1])

    def path(self, event: Tensor) -> Path:
        """The slots of these states."""
        states = self.emission.shape[-1]
        count = (event == 0).cumsum(-1)
        inside = (event >= 0) & (event < states) & (count <= self.k)
        return Path.through(torch.where(inside, count * states + event, -1))


def fit(events: Tensor, states: int, k: int) -> tuple[Tensor, Tensor]:
    """The ``initial`` and ``transition`` under which ``events``, int64 (B, T), are most probable; no emissions."""
    initial, transition = torch.zeros(states, requires_grad=True), torch.zeros(states, states, requires_grad=True)
    optimizer = torch.optim.Adam([initial, transition], lr=0.1)
    for _ in range(100):
        structure = ExactlyK(initial, transition, torch.zeros(events.shape[-1], states), k)
        loss = -semihmm.log_prob(structure, events).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return initial.detach(), transition.detach()


if __name__ == "__main__":  # checks this file
    import runpy
    import sys
    from pathlib import Path

    sys.argv = ["check.py", __file__]
    runpy.run_path(str(Path(__file__).parents[1] / "check.py"), run_name="__main__")
