"""Hierarchical Dirichlet processes as priors of transitions: how many states there are is learnt."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from semihmm.errors import ShapeError, StructureError
from semihmm.models.arguments import checks_methods
from semihmm.models.bayes.conjugate import Belief, TableBelief, log_gamma_draw


class HDP(ABC):
    """A prior of transitions whose rows are near to shares that they have in common (Teh et al. 2006).

    In the weak limit of S states, ``shares ~ Dirichlet(spread / S, ...)``. `StickyHDP` and `SemiMarkovHDP` say how rows
    depend on them.

    Attributes:
        shares: of the last sweep, ``(S,)``.
    """

    stickiness: float = 0.0

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        checks_methods(cls)

    def __init__(self, concentration: float, spread: float) -> None:
        if not (concentration > 0 and spread > 0):
            raise ShapeError(
                f"{type(self).__name__}: concentration and spread must be above 0, got {concentration} and {spread}."
            )
        self.concentration, self.spread = concentration, spread
        self.shares = torch.zeros(0, dtype=torch.float64)

    def begin(self, transition: Belief) -> None:
        """Take the place of a Dirichlet prior."""
        table = transition.table if isinstance(transition, TableBelief) else None
        allowed = None if table is None or table.allowed.ndim != 2 or table.by_row is False else table.allowed
        if allowed is None or not self._fits(allowed):
            raise StructureError(f"{type(self).__name__}: {self._fitting}")
        states = len(allowed)
        self.shares = torch.full((states,), 1 / states, dtype=torch.float64)
        self._believe(transition)

    def update(self, transition: Belief, counts: Tensor, generator: torch.Generator | None = None) -> None:
        """Draw the shares given how often each transition was made, and believe the rows accordingly.

        Customers of a restaurant are transitions and tables are draws from the shares.
        """
        counts = counts.double().round()
        drawn = self._drawn(counts, generator)
        self.shares = log_gamma_draw(self.spread / len(counts) + drawn, generator).softmax(-1)
        self._believe(transition)
        transition.observe({"counts": counts})

    _fitting: str  # what `begin` says of transitions that do not fit

    @abstractmethod
    def _fits(self, allowed: Tensor) -> bool:
        """Whether the prior is one of transitions that may be ``(S, S)``."""

    @abstractmethod
    def _drawn(self, counts: Tensor, generator: torch.Generator | None) -> Tensor:
        """How often each share was drawn ``(S,)``, given counts of transitions ``(S, S)``."""

    def _rows(self) -> Tensor:
        """The prior of the rows, ``(S, S)``, before it is known which transitions there are."""
        sticky = self.stickiness * torch.eye(len(self.shares), dtype=torch.float64)
        return (self.concentration * self.shares).clamp(min=1e-12) + sticky

    def _believe(self, transition: Belief) -> None:
        assert isinstance(transition, TableBelief)
        transition.prior = torch.where(transition.table.allowed, self._rows(), 0.0)

    def _tables(self, counts: Tensor, generator: torch.Generator | None) -> Tensor:
        """At how many tables the customers ``(S, S)`` sit."""
        own, seated = self._rows().unsqueeze(-1), torch.arange(int(counts.max()), dtype=torch.float64)
        opens = own / (own + seated)
        drawn = torch.rand(opens.shape, generator=generator, dtype=torch.float64) < opens
        return (drawn & (seated < counts.unsqueeze(-1))).sum(-1).double()


class StickyHDP(HDP):
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
        super().__init__(concentration, spread)
        if not stickiness >= 0:
            raise ShapeError(f"StickyHDP: stickiness must be at least 0, got {stickiness}.")
        self.stickiness = stickiness

    _fitting = (
        "every state must be allowed to follow every other and itself, in a matrix (S, S). An HSMM, whose states do "
        "not follow themselves? Take SemiMarkovHDP, or allowed=torch.ones(S, S, dtype=torch.bool)."
    )

    def _fits(self, allowed: Tensor) -> bool:
        return bool(allowed.all())

    def _drawn(self, counts: Tensor, generator: torch.Generator | None) -> Tensor:
        """Some tables are of the stickiness, and say nothing of shares (Fox et al. 2011, algorithm 3, steps 2 to 4)."""
        tables = self._tables(counts, generator)
        kept = self.stickiness / (self.stickiness + self.concentration * self.shares)
        sticky = torch.binomial(tables.diagonal(), kept.clamp(0.0, 1.0), generator=generator)
        return tables.sum(0) - sticky


class SemiMarkovHDP(HDP):
    """The prior of transitions of the HDP-HSMM, in its weak limit of S states (Johnson & Willsky 2013, section 4.2).

    ``shares ~ Dirichlet(spread / S, ...)`` say how common each state is. Row j of the transitions is a draw from
    ``Dirichlet(concentration * shares)`` without the chance that j follows itself, the rest divided by their sum: how
    long states last is the matter of the duration law alone.

    Args:
        concentration: how near each row is to the shares, alpha.
        spread: how many states are common, gamma.

    Attributes:
        shares: of the last sweep, ``(S,)``.

    Example:
        >>> from semihmm.models import HSMM, Gaussian, durations
        >>> from semihmm.models.bayes import gibbs
        >>> g = torch.Generator().manual_seed(0)
        >>> x = torch.cat([torch.randn(9, 1, generator=g) + 8 * (i % 2) for i in range(6)])
        >>> model = HSMM(5, Gaussian(5, 1), durations.Categorical(5, 20))
        >>> found = gibbs(model, x, draws=20, hdp=SemiMarkovHDP(concentration=1.0, spread=1.0), generator=g)
        >>> found.states[-1].unique().numel() < 5
        True
    """

    def __init__(self, concentration: float = 4.0, spread: float = 2.0) -> None:
        super().__init__(concentration, spread)

    _fitting = (
        "every state must be allowed to follow every other one, and none itself, in a matrix (S, S) of at least two, "
        "as in an HSMM with no allowed= of its own. An HMM? Take StickyHDP."
    )

    def _fits(self, allowed: Tensor) -> bool:
        return len(allowed) > 1 and torch.equal(allowed, ~torch.eye(len(allowed), dtype=torch.bool))

    def _drawn(self, counts: Tensor, generator: torch.Generator | None) -> Tensor:
        """Tables of the transitions there are, and of those to itself that would have been left out.

        A row left n times has, of the shares b, the probability ``G(c) / G(c + n)`` times what its tables say, where G
        is the gamma function and ``c = a (1 - b_j)`` for a concentration a. With ``v ~ Beta(c, n)``, that is
        ``v^c`` up to what does not depend on b, so ``exp(a b_j log(1 / v))``: what ``Poisson(a b_j log(1 / v))``
        draws of the share b_j say.
        """
        left, own = counts.sum(-1), self._rows().diagonal()
        here = log_gamma_draw((self.concentration - own).clamp(min=1e-12), generator)
        there = log_gamma_draw(left.clamp(min=1.0), generator)
        surprise = torch.where(left > 0, torch.logaddexp(here, there) - here, 0.0)
        itself = torch.poisson(own * surprise, generator=generator)
        return self._tables(counts, generator).sum(0) + itself
