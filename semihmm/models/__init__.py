"""Models: a structure, an emission and, for segments, a duration law; they learn by EM and by gradient.

`emissions`, `durations` and `transitions` hold all parts, some of which share a name; the others can be had from here.
`moving` takes what other libraries have fitted.
"""

from semihmm.models import bayes, durations, emissions, moving, transitions
from semihmm.models.answering import Draw, Forecast
from semihmm.models.base import Model
from semihmm.models.crf import CRF, LinearChainCRF
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
    WithPrior,
    ZeroInflatedPoisson,
)
from semihmm.models.higher_order import HigherOrderHMM
from semihmm.models.hmm import HMM
from semihmm.models.hsmm import HSMM
from semihmm.models.loading import load
from semihmm.models.neighbours import Constraints, constraints
from semihmm.models.part import Driven, Law, Part
from semihmm.models.segment_crf import SemiMarkovCRF
from semihmm.models.select import Selection, select
from semihmm.models.sequences import pad
from semihmm.models.table import Table
from semihmm.models.training import Fit
from semihmm.models.transitions import Transition

__all__ = [
    "CRF",
    "GLM",
    "HMM",
    "HSMM",
    "Autoregressive",
    "Bernoulli",
    "Beta",
    "Conditional",
    "Constraints",
    "Draw",
    "Driven",
    "Duration",
    "Emission",
    "Exponential",
    "FactorAnalysis",
    "Fit",
    "Forecast",
    "FromTorch",
    "FullGaussian",
    "Gaussian",
    "GaussianMixture",
    "HigherOrderHMM",
    "Laplace",
    "Law",
    "LinearChainCRF",
    "LinearRegression",
    "LogisticRegression",
    "Mixed",
    "Model",
    "Multinomial",
    "Neural",
    "NoisyGaussian",
    "Part",
    "Product",
    "Selection",
    "SemiMarkovCRF",
    "StudentT",
    "Table",
    "Transition",
    "VonMises",
    "WithPrior",
    "ZeroInflatedPoisson",
    "bayes",
    "constraints",
    "durations",
    "emissions",
    "load",
    "moving",
    "pad",
    "select",
    "transitions",
]
