"""Which paths exist, and what they weigh: one file for each structure."""

from semihmm.structures.base import Structure
from semihmm.structures.batch import stack
from semihmm.structures.constrained import Constrained, constrain
from semihmm.structures.ctc import CTC
from semihmm.structures.distances import squared_distances
from semihmm.structures.dtw import DTW, StepPattern
from semihmm.structures.edit import EditDistance
from semihmm.structures.factorial import FactorialHMM
from semihmm.structures.hmm import HMM
from semihmm.structures.hsmm import HSMM
from semihmm.structures.lattice import Lattice
from semihmm.structures.monotonic import MonotonicAlignment
from semihmm.structures.pruned import Pruned
from semihmm.structures.rnnt import RNNT

__all__ = [
    "CTC",
    "DTW",
    "HMM",
    "HSMM",
    "RNNT",
    "Constrained",
    "EditDistance",
    "FactorialHMM",
    "Lattice",
    "MonotonicAlignment",
    "Pruned",
    "StepPattern",
    "Structure",
    "constrain",
    "squared_distances",
    "stack",
]
