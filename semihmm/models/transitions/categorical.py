"""Any transition probabilities, the same at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from semihmm.errors import ShapeError, StructureError
from semihmm.models.arguments import real_tensor
from semihmm.models.table import Table
from semihmm.models.topology import Allowed, Arcs
from semihmm.models.transitions.base import Transition, transitions
from semihmm.models.transitions.ties import Ties


class Categorical(Table, Transition):
    """Each state has a distribution over those that follow it (Rabiner 1989).

    Args:
        states: S.
        allowed: which transitions there are, bool ``(S, S)``, ``[from, to]``; None for all.
        offsets: instead, the only distances from a state to the next: ``(0, 1)`` goes left to right. S K of work per
            step for K of them.
        arcs: instead, the only transitions, ``(source, target)``, int64 ``(A,)`` each. A of work per step.
        pseudo_count: what EM adds to the count of each transition: a Dirichlet prior. One number, or one for each entry
            of the table.
        sticky: what it adds to that of staying besides (the sticky prior of Fox et al.
            2011).
        fixed: probabilities that stay as they are, in the shape of the table; NaN where they are learnt.
        tied: integers in the shape of the table: entries of the same number have the same probability; -1 for those
            that are tied to none. EM finds the best such table exactly, and the gradient is projected on it.

    The table is ``(S, S)``; ``(S, K)`` with offsets, where ``[j, k]`` arrives at j from ``j - offsets[k]``; ``(A,)``
    with arcs.

    Example:
        >>> law = Categorical(2, allowed=[[True, True], [False, True]])
        >>> law.update(torch.tensor([[3.0, 1.0], [0.0, 2.0]]))
        >>> law().exp().double().round(decimals=3).tolist()
        [[0.75, 0.25], [0.0, 1.0]]
        >>> even = Categorical(2, tied=[[0, -1], [-1, 0]])  # both states are left equally often
        >>> even.update(torch.tensor([[3.0, 1.0], [1.0, 1.0]]))
        >>> even().exp().double().round(decimals=3).tolist()
        [[0.667, 0.333], [0.333, 0.667]]
    """

    def __init__(
        self,
        states: int,
        *,
        allowed: Allowed | None = None,
        offsets: Sequence[int] | None = None,
        arcs: Arcs | Sequence[Sequence[int]] | None = None,
        pseudo_count: float | Tensor | Sequence[Any] = 0.0,
        sticky: float = 0.0,
        fixed: Tensor | Sequence[Any] | None = None,
        tied: Tensor | Sequence[Any] | None = None,
    ) -> None:
        for name, given in (("fixed", fixed), ("tied", tied)):
            if isinstance(given, Tensor):
                real_tensor("Categorical", name, given)
        ends = transitions(states, allowed, offsets, arcs)
        source, target, real = ends
        self._given = {"pseudo_count": _listed(pseudo_count), "sticky": sticky, "fixed": _listed(fixed)}
        self._given["tied"] = _listed(tied)
        prior = torch.as_tensor(pseudo_count, dtype=torch.float64)
        super().__init__(source, real, prior + sticky * (source == target) if sticky else prior)
        self.place(states, ends, offsets)
        self.ties: Ties | None = None
        if fixed is not None or tied is not None:
            held = _shaped("fixed", fixed, source, torch.float64)
            links = _shaped("tied", tied, source, torch.int64)
            self.ties = Ties(source.flatten(), real.flatten(), held, links)
            self.project()

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, **self.topology, **self._given}

    @property
    def free_parameters(self) -> int:
        if self.ties is None:
            return super().free_parameters
        ties = self.ties.tie[self.ties.free].unique().numel()
        rows = self.ties.group[self.ties.free].unique().numel()
        return max(int(ties) - int(rows), 0)

    def repeated(self, count: int) -> Table | None:
        return super().repeated(count) if self.ties is None else None

    def update(self, counts: Tensor) -> None:
        if self.ties is None:
            super().update(counts)
        else:
            self._constrain(counts.double() + self.added)

    def permute(self, order: Sequence[int]) -> None:
        Transition.permute(self, order)

    def reorder(self, moved: Callable[[Tensor], Tensor]) -> None:
        if self.ties is not None:
            raise StructureError("Categorical: fixed and tied entries belong to the numbers that states have.")
        allowed = self.allowed
        Table.reorder(self, moved)
        self.allowed = allowed  # `permute` moves it
        self._given["pseudo_count"], self._given["sticky"] = self.pseudo_count, 0.0

    def initialise(self, generator: torch.Generator | None = None) -> None:
        super().initialise(generator)
        self.project()

    @torch.no_grad()
    def project(self) -> None:
        """The nearest table that keeps what is fixed and tied (in Kullback-Leibler divergence)."""
        if self.ties is not None:
            self._constrain(self().double().exp())

    @torch.no_grad()
    def _constrain(self, counts: Tensor) -> None:
        assert self.ties is not None
        if not self.logits.requires_grad:  # frozen
            return
        self.logits.copy_(self.ties.best(counts.flatten().cpu()).log().reshape(self.logits.shape))


def _listed(x: Any) -> Any:
    """A tensor as JSON can hold it; NaN as None."""
    if isinstance(x, Tensor):
        x = x.tolist()
    if isinstance(x, list | tuple):
        return [_listed(one) for one in x]
    return None if isinstance(x, float) and x != x else x


def _shaped(name: str, given: Any, like: Tensor, dtype: torch.dtype) -> Tensor | None:
    if given is None:
        return None
    found = real_tensor("Categorical", name, _numbers(given)).to(dtype)
    if found.shape != like.shape:
        raise ShapeError(
            f"Categorical: {name} must have the table's shape {tuple(like.shape)}, got {tuple(found.shape)}."
        )
    return found.flatten()


def _numbers(x: Any) -> Any:
    """Lists with NaN in place of None."""
    if isinstance(x, list | tuple):
        return [_numbers(one) for one in x]
    return float("nan") if x is None else x
