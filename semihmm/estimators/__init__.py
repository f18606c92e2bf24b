"""Models with scikit-learn's face and hmmlearn's names: NumPy in, NumPy out.

Each class takes hmmlearn's constructor arguments, has its attributes and its ``X, lengths`` methods, and works in
scikit-learn's pipelines and searches. Needs the extra ``semihmm[estimators]``.
"""

from semihmm.estimators.base import BaseHMM
from semihmm.estimators.categorical import CategoricalHMM
from semihmm.estimators.gaussian import GaussianHMM
from semihmm.estimators.mixture import GMMHMM
from semihmm.estimators.monitor import ConvergenceMonitor
from semihmm.estimators.multinomial import MultinomialHMM
from semihmm.estimators.poisson import PoissonHMM
from semihmm.estimators.semi_markov import CategoricalHSMM, GaussianHSMM, PoissonHSMM
from semihmm.estimators.series import KNeighborsTimeSeriesClassifier, TimeSeriesKMeans, TimeSeriesKMedoids
from semihmm.estimators.variational import VariationalCategoricalHMM, VariationalGaussianHMM

__all__ = [
    "GMMHMM",
    "BaseHMM",
    "CategoricalHMM",
    "CategoricalHSMM",
    "ConvergenceMonitor",
    "GaussianHMM",
    "GaussianHSMM",
    "KNeighborsTimeSeriesClassifier",
    "MultinomialHMM",
    "PoissonHMM",
    "PoissonHSMM",
    "TimeSeriesKMeans",
    "TimeSeriesKMedoids",
    "VariationalCategoricalHMM",
    "VariationalGaussianHMM",
]
