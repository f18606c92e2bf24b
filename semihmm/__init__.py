"""Structured prediction over time: semirings, one scan engine, and every question asked of a total.

Example:
    >>> import torch, semihmm
    >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
    >>> float(semihmm.log_partition(hmm).exp())
    8.0
"""

from importlib.metadata import version

from semihmm import automata, semirings
from semihmm.engine import backends
from semihmm.inference import (
    Paths,
    argmax,
    condition,
    covariance,
    cross_entropy,
    entropy,
    expectation,
    expected_counts,
    explain,
    filtering,
    kl_divergence,
    log_count,
    log_partition,
    log_prob,
    marginals,
    max_marginals,
    minimum_bayes_risk,
    prune,
    renyi_entropy,
    risk,
    sample,
    score,
    smoothing,
    topk,
    total,
    variance,
    viterbi,
)
from semihmm.structures import (
    CTC,
    DTW,
    HMM,
    HSMM,
    RNNT,
    EditDistance,
    FactorialHMM,
    Lattice,
    MonotonicAlignment,
    StepPattern,
    Structure,
    constrain,
    squared_distances,
    stack,
)

__version__ = version("semihmm")

__all__ = [
    "CTC",
    "DTW",
    "HMM",
    "HSMM",
    "RNNT",
    "EditDistance",
    "FactorialHMM",
    "Lattice",
    "MonotonicAlignment",
    "Paths",
    "StepPattern",
    "Structure",
    "argmax",
    "automata",
    "backends",
    "condition",
    "constrain",
    "covariance",
    "cross_entropy",
    "entropy",
    "expectation",
    "expected_counts",
    "explain",
    "filtering",
    "kl_divergence",
    "log_count",
    "log_partition",
    "log_prob",
    "marginals",
    "max_marginals",
    "minimum_bayes_risk",
    "prune",
    "renyi_entropy",
    "risk",
    "sample",
    "score",
    "semirings",
    "smoothing",
    "squared_distances",
    "stack",
    "topk",
    "total",
    "variance",
    "viterbi",
]
