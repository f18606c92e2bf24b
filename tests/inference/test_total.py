"""Every structure, in every semiring, by every strategy, against adding up its paths one by one."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import semihmm
from semihmm import semirings as sr
from semihmm.errors import DataError, SemihmmError, SemiringError, StructureError
from semihmm.testing import oracle
from semihmm.testing.examples import KINDS, small
from semihmm.testing.strategies import semirings
from semihmm.testing.strategies_structures import options, structures

EACH = [
    sr.Real(),
    sr.Log(),
    sr.Max(),
    sr.Min(),
    sr.Bottleneck(),
    sr.TopK(3),
    sr.Sample(2),
    sr.Expectation(2),
    sr.SecondOrderExpectation(),
    sr.SmoothMax(0.5),
    sr.Count(),
    sr.Boolean(),
    sr.Product(sr.Log(), sr.TopK(2)),
    sr.Product(sr.Expectation(), sr.Max()),
    sr.Lexicographic(sr.Max(), sr.Log()),
    sr.Lexicographic(sr.Min(), sr.Max(), own_weights=True),
]
WAYS = [{"strategy": s, "checkpoint": c} for s, c in product(("sequential", "associative", "chunked"), (False, True))]
LENGTHS = (1, 2, 3, 5, 7, 8, 9, 16, 17)
each_kind = pytest.mark.parametrize("kind", KINDS)
each_semiring = pytest.mark.parametrize("semiring", EACH, ids=repr)


def features(structure, count, seed=1):
    """Structures of the same form with multiples of 1/8 in place of log-weights."""
    generator = torch.Generator().manual_seed(seed)

    def draw(x):
        return torch.randint(-8, 9, x.shape, generator=generator).to(x.dtype) / 8

    return [structure.replace(**{n: draw(x) for n, x in structure.potentials.items()}) for _ in range(count)]


def without_width(semiring):
    """No Bottleneck inside a pair: that is refused where a structure has constants (and has a test of its own)."""
    parts = [getattr(semiring, name, None) for name in ("first", "second")]
    return all(p is None or (p != sr.Bottleneck() and without_width(p)) for p in parts)


def summed(semiring):
    """Its total is a sum over paths, not over steps (SparseMax)."""
    return semiring.associative


def test_each_is_each():
    assert {type(s).__name__ for s in EACH} | {"Semiring", "SparseMax"} == set(sr.__all__)


@each_semiring
@each_kind
def test_total_is_the_sum_over_paths_by_every_strategy(kind, semiring):
    structure = small(kind, (3,), 4, ragged=True, forbidden=0.1, seed=3)
    along = features(structure, semiring.inputs - 1)
    expected = oracle.total(structure, semiring, along)
    for way in WAYS:
        assert_close(semihmm.total(structure, semiring, along, **way), expected, msg=lambda m: f"{way}: {m}")  # noqa: B023


@settings(max_examples=150)
@given(
    structure=structures(),
    semiring=semirings().filter(summed).filter(without_width),
    way=options(),
    seed=st.integers(0, 99),
)
def test_total_is_the_sum_over_paths(structure, semiring, way, seed):
    along = features(structure, semiring.inputs - 1, seed)
    assert_close(semihmm.total(structure, semiring, along, **way), oracle.total(structure, semiring, along))


@pytest.mark.parametrize("steps", LENGTHS)
@each_kind
def test_strategies_agree_at_every_length(kind, steps):
    structure = small(kind, (2,), steps, ragged=steps % 2 == 0, forbidden=0.05, seed=steps)
    along = features(structure, 1)
    for semiring in (sr.Log(), sr.TopK(2), sr.Expectation(1)):
        given_along = along[: semiring.inputs - 1]
        expected = semihmm.total(structure, semiring, given_along, strategy="sequential")
        for way in WAYS:
            assert_close(semihmm.total(structure, semiring, given_along, **way), expected)
    expected = semihmm.marginals(structure, strategy="sequential").potentials
    for way in WAYS:
        found = semihmm.marginals(structure, **way).potentials
        assert_close(found, expected)


@pytest.mark.parametrize("steps", [n for n in LENGTHS if n <= 9])
@pytest.mark.parametrize("kind", ["HMM", "HMM varying"])
def test_totals_of_longer_chains_are_the_sum_over_paths(kind, steps):
    structure = small(kind, (2,), steps, ragged=True, forbidden=0.1, seed=steps)
    expected = oracle.log_partition(structure)
    for way in WAYS:
        assert_close(semihmm.log_partition(structure, **way), expected)


@settings(max_examples=60)
@given(structure=structures(), semiring=semirings().filter(without_width), seed=st.integers(0, 99))
def test_a_batch_is_its_items_side_by_side(structure, semiring, seed):
    along = features(structure, semiring.inputs - 1, seed)
    whole = semihmm.total(structure, semiring, along)
    items = zip(*(s.unbatch() for s in (structure, *along)), strict=True)
    alone = torch.stack([semihmm.total(item, semiring, rest) for item, *rest in items], -1)
    assert_close(whole, alone.reshape(whole.shape))


def test_an_item_of_a_batch_is_the_sequence_cut_to_its_length():
    hmm = small("HMM varying", (4,), 6, ragged=True, seed=5)
    for i, length in enumerate(hmm.lengths.tolist()):
        cut = semihmm.HMM(hmm.initial[i], hmm.transition[i, : length - 1], hmm.emission[i, :length], hmm.final)
        assert_close(semihmm.log_partition(hmm)[i], semihmm.log_partition(cut))
    hsmm = small("HSMM", (4,), 6, ragged=True, seed=5)
    for i, length in enumerate(hsmm.lengths.tolist()):
        cut = semihmm.HSMM(hsmm.initial, hsmm.transition[i], hsmm.duration[i], hsmm.emission[i, :length])
        assert_close(semihmm.log_partition(hsmm)[i], semihmm.log_partition(cut))


@given(structure=structures(dtypes=[torch.float32, torch.float64, torch.float16, torch.bfloat16], forbidden=False))
def test_dtype_follows_the_potentials(structure):
    dtype = structure.potentials[structure.observed].dtype
    total = semihmm.log_partition(structure)
    assert total.dtype == dtype
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 2e-1}[dtype]
    assert_close(total.double(), oracle.log_partition(structure), rtol=tolerance, atol=tolerance)


@settings(max_examples=60)
@given(structure=structures(), way=options())
def test_a_smooth_maximum_lies_between_the_maximum_and_the_log_partition(structure, way):
    best, mass = semihmm.total(structure, sr.Max(), **way), semihmm.log_partition(structure, **way)
    assert_close(semihmm.total(structure, sr.SmoothMax(1.0), **way), mass)
    warm = semihmm.total(structure, sr.SmoothMax(0.25), **way)
    assert (warm >= best - 1e-12).all()
    assert (warm <= mass + 1e-12).all()
    # gamma log(number of paths) is the most it exceeds the maximum
    gap = 1e-6 * torch.where(best.isfinite(), semihmm.log_count(structure, **way), 0.0)
    cold = semihmm.total(structure, sr.SmoothMax(1e-6), **way)
    assert (cold >= best - 1e-9).all()
    assert ((cold <= best + gap + 1e-9) | (best == -math.inf)).all()


def sparse_maximum(scores, gamma):
    """By its definition, the support found by trying each."""
    finite = sorted((x / gamma for x in scores if x > -math.inf), reverse=True)
    if not finite:
        return -math.inf
    best = None
    for size in range(1, len(finite) + 1):
        threshold = (sum(finite[:size]) - 1) / size
        if finite[size - 1] > threshold and (size == len(finite) or finite[size] <= threshold):
            best = [x - threshold for x in finite[:size]] + [0.0] * (len(finite) - size)
    assert best is not None
    value = sum(p * x for p, x in zip(best, finite, strict=True)) + (1 - sum(p * p for p in best)) / 2
    return gamma * value


@pytest.mark.parametrize("gamma", [0.3, 2.0])
def test_a_sparse_maximum_is_taken_from_left_to_right(gamma):
    hmm = small("HMM", (), 5, forbidden=0.1, seed=2)
    forward = [float(hmm.initial[s] + hmm.emission[0, s]) for s in range(2)]
    for t in range(1, 5):
        forward = [
            float(hmm.emission[t, s])
            + sparse_maximum([forward[r] + float(hmm.transition[r, s]) for r in range(2)], gamma)
            for s in range(2)
        ]
    expected = torch.tensor(sparse_maximum(forward, gamma), dtype=torch.float64)
    assert_close(semihmm.total(hmm, sr.SparseMax(gamma)), expected)
    assert_close(semihmm.total(hmm, sr.SparseMax(gamma), checkpoint=True), expected)


@pytest.mark.parametrize("strategy", ["associative", "chunked"])
@each_kind
def test_a_sum_that_depends_on_order_is_refused_by_parallel_strategies(kind, strategy):
    with pytest.raises(SemiringError, match="sequential"):
        semihmm.total(small(kind), sr.SparseMax(), strategy=strategy)


@each_kind
def test_counts_are_exact(kind):
    structure = small(kind, (3,), 4, ragged=True, forbidden=0.2)
    counted = semihmm.total(structure, sr.Count())
    assert counted.dtype == torch.int64
    listed = [sum(x > -math.inf for x in oracle.scores(item)) for item in structure.unbatch()]
    assert counted.tolist() == listed
    assert_close(semihmm.log_count(structure), counted.double().log())


def test_more_paths_than_int64_counts_are_refused():
    most = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(62, 2))
    assert int(semihmm.total(most, sr.Count())) == 2**62
    more = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(63, 2))
    with pytest.raises(SemiringError, match="log_count"):
        semihmm.total(more, sr.Count())
    assert_close(semihmm.log_count(more), torch.tensor(63 * math.log(2), dtype=torch.float64))


def test_a_second_criterion_settles_ties():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
    second = semihmm.HMM(torch.zeros(2), torch.tensor([[0.0, 1.0], [0.5, 0.0]]), torch.zeros(3, 2))
    best = semihmm.total(hmm, sr.Lexicographic(sr.Max(), sr.Max(), own_weights=True), [second])
    assert best.tolist() == [0.0, 1.5]


def test_features_must_be_as_many_as_the_semiring_takes_and_of_the_same_class():
    hmm, hsmm = small("HMM"), small("HSMM")
    with pytest.raises(SemiringError, match="1 features"):
        semihmm.total(hmm, sr.Expectation(1))
    with pytest.raises(StructureError, match="HSMM"):
        semihmm.expectation(hmm, hsmm)


def test_an_unknown_strategy_or_backend_is_refused():
    with pytest.raises(SemihmmError, match="strategy must be one of"):
        semihmm.log_partition(small("HMM"), strategy="parallel")
    with pytest.raises(SemihmmError, match="backend must be one of"):
        semihmm.log_partition(small("HMM"), backend="abacus")


@each_kind
def test_a_byte_budget_gives_the_same_numbers(kind):
    structure = small(kind, (2,), 9, seed=1)
    expected = semihmm.log_partition(structure)
    assert_close(semihmm.log_partition(structure, checkpoint=1 << 20), expected)
    with pytest.raises(SemihmmError, match="the least is"):
        semihmm.log_partition(structure, checkpoint=1)


@each_kind
def test_nan_is_refused_by_name_and_position(kind):
    structure = small(kind, (2,), 3)
    seen = structure.potentials[structure.observed].clone()
    at = (1, *(0,) * (seen.ndim - 1))
    seen[at] = math.nan
    broken = structure.replace(**{structure.observed: seen})
    for question in (semihmm.log_partition, semihmm.marginals, semihmm.viterbi, semihmm.entropy, semihmm.max_marginals):
        with pytest.raises(DataError, match=rf"{structure.observed}\[1(, 0)*\] is nan"):
            question(broken)
    assert semihmm.log_partition(broken, validate=False).isnan().tolist() == [False, True]


@each_kind
def test_an_infinite_weight_is_refused(kind):
    structure = small(kind, (2,), 3)
    seen = structure.potentials[structure.observed].clone()
    seen.view(-1)[0] = structure.sign * math.inf
    with pytest.raises(DataError, match="inf"):
        semihmm.log_partition(structure.replace(**{structure.observed: seen}))


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Lattice"])
def test_nan_in_padding_is_harmless(kind, way):
    structure = small(kind, (4,), 5, ragged=True, seed=4)
    padded = {}
    for name, x in structure.potentials.items():
        used = structure.in_use(name)
        padded[name] = x if used is None else torch.where(used, x, math.nan).requires_grad_()
    assert any(x.isnan().any() for x in padded.values())
    broken = structure.replace(**padded)
    assert_close(semihmm.log_partition(broken, **way), semihmm.log_partition(structure, **way))
    semihmm.log_partition(broken, **way).sum().backward()
    assert all(x.grad.isfinite().all() for x in padded.values() if x.requires_grad)
    for question in (semihmm.marginals, semihmm.max_marginals):
        found, expected = question(broken, **way), question(structure, **way)
        for name, x in expected.potentials.items():
            assert_close(found.potentials[name], x)
    assert torch.equal(semihmm.viterbi(broken, **way).event, semihmm.viterbi(structure, **way).event)
    assert_close(semihmm.viterbi(broken, **way).score, semihmm.viterbi(structure, **way).score)
    assert_close(semihmm.entropy(broken, **way), semihmm.entropy(structure, **way), equal_nan=True)
    assert_close(semihmm.smoothing(broken, **way), semihmm.smoothing(structure, **way))
    drawn = semihmm.sample(broken, (5,), torch.Generator().manual_seed(0), **way)
    assert torch.equal(drawn.score.isfinite(), semihmm.viterbi(structure, **way).valid.expand(5, -1))


@each_kind
def test_the_callers_tensors_are_left_alone(kind):
    structure = small(kind, (2,), 4, ragged=True)
    before = {n: (x.clone(), x._version) for n, x in structure.potentials.items()}
    for question in (
        semihmm.log_partition,
        semihmm.marginals,
        semihmm.max_marginals,
        semihmm.viterbi,
        semihmm.entropy,
        semihmm.smoothing,
        semihmm.log_count,
    ):
        for way in WAYS:
            question(structure, **way)
    semihmm.topk(structure, 3)
    semihmm.sample(structure, (2,))
    for name, x in structure.potentials.items():
        value, version = before[name]
        assert x._version == version
        assert not x.requires_grad
        assert x.grad is None
        assert torch.equal(x, value)


@each_kind
def test_the_same_input_gives_the_same_bits(kind):
    structure = small(kind, (3,), 7, ragged=True, dtype=torch.float32)
    for way in WAYS:
        first, second = semihmm.log_partition(structure, **way), semihmm.log_partition(structure, **way)
        assert torch.equal(first, second)
        found, again = semihmm.marginals(structure, **way), semihmm.marginals(structure, **way)
        assert all(torch.equal(x, again.potentials[n]) for n, x in found.potentials.items())
