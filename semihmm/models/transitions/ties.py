"""Probabilities that stay as they are, and probabilities that are equal, in a table whose rows sum to one."""

from __future__ import annotations

import torch
from torch import Tensor

from semihmm.errors import ShapeError

_STEPS = 100
_CLOSE = 1e-14
_LITTLE = [10.0**-n for n in range(1, 12)]  # shares of all counts


class Ties:
    """Constraints on the entries of a table: some are fixed, some equal one another.

    Args:
        group: which row each entry belongs to, integers ``(E,)``.
        allowed: which entries there are, bool ``(E,)``.
        fixed: probabilities ``(E,)``, NaN where they are learnt.
        tied: integers ``(E,)``; entries of the same number have the same probability, and those of -1 their own.

    Example:
        >>> ties = Ties(torch.tensor([0, 0, 1, 1]), torch.ones(4, dtype=torch.bool), None, torch.tensor([0, -1, -1, 0]))
        >>> ties.best(torch.tensor([3.0, 1.0, 1.0, 1.0])).round(decimals=3).tolist()
        [0.667, 0.333, 0.333, 0.667]
    """

    def __init__(self, group: Tensor, allowed: Tensor, fixed: Tensor | None, tied: Tensor | None) -> None:
        self.group, rows = group, int(group.max()) + 1
        self.fixed = torch.full(group.shape, torch.nan).double() if fixed is None else fixed.double()
        self.free = allowed & self.fixed.isnan()
        held = self.fixed.nan_to_num(0.0)
        taken = held.new_zeros(rows).index_add(0, group, held)
        if bool((held < 0).any() | (held[~allowed] > 0).any() | (taken > 1 + 1e-6).any()):
            raise ShapeError(
                "fixed probabilities must be at least 0, 0 where there is no transition, and sum to at most 1 in each "
                f"row; rows sum to {[round(x, 4) for x in taken.tolist()]}."
            )
        lonely = held.new_zeros(rows).index_add(0, group, self.free.double()) == 0
        full = (taken - 1).abs() < 1e-6
        some = held.new_zeros(rows).index_add(0, group, allowed.double()) > 0
        if bool((lonely & ~full & some).any()):
            raise ShapeError("fixed probabilities of a row none of whose entries is learnt must sum to 1.")
        self.left = (1 - taken).clamp(min=0.0)
        own = torch.arange(len(group)) + (1 if tied is None else int(tied.max()) + 1)
        name = own if tied is None else torch.where(tied < 0, own, tied)
        _, self.tie = name.unique(return_inverse=True)
        sums = held.new_zeros(rows).index_add(0, group, self.best(self.free.double()))
        if not bool(((sums - 1).abs() < 1e-6)[some].all()):
            raise ShapeError(
                "fixed and tied probabilities contradict one another: with what is tied, these rows cannot sum to 1: "
                f"{((sums - 1).abs() >= 1e-6).nonzero().flatten().tolist()}."
            )

    def best(self, counts: Tensor) -> Tensor:
        """The probabilities ``(E,)`` that make ``sum(counts * log(probability))`` greatest, in float64.

        With ``n_k`` the counts of tie k and ``a_rk`` how many of its entries row r holds, they are
        ``n_k / sum_r lambda_r a_rk``, where the multipliers lambda minimise the dual, which is convex.
        """
        counts = torch.where(self.free, counts.double().clamp(min=1e-100), 0.0)
        ties, rows = int(self.tie.max()) + 1, len(self.left)
        total = counts.new_zeros(ties).index_add(0, self.tie, counts)
        uses = counts.new_zeros(rows * ties).index_add(0, self.group * ties + self.tie, self.free.double())
        uses = uses.reshape(rows, ties)
        used = (uses.sum(-1) > 0) & (self.left > 0)
        uses, left = uses[used][:, uses[used].sum(0) > 0], self.left[used]
        met = torch.zeros(ties, dtype=torch.bool)
        met[self.tie[self.free & used[self.group]]] = True
        found = counts.new_zeros(ties)
        found[met] = _solved(total[met], uses, left)
        return torch.where(self.free, found[self.tie], self.fixed.nan_to_num(0.0))


def _solved(total: Tensor, uses: Tensor, left: Tensor) -> Tensor:
    """Shares ``(K,)`` with ``uses @ shares = left`` that make ``sum(total * log(shares))`` greatest.

    What was never counted gets a little, and that less and less: a barrier, whose minima Newton's method follows.
    """
    multiplier = ((uses > 0).double() @ total / left).clamp(min=1e-100)
    if _off(multiplier, total, uses, left) <= _CLOSE:  # right where no tie crosses rows
        return total / (multiplier @ uses)
    whole = total.sum().clamp(min=1e-50)
    for little in [0.0] if float(total.min()) > _LITTLE[-1] * float(whole) else _LITTLE:
        more = total + little * whole
        multiplier = _descended(multiplier.clamp(min=1e-9 * float(whole)), more, uses, left)
    shares = more / (multiplier @ uses)
    for _ in range(2):  # rounding, spread in proportion
        away = left - uses @ shares
        shares = shares * (1 + uses.T @ (torch.linalg.pinv((uses * shares) @ uses.T, hermitian=True) @ away))
    return shares


def _descended(multiplier: Tensor, total: Tensor, uses: Tensor, left: Tensor) -> Tensor:
    """Where the dual is least, by Newton's method, halving steps that do not descend."""
    value = _dual(multiplier, total, uses, left)
    for _ in range(_STEPS):
        if _off(multiplier, total, uses, left) <= _CLOSE:
            break
        weight = multiplier @ uses
        bend = (uses * (total / weight.square())) @ uses.T
        step = torch.linalg.pinv(bend, hermitian=True) @ (left - uses @ (total / weight))  # rows may say the same
        size = 1.0
        while size > 1e-12:
            nearer = multiplier - size * step
            if bool((nearer @ uses > 0).all()) and (further := _dual(nearer, total, uses, left)) <= value:
                multiplier, value = nearer, further
                break
            size /= 2
        else:
            break
    return multiplier


def _off(multiplier: Tensor, total: Tensor, uses: Tensor, left: Tensor) -> float:
    """By how much the rows' sums are wrong."""
    return float((left - uses @ (total / (multiplier @ uses))).abs().max()) if len(left) else 0.0


def _dual(multiplier: Tensor, total: Tensor, uses: Tensor, left: Tensor) -> float:
    return float(multiplier @ left - total @ (multiplier @ uses).log())
