"""Mixtures that grow."""

import torch

from semihmm.speech.training.mixtures import Mixtures


def random_mixtures(*sizes):
    generator = torch.Generator().manual_seed(0)
    shape = (len(sizes), max(sizes), 3)
    has = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    weight = torch.rand(shape[:2], generator=generator, dtype=torch.float64).log().masked_fill(~has, -torch.inf)
    mean = torch.randn(shape, generator=generator, dtype=torch.float64)
    variance = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5
    return Mixtures(weight.log_softmax(1), mean, variance)


def test_log_densities_add_up_to_the_emission():
    mixtures, x = random_mixtures(2, 1, 3), torch.randn(7, 3)
    states = torch.tensor([2, 0])
    found = mixtures.log_densities(x, states).logsumexp(2)
    torch.testing.assert_close(found, mixtures.emission()(x.double())[:, states].float(), atol=1e-4, rtol=1e-5)


def test_each_state_grows_to_its_size():
    sizes = torch.tensor([4, 1, 5])
    assert random_mixtures(2, 1, 3).split(sizes).sizes.tolist() == sizes.tolist()


def test_none_gets_fewer():
    assert random_mixtures(2, 3).split(torch.tensor([1, 4])).sizes.tolist() == [2, 4]


def test_splitting_moves_no_mean_and_no_weight():
    mixtures = random_mixtures(2, 1, 3)
    split = mixtures.split(torch.tensor([4, 4, 4]))
    for found in (mixtures, split):
        torch.testing.assert_close(found.log_weight.exp().sum(1), torch.ones(3, dtype=torch.float64))
    before, after = ((found.log_weight.exp()[:, :, None] * found.mean).sum(1) for found in (mixtures, split))
    torch.testing.assert_close(before, after)


def test_halves_lie_apart():
    split = random_mixtures(1).split(torch.tensor([2]))
    assert (split.mean[0, 0] > split.mean[0, 1]).all()
