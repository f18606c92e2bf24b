"""Bayesian fits: variational Bayes, blocked Gibbs sampling, and hierarchical Dirichlet processes.

Example:
    >>> from semihmm.models import HMM, bayes, emissions
    >>> model = HMM(2, emissions.Categorical(2, 3))
    >>> bayes.variational(model, torch.tensor([0, 0, 1, 2]), iterations=3).converged in (True, False)
    True
"""

from semihmm.models.bayes.conjugate import (
    Belief,
    CategoricalBelief,
    EmissionBelief,
    FullGaussianBelief,
    GaussianBelief,
    PoissonBelief,
    TableBelief,
    belief,
)
from semihmm.models.bayes.gibbs import Draws, gibbs
from semihmm.models.bayes.hdp import SemiMarkovHDP, StickyHDP
from semihmm.models.bayes.variational import Variational, variational

__all__ = [
    "Belief",
    "CategoricalBelief",
    "Draws",
    "EmissionBelief",
    "FullGaussianBelief",
    "GaussianBelief",
    "PoissonBelief",
    "SemiMarkovHDP",
    "StickyHDP",
    "TableBelief",
    "Variational",
    "belief",
    "gibbs",
    "variational",
]
