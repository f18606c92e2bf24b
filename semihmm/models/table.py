"""Tables of log-probabilities: initial states, transitions, symbols, mixture weights, durations."""

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
        pseudo_count: what EM adds to the count of each allowed entry: a symmetric Dirichlet(1 + pseudo_count) prior.

    Example:
        >>> table = Table.rows(2, 4)
        >>> table.update(torch.tensor([[2., 1., 1., 0.], [0., 0., 0., 5.]]))
        >>> table().exp().tolist()
        [[0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """

    group: Tensor
    allowed: Tensor

    def __init__(self, group: Tensor, allowed: Tensor | None = None, pseudo_count: float = 0.0) -> None:
        super().__init__()
        allowed = torch.ones_like(group, dtype=torch.bool) if allowed is None else allowed
        if not allowed.any():
            raise ShapeError(f"Table: at least one of {tuple(group.shape)} entries must be allowed, got none.")
        if pseudo_count < 0:
            raise ShapeError(f"Table: a pseudo-count adds to a count, so it is at least 0, got {pseudo_count}.")
        self.register_buffer("group", group.clone(), persistent=False)  # whoever loads a model makes them again
        self.register_buffer("allowed", allowed.clone(), persistent=False)
        self.pseudo_count = pseudo_count
        self.logits = nn.Parameter(torch.zeros(group.shape))
        self.groups = int(group.max()) + 1
        first = group[..., :1]
        apart = first.unique().numel() == first.numel() and bool((group == first).all())
        self.by_row = apart and bool(allowed.any(-1).all())
        self.everything = bool(allowed.all())

    @classmethod
    def rows(cls, rows: int, columns: int, pseudo_count: float = 0.0) -> "Table":
        """``(rows, columns)``, each row a distribution."""
        return cls(torch.arange(rows).unsqueeze(-1).expand(-1, columns), pseudo_count=pseudo_count)

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
        counts = torch.where(self.allowed, counts.double() + self.pseudo_count, 0.0)
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

    def log_prior(self) -> Tensor:
        """The log-density of its Dirichlet distributions, up to a constant."""
        if self.pseudo_count == 0:  # not 0 * -inf
            return self.logits.new_zeros(())
        log_prob: Tensor = self()
        return self.pseudo_count * log_prob[self.allowed].sum()
