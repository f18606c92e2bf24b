"""An HMM whose states share emission columns answers as the one that has them written out for each state."""

import dataclasses
import math

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import HMM
from semihmm.errors import ShapeError
from semihmm.testing import check_structure
from semihmm.testing.examples import small

TOPOLOGIES = ["dense", "arcs", "offsets", "dense over time", "arcs of each sequence"]


def drawn(topology, states, columns, steps, *, batch=(2,), own=False, dtype=torch.float64, spread=1.0, seed=0):
    """A model whose states share columns, some of them none; of ragged sequences, with a final weight."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=g).to(dtype) * spread

    def integers(high, *shape):
        return torch.randint(high, shape, generator=g)

    given = {"emission_index": integers(max(columns - 1, 1), *(batch if own else ()), states)}
    if topology.startswith("arcs"):
        ring = torch.arange(states), (torch.arange(states) + 1) % states
        stay = torch.arange(states), torch.arange(states)
        jump = torch.arange(states - 2), torch.arange(states - 2) + 2
        parts = (ring, stay, jump) if states > 3 else (ring, stay)
        given["arcs"] = torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts])
        transition = normal(*(batch if "each" in topology else ()), len(given["arcs"][0]))
    elif topology == "offsets":
        given["offsets"] = (0, 1, 2)
        transition = normal(states, 3)
    else:
        transition = normal(*((*batch, steps - 1) if "time" in topology else ()), states, states)
    lengths = integers(steps, *batch) + 1
    return HMM(normal(states), transition, normal(*batch, steps, columns), normal(states), lengths, **given)


def written_out(hmm):
    """The same model with an emission of each state's own, a column copied for each state."""
    index = hmm.emission_index.expand(*hmm.batch_shape, hmm.states)
    rows = [e[:, i] for e, i in zip(hmm.emission.flatten(0, -3), index.reshape(-1, hmm.states), strict=True)]
    emission = torch.stack(rows).reshape(*hmm.emission.shape[:-1], hmm.states)
    return dataclasses.replace(hmm, emission=emission, emission_index=None)


def added_up(hmm, by_state):
    """What each column has of ``(..., T, S)``."""
    index = hmm.emission_index.expand(*hmm.batch_shape, hmm.states).unsqueeze(-2).expand_as(by_state)
    return torch.zeros_like(hmm.emission).scatter_add(-1, index, by_state)


SIZES = [(3, 2, 1), (3, 5, 2), (17, 4, 70), (70, 126, 2), (70, 6, 70), (260, 30, 9)]


