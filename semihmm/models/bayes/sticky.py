"""A sticky hierarchical Dirichlet process: how many states there are is learnt."""

from __future__ import annotations

import torch
from torch import Tensor

from semihmm.errors import ShapeError, StructureError
from semihmm.models.bayes.conjugate import Belief, TableBelief, log_gamma_draw


class StickyHDP:
    """The prior of transitions of the sticky HDP-HMM, in its weak limit of S states (Fox et al. 2011).

    ``shares ~ Dirichlet(spread / S, ...)`` say how common each state is, and row j of the transitions is
    ``Dirichlet(concentration * shares + stickiness * e_j)``. So states that nothing needs are hardly ever entered.

    Args:
        concentration: how near each row is to the shares, alpha.
        stickiness: how much more staying counts, kappa.
        spread: how many states are common, gamma.

    Attributes:
        shares: of the last sweep, ``(S,)``.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> from semihmm.models.bayes import gibbs
        >>> g = torch.Generator().manual_seed(0)
        >>> x = torch.cat([torch.randn(40, 1, generator=g), torch.randn(40, 1, generator=g) + 8])
        >>> hdp = StickyHDP(concentration=1.0, stickiness=10.0, spread=1.0)
        >>> found = gibbs(HMM(6, Gaussian(6, 1)), x, draws=20, hdp=hdp, generator=g)
        >>> found.states[-1].unique().numel() < 6
        True
    """

    def __init__(self, concentration: float = 4.0, stickiness: float = 10.0, spread: float = 2.0) -> None:
        if not (concentration > 0 and stickiness >= 0 and spread > 0):
            raise ShapeError(
                "StickyHDP: concentration and spread must be above 0 and stickiness at least 0, got "
                f"{concentration}, {spread} and {stickiness}."
            )
        self.concentration, self.stickiness, self.spread = concentration, stickiness, spread
        self.shares = torch.zeros(0, dtype=torch.float64)

    def begin(self, transition: Belief) -> None:
        """Take the place of a Dirichlet prior."""
        table = transition.table if isinstance(transition, TableBelief) else None
        if table is None or table.allowed.ndim != 2 or not bool(table.allowed.all()) or table.by_row is False:
            raise StructureError(
                "StickyHDP: every state must be allowed to follow every other and itself, in a matrix (S, S). An HSMM? "
                "Its states do not follow themselves: take allowed=torch.ones(S, S, dtype=torch.bool)."
            )
        states = len(table.allowed)
        self.shares = torch.full((states,), 1 / states, dtype=torch.float64)
        self._believe(transition)

    def update(self, transition: Belief, counts: Tensor, generator: torch.Generator | None = None) -> None:
        """Draw the shares given how often each transition was made, and believe the rows accordingly.

        Customers of a restaurant are transitions and tables are draws from the shares; some tables are of the
        stickiness and say nothing of shares (Fox et al. 2011, algorithm 3, steps 2 to 4).
        """
        counts = counts.double().round().long()
        states = len(counts)
        own = self.concentration * self.shares + self.stickiness * torch.eye(states, dtype=torch.float64)
        most = int(counts.max())
        seated = torch.arange(most, dtype=torch.float64)
        chance = own.unsqueeze(-1) / (own.unsqueeze(-1) + seated)
        there = torch.arange(most) < counts.unsqueeze(-1)
        tables = ((torch.rand(chance.shape, generator=generator, dtype=torch.float64) < chance) & there).sum(-1)
        kept = self.stickiness / (self.stickiness + self.concentration * self.shares)
        diagonal = tables.diagonal()
        sticky = torch.binomial(diagonal.double(), kept.clamp(0.0, 1.0), generator=generator)
        drawn = tables.sum(0).double() - sticky
        log_share = log_gamma_draw(self.spread / states + drawn, generator)
        self.shares = log_share.softmax(-1)
        self._believe(transition)
        transition.observe({"counts": counts})

    def _believe(self, transition: Belief) -> None:
        assert isinstance(transition, TableBelief)
        states = len(self.shares)
        sticky = self.stickiness * torch.eye(states, dtype=torch.float64)
        transition.prior = (self.concentration * self.shares).clamp(min=1e-12) + sticky
