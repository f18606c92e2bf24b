"""Hidden Markov models whose states depend on several before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from semihmm import structures
from semihmm.errors import ShapeError
from semihmm.models.base import Model
from semihmm.models.emissions import Emission
from semihmm.models.forecasting import Ahead, after_hmm
from semihmm.models.markov import emission_of
from semihmm.models.part import Law, Part
from semihmm.models.sequences import Batch
from semihmm.models.table import Table


class Strings(Table):
    """A table with an entry for each string of states: shortest first, then in the order of their digits.

    Args:
        states: S.
        longest: the length of the longest.
        group: of each entry.

    Example:
        >>> Strings(2, 2, torch.zeros(6, dtype=torch.int64)).named_anew([1, 0]).tolist()
        [1, 0, 5, 4, 3, 2]
    """

    def __init__(
        self,
        states: int,
        longest: int,
        group: Tensor,
        allowed: Tensor | None = None,
        pseudo_count: float | Tensor | Sequence[Any] = 0.0,
    ) -> None:
        super().__init__(group, allowed, pseudo_count)
        self.states, self.longest = states, longest

    def named_anew(self, order: Sequence[int]) -> Tensor:
        """The number that each string had, if its states had the numbers ``order``."""
        digit = torch.tensor(list(order), device=self.group.device)
        strings = [digit]
        for _ in range(self.longest - 1):
            strings.append((strings[-1].unsqueeze(-1) * self.states + digit).flatten())
        whole = sum(len(x) for x in strings) - len(self.group)  # strings that are too short
        before, found = -whole, []
        for each in strings:
            found.append(each + before)
            before += len(each)
        return torch.cat(found)[whole:]

    def permute(self, order: Sequence[int]) -> None:
        at = self.named_anew(order)
        self.reorder(lambda x: x[at])


class HigherOrderHMM(Model[structures.HMM]):
    """A hidden Markov model of order k: each state depends on the k before it (Rabiner 1989, section IV).

    Its structure is an HMM over contexts, the up to k latest states, whose arcs lead from each context to the S that
    may follow; contexts share the emissions of their latest state, so that those take T S numbers. Work per step is
    S^(k + 1), and there is no matrix of contexts by contexts. The first states depend on as many as there are.

    Args:
        states: S.
        emission: how likely each observation is in each state.
        order: k, at least 1.
        start: the states that a sequence may begin in; None for all.
        initial_pseudo_count: what EM adds to the count of each first state.
        transition_pseudo_count: what EM adds to the count of each state after each context.

    ``model(x, lengths)`` is a `semihmm.HMM` over contexts; `decode` gives its paths, `predict` the states themselves.
    Parameters: ``initial (S,)`` and ``transition``, log-probabilities of what follows each context, shortest contexts
    first.

    Example:
        >>> from semihmm.models import emissions
        >>> model = HigherOrderHMM(2, emissions.Categorical(2, 2), order=2)
        >>> x = torch.tensor([0, 0, 1, 1] * 50)  # the state before does not say what follows, the two before do
        >>> fit = model.fit(x, restarts=5, generator=torch.Generator().manual_seed(0))
        >>> round(abs(fit.objective) / len(x), 1)
        0.0
        >>> model.transition_after([1, 0]).shape
        torch.Size([2])
    """

    source: Tensor
    target: Tensor
    latest: Tensor

    def __init__(
        self,
        states: int,
        emission: Emission,
        order: int = 2,
        *,
        start: Sequence[int] | None = None,
        initial_pseudo_count: float = 0.0,
        transition_pseudo_count: float = 0.0,
    ) -> None:
        super().__init__()
        if order < 1:
            raise ShapeError(f"HigherOrderHMM: order must be at least 1, got {order}.")
        self.states, self.emission, self.order = states, emission_of("HigherOrderHMM", states, emission), order
        first = [
            sum(states**j for j in range(1, n)) for n in range(1, order + 2)
        ]  # context of each length, and the end
        self.first, contexts = first, first[-1]
        source, target = [], []
        for length in range(1, order + 1):
            number = torch.arange(states**length)
            longer = min(length + 1, order)
            follows = (number.unsqueeze(-1) * states + torch.arange(states)) % states**longer
            source.append((first[length - 1] + number).repeat_interleave(states))
            target.append(first[longer - 1] + follows.flatten())
        begins = torch.zeros(contexts, dtype=torch.bool)
        begins[list(range(states) if start is None else start)] = True
        self.initial = Strings(states, order, torch.zeros(contexts, dtype=torch.int64), begins, initial_pseudo_count)
        self.register_buffer("source", torch.cat(source), persistent=False)
        self.register_buffer("target", torch.cat(target), persistent=False)
        latest = torch.cat([torch.arange(states**length) % states for length in range(1, order + 1)])
        self.register_buffer("latest", latest, persistent=False)
        self.transition = Strings(states, order + 1, self.source, pseudo_count=transition_pseudo_count)
        self.forward_only = False

    @property
    def laws(self) -> dict[str, Law]:
        return {"initial": self.initial, "transition": self.transition}

    @property
    def parts(self) -> dict[str, Part]:
        return {"emission": self.emission}

    @property
    def config(self) -> dict[str, Any]:
        return {
            "states": self.states,
            "order": self.order,
            "start": [int(i) for i in self.initial.allowed.nonzero()],
            "initial_pseudo_count": self.initial.pseudo_count,
            "transition_pseudo_count": self.transition.pseudo_count,
        }

    def structure(
        self, emission: Tensor, lengths: Tensor | None = None, laws: Mapping[str, Tensor] | None = None
    ) -> structures.HMM:
        laws = self.potentials() if laws is None else laws
        return structures.HMM(
            laws["initial"],
            laws["transition"],
            emission,
            lengths=lengths,
            arcs=(self.source, self.target),
            emission_index=self.latest,
        )

    def following(self, structure: structures.HMM, batch: Batch, steps: int) -> Ahead:
        return after_hmm(structure, steps, self.source, self.target, self.latest)

    def named(self, states: Tensor) -> Tensor:
        return torch.where(states < 0, states, self.latest[states.clamp(min=0)])

    def transition_after(self, context: Sequence[int]) -> Tensor:
        """The log-probabilities of what follows up to k states, the latest last, ``(S,)``."""
        if not 1 <= len(context) <= self.order or not all(0 <= state < self.states for state in context):
            raise ShapeError(
                f"HigherOrderHMM: a context is 1 to {self.order} of the states 0 to {self.states - 1}, got "
                f"{list(context)}."
            )
        number = 0
        for state in context:
            number = number * self.states + state
        at = (self.first[len(context) - 1] + number) * self.states
        log_prob: Tensor = self.transition()
        return log_prob[at : at + self.states]
