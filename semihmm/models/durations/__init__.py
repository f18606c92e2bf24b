"""Duration laws: how long each state lasts. One file for each.

Example:
    >>> semihmm.models.durations.Poisson(states=3, max_duration=20)().shape
    torch.Size([3, 20])
"""

from semihmm.models.durations.base import Duration
from semihmm.models.durations.categorical import Categorical
from semihmm.models.durations.driven import DrivenDuration, Neural, PoissonRegression
from semihmm.models.durations.gamma import Gamma
from semihmm.models.durations.gaussian import Gaussian
from semihmm.models.durations.geometric import Geometric
from semihmm.models.durations.log_normal import LogNormal
from semihmm.models.durations.negative_binomial import NegativeBinomial
from semihmm.models.durations.parametric import Parametric
from semihmm.models.durations.poisson import Poisson
from semihmm.models.durations.uniform import Uniform
from semihmm.models.durations.weibull import Weibull

__all__ = [
    "Categorical",
    "DrivenDuration",
    "Duration",
    "Gamma",
    "Gaussian",
    "Geometric",
    "LogNormal",
    "NegativeBinomial",
    "Neural",
    "Parametric",
    "Poisson",
    "PoissonRegression",
    "Uniform",
    "Weibull",
]
