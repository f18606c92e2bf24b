"""Slots of a Dense chain beside states of an automaton: joint states whose axes move one after the other."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from semihmm.automata import Automaton
from semihmm.engine import Axes, Compose, Dense, Diagonal, Form, Map, Path
from semihmm.engine.maps.form import pick, remembered, unchecked
from semihmm.structures.authoring import Labels
from semihmm.structures.hsmm import either
from semihmm.structures.product import Integers, Table


class Moves(NamedTuple):
    """What an automaton does where a path may go from any slot to any other.

    Attributes:
        after: the state in which each one reads each slot, ``(Q, S)``; -1 where that is refused, or nothing is accepted
            from there on.
        pairs: how many pairs of a slot and the state after it a path can get to, and come from to where the automaton
            accepts.
        arcs: how many arcs there are between those.
    """

    after: Integers
    pairs: int
    arcs: int


@remembered
def moves(labels: Table, automaton: Automaton) -> Moves:
    """Of slots with these labels ``(S,)``."""
    after = automaton.moves[:-1, labels.numbers]
    accepts, fewer = automaton.accepting, np.zeros_like(automaton.accepting)
    while (fewer != accepts).any():
        accepts, fewer = accepts | ((after >= 0) & accepts[after]).any(1), accepts
    after = np.where((after >= 0) & accepts[after], after, -1)
    pairs = np.zeros((len(after) + 1, after.shape[1]), bool)  # state after, slot; the last row: refused
    met = np.zeros(len(after) + 1, bool)
    met[-1] = True  # refused
    latest, slots = np.array([automaton.start]), np.arange(after.shape[1])
    while len(latest):
        pairs[after[latest], slots] = True
        reached = np.unique(after[latest])
        latest = reached[~met[reached]]
        met[latest] = True
    each = pairs[:-1].sum(1)
    return Moves(after, int(each.sum()), int(each @ (after >= 0).sum(1)))


def is_joint(slots: int, moves: Moves, varying: bool) -> bool:
    """Whether it takes less time to move one axis after the other than along arcs between pairs, or all pairs' matrix.

    As measured (benchmarks/composition.py compares them): a product of axes takes 0.03 to 0.05 ns, and a step of them
    as long as 1000 more; one of a matrix takes 0.05 ns, or 0.02 of several sequences at once; an arc 0.1 to 0.4 ns, and
    5 where weights vary, so that they have to be gathered. Between few pairs vectors stay in registers.
    """
    work = slots * len(moves.after) * (slots + len(moves.after))
    if varying:
        return work <= 5 * moves.arcs
    return moves.pairs > 32 and work + 1000 <= min(5 * moves.arcs, 3 * moves.pairs**2 // 4)


class Joint:
    """Joint states of an automaton's state, before it reads the slot, and the slot: the state is the axis in front.

    The state moves first, by the slot that the path is in: a weight of 0 for the one there is, so all states of the
    automaton go through the chain's own matrix at once. As `_Pairs` has it, else.
    """

    def __init__(self, labels: Labels, moves: Moves, automaton: Automaton) -> None:
        device = labels.of.device
        self.said, self.automaton = labels.of, torch.from_numpy(automaton.moves).to(device)
        self.after = torch.from_numpy(moves.after).to(device)
        self.slots = torch.arange(labels.of.shape[-1], device=device).repeat(len(self.after))
        accepting = torch.tensor([*automaton.accepting, False], device=device)
        self.accepting = accepting[self.after].flatten()

    def of_slots(self, x: Tensor) -> Tensor:
        """Entries of slots ``(..., S)``, for joint states."""
        return x.index_select(-1, self.slots)

    def begin(self) -> Tensor:
        """Whether a path may begin in each joint state."""
        found = torch.zeros_like(self.after, dtype=torch.bool)
        found[0] = True
        return found.flatten()

    def moved(self, form: Form) -> Map:
        """A form of the chain, between joint states."""
        if isinstance(form, Compose):
            return Compose(self.moved(form.first), self.moved(form.then))
        if isinstance(form, Diagonal):
            index = self.slots[None] if form.index is None else self.of_slots(form.index)
            return unchecked(Diagonal, weight=form.weight, index=index)
        assert isinstance(form, Dense)
        states = torch.arange(len(self.after), device=self.after.device)
        there = self.after.flatten().unsqueeze(-1) == states
        read = torch.zeros_like(there, dtype=form.weight.dtype).masked_fill(~there, -torch.inf)
        return unchecked(Axes, weights=(read[None], form.weight), backward=False)

    def without_states(self, path: Path) -> Path:
        """A path through joint states, through their slots."""
        slots = torch.where(path.slots < 0, -1, self.slots[path.slots.clamp(min=0)])
        return Path.through(slots)

    def with_states(self, path: Path) -> Path:
        """A path through slots, through joint states; where the automaton refuses it, through one that is not there."""
        slots, count = path.slots, self.after.shape[-1]
        inside = slots.clamp(0, count - 1)
        said = torch.where(slots < 0, -1, pick(self.said, inside))
        states = [torch.zeros_like(said[..., 0])]
        for label in said[..., :-1].unbind(-1):
            states.append(self.automaton[states[-1], label])
        state = torch.stack(states, -1)
        there = (slots == inside) & (state >= 0)
        return Path.through(torch.where(slots == -1, -1, torch.where(there, state * count + inside, len(self.slots))))

    def summed(self, vectors: Tensor) -> Tensor:
        """State vectors over slots ``(..., S)``, from those over joint states."""
        each = vectors.unflatten(-1, self.after.shape).masked_fill(self.after < 0, -torch.inf)
        parts: tuple[Tensor, ...] = each.unbind(-2)
        return reduce(either, parts)
