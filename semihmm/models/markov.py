"""What hidden Markov and semi-Markov models share: initial states, transitions, and the last state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from semihmm.errors import ShapeError
from semihmm.models.arguments import part_of
from semihmm.models.base import Model
from semihmm.models.emissions import Emission
from semihmm.models.final import Final
from semihmm.models.part import Law, Part
from semihmm.models.stationary import Stationary
from semihmm.models.table import Table
from semihmm.models.topology import Allowed, Arcs, first_states
from semihmm.models.transitions import Categorical, Transition
from semihmm.structures import Structure
from semihmm.structures.authoring import whole_numbers

S = TypeVar("S", bound=Structure)


class Markov(Model[S]):
    """A model whose states follow one another by a transition law; `HMM` and `HSMM` say what the arguments are."""

    def __init__(
        self,
        states: int,
        emission: Emission,
        *,
        allowed: Allowed | None,
        offsets: Sequence[int] | None,
        arcs: Arcs | Sequence[Sequence[int]] | None,
        transition: Transition | None,
        start: Sequence[int] | Literal["stationary"] | None,
        final: Sequence[int] | None,
        initial_pseudo_count: float | Tensor | Sequence[float],
        transition_pseudo_count: float | Tensor | Sequence[Any],
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.states, self.emission = states, emission_of(name, states, emission)
        made = transition_of(name, states, transition, allowed, offsets, arcs, transition_pseudo_count)
        self.initial = initial_of(name, made, start, final, initial_pseudo_count)
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
            "start": "stationary",
            "final": None if self.final is None else named(self.final.allowed[:, 0]),
        }
        if isinstance(self.initial, Table):
            found |= {"start": named(self.initial.allowed), "initial_pseudo_count": self.initial.pseudo_count}
        if isinstance(self.transition, Categorical) and not self.own_transition:
            found |= {**self.transition.topology, "transition_pseudo_count": self.transition.pseudo_count}
        return found

    def learn(self, counts: Mapping[str, Tensor], inputs: Mapping[str, Tensor] | None = None) -> None:
        if isinstance(self.initial, Stationary):
            self.initial.learn(counts["initial"], counts["transition"])
            counts = {name: x for name, x in counts.items() if name != "transition"}
        super().learn(counts, inputs)

    def steps(self, laws: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """The structure's transition and final log-weights, given what the laws say."""
        if self.final is None:
            return laws["transition"], None
        return self.final.split(laws["final"], laws["transition"], self.transition)

    def counts(self, found: dict[str, Tensor], laws: Mapping[str, Tensor], lengths: Tensor | None) -> dict[str, Tensor]:
        if self.final is None:
            return found
        return {**found, "final": self.final.counted(found["final"], found["transition"], self.transition)}


def initial_of(
    name: str,
    transition: Transition,
    start: Sequence[int] | Literal["stationary"] | None,
    final: Sequence[int] | None,
    pseudo_count: float | Tensor | Sequence[float],
) -> Table | Stationary:
    """The law of the first state that the arguments of a model say."""
    if not isinstance(start, str):
        states = transition.states
        start = None if start is None else whole_numbers(name, "start", start)
        return Table(torch.zeros(states, dtype=torch.int64), first_states(states, start), pseudo_count)
    if start != "stationary" or final is not None or pseudo_count != 0.0:
        raise ShapeError(
            f"{name}: start names states, or is 'stationary': then the chain has run for ever, final must be None, and "
            f"the first state has no counts of its own, so initial_pseudo_count is 0; got start={start!r}, "
            f"final={final} and initial_pseudo_count={pseudo_count}."
        )
    return Stationary(transition)


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


def named(states: Tensor) -> list[int]:
    """The states that a mask ``(S,)`` names."""
    return [int(i) for i in states.nonzero()]
