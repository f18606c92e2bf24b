"""Paths: what they are, and those that a selective semiring chooses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.engine.chain import Chain
from semihmm.engine.overflow import check_overflow
from semihmm.engine.plan import Plan, Scan
from semihmm.engine.tracing import mapped
from semihmm.semirings import Semiring


@dataclass(frozen=True)
class Path:
    """Paths through a chain, ``(...)`` of them.

    Attributes:
        slots: the slot at each time, int64 ``(..., T + 1)``; -1 at times that a path passes over or that come after its
            end, and everywhere on a path that is not there.
        choices: by which predecessor it came to the slot at time ``t + 1``, int64 ``(..., T)``; -1 likewise, and where
            slots say it all.

    Example:
        >>> Path.through(torch.tensor([0, 1, 1])).choices.tolist()
        [-1, -1]
    """

    slots: Tensor
    choices: Tensor

    @staticmethod
    def through(slots: Tensor) -> Path:
        """The paths through these slots, where no two arcs lead from one slot to another."""
        return Path(slots, torch.full_like(slots[..., 1:], -1))


@dataclass(frozen=True)
class Decoded(Path):
    """Paths that a semiring chooses, ``rows`` of them for each sequence (Max 1, TopK k, Sample n): ``(rows, ...)``.

    Attributes:
        value: the lowered total of the semiring, ``(rows or 1, ...)``.
        valid: whether there is such a path, bool ``(rows, ...)``.
        arcs: which log-weights it takes, as arc indices of the backend that found it; None where not requested.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> decode(plan(chain, semihmm.semirings.Max()), semihmm.semirings.Max(), chain).slots.tolist()
        [[0, 0, 0, 0]]
    """

    value: Tensor
    valid: Tensor
    arcs: Tensor | None = None


def decode(plan: Plan, semiring: Semiring, chain: Chain, generator: torch.Generator | None = None) -> Decoded:
    """The paths that a selective semiring chooses. They are no function that has a derivative.

    Raises:
        SemiringError: the semiring is not selective.
        DataError: finite log-weights whose sum along a path leaves the range of their dtype.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> decode(plan(chain, semihmm.semirings.TopK(2)), semihmm.semirings.TopK(2), chain).slots.shape
        torch.Size([2, 4])
    """
    if not semiring.selective:
        semiring.choose(chain.start[0], -1)  # says why not
    if mapped():  # an operator with a derivative takes part in no transform
        chain = chain.rebuild(x.detach() for x in chain.leaves)
    worker = plan.worker
    found = worker.paths(Scan(plan, semiring, worker.prepared(semiring, (chain,))), generator)
    value = found.value.to(chain.start[0].dtype)
    check_overflow(chain, value)
    return Decoded(found.slots, found.choices, value, found.valid)