@pytest.mark.parametrize("own", [False, True], ids=["one index", "an index of each"])
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize(("states", "columns", "steps"), SIZES)
def test_every_answer_is_that_of_the_columns_written_out(states, columns, steps, topology, own):
    tied = drawn(topology, states, columns, steps, own=own)
    wide = written_out(tied)
    assert_close(semihmm.log_partition(tied), semihmm.log_partition(wide))
    found, expected = semihmm.marginals(tied), semihmm.marginals(wide)
    assert_close(found.emission, added_up(tied, expected.emission))
    for name in ("initial", "transition", "final"):
        assert_close(getattr(found, name), getattr(expected, name))
    best = semihmm.viterbi(tied)
    assert torch.equal(best.event, semihmm.viterbi(wide).event)
    assert_close(semihmm.score(tied, best.event), best.score)
    assert_close(semihmm.log_prob(tied, best.event), semihmm.log_prob(wide, best.event))
    assert_close(semihmm.filtering(tied), semihmm.filtering(wide))
    assert_close(semihmm.smoothing(tied), semihmm.smoothing(wide))
    assert_close(semihmm.entropy(tied), semihmm.entropy(wide))
    assert_close(semihmm.log_count(tied), semihmm.log_count(wide))
    assert_close(semihmm.topk(tied, 3).score, semihmm.topk(wide, 3).score)


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize(("states", "columns", "steps"), [(3, 2, 2), (17, 4, 40)])
def test_features_and_other_models_are_of_columns(states, columns, steps, topology):
    tied = drawn(topology, states, columns, steps)
    feature, other = (drawn(topology, states, columns, steps, seed=s) for s in (1, 2))
    feature, other = (x.replace(lengths=tied.lengths, emission_index=tied.emission_index) for x in (feature, other))
    wide, wide_feature, wide_other = map(written_out, (tied, feature, other))
    assert_close(semihmm.expectation(tied, feature), semihmm.expectation(wide, wide_feature))
    assert_close(semihmm.variance(tied, feature), semihmm.variance(wide, wide_feature))
    assert_close(semihmm.kl_divergence(tied, other), semihmm.kl_divergence(wide, wide_other))
    assert_close(semihmm.cross_entropy(tied, other), semihmm.cross_entropy(wide, wide_other))
    assert_close(semihmm.kl_divergence(tied, tied), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    assert torch.equal(semihmm.minimum_bayes_risk(tied), semihmm.minimum_bayes_risk(wide))
    draws = (semihmm.sample(x, (5,), torch.Generator().manual_seed(0)) for x in (tied, wide))
    assert torch.equal(*(d.event for d in draws))
    through, expected = semihmm.max_marginals(tied).emission, semihmm.max_marginals(wide).emission
    for v in range(columns):
        mine = tied.emission_index == v
        best = expected[..., mine].amax(-1) if mine.any() else torch.full_like(through[..., v], -math.inf)
        assert_close(through[..., v], best)


@pytest.mark.parametrize("topology", ["dense", "arcs"])
@pytest.mark.parametrize("states", [3, 17, 70])
def test_derivatives_of_any_order_land_in_the_columns(topology, states):
    tied = drawn(topology, states, 3, 5)
    wide = written_out(tied)

    def total(hmm, emission):
        return semihmm.log_partition(hmm.replace(emission=emission)).sum()

    along = torch.randn(tied.emission.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.functional.hvp(lambda e: total(tied, e), tied.emission, along)[1]
    spread_out = written_out(tied.replace(emission=along)).emission
    expected = torch.autograd.functional.hvp(lambda e: total(wide, e), wide.emission, spread_out)[1]
    assert_close(found, added_up(tied, expected))


@pytest.mark.parametrize("states", [3, 17, 70, 400])
@pytest.mark.parametrize("topology", ["dense", "arcs"])
def test_what_underflows_in_float32_is_found_in_log_space(states, topology):
    tied = drawn(topology, states, 5, 70, dtype=torch.float32, spread=60.0)
    tied.emission[..., 4] = 1e4  # a column that no state has is nobody's peak
    tied.emission[0, 10:20, 0] = -math.inf
    wide, exact = written_out(tied), written_out(tied.to(torch.float64))
    expected = semihmm.log_partition(exact)
    assert_close(semihmm.log_partition(tied).double(), expected, rtol=1e-6, atol=1e-3)
    assert_close(semihmm.log_partition(tied), semihmm.log_partition(wide), rtol=1e-6, atol=1e-3)
    counts = added_up(tied.to(torch.float64), semihmm.marginals(exact).emission)
    assert_close(semihmm.marginals(tied).emission.double(), counts, rtol=1e-3, atol=1e-3)
    assert_close(semihmm.viterbi(tied).score.double(), semihmm.viterbi(exact).score, rtol=1e-6, atol=1e-3)


def test_the_backends_agree():
    tied = drawn("arcs", 70, 9, 40, batch=(3,))
    for question in (semihmm.log_partition, semihmm.filtering, semihmm.smoothing, semihmm.entropy):
        assert_close(question(tied), question(tied, backend="torch"))
    assert_close(semihmm.marginals(tied).emission, semihmm.marginals(tied, backend="torch").emission)
    for strategy in ("sequential", "chunked", "associative"):
        for checkpoint in (False, True):
            asked = {"strategy": strategy, "checkpoint": checkpoint}
            assert_close(semihmm.log_partition(tied, **asked), semihmm.log_partition(tied))
            assert_close(semihmm.marginals(tied, **asked).emission, semihmm.marginals(tied).emission)


@pytest.mark.parametrize("own", [False, True])
def test_sequences_are_taken_out_and_put_together(own):
    tied = drawn("dense", 5, 3, 6, batch=(4,), own=own)
    values = semihmm.log_partition(tied)
    assert_close(torch.stack([semihmm.log_partition(one) for one in tied.unbatch()]), values)
    assert_close(semihmm.log_partition(tied[1:3]), values[1:3])
    assert_close(semihmm.log_partition(semihmm.stack(list(tied))), values)
    assert tied.to(torch.float32).emission_index.dtype == torch.int64
    assert f"emission_index {'(4, 5)' if own else '(5,)'}" in repr(tied)
    assert tied.feature(emission=torch.ones(6, 3)).emission.shape == (4, 6, 3)
    assert tied.states == 5
    assert torch.equal(tied.untied().emission, written_out(tied).emission)
    assert tied.untied().untied().emission_index is None


def test_every_way_to_give_an_index_is_the_same():
    tied = small("HMM tied", (2,), 4)
    for index in ([1, 0, 1], tied.emission_index.numpy(), tied.emission_index.to(torch.int32)):
        assert_close(
            semihmm.log_partition(dataclasses.replace(tied, emission_index=index)), semihmm.log_partition(tied)
        )


def test_a_mask_is_over_columns_or_of_the_model_written_out():
    tied = drawn("dense", 5, 3, 6)
    columns, states = torch.rand(6, 3) < 0.7, torch.rand(2, 6, 5) < 0.7
    assert_close(
        semihmm.log_partition(semihmm.condition(tied, columns)),
        semihmm.log_partition(semihmm.condition(written_out(tied), columns[:, tied.emission_index])),
    )
    assert_close(
        semihmm.log_partition(semihmm.condition(tied.untied(), states)),
        semihmm.log_partition(semihmm.condition(written_out(tied), states)),
    )
    with pytest.raises(ShapeError, match=r"states share those: a mask over states, \(2, 6, 5\), .* structure.untied"):
        semihmm.condition(tied, states)


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("ragged", [False, True])
def test_every_answer_is_that_of_its_paths(batch, ragged):
    check_structure(small("HMM tied", batch, 3, ragged=ragged, forbidden=0.15, seed=1))


MISTAKES = {
    "emission_index must be integers": [0.0, 1.0, 0.0],
    "got torch.bool": torch.tensor([True, False, True]),
    "emission_index must lie between 0 and 1, the 2 columns of emission, got 0 to 2": [0, 2, 1],
    "got -1 to 1": [0, -1, 1],
    r"emission is \(..., T, V\) = \(2, 4, 2\), so emission_index must be": [[0, 1, 0]] * 3,
    "with at least one state, got": torch.zeros(0, dtype=torch.int64),
    r"initial must be \(2, 2\), .* emission_index says how many states there are, 2": [0, 1],
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_named(message):
    given = torch.zeros(3), torch.zeros(3, 3), torch.zeros(2, 4, 2)
    assert HMM(*given, emission_index=[0, 1, 0]).states == 3
    with pytest.raises(ShapeError, match=message):
        HMM(*given, emission_index=MISTAKES[message])
