"""Which paths exist, and what they weigh: one file for each structure."""

from semihmm.structures.base import Structure
from semihmm.structures.hmm import HMM
from semihmm.structures.hsmm import HSMM

__all__ = ["HMM", "HSMM", "Structure"]
