"""Emissions: how likely each observation is in each state. One file for each.

Example:
    >>> semihmm.models.emissions.Categorical(states=3, symbols=5)(torch.tensor([0, 4])).shape
    torch.Size([2, 3])
"""

from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.bernoulli import Bernoulli
from semihmm.models.emissions.categorical import Categorical
from semihmm.models.emissions.exponential import Exponential
from semihmm.models.emissions.full_gaussian import FullGaussian
from semihmm.models.emissions.gamma import Gamma
from semihmm.models.emissions.gaussian import Gaussian
from semihmm.models.emissions.mixture import GaussianMixture
from semihmm.models.emissions.multinomial import Multinomial
from semihmm.models.emissions.neural import Neural
from semihmm.models.emissions.poisson import Poisson

__all__ = [
    "Bernoulli",
    "Categorical",
    "Emission",
    "Exponential",
    "FullGaussian",
    "Gamma",
    "Gaussian",
    "GaussianMixture",
    "Multinomial",
    "Neural",
    "Poisson",
]
