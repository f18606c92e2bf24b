"""Against code that we did not write: torch-struct (chain, semi-Markov) and hmmlearn, in float64."""

import numpy as np
import pytest
import torch
from hmmlearn.hmm import CategoricalHMM
from torch.testing import assert_close
from torch_struct import LinearChainCRF, SemiMarkovCRF

import semihmm
from semihmm.testing.examples import small


@pytest.fixture
def chain():
    """The same model for both: torch-struct's potential ``[t, to, from]`` holds the arc and the emission after it."""
    hmm = small("HMM varying", (3,), 6, seed=1)
    hmm = hmm.replace(final=torch.zeros_like(hmm.final))
    log_potentials = hmm.transition.mT + hmm.emission[:, 1:].unsqueeze(-1)
    log_potentials[:, 0] += (hmm.initial + hmm.emission[:, 0]).unsqueeze(-2)
    return hmm, LinearChainCRF(log_potentials)


def test_a_linear_chain_is_torch_structs(chain):
    hmm, theirs = chain
    assert_close(semihmm.log_partition(hmm), theirs.partition)
    assert_close(semihmm.marginals(hmm).transition.mT, theirs.marginals)
    assert_close(semihmm.entropy(hmm), theirs.entropy)
    assert_close(semihmm.viterbi(hmm).score, theirs.max)
    states = semihmm.viterbi(hmm).event
    to, came = theirs.argmax.flatten(-2).argmax(-1) // 2, theirs.argmax.flatten(-2).argmax(-1) % 2
    assert torch.equal(states, torch.cat([came[:, :1], to], -1))
    assert_close(semihmm.topk(hmm, 3).score, theirs.kmax(3))


def test_a_semi_markov_chain_is_torch_structs():
    """Theirs: ``[t, d, to, from]`` is a segment of ``d`` steps from ``t`` in state ``to``; their lengths are wrong."""
    batch, steps, states, longest = 2, 6, 2, 3
    generator = torch.Generator().manual_seed(0)
    arcs = torch.randn(batch, states, states, generator=generator, dtype=torch.float64)
    duration = torch.randn(batch, states, longest, generator=generator, dtype=torch.float64)
    emission = torch.randn(batch, steps, states, generator=generator, dtype=torch.float64)
    log_potentials = torch.full((batch, steps, longest + 1, states, states), -1e9, dtype=torch.float64)
    for t in range(steps):
        for d in range(1, min(longest, steps - t) + 1):
            segment = duration[:, :, d - 1] + emission[:, t : t + d].sum(1)  # by state
            log_potentials[:, t, d] = segment.unsqueeze(-1) + arcs.mT
    theirs = SemiMarkovCRF(log_potentials)
    # Their first segment comes from any state, by an arc: the same as this initial.
    initial = arcs.logsumexp(-2)
    hsmm = semihmm.HSMM(initial, arcs, duration, emission)
    assert_close(semihmm.log_partition(hsmm), theirs.partition)
    counts = theirs.marginals
    assert_close(semihmm.marginals(hsmm).duration, counts.sum((1, 4))[:, 1:].mT)
    best = semihmm.HSMM(arcs.amax(-2), arcs, duration, emission)
    assert_close(semihmm.viterbi(best).score, theirs.max)


def test_posteriors_scores_and_paths_are_hmmlearns():
    rng = np.random.default_rng(0)
    theirs = CategoricalHMM(n_components=3)
    theirs.startprob_ = rng.dirichlet(np.ones(3))
    theirs.transmat_ = rng.dirichlet(np.ones(3), 3)
    theirs.emissionprob_ = rng.dirichlet(np.ones(5), 3)
    theirs.n_features = 5
    lengths = [12, 1, 7]
    x = rng.integers(0, 5, sum(lengths))
    table = torch.from_numpy(np.log(theirs.emissionprob_))
    emission = torch.zeros(3, max(lengths), 3, dtype=torch.float64)
    for i, (start, length) in enumerate(zip([0, 12, 13], lengths, strict=True)):
        emission[i, :length] = table[:, x[start : start + length]].T
    hmm = semihmm.HMM(
        torch.from_numpy(np.log(theirs.startprob_)),
        torch.from_numpy(np.log(theirs.transmat_)),
        emission,
        lengths=torch.tensor(lengths),
    )
    score, posteriors = theirs.score_samples(x.reshape(-1, 1), lengths)
    assert_close(float(semihmm.log_partition(hmm).sum()), score)
    used = torch.arange(max(lengths)) < hmm.lengths.unsqueeze(-1)
    assert_close(semihmm.marginals(hmm).emission[used], torch.from_numpy(posteriors))
    best, states = theirs.decode(x.reshape(-1, 1), lengths)
    assert_close(float(semihmm.viterbi(hmm).score.sum()), best)
    assert semihmm.viterbi(hmm).event[used].tolist() == states.tolist()
