"""Models: a structure, an emission and, for segments, a duration law; they learn by EM and by gradient.

`emissions` and `durations` hold all parts, some of which share a name; the others can be had from here.
"""

from semihmm.models import durations, emissions
from semihmm.models.base import Draw, Model
from semihmm.models.durations import Duration
from semihmm.models.emissions import (
    GLM,
    Autoregressive,
    Bernoulli,
    Beta,
    Conditional,
    Emission,
    Exponential,
    FactorAnalysis,
    FromTorch,
    FullGaussian,
    Gaussian,
    GaussianMixture,
    Laplace,
    LinearRegression,
    LogisticRegression,
    Mixed,
    Multinomial,
    Neural,
    NoisyGaussian,
    Product,
    StudentT,
    VonMises,
    ZeroInflatedPoisson,
)
from semihmm.models.hmm import HMM
from semihmm.models.hsmm import HSMM
from semihmm.models.part import Law, Part
from semihmm.models.table import Table
from semihmm.models.training import Fit

__all__ = [
    "GLM",
    "HMM",
    "HSMM",
    "Autoregressive",
    "Bernoulli",
    "Beta",
    "Conditional",
    "Draw",
    "Duration",
    "Emission",
    "Exponential",
    "FactorAnalysis",
    "Fit",
    "FromTorch",
    "FullGaussian",
    "Gaussian",
    "GaussianMixture",
    "Laplace",
    "Law",
    "LinearRegression",
    "LogisticRegression",
    "Mixed",
    "Model",
    "Multinomial",
    "Neural",
    "NoisyGaussian",
    "Part",
    "Product",
    "StudentT",
    "Table",
    "VonMises",
    "ZeroInflatedPoisson",
    "durations",
    "emissions",
]
