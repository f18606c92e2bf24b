"""Law checks for semirings and structures, yours and ours; random chains to try a map on."""

from semihmm.testing.chains import ChainCase, RandomWeights, random_chain, random_feature, random_map
from semihmm.testing.check import check_structure
from semihmm.testing.evaluate import differentiable, in_float64, paths_of, plan_of, rounded, total_of
from semihmm.testing.matrices import MatrixChain, forward_backward, ragged_stationary, stationary
from semihmm.testing.semirings import check_semiring

__all__ = [
    "ChainCase",
    "MatrixChain",
    "RandomWeights",
    "check_semiring",
    "check_structure",
    "differentiable",
    "forward_backward",
    "in_float64",
    "paths_of",
    "plan_of",
    "ragged_stationary",
    "random_chain",
    "random_feature",
    "random_map",
    "rounded",
    "stationary",
    "total_of",
]
