"""Models: a structure, an emission and, for segments, a duration law; they learn by EM and by gradient.

`emissions`, `durations` and `transitions` hold all parts, some of which share a name; the others can be had from here.
"""

from semihmm.models import durations, emissions, transitions
from semihmm.models.answering import Draw, Forecast
from semihmm.models.base import Model
from semihmm.models.durations import Duration
from semihmm.models.emissions import (
    Bernoulli,
    Beta,
    Emission,
    Exponential,
    FromTorch,
    FullGaussian,
    Gaussian,
    GaussianMixture,
    Laplace,
    Mixed,
    Multinomial,
    Neural,
    Product,
    StudentT,
    VonMises,
    ZeroInflatedPoisson,
)
from semihmm.models.higher_order import HigherOrderHMM
from semihmm.models.hmm import HMM
from semihmm.models.hsmm import HSMM
from semihmm.models.part import Driven, Law, Part
from semihmm.models.sequences import pad
from semihmm.models.table import Table
from semihmm.models.training import Fit
from semihmm.models.transitions import Transition

__all__ = [
    "HMM",
    "HSMM",
    "Bernoulli",
    "Beta",
    "Draw",
    "Driven",
    "Duration",
    "Emission",
    "Exponential",
    "Fit",
    "Forecast",
    "FromTorch",
    "FullGaussian",
    "Gaussian",
    "GaussianMixture",
    "HigherOrderHMM",
    "Laplace",
    "Law",
    "Mixed",
    "Model",
    "Multinomial",
    "Neural",
    "Part",
    "Product",
    "StudentT",
    "Table",
    "Transition",
    "VonMises",
    "ZeroInflatedPoisson",
    "durations",
    "emissions",
    "pad",
    "transitions",
]
