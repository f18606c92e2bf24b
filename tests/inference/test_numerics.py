"""Where others underflow, overflow, drift or say NaN."""

import math
from itertools import product

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import semirings as sr
from semihmm.testing import oracle
from semihmm.testing.examples import KINDS, small

each_kind = pytest.mark.parametrize("kind", KINDS)
WAYS = [{"strategy": s, "checkpoint": c} for s, c in product(("sequential", "associative", "chunked"), (False, True))]
each_way = pytest.mark.parametrize("way", WAYS, ids=str)


def staggered(steps, dtype):
    """Two states; the evidence for one, then for the other, and changing costs as much."""
    stay = torch.log_softmax(torch.tensor([0.0, -120.0], dtype=dtype), -1)
    transition = torch.stack([stay, stay.flip(-1)])
    emission = torch.tensor([[0.0, -300.0], [-300.0, 0.0]], dtype=dtype).repeat(-(-steps // 2), 1)[:steps]
    return semihmm.HMM(torch.zeros(2, dtype=dtype), transition, emission)


@each_way
@pytest.mark.parametrize("steps", [2, 7, 64, 65])
def test_staggered_evidence_does_not_underflow(steps, way):
    narrow, wide = staggered(steps, torch.float32), staggered(steps, torch.float64)
    expected = semihmm.log_partition(wide, strategy="sequential")
    if steps <= 7:
        assert_close(expected, oracle.log_partition(wide))
    assert_close(semihmm.log_partition(narrow, **way).double(), expected, rtol=1e-6, atol=0)
    found, counts = semihmm.marginals(narrow, **way), semihmm.marginals(wide, strategy="sequential")
    assert_close(found.emission.double(), counts.emission, atol=1e-4, rtol=1e-4)
    assert torch.equal(semihmm.viterbi(narrow, **way).event, semihmm.viterbi(wide).event)


@each_way
def test_the_product_of_two_far_apart_is_what_it_is(way):
    # [0, -200] times [-200, 0]: both ways weigh -200.
    emission = torch.tensor([[0.0, -200.0], [-200.0, 0.0]])
    eye = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]])
    found = semihmm.log_partition(semihmm.HMM(torch.zeros(2), eye, emission), **way)
    assert_close(found, torch.tensor(math.log(2) - 200))
    assert found.dtype == torch.float32


@each_way
@each_kind
def test_potentials_from_minus_to_plus_ten_thousand_nats_agree_with_float64(kind, way):
    structure = small(kind, (2,), 6, seed=1)
    far = structure.replace(**{n: 5000 * x for n, x in structure.potentials.items()})
    narrow = far.to(torch.float32)  # multiples of 625: exact
    expected = semihmm.log_partition(far, strategy="sequential")
    assert_close(semihmm.log_partition(narrow, **way).double(), expected, rtol=1e-6, atol=1e-2)
    assert_close(semihmm.viterbi(narrow, **way).score.double(), semihmm.viterbi(far).score, rtol=1e-6, atol=0)
    counts = semihmm.marginals(narrow, **way).potentials
    for name, x in semihmm.marginals(far, strategy="sequential").potentials.items():
        assert_close(counts[name].double(), x, atol=1e-3, rtol=1e-3)


@each_way
@pytest.mark.parametrize("kind", ["HMM", "HSMM", "CTC", "MonotonicAlignment"])
def test_a_shift_of_all_scores_shifts_the_total_alone(kind, way):
    structure = small(kind, (2,), 8, seed=2)
    far = structure.replace(emission=structure.emission - 1e6)
    total = semihmm.log_partition(structure)
    assert_close(semihmm.log_partition(far, **way), total - 8e6, rtol=1e-12, atol=1e-7)
    assert_close(semihmm.marginals(far, **way).emission, semihmm.marginals(structure).emission, atol=1e-6, rtol=1e-6)
    assert torch.equal(semihmm.viterbi(far, **way).event, semihmm.viterbi(structure).event)
    assert_close(semihmm.entropy(far, **way), semihmm.entropy(structure), atol=1e-6, rtol=1e-6)
    narrow = far.to(torch.float32)
    if kind != "HSMM":  # multiples of 1/8 up to 2e6 are exact, but a segment's frames add up to more
        assert torch.equal(semihmm.viterbi(narrow, **way).event, semihmm.viterbi(structure).event)
    assert_close(semihmm.log_partition(narrow, **way).double(), total - 8e6, rtol=1e-6, atol=0)


