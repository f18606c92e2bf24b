"""HMM: forms of the same model agree, events that are none have no weight, and mistakes are named."""

import math

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import HMM
from semihmm.errors import ShapeError
from semihmm.testing import check_structure
from semihmm.testing.examples import small

KINDS = ["HMM", "HMM varying", "HMM arcs", "HMM banded"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_is_that_of_its_paths(kind):
    check_structure(small(kind, (3,), 3, ragged=True, forbidden=0.15, seed=1))


def assert_same(a, b):
    assert_close(semihmm.log_partition(a), semihmm.log_partition(b))
    assert torch.equal(semihmm.viterbi(a).event, semihmm.viterbi(b).event)
    assert_close(semihmm.marginals(a).emission, semihmm.marginals(b).emission)
    assert_close(semihmm.entropy(a), semihmm.entropy(b))


def test_arcs_are_a_dense_model_without_the_others():
    sparse = small("HMM arcs", (2,), 5, ragged=True)
    dense = torch.full((2, 3, 3), -math.inf, dtype=torch.float64)
    dense[:, sparse.arcs[0], sparse.arcs[1]] = sparse.transition
    assert_same(sparse, HMM(sparse.initial, dense, sparse.emission, lengths=sparse.lengths))


def test_a_band_is_a_dense_model_without_the_others():
    banded = small("HMM banded", (2,), 5, ragged=True)
    dense = torch.full((2, 4, 3, 3), -math.inf, dtype=torch.float64)
    for j in range(3):
        for k, offset in enumerate(banded.offsets):
            if j - offset >= 0:
                dense[..., j - offset, j] = banded.transition[..., j, k]
    assert_same(banded, HMM(banded.initial, dense, banded.emission, banded.final, banded.lengths))


def test_a_stationary_model_is_one_that_does_not_vary():
    hmm = small("HMM", (2,), 5, ragged=True)
    assert_same(hmm, hmm.replace(transition=hmm.transition.expand(2, 4, 2, 2)))
    assert_same(hmm, hmm.replace(initial=hmm.initial.expand(2, 2), transition=hmm.transition.expand(2, 2, 2)))
    counts = semihmm.marginals(hmm.replace(transition=hmm.transition.expand(2, 4, 2, 2))).transition.sum(1)
    assert_close(semihmm.marginals(hmm).transition, counts)


def test_a_final_weight_of_zero_is_none():
    hmm = small("HMM", (2,), 4, ragged=True)
    assert_same(hmm, HMM(hmm.initial, hmm.transition, hmm.emission, torch.zeros(2, dtype=torch.float64), hmm.lengths))


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_has_no_transition(kind):
    hmm = small(kind, (2,), 1)
    expected = hmm.initial + hmm.emission[:, 0] + (0.0 if hmm.final is None else hmm.final)
    assert_close(semihmm.log_partition(hmm), expected.logsumexp(-1))
    assert_close(semihmm.marginals(hmm).transition, torch.zeros_like(semihmm.marginals(hmm).transition))


@pytest.mark.parametrize("batch", [(), (0,), (2, 0), (2, 1, 3)])
def test_any_batch_shape_will_do(batch):
    hmm = small("HMM", batch, 3)
    assert semihmm.log_partition(hmm).shape == batch
    assert semihmm.viterbi(hmm).event.shape == (*batch, 3)
    assert semihmm.topk(hmm, 2).event.shape == (2, *batch, 3)
    assert semihmm.sample(hmm, (2, 5)).event.shape == (2, 5, *batch, 3)
    assert semihmm.marginals(hmm).transition.shape == (*batch, 2, 2)
    assert semihmm.entropy(hmm).shape == batch


def test_a_state_that_does_not_exist_has_no_weight():
    hmm = small("HMM arcs", (), 3)
    for event in ([0, 1, 3], [0, -1, 1], [1, 0, 1], [0, 0, 1]):  # 1 -> 0 and 0 -> 0 are no arcs
        assert hmm.score(torch.tensor(event)) == -math.inf
    assert semihmm.score(hmm, torch.tensor([0, 1, 1])).isfinite()


def test_scores_take_more_events_in_axes_in_front():
    hmm = small("HMM varying", (2,), 4, ragged=True)
    drawn = semihmm.sample(hmm, (3, 5))
    assert_close(semihmm.score(hmm, drawn.event), drawn.score)
    assert_close(semihmm.score(hmm, drawn.event[1, 2]), drawn.score[1, 2])
    assert drawn.states.equal(drawn.event)


MISTAKES = {
    "emission must be": {"emission": torch.zeros(2)},
    "at least one step": {"emission": torch.zeros(2, 0, 2)},
    "initial must be": {"initial": torch.zeros(3)},
    "final must be": {"final": torch.zeros(3, 2)},
    "transition must be": {"transition": torch.zeros(4, 2, 2)},
    "not both": {"arcs": (torch.tensor([0]), torch.tensor([1])), "offsets": (0,)},
    "may come twice": {"arcs": (torch.tensor([0, 0]), torch.tensor([1, 1])), "transition": torch.zeros(2)},
    "offsets must differ": {"offsets": (1, 1)},
    "must be integers": {"lengths": torch.tensor([1.0, 2.0])},
    "one for each sequence": {"lengths": torch.tensor([1, 2, 3])},
    "must lie between 1 and 3": {"lengths": torch.tensor([0, 3])},
    "got 2 to 4": {"lengths": torch.tensor([2, 4])},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_named(message):
    right = {"initial": torch.zeros(2), "transition": torch.zeros(2, 2), "emission": torch.zeros(2, 3, 2)}
    HMM(**right)
    with pytest.raises(ShapeError, match=message):
        HMM(**{**right, **MISTAKES[message]})


def test_the_gradient_of_one_step_is_its_posterior():
    emission = torch.randn(2, 1, 3, dtype=torch.float64, requires_grad=True)
    value = semihmm.log_partition(HMM(torch.zeros(3).double(), torch.zeros(3, 3).double(), emission))
    assert_close(torch.autograd.grad(value.sum(), emission)[0], emission.softmax(-1))
