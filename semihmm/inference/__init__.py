"""The questions: each is a total, the gradient of one, or its choices traced back."""

from semihmm.inference.counts import expected_counts
from semihmm.inference.decision import minimum_bayes_risk
from semihmm.inference.expectation import (
    covariance,
    cross_entropy,
    entropy,
    expectation,
    kl_divergence,
    renyi_entropy,
    risk,
    variance,
)
from semihmm.inference.explain import explain
from semihmm.inference.marginals import condition, filtering, marginals, max_marginals, smoothing
from semihmm.inference.pruning import prune
from semihmm.inference.sample import sample
from semihmm.inference.total import log_count, log_partition, log_prob, score, total
from semihmm.inference.viterbi import Paths, argmax, topk, viterbi
from semihmm.inference.without_replacement import Draws

__all__ = [
    "Draws",
    "Paths",
    "argmax",
    "condition",
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
    "smoothing",
    "topk",
    "total",
    "variance",
    "viterbi",
]
