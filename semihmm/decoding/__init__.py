"""From a network's log-probabilities to text, by CTC: the best label sequences, and when a known text is said.

Example:
    >>> import torch
    >>> log_probs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
    >>> beam_search(log_probs).tolist()
    [[[1]]]
"""

from semihmm.decoding.alignment import Alignment, Span, align
from semihmm.decoding.beam import BeamSearch, BeamStream, beam_search
from semihmm.decoding.greedy import greedy
from semihmm.decoding.hypotheses import Hypotheses
from semihmm.decoding.ngram import NGram
from semihmm.decoding.rates import Errors, character_errors, errors, word_errors
from semihmm.decoding.rescore import KenLM, exact, least_risk, second_pass
from semihmm.decoding.vocabulary import Vocabulary

__all__ = [
    "Alignment",
    "BeamSearch",
    "BeamStream",
    "Errors",
    "Hypotheses",
    "KenLM",
    "NGram",
    "Span",
    "Vocabulary",
    "align",
    "beam_search",
    "character_errors",
    "errors",
    "exact",
    "greedy",
    "least_risk",
    "second_pass",
    "word_errors",
]
