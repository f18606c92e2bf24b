"""Structured prediction over time: semirings, one scan engine, and every question asked of a total.

Example:
    >>> import torch, semihmm
    >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
    >>> float(semihmm.log_partition(hmm).exp())
    8.0
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semihmm import automata, semirings
    from semihmm.engine import backends

    # By module: mypy would take the functions for the modules of the same names.
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

    __version__: str

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

_PACKAGES = ("automata", "semirings", "structures", "inference", "engine")


def __getattr__(name: str) -> object:
    """What `__all__` promises, when it is first asked for (PEP 562): `semihmm --help` needs none of it, nor PyTorch."""
    if name == "__version__":
        return import_module("importlib.metadata").version("semihmm")
    if name in _PACKAGES:
        return import_module(f"semihmm.{name}")
    if name in __all__:
        homes = (import_module(f"semihmm.{home}") for home in ("inference", "structures", "engine"))
        found = next(getattr(home, name) for home in homes if name in home.__all__)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'semihmm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
