"""Models: a structure, an emission and, for segments, a duration law; they learn by EM and by gradient.

`emissions` and `durations` hold all parts, some of which share a name; the others can be had from here.
"""

from semihmm.models import durations, emissions
from semihmm.models.base import Draw, Model
from semihmm.models.crf import CRF, LinearChainCRF
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
from semihmm.models.hmm import HMM
from semihmm.models.hsmm import HSMM
from semihmm.models.neighbours import Constraints, constraints
from semihmm.models.part import Law, Part
from semihmm.models.segment_crf import SemiMarkovCRF
from semihmm.models.table import Table
from semihmm.models.training import Fit

__all__ = [
    "CRF",
    "HMM",
    "HSMM",
    "Bernoulli",
    "Beta",
    "Constraints",
    "Draw",
    "Duration",
    "Emission",
    "Exponential",
    "Fit",
    "FromTorch",
    "FullGaussian",
    "Gaussian",
    "GaussianMixture",
    "Laplace",
    "Law",
    "LinearChainCRF",
    "Mixed",
    "Model",
    "Multinomial",
    "Neural",
    "Part",
    "Product",
    "SemiMarkovCRF",
    "StudentT",
    "Table",
    "VonMises",
    "ZeroInflatedPoisson",
    "constraints",
    "durations",
    "emissions",
]
