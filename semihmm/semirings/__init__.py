"""What a total means: one semiring per question.

Example:
    >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
    >>> int(semihmm.total(hmm, semihmm.semirings.Count())), float(semihmm.total(hmm, semihmm.semirings.Max()))
    (8, 0.0)
"""

from semihmm.semirings.base import Semiring
from semihmm.semirings.count import Boolean, Count
from semihmm.semirings.expectation import Expectation, SecondOrderExpectation
from semihmm.semirings.lexicographic import Lexicographic
from semihmm.semirings.log import Log
from semihmm.semirings.max import Bottleneck, Max, Min
from semihmm.semirings.product import Product
from semihmm.semirings.real import Real
from semihmm.semirings.sampling import Sample
from semihmm.semirings.smooth import SmoothMax, SparseMax
from semihmm.semirings.topk import TopK

__all__ = [
    "Boolean",
    "Bottleneck",
    "Count",
    "Expectation",
    "Lexicographic",
    "Log",
    "Max",
    "Min",
    "Product",
    "Real",
    "Sample",
    "SecondOrderExpectation",
    "Semiring",
    "SmoothMax",
    "SparseMax",
    "TopK",
]
