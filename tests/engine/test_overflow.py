"""Finite log-weights whose sum over a path is not: an error that says so, and never a NaN or a path of nothing."""

import pytest
import torch

import semihmm
from semihmm import DTW, HMM
from semihmm.engine.backends import native
from semihmm.errors import DataError

BACKENDS = ["torch", *(["native"] if native() is not None else [])]
QUESTIONS = {
    "log_partition": semihmm.log_partition,
    "marginals": semihmm.marginals,
    "viterbi": semihmm.viterbi,
    "topk": lambda s, **options: semihmm.topk(s, 2, **options),
    "sample": lambda s, **options: semihmm.sample(s, (2,), **options),
}
TOO_LARGE = {
    "float32": lambda: torch.full((40, 40), -3e38),
    "float64": lambda: torch.full((40, 40), -1.7e308, dtype=torch.float64),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", TOO_LARGE)
def test_a_sum_that_leaves_the_range_is_refused(backend, question, kind):
    with pytest.raises(DataError, match=rf"are finite, but not their sum over 79 steps in torch\.{kind}"):
        QUESTIONS[question](DTW(TOO_LARGE[kind]()), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_float64_holds_what_float32_does_not(backend):
    best = semihmm.viterbi(DTW(TOO_LARGE["float32"]().double(), "symmetric1"), backend=backend)
    assert best.valid and float(best.score) == pytest.approx(79 * 3e38)
    assert torch.equal(best.event[-1], torch.tensor([39, 39]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_large_number_in_place_of_infinity_still_forbids(backend):
    least = torch.finfo(torch.float32).min
    emission = torch.tensor([[0.0, least], [least, 0.0], [0.0, least]])
    assert semihmm.viterbi(HMM(torch.zeros(2), torch.zeros(2, 2), emission), backend=backend).event.tolist() == [
        0,
        1,
        0,
    ]
    nowhere = HMM(torch.zeros(2), torch.zeros(2, 2), torch.full((3, 2), least))
    assert float(semihmm.log_partition(nowhere, backend=backend)) == -torch.inf


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_that_was_let_in_is_no_overflow(backend):
    hmm = HMM(torch.zeros(2), torch.zeros(2, 2), torch.full((3, 2), torch.nan))
    assert semihmm.log_partition(hmm, backend=backend, validate=False).isnan()
