"""The answers of semihmm, as torch.distributions gives them."""

from itertools import product

import pytest
import torch
from torch.distributions import kl_divergence
from torch.testing import assert_close

import semihmm
from semihmm.distributions import StructureDistribution


def hmm(seed: int = 0, *batch: int) -> semihmm.HMM:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((*batch, 2), (*batch, 2, 2), (*batch, 3, 2))
    initial, transition, emission = (torch.randn(s, dtype=torch.float64, generator=generator) for s in shapes)
    return semihmm.HMM(initial, transition, emission)


def hsmm() -> semihmm.HSMM:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2,), (2, 2), (2, 3), (5, 4, 2))
    weights = [torch.randn(s, dtype=torch.float64, generator=generator) for s in shapes]
    return semihmm.HSMM(weights[0], weights[1], weights[2], weights[3])


EVERY = torch.tensor(list(product(range(2), repeat=3)))


def test_probabilities_sum_to_one_over_the_support() -> None:
    d = StructureDistribution(hmm())
    assert d.support.check(EVERY).all()
    assert_close(d.log_prob(EVERY).exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    assert_close(d.entropy(), -(d.log_prob(EVERY).exp() * d.log_prob(EVERY)).sum())
    assert torch.equal(d.mode, EVERY[d.log_prob(EVERY).argmax()])


def test_the_divergence_is_registered_with_torch() -> None:
    p, q = StructureDistribution(hmm(0)), StructureDistribution(hmm(1))
    expected = (p.log_prob(EVERY).exp() * (p.log_prob(EVERY) - q.log_prob(EVERY))).sum()
    assert_close(kl_divergence(p, q), expected)


@pytest.mark.parametrize("structure", [hmm(0, 4), hsmm(), hmm()], ids=["hmm", "hsmm", "no batch"])
def test_draws_have_the_shape_of_batch_and_event_and_are_in_the_support(structure: semihmm.Structure) -> None:
    d = StructureDistribution(structure)
    drawn = d.sample((7, 2), generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (7, 2, *d.batch_shape, *d.event_shape)
    assert d.sample().shape == (*d.batch_shape, *d.event_shape)
    assert d.support.check(drawn).all() and d.support.event_dim == len(d.event_shape)
    assert d.log_prob(drawn).shape == (7, 2, *d.batch_shape)
    assert torch.equal(drawn, d.sample((7, 2), generator=torch.Generator().manual_seed(0)))


def test_the_marginals_are_those_of_the_structure() -> None:
    structure = hmm(0, 2)
    assert_close(StructureDistribution(structure).marginals.emission, semihmm.marginals(structure).emission)


def test_events_that_there_is_no_path_for_are_refused_if_asked() -> None:
    structure = semihmm.condition(hmm(), torch.tensor([[True, False], [True, True], [True, True]]))
    with pytest.raises(ValueError, match="no path for 1 of 1 events"):
        StructureDistribution(structure, validate_args=True).log_prob(torch.tensor([1, 0, 0]))
    assert StructureDistribution(structure, validate_args=False).log_prob(torch.tensor([1, 0, 0])) == -torch.inf
    with pytest.raises(ValueError, match=r"an event is \(\*sample, 3\), got \(2,\)"):
        StructureDistribution(structure, validate_args=True).log_prob(torch.tensor([0, 0]))


def test_log_probabilities_are_differentiable() -> None:
    structure = hmm()
    weight = structure.transition.clone().requires_grad_()
    torch.autograd.backward(StructureDistribution(structure.replace(transition=weight)).log_prob(EVERY[3]))
    counts = torch.zeros(2, 2, dtype=torch.float64)
    counts[0, 1] += 1  # EVERY[3] is 0, 1, 1
    counts[1, 1] += 1
    assert_close(weight.grad, counts - semihmm.marginals(structure).transition)


def test_it_says_what_it_is() -> None:
    assert repr(StructureDistribution(hmm(0, 4))) == "StructureDistribution(HMM, batch_shape=(4,))"