@each_way
@pytest.mark.parametrize("kind", ["HMM", "HMM varying", "HSMM"])
def test_a_state_that_is_forbidden_is_as_if_it_were_not(kind, way):
    structure = small(kind, (2,), 5, seed=3)
    shut = structure.emission.clone()
    shut[..., 1] = -math.inf
    closed = structure.replace(emission=shut)
    assert_close(semihmm.log_partition(closed, **way), oracle.log_partition(closed))
    counts = semihmm.marginals(closed, **way).potentials
    assert all(x.isfinite().all() for x in counts.values())
    assert (counts["emission"][..., 1] == 0).all()
    assert_close(counts["emission"][..., 0], torch.ones(2, 5, dtype=torch.float64))
    assert (semihmm.viterbi(closed, **way).states == 0).all()


@each_way
@each_kind
def test_the_impossible_has_no_weight_no_gradient_and_no_event(kind, way):
    structure = small(kind, (2,), 3, seed=4)
    if kind == "EditDistance":  # all items may be left out and put in
        structure = structure.replace(deletion=torch.full_like(structure.deletion, math.inf))
    seen = structure.potentials[structure.observed].clone()
    seen[0] = -structure.sign * math.inf
    broken = structure.replace(**{structure.observed: seen.requires_grad_()})
    total = semihmm.log_partition(broken, **way)
    assert total[0] == -math.inf
    total.sum().backward()
    assert seen.grad.isfinite().all()
    assert (seen.grad[0] == 0).all()
    best = semihmm.topk(broken, 2, **way)
    assert not best.valid[:, 0].any()
    assert (best.score[:, 0] == -math.inf).all()
    assert (best.event[:, 0] == -1).all()
    drawn = semihmm.sample(broken, (2,), **way)
    assert not drawn.valid[:, 0].any()
    assert semihmm.entropy(broken, **way)[0].isnan()
    feature = structure.feature(**{structure.observed: torch.ones_like(seen)})
    assert semihmm.expectation(broken, feature, **way)[0] == 0
    assert semihmm.log_count(broken, **way)[0] == -math.inf
    assert int(semihmm.total(broken, sr.Count(), **way)[0]) == 0


def chance_of(steps, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    emission = torch.randn(steps, 3, generator=generator, dtype=torch.float32) * 3
    transition = torch.randn(3, 3, generator=generator, dtype=torch.float32)
    return semihmm.HMM(torch.zeros(3, dtype=dtype), transition.to(dtype), emission.to(dtype))


@pytest.mark.parametrize("strategy", ["associative", "chunked"])
def test_a_hundred_thousand_float32_steps_keep_six_digits(strategy):
    steps = 100_000
    narrow = semihmm.log_partition(chance_of(steps, torch.float32), strategy=strategy)
    wide = semihmm.log_partition(chance_of(steps, torch.float64), strategy=strategy)
    assert narrow.dtype == torch.float32
    assert_close(narrow.double(), wide, rtol=1e-6, atol=0)


def test_a_long_scan_has_marginals_that_sum_to_one():
    found = semihmm.marginals(chance_of(5_000, torch.float32), strategy="chunked", checkpoint=True).emission.sum(-1)
    assert_close(found, torch.ones_like(found), rtol=1e-4, atol=0)


def test_threads_change_no_bit():
    hmm = chance_of(300, torch.float32)
    batch = hmm.replace(emission=hmm.emission.expand(16, -1, -1).contiguous())
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append((semihmm.log_partition(batch), semihmm.marginals(batch).transition))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("kind", ["HMM", "HSMM"])
def test_posteriors_do_not_feel_a_million_nats_that_every_path_shares(kind):
    draw = torch.Generator().manual_seed(0)
    parts = [torch.randn(*s, generator=draw) for s in ((3,), (3, 3), (8, 3), (3, 4))]
    initial, transition, emission, duration = parts

    def structure(shift):
        if kind == "HMM":
            return semihmm.HMM(initial + shift, transition + shift, emission + shift)
        return semihmm.HSMM(initial, transition, duration, emission + shift)

    shifted = structure(-1e6)  # in float32, where entries keep steps of 1/16
    found = semihmm.marginals(shifted).emission
    assert_close(found, semihmm.marginals(shifted.to(torch.float64)).emission.float(), rtol=0, atol=1e-5)
    assert_close(found.sum(-1), torch.ones(8), rtol=0, atol=1e-5)
