"""Tables of log-probabilities: initial states, transitions, symbols, mixture weights, durations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.part import Law

SMALL = 1 << 12  # entries, for which one thread is enough


class Table(Law):
    """Log-probabilities that sum to 1 within each group of entries.

    Args:
        group: which group each entry belongs to, int64 in the shape of the table.
        allowed: bool, the same shape; the other entries have probability 0 for ever. None for all.
        pseudo_count: what EM adds to the count of each allowed entry: a Dirichlet(1 + pseudo_count) prior. One number,
            or one for each entry, in the shape of the table.

    Example:
        >>> table = Table.rows(2, 4)
        >>> table.update(torch.tensor([[2., 1., 1., 0.], [0., 0., 0., 5.]]))
        >>> table().exp().tolist()
        [[0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """

    group: Tensor
    allowed: Tensor
    each: Tensor | None

    def __init__(
        self, group: Tensor, allowed: Tensor | None = None, pseudo_count: float | Tensor | Sequence[Any] = 0.0
    ) -> None:
        super().__init__()
        allowed = torch.ones_like(group, dtype=torch.bool) if allowed is None else allowed
        if not allowed.any():
            raise ShapeError(f"Table: at least one of {tuple(group.shape)} entries must be allowed, got none.")
        each = torch.as_tensor(pseudo_count, dtype=torch.float64)
        if each.ndim and each.shape != group.shape:
            raise ShapeError(
                f"Table: a pseudo-count is one number or one for each entry, {tuple(group.shape)}, got "
                f"{tuple(each.shape)}."
            )
        if not bool((each >= 0).all()):
            raise ShapeError(f"Table: a pseudo-count adds to a count, so it is at least 0, got {float(each.min())}.")
        self.register_buffer("group", group.clone(), persistent=False)  # whoever loads a model makes them again
        self.register_buffer("allowed", allowed.clone(), persistent=False)
        self.pseudo_count: Any = each.tolist()
        self.register_buffer("each", each if each.ndim else None, persistent=False)
        self.logits = nn.Parameter(torch.zeros(group.shape))
        self.groups = int(group.max()) + 1
        first = group[..., :1]
        apart = first.unique().numel() == first.numel() and bool((group == first).all())
        self.by_row = apart and bool(allowed.any(-1).all())
        self.everything = bool(allowed.all())

    @classmethod
    def rows(cls, rows: int, columns: int, pseudo_count: float = 0.0) -> Table:
        """``(rows, columns)``, each row a distribution."""
        return cls(torch.arange(rows).unsqueeze(-1).expand(-1, columns), pseudo_count=pseudo_count)

    def repeated(self, count: int) -> Table | None:
        shift = torch.arange(count, device=self.group.device).reshape(-1, *(1,) * self.group.ndim) * self.groups
        prior = self.pseudo_count if self.each is None else self.each.expand(count, *self.each.shape)
        made = Table(self.group + shift, self.allowed.expand(count, *self.allowed.shape), prior)
        return made.to(self.logits.device, self.dtype)

    def permute(self, order: Sequence[int]) -> None:
        """Number the rows anew, or the entries of one row; the numbers of groups stay as they are."""
        self.reorder(lambda x: x[list(order)])

    def reorder(self, moved: Callable[[Tensor], Tensor]) -> None:
        """Move the entries."""
        self.logits.data, self.allowed = moved(self.logits.data), moved(self.allowed)
        if self.each is not None:
            self.each = moved(self.each)
            self.pseudo_count = self.each.tolist()

    @property
    def free_parameters(self) -> int:
        if not self.logits.requires_grad:
            return 0
        entries = torch.zeros(self.groups, dtype=torch.int64, device=self.group.device)
        entries = entries.index_add(0, self.group.flatten(), self.allowed.flatten().long())
        return int((entries - 1).clamp(min=0).sum())

    def forward(self) -> Tensor:
        """Log-probabilities, ``-inf`` where not allowed."""
        if self.by_row:
            rows = self.logits if self.everything else torch.where(self.allowed, self.logits, -torch.inf)
            # By rows, PyTorch wakes all its threads up for a table of any size, and waits where others use the cores.
            small = rows.ndim > 1 and rows.numel() <= SMALL
            return rows.mT.log_softmax(-2).mT.contiguous() if small else rows.log_softmax(-1)
        allowed, group = self.allowed.flatten(), self.group.flatten()
        logits = torch.where(allowed, self.logits.flatten(), -torch.inf)
        peak = torch.full((self.groups,), -torch.inf, dtype=logits.dtype, device=logits.device)
        peak = peak.scatter_reduce(0, group, logits.detach(), "amax")
        peak = torch.where(peak.isfinite(), peak, 0.0)[group]
        mass = torch.zeros(self.groups, dtype=logits.dtype, device=logits.device)
        mass = mass.index_add(0, group, (logits - peak).exp())
        mass = torch.where(mass > 0, mass, 1.0)  # a group without entries
        return (logits - peak - mass.log()[group]).reshape(self.group.shape)

    @torch.no_grad()
    def update(self, counts: Tensor) -> None:
        """The most probable table given expected counts in its shape. A group that was never met stays as it is."""
        if not self.logits.requires_grad:  # frozen
            return
        counts = torch.where(self.allowed, counts.double() + self.added, 0.0)
        total = counts.new_zeros(self.groups).index_add(0, self.group.flatten(), counts.flatten())
        total = total[self.group]
        met = total > 0
        found = torch.where(met, counts / torch.where(met, total, 1.0), 1.0).log()
        self.logits.copy_(torch.where(met, found.to(self.logits.dtype), self.logits))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Near uniform: probabilities within a factor of about two of one another; a frozen table stays as it is."""
        if self.logits.requires_grad:
            self.logits.uniform_(-0.35, 0.35, generator=generator)

    @property
    def has_prior(self) -> bool:
        return bool(self.pseudo_count != 0)

    def log_prior(self) -> Tensor:
        """The log-density of its Dirichlet distributions, up to a constant."""
        if self.pseudo_count == 0:  # not 0 * -inf
            return self.logits.new_zeros(())
        counted = self.allowed & (self.added > 0) if self.each is not None else self.allowed
        log_prob: Tensor = self()[counted]
        return (log_prob * (self.pseudo_count if self.each is None else self.each[counted].to(log_prob))).sum()

    @property
    def added(self) -> Tensor | float:
        """What is added to each count: one number, or a tensor in the shape of the table."""
        return float(self.pseudo_count) if self.each is None else self.each.double()
