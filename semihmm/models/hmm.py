"""Hidden Markov models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from semihmm import structures
from semihmm.errors import ShapeError
from semihmm.models.base import Model
from semihmm.models.emissions import Emission
from semihmm.models.final import Final
from semihmm.models.part import Law, Part
from semihmm.models.table import Table
from semihmm.models.topology import Allowed, Arcs, first_states
from semihmm.models.transitions import Categorical, Transition


class HMM(Model[structures.HMM]):
    """A hidden Markov model: initial states, transitions, and an emission (Rabiner 1989).

    Args:
        states: S.
        emission: how likely each observation is in each state.
        allowed: which transitions there are, bool ``(S, S)``, ``[from, to]``; None for all.
        offsets: instead, the only distances from a state to the next: ``(0, 1)`` goes left to right. S K of work per
            step for K of them.
        arcs: instead, the only transitions, ``(source, target)``, int64 ``(A,)`` each. A of work per step.
        transition: instead of these three, a law: see `semihmm.models.transitions`.
        start: the states that a sequence may begin in; None for all.
        final: the states that a sequence may end in, each with a chance of its own to be the last, which is learnt;
            None where sequences just stop, and their likelihood says nothing of how long they are.
        initial_pseudo_count: what EM adds to the count of each first state (a Dirichlet prior): one number, or
            one for each.
        transition_pseudo_count: what it adds to the count of each transition: one number, or one for each.

    ``model(x, lengths)`` is a `semihmm.HMM`.

    Example:
        >>> from semihmm.models import Gaussian
        >>> g = torch.Generator().manual_seed(0)
        >>> x = torch.cat([torch.zeros(50, 1), torch.full((50, 1), 9.0)]) + torch.randn(100, 1, generator=g)
        >>> model = HMM(states=2, emission=Gaussian(2, features=1), offsets=(0, 1), start=[0])
        >>> fit = model.fit(x, generator=g)
        >>> model.predict(x).bincount().tolist()
        [50, 50]
    """

    def __init__(
        self,
        states: int,
        emission: Emission,
        *,
        allowed: Allowed | None = None,
        offsets: Sequence[int] | None = None,
        arcs: Arcs | Sequence[Sequence[int]] | None = None,
        transition: Transition | None = None,
        start: Sequence[int] | None = None,
        final: Sequence[int] | None = None,
        initial_pseudo_count: float | Tensor | Sequence[float] = 0.0,
        transition_pseudo_count: float | Tensor | Sequence[Any] = 0.0,
    ) -> None:
        super().__init__()
        self.states, self.emission = states, emission_of("HMM", states, emission)
        self.initial = Table(torch.zeros(states, dtype=torch.int64), first_states(states, start), initial_pseudo_count)
        made = transition_of("HMM", states, transition, allowed, offsets, arcs, transition_pseudo_count)
        self.transition, self.own_transition = made, transition is not None
        self.final = None if final is None else Final(made, final)

    @property
    def forward_only(self) -> bool:  # type: ignore[override]
        return self.transition.forward_only

    @property
    def laws(self) -> dict[str, Law]:
        found: dict[str, Law] = {"initial": self.initial, "transition": self.transition}
        return found if self.final is None else {**found, "final": self.final}

    @property
    def parts(self) -> dict[str, Part]:
        found: dict[str, Part] = {"emission": self.emission}
        return {**found, "transition": self.transition} if self.own_transition else found

    @property
    def config(self) -> dict[str, object]:
        found: dict[str, object] = {
            "states": self.states,
            "start": named(self.initial.allowed),
            "final": None if self.final is None else named(self.final.allowed[:, 0]),
            "initial_pseudo_count": self.initial.pseudo_count,
        }
        if isinstance(self.transition, Categorical) and not self.own_transition:
            found |= {**self.transition.topology, "transition_pseudo_count": self.transition.pseudo_count}
        return found

    def _matrix(self) -> Tensor:
        return self.transition.matrix()

    def endless(self, structure: structures.HMM) -> structures.HMM:
        return replace(structure, final=None)

    def structure(
        self, emission: Tensor, lengths: Tensor | None = None, laws: Mapping[str, Tensor] | None = None
    ) -> structures.HMM:
        laws = self.potentials() if laws is None else laws
        transition, final = laws["transition"], None
        if self.final is not None:
            transition, final = self.final.split(laws["final"], transition, self.transition)
        return structures.HMM(
            laws["initial"],
            transition,
            emission,
            final,
            lengths=lengths,
            arcs=self.transition.arcs,
            offsets=self.transition.offsets,
        )

    def counts(self, found: dict[str, Tensor], laws: Mapping[str, Tensor], lengths: Tensor | None) -> dict[str, Tensor]:
        if self.final is None:
            return found
        return {**found, "final": self.final.counted(found["final"], found["transition"], self.transition)}


def transition_of(
    name: str,
    states: int,
    given: Transition | None,
    allowed: Allowed | None,
    offsets: Sequence[int] | None,
    arcs: Arcs | Sequence[Sequence[int]] | None,
    pseudo_count: float | Tensor | Sequence[Any],
) -> Transition:
    """The transition law that the arguments of a model say."""
    if (given is not None) + (allowed is not None) + (offsets is not None) + (arcs is not None) > 1:
        raise ShapeError(f"{name}: give one of allowed, offsets, arcs and transition: each says which transitions are.")
    if given is not None:
        part_of(name, "transition", given, Transition)
    if given is None:
        return Categorical(states, allowed=allowed, offsets=offsets, arcs=arcs, pseudo_count=pseudo_count)
    if given.states != states or pseudo_count != 0.0:
        raise ShapeError(
            f"{name}: states is {states}, so transition must be a law for as many, got {given.states}; it brings its "
            f"own pseudo-count, so transition_pseudo_count must be 0, got {pseudo_count}."
        )
    return given


def emission_of(name: str, states: int, emission: Emission) -> Emission:
    """The emission of a model, which must have as many states."""
    part_of(name, "emission", emission, Emission)
    if emission.states not in (None, states):
        raise ShapeError(f"{name}: states is {states}, so emission must have as many, got {emission.states}.")
    return emission


def part_of(name: str, argument: str, part: object, kind: type[Part]) -> None:
    """Refuse what is no part of the kind that an argument takes: laws and emissions share names."""
    if not isinstance(part, kind):
        got = (
            f"the class {part.__name__}" if isinstance(part, type) else f"{type(part).__module__}.{type(part).__name__}"
        )
        where = f"semihmm.models.{argument}s"
        raise ShapeError(f"{name}: {argument} must be a part of type {kind.__name__}, as in {where}; got {got}.")


def named(states: Tensor) -> list[int]:
    """The states that a mask ``(S,)`` names."""
    return [int(i) for i in states.nonzero()]
