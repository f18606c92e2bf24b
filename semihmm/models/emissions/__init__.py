"""Emissions: how likely each observation is in each state. One file for each.

Example:
    >>> semihmm.models.emissions.Categorical(states=3, symbols=5)(torch.tensor([0, 4])).shape
    torch.Size([2, 3])
"""

from semihmm.models.emissions.autoregressive import Autoregressive
from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.bernoulli import Bernoulli
from semihmm.models.emissions.beta import Beta
from semihmm.models.emissions.categorical import Categorical
from semihmm.models.emissions.conditional import Conditional
from semihmm.models.emissions.exponential import Exponential
from semihmm.models.emissions.factor_analysis import FactorAnalysis
from semihmm.models.emissions.from_torch import FromTorch
from semihmm.models.emissions.full_gaussian import FullGaussian
from semihmm.models.emissions.gamma import Gamma
from semihmm.models.emissions.gaussian import Gaussian
from semihmm.models.emissions.glm import GLM
from semihmm.models.emissions.laplace import Laplace
from semihmm.models.emissions.linear_regression import LinearRegression
from semihmm.models.emissions.logistic_regression import LogisticRegression
from semihmm.models.emissions.mixed import Mixed
from semihmm.models.emissions.mixture import GaussianMixture
from semihmm.models.emissions.multinomial import Multinomial
from semihmm.models.emissions.negative_binomial import NegativeBinomial
from semihmm.models.emissions.neural import Neural
from semihmm.models.emissions.noisy_gaussian import NoisyGaussian
from semihmm.models.emissions.poisson import Poisson
from semihmm.models.emissions.product import Product
from semihmm.models.emissions.student import StudentT
from semihmm.models.emissions.von_mises import VonMises
from semihmm.models.emissions.with_prior import WithPrior
from semihmm.models.emissions.zero_inflated import ZeroInflatedPoisson

__all__ = [
    "GLM",
    "Autoregressive",
    "Bernoulli",
    "Beta",
    "Categorical",
    "Conditional",
    "Emission",
    "Exponential",
    "FactorAnalysis",
    "FromTorch",
    "FullGaussian",
    "Gamma",
    "Gaussian",
    "GaussianMixture",
    "Laplace",
    "LinearRegression",
    "LogisticRegression",
    "Mixed",
    "Multinomial",
    "NegativeBinomial",
    "Neural",
    "NoisyGaussian",
    "Poisson",
    "Product",
    "StudentT",
    "VonMises",
    "WithPrior",
    "ZeroInflatedPoisson",
]
