"""What is asked has the same answer in each of autograd's modes."""

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm.engine.backends import native
from semihmm.models import HMM, HSMM, Gaussian, GaussianMixture
from semihmm.models.durations import Poisson
from semihmm.models.emissions import Categorical
from semihmm.testing.examples import KINDS, small

MODES = {"no_grad": torch.no_grad, "enable_grad": torch.enable_grad, "inference_mode": torch.inference_mode}
BACKENDS = ["torch"] if native() is None else ["torch", "native"]


def everything(structure, **way):
    """Answers, by question."""
    answers = {
        "log_partition": semihmm.log_partition(structure, **way),
        "marginals": semihmm.marginals(structure, **way).potentials,
        "expected_counts": semihmm.expected_counts(structure, **way),
        "max_marginals": semihmm.max_marginals(structure, **way).potentials if structure.linear else None,
        "entropy": semihmm.entropy(structure, **way),
        "expectation": semihmm.expectation(structure, structure, **way),
        "variance": semihmm.variance(structure, structure, strategy="sequential", backend="torch"),
        "viterbi": (best := semihmm.viterbi(structure, **way)).score,
        "path": best.event,
        "topk": semihmm.topk(structure, 3, **way).score,
        "sample": semihmm.sample(structure, (3,), generator=torch.Generator().manual_seed(0), **way).event,
        "soft": semihmm.total(structure, semihmm.semirings.SmoothMax(0.5), **way),
        "renyi": semihmm.renyi_entropy(structure, 2.0, **way),
    }
    if type(structure).__name__ in {"HMM", "CTC", "MonotonicAlignment"}:
        answers["smoothing"] = semihmm.smoothing(structure, **way)
        answers["filtering"] = semihmm.filtering(structure, **way)
    return answers


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_every_question_has_the_same_answer_in_every_mode(mode, kind, backend):
    expected = everything(small(kind, (2,), ragged=True), backend=backend)
    outside = small(kind, (2,), ragged=True)
    with MODES[mode]():
        assert_close(everything(outside, backend=backend), expected, rtol=0, atol=0, equal_nan=True)
        assert_close(
            everything(small(kind, (2,), ragged=True), backend=backend), expected, rtol=0, atol=0, equal_nan=True
        )


def draw(kind):
    g = torch.Generator().manual_seed(3)
    if kind == "categorical":
        return HMM(3, Categorical(3, symbols=4)), torch.randint(4, (2, 30), generator=g)
    x = torch.randn(2, 30, 2, generator=g)
    if kind == "mixture":
        return HMM(3, GaussianMixture(3, features=2, components=2)), x
    if kind == "semi-Markov":
        return HSMM(3, Gaussian(3, features=2), Poisson(3, max_duration=5)), x
    return HMM(3, Gaussian(3, features=2)), x


def fitted(kind, method, made=None):
    torch.manual_seed(0)
    model, x = made or draw(kind)
    lengths = torch.tensor([30, 17])
    g = torch.Generator().manual_seed(1)
    fit = model.fit(x, lengths, method, iterations=4, generator=g)
    posterior = model.score_samples(x, lengths)
    return fit.history, posterior, model.predict_proba(x, lengths), model.predict(x, lengths), model.score(x, lengths)


@pytest.mark.parametrize("method", ["em", "gradient"])
@pytest.mark.parametrize("kind", ["gaussian", "categorical", "mixture", "semi-Markov"])
@pytest.mark.parametrize("mode", MODES)
def test_a_model_learns_the_same_in_every_mode(mode, kind, method):
    torch.manual_seed(0)
    expected, made = fitted(kind, method), draw(kind)
    assert len(expected[0]) == 5 and expected[0][-1] > expected[0][0]
    with MODES[mode]():
        assert_close(fitted(kind, method, made), expected, rtol=0, atol=0, equal_nan=True)
        assert_close(fitted(kind, method), expected, rtol=0, atol=0, equal_nan=True)  # made in the mode as well
