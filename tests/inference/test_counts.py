"""Expected counts: the gradient of the log-partition, in each potential's own shape."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm.engine import Chain, Dense, Diagonal, Path
from semihmm.testing.strategies_structures import options, structures


def slopes_of(structure, **way):
    given = {n: x.detach().requires_grad_() for n, x in structure.potentials.items()}
    value = semihmm.log_partition(structure.replace(**given), **way)
    slopes = torch.autograd.grad(value.sum(), list(given.values()), materialize_grads=True)
    return value.detach(), {n: structure.sign * g for n, g in zip(given, slopes, strict=True)}


def hmm(batch=(3,), steps=5, states=4, **more):
    g = torch.Generator().manual_seed(steps)
    return semihmm.HMM(
        torch.randn(states, generator=g, dtype=torch.float64),
        torch.randn(states, states, generator=g, dtype=torch.float64),
        torch.randn(*batch, steps, states, generator=g, dtype=torch.float64),
        **more,
    )


@settings(max_examples=100)
@given(structure=structures(), way=options())
def test_counts_are_the_gradient_of_the_log_partition(structure, way):
    value, counts = semihmm.expected_counts(structure, **way)
    expected, slopes = slopes_of(structure, **way)
    assert_close(value, expected)
    assert_close(counts, slopes)
    assert not value.requires_grad and not any(x.requires_grad for x in counts.values())


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
def test_counts_of_any_batch(batch, steps):
    structure = hmm(batch, steps)
    value, counts = semihmm.expected_counts(structure)
    expected, slopes = slopes_of(structure)
    assert_close(value, expected)
    assert_close(counts, slopes)


def test_counts_of_some_potentials_alone():
    structure = hmm(lengths=torch.tensor([5, 1, 3]))
    _, counts = semihmm.expected_counts(structure, ("emission",))
    assert list(counts) == ["emission"]
    assert_close(counts["emission"], slopes_of(structure)[1]["emission"])


def test_counts_of_potentials_that_are_views_of_one_tensor():
    whole = torch.randn(3, 6, 4, dtype=torch.float64)
    structure = semihmm.HMM(whole[0, 0], whole[1, :4], whole[:, 1:])
    assert_close(semihmm.expected_counts(structure)[1], slopes_of(structure)[1])
    same = torch.randn(4, dtype=torch.float64)
    structure = semihmm.HMM(same, whole[1, :4], whole.mT.contiguous().mT, final=same)
    assert_close(semihmm.expected_counts(structure)[1], slopes_of(structure)[1])


def test_a_callers_tensors_are_not_marked():
    structure = hmm()
    emission = structure.emission.clone().requires_grad_()
    semihmm.expected_counts(structure.replace(emission=emission))
    semihmm.marginals(structure.replace(emission=emission))
    assert not structure.initial.requires_grad and not structure.transition.requires_grad


def test_counts_have_a_gradient():
    structure = hmm()
    emission = structure.emission.clone().requires_grad_()

    def posterior(x):
        return semihmm.expected_counts(structure.replace(emission=x), ("emission",))[1]["emission"]

    assert torch.autograd.gradcheck(posterior, (emission,))


def test_gradients_that_are_written_to_views_and_others_are_the_same():
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    turned = semihmm.HMM(x[0, 0], x[1, :4], x.mT.contiguous().mT)  # events that are not in one piece
    arcs = semihmm.HMM(x[0, 0], torch.zeros(2).double(), x[:, :1], arcs=(torch.tensor([0, 1]), torch.tensor([1, 1])))
    for structure in (hmm(()), hmm((2, 2)), turned, arcs):
        assert_close(semihmm.expected_counts(structure)[1], slopes_of(structure)[1])


@dataclass(frozen=True)
class Overlapping(semihmm.Structure):
    """A model whose log-weights overlap one another, or repeat one entry."""

    weight: Tensor
    lengths: None = None
    observed: ClassVar[str] = "weight"
    ranks: ClassVar[dict[str, int]] = {"weight": 1}

    def chain(self):
        first, second = self.weight[..., :3], self.weight[..., 1:4]
        arcs = self.weight[..., :1, None].expand(*self.batch_shape, 3, 3).unsqueeze(-3)
        return Chain((first, second), Dense(arcs) @ Diagonal(second.unsqueeze(-2)), (first,), length=3)

    def event(self, path):
        return path.slots

    def path(self, event):
        return Path.through(event)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_views_that_overlap_or_repeat_add_up(batch):
    structure = Overlapping(torch.randn(*batch, 4, dtype=torch.float64))
    value, counts = semihmm.expected_counts(structure)
    assert_close((value, counts), slopes_of(structure))
    assert_close(counts["weight"].sum(-1), torch.full(batch, 3 * 1 + 3 * 1 + 3.0, dtype=torch.float64))
