"""Expectations, variances and entropies: against enumeration and their definitions."""

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import semihmm
from semihmm.engine import Chain, Segmental
from semihmm.errors import SemihmmError, SemiringError, ShapeError, StructureError
from semihmm.inference.expectation import not_negative
from semihmm.testing import oracle
from semihmm.testing.examples import KINDS, small
from semihmm.testing.strategies_structures import options, structures

each_kind = pytest.mark.parametrize("kind", KINDS)


def noise(structure, seed, scale=1.0):
    """A structure of the same form, of small numbers."""
    generator = torch.Generator().manual_seed(seed)
    given = structure.potentials.items()
    return structure.replace(**{n: scale * torch.randn(x.shape, generator=generator, dtype=x.dtype) for n, x in given})


def shifted(structure, seed):
    """The same paths, with other weights."""
    other = noise(structure, seed).potentials
    return structure.replace(**{n: x + other[n] for n, x in structure.potentials.items()})


@settings(max_examples=60)
@given(structure=structures(), way=options(), seed=st.integers(0, 99))
def test_moments_are_those_of_the_paths(structure, way, seed):
    f, g = noise(structure, seed), noise(structure, seed + 1)
    assert_close(semihmm.expectation(structure, f, **way), oracle.expectation(structure, f))
    assert_close(semihmm.risk(structure, f, **way), oracle.expectation(structure, f))
    assert_close(semihmm.variance(structure, f, **way), oracle.variance(structure, f))
    assert_close(semihmm.covariance(structure, f, g, **way), oracle.covariance(structure, f, g))


@settings(max_examples=60)
@given(structure=structures(), way=options())
def test_entropy_is_its_definition(structure, way):
    assert_close(semihmm.entropy(structure, **way), oracle.entropy(structure), equal_nan=True, atol=1e-9, rtol=1e-9)
    for order in (0.5, 2.0):
        found, expected = semihmm.renyi_entropy(structure, order, **way), oracle.renyi_entropy(structure, order)
        assert_close(found, expected, equal_nan=True, atol=1e-9, rtol=1e-9)


@each_kind
def test_entropy_lies_between_nothing_and_the_log_of_how_many(kind):
    structure = small(kind, (3,), 4, ragged=True, seed=5)
    found = semihmm.entropy(structure)
    possible = semihmm.viterbi(structure).valid
    assert (found[possible] >= 0).all()
    assert (found[possible] <= semihmm.log_count(structure)[possible] + 1e-12).all()
    flat = structure.replace(**{n: torch.zeros_like(x) for n, x in structure.potentials.items()})
    assert_close(semihmm.entropy(flat)[possible], semihmm.log_count(flat)[possible])


@settings(max_examples=60)
@given(structure=structures(), way=options(), seed=st.integers(0, 99))
def test_divergence_is_its_definition_and_not_negative(structure, way, seed):
    other = shifted(structure, seed)
    found = semihmm.kl_divergence(structure, other, **way)
    assert_close(found, oracle.kl_divergence(structure, other), equal_nan=True, atol=1e-9, rtol=1e-9)
    assert ((found >= 0) | found.isnan()).all()
    found = semihmm.cross_entropy(structure, other, **way)
    assert_close(found, oracle.cross_entropy(structure, other), equal_nan=True, atol=1e-9, rtol=1e-9)


@settings(max_examples=60)
@given(structure=structures(forbidden=False), way=options(), seed=st.integers(0, 99))
def test_divergence_is_infinite_exactly_where_support_escapes(structure, way, seed):
    seen = structure.potentials[structure.observed]
    gone = torch.rand(seen.shape, generator=torch.Generator().manual_seed(seed)) < 0.2
    narrow = structure.replace(**{structure.observed: torch.where(gone, -structure.sign * math.inf, seen)})
    found = semihmm.kl_divergence(structure, narrow, **way)
    assert_close(found, oracle.kl_divergence(structure, narrow), equal_nan=True, atol=1e-9, rtol=1e-9)
    within = semihmm.kl_divergence(narrow, structure, **way)
    assert_close(within, oracle.kl_divergence(narrow, structure), equal_nan=True, atol=1e-9, rtol=1e-9)
    assert not within.isinf().any()


@each_kind
@pytest.mark.parametrize("backend", ["torch", None])
def test_a_distribution_does_not_diverge_from_itself(kind, backend):
    structure = small(kind, (2,), 4, forbidden=0.1, seed=7)
    expected = torch.where(semihmm.viterbi(structure).valid, 0.0, math.nan).double()
    for shift in (0.0, 0.1, 1e6):
        moved = structure.replace(**{n: x + shift for n, x in structure.potentials.items()})
        copy = moved.replace(**{n: x.clone() for n, x in moved.potentials.items()})
        for q in (moved, copy):
            assert_close(semihmm.kl_divergence(moved, q, backend=backend), expected, equal_nan=True, rtol=0, atol=0)
        assert not (semihmm.entropy(moved, backend=backend) < 0).any()
        assert not (semihmm.renyi_entropy(moved, 2.0, backend=backend) < 0).any()
        assert not (semihmm.cross_entropy(moved, copy, backend=backend) < 0).any()
        assert not (semihmm.variance(moved, moved.feature(), backend=None) < 0).any()


@pytest.mark.parametrize("backend", ["torch", None])
def test_long_sequences_of_large_scores_do_not_diverge_from_themselves(backend):
    random = torch.Generator().manual_seed(0)
    steps = 100_000 if backend is None else 5_000
    emission = torch.randn(steps, 2, generator=random, dtype=torch.float64) + 1e6
    hmm = semihmm.HMM(torch.zeros(2), torch.randn(2, 2, generator=random, dtype=torch.float64), emission)
    assert semihmm.kl_divergence(hmm, hmm, backend=backend) == 0
    sure = semihmm.condition(hmm, torch.tensor([True, False]))  # one path
    for found in (semihmm.entropy(sure), semihmm.renyi_entropy(sure, 0.5), semihmm.cross_entropy(sure, sure)):
        assert 0 <= found < 1e-3
    other = hmm.replace(emission=emission - 3.0)  # the same distribution, by other numbers
    assert 0 <= semihmm.kl_divergence(hmm, other, backend=backend) < 1e-3


@each_kind
def test_a_divergence_of_zero_has_the_gradient_and_the_curvature_of_one(kind):
    structure = small(kind, (), 3, seed=3)
    name = structure.observed
    x = structure.potentials[name].clone().requires_grad_()

    def divergence(x):
        return semihmm.kl_divergence(structure, structure.replace(**{name: x}))

    (slope,) = torch.autograd.grad(divergence(x), x, create_graph=True)
    assert_close(slope, torch.zeros_like(x), rtol=0, atol=1e-12)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    (curved,) = torch.autograd.grad((slope * direction).sum(), x)  # the Fisher information: a covariance
    along = structure.feature(**{name: structure.sign * direction})
    assert_close((curved * direction).sum(), oracle.variance(structure, along))


def test_what_rounding_brought_below_zero_is_zero_and_keeps_its_gradient():
    value = torch.tensor([-1e-9, 0.0, 2.0, math.inf, math.nan], dtype=torch.float64, requires_grad=True)
    found = not_negative(small("HMM"), value)
    assert_close(found, torch.tensor([0.0, 0.0, 2.0, math.inf, math.nan], dtype=torch.float64), equal_nan=True)
    assert torch.autograd.grad(found[:4].sum(), value)[0].tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]


@each_kind
def test_the_gradient_of_a_mean_is_a_covariance(kind):
    structure = small(kind, (), 3, seed=2).expanded()
    f = noise(structure, 0)
    name = structure.observed
    x = structure.potentials[name].clone().requires_grad_()
    for way in ({}, {"checkpoint": True}, {"strategy": "associative"}):
        (found,) = torch.autograd.grad(semihmm.expectation(structure.replace(**{name: x}), f, **way), x)
        for i in range(x.numel()):
            unit = {n: torch.zeros_like(v) for n, v in structure.potentials.items()}
            unit[name].view(-1)[i] = 1.0
            expected = structure.sign * oracle.covariance(structure, f, structure.replace(**unit))
            assert_close(found.flatten()[i], expected, atol=1e-9, rtol=1e-9)


@each_kind
def test_the_gradient_by_the_feature_is_the_marginal(kind):
    structure = small(kind, (), 3, seed=2).expanded()
    f = noise(structure, 0)
    leaves = {n: x.clone().requires_grad_() for n, x in f.potentials.items()}
    semihmm.expectation(structure, structure.replace(**leaves)).backward()
    assert_close({n: x.grad for n, x in leaves.items()}, oracle.marginals(structure))


@each_kind
def test_entropy_and_divergence_have_gradients(kind):
    structure = small(kind, (), 3, seed=3)
    other, name = shifted(structure, 1), structure.observed

    def entropy(x):
        return semihmm.entropy(structure.replace(**{name: x}))

    def divergence(x):
        return semihmm.kl_divergence(structure.replace(**{name: x}), other)

    x = structure.potentials[name].clone().requires_grad_()
    assert torch.autograd.gradcheck(entropy, x)
    assert torch.autograd.gradcheck(divergence, x)


def test_an_order_of_one_is_the_entropy_itself():
    with pytest.raises(SemihmmError, match="ask entropy"):
        semihmm.renyi_entropy(small("HMM"), 1.0)


def test_explain_says_what_would_run():
    hmm = small("HMM", (2,), 50)
    shown = semihmm.explain(hmm, strategy="chunked", checkpoint=True)
    assert "HMM: 2 sequences, 50 steps" in semihmm.explain(small("HMM", (2,), 51)) or "49 steps" in shown
    assert "named by the caller" in shown
    assert "backend torch, strategy chunked, 7 blocks" in shown


def test_structures_with_other_paths_are_not_compared():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 3, 2), lengths=torch.tensor([3]))
    shorter = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 3, 2), lengths=torch.tensor([2]))
    with pytest.raises(StructureError, match="the same paths are needed, but lengths differs"):
        semihmm.kl_divergence(hmm, shorter)
    assert semihmm.kl_divergence(hmm, hmm) == 0


def ways(steps, states, longest, censored):
    """Every segmentation, with how long each segment lasts inside and in truth: ``(state, last, seen, real)``."""

    def from_(start):
        if start == steps:
            yield ()
        for seen, state in itertools.product(range(1, min(longest, steps - start) + 1), range(states)):
            first = start == 0 and censored in ("left", "both")
            last = start + seen == steps and censored in ("right", "both")
            for rest in from_(start + seen):
                for real in range(seen, longest + 1) if first or last else [seen]:
                    for _ in range(real - seen + 1 if first and last else 1):  # where it began before the sequence
                        yield (state, start + seen - 1, seen, real), *rest

    return list(from_(0))


def along(hsmm, way):
    """What the potentials of an HSMM add up to on a segmentation."""
    value = hsmm.initial[way[0][0]]
    for i, (state, last, seen, real) in enumerate(way):
        value = value + hsmm.duration[state, real - 1] + hsmm.emission[last - seen + 1 : last + 1, state].sum()
        value = value + (hsmm.transition[way[i - 1][0], state] if i else 0)
    return value


@pytest.mark.parametrize("censored", ["right", "left", "both"])
def test_features_of_censored_segments_count_all_ways_to_go_on(censored):
    def draw():
        parts = [torch.randn(*s, dtype=torch.float64) for s in ((2,), (2, 2), (2, 3), (4, 2))]
        return semihmm.HSMM(*parts, censored=censored)

    hsmm, feature, other = draw(), draw(), draw()
    every = ways(4, 2, 3, censored)
    posterior = torch.stack([along(hsmm, way) for way in every]).softmax(0)
    f, g = (torch.stack([along(x, way) for way in every]) for x in (feature, other))
    mean, second = (posterior * f).sum(), (posterior * g).sum()
    assert_close(semihmm.expectation(hsmm, feature), mean)
    assert_close(semihmm.covariance(hsmm, feature, other), (posterior * (f - mean) * (g - second)).sum())
    assert_close(semihmm.variance(hsmm, feature), (posterior * (f - mean).square()).sum())
    with pytest.raises(StructureError, match="no one weight"):
        semihmm.total(hsmm, semihmm.semirings.Expectation(1), [feature])


def test_no_event_of_an_impossible_structure_has_a_probability():
    hmm = semihmm.HMM(torch.full((2,), -torch.inf), torch.zeros(2, 2), torch.zeros(3, 2))
    assert semihmm.log_prob(hmm, torch.tensor([0, 0, 0])) == -torch.inf


def test_an_event_of_another_shape_is_refused():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(4, 3, 2))
    for event in (torch.zeros(4, 2).long(), torch.zeros(3).long(), torch.zeros(4, 3)):
        with pytest.raises(ShapeError, match=r"is int64 \(4, 3\)"):
            semihmm.score(hmm, event)
    assert semihmm.score(hmm, torch.zeros(5, 4, 3).long()).shape == (5, 4)


def test_a_pair_with_bottleneck_is_refused_where_constants_would_be_widths():
    pair = semihmm.semirings.Product(semihmm.semirings.Bottleneck(), semihmm.semirings.Max())
    hmm = semihmm.HMM(torch.ones(2), torch.ones(2, 2), torch.ones(3, 2))
    assert semihmm.total(hmm, pair).tolist() == [1.0, 6.0]
    hsmm = semihmm.HSMM(torch.ones(2), torch.ones(2, 2), torch.ones(2, 2), torch.ones(3, 2))
    with pytest.raises(SemiringError, match="constants in a HSMM stand for"):
        semihmm.total(hsmm, pair)
    assert semihmm.total(hsmm, semihmm.semirings.Bottleneck()) == 1


@dataclass(frozen=True)
class Gaps(semihmm.Structure):
    """Segments of one or two frames in state 0, which nothing weighs, or in state 1, each after the other."""

    emission: torch.Tensor  # (T,): of state 1
    observed, ranks, lengths = "emission", {"emission": 1}, None

    def chain(self):
        frames = torch.stack([torch.zeros_like(self.emission), self.emission], -1)
        other = torch.full((1, 2, 2), -torch.inf).masked_fill(~torch.eye(2, dtype=torch.bool), 0.0)
        ended, begun = torch.tensor([-torch.inf] * 2 + [0.0] * 2), torch.tensor([0.0] * 2 + [-torch.inf] * 2)
        return Chain((ended,), Segmental.of(other, torch.zeros(1, 2, 2), frames), (begun,), length=len(self.emission))

    def event(self, path):
        return path.slots

    def path(self, event):
        raise NotImplementedError


def test_constants_that_add_up_with_potentials_have_no_width():
    """A segment is as wide as the sum of its frames; one that nothing weighs narrows nothing."""
    emission = torch.tensor([-3.0, 2.0, -7.0, 1.0])

    def widest(at, state):
        if at == 4:
            return float("inf")
        rest = ((d, emission[at : at + d].sum().item() if state else float("inf")) for d in (1, 2) if at + d <= 4)
        return max(min(width, widest(at + d, 1 - state)) for d, width in rest)

    expected = max(widest(0, 0), widest(0, 1))
    assert semihmm.total(Gaps(emission), semihmm.semirings.Bottleneck()) == expected == 2.0


def test_features_may_be_of_another_dtype_than_log_weights():
    hmm, visits = small("HMM", (2,), 6), small("HMM", (2,), 6, seed=3)
    expected = semihmm.expectation(hmm, visits)
    mixed = visits.replace(initial=visits.initial.float())
    assert_close(semihmm.expectation(hmm, mixed), expected, rtol=1e-6, atol=1e-6)
    assert_close(semihmm.expectation(hmm, visits.to(torch.float32)), expected, rtol=1e-5, atol=1e-5)


@each_kind
@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_feature_is_zero_where_nothing_is_given(kind, batch):
    structure = small(kind, batch, 3, seed=1, ragged=bool(batch))
    drawn = noise(structure, 0).potentials
    for name, value in drawn.items():
        zeros = {n: torch.zeros_like(x) for n, x in drawn.items()}
        whole = structure.replace(**{**zeros, name: value})
        feature = structure.feature(**{name: value})
        assert_close(feature.potentials, whole.potentials, rtol=0, atol=0)
        assert_close(semihmm.expectation(structure, feature), oracle.expectation(structure, whole))
    assert not any(x.any() for x in structure.feature().potentials.values())
    with pytest.raises(StructureError, match=rf"has potentials {', '.join(drawn)}; there is no colour"):
        structure.feature(colour=torch.zeros(2))


def test_a_feature_may_be_shared_or_of_each_sequence():
    hmm = small("HMM", (4,), 3)
    one, own = torch.randn(3, 2, dtype=torch.float64), torch.randn(4, 2, 2, dtype=torch.float64)
    assert torch.equal(hmm.feature(emission=one).emission, one.expand(4, 3, 2))
    assert torch.equal(hmm.feature(emission=one[None]).emission, one.expand(4, 3, 2))
    assert hmm.feature(transition=own).transition.shape == (4, 2, 2)
    varying = hmm.feature(transition=torch.ones(1, 2, 2, 2))
    assert_close(semihmm.expectation(hmm, varying), torch.full((4,), 2.0, dtype=torch.float64))
    found = hmm.to(torch.float32).feature(emission=one.tolist(), transition=one.numpy()[:2], initial=[0, 1])
    assert found.emission.dtype == torch.float64 == found.initial.dtype  # the array's
    assert hmm.to(torch.float32).feature(emission=one.tolist()).emission.dtype == torch.float32
    with pytest.raises(semihmm.errors.DataError, match="a feature's emission must be a tensor"):
        hmm.feature(emission="loss")
    with pytest.raises(ShapeError, match=r"a feature's emission must be \(4, 3, 2\)"):
        hmm.feature(emission=torch.ones(5, 2))
    with pytest.raises(ShapeError, match=r"Pass transition.unsqueeze\(0\)"):
        hmm.feature(transition=torch.ones(2, 2, 2))


WITH_FEATURES = {
    "expectation": semihmm.expectation,
    "risk": semihmm.risk,
    "variance": semihmm.variance,
    "covariance first": lambda s, f: semihmm.covariance(s, f, s.feature()),
    "covariance second": lambda s, f: semihmm.covariance(s, s.feature(), f),
    "total": lambda s, f: semihmm.total(s, semihmm.semirings.Expectation(1), [f]),
    "Lexicographic": lambda s, f: semihmm.total(
        s, semihmm.semirings.Lexicographic(semihmm.semirings.Max(), semihmm.semirings.Max(), own_weights=True), [f]
    ),
}


@pytest.mark.parametrize("ask", WITH_FEATURES.values(), ids=WITH_FEATURES)
def test_log_weights_of_the_structure_itself_are_no_feature(ask):
    hmm = small("HMM", (2,), 3)
    loss = noise(hmm, 0).emission
    right = ask(hmm, hmm.feature(emission=loss))
    mask = torch.tensor([True, True])
    wrongs = [hmm.replace(emission=loss), hmm.expanded().replace(emission=loss), hmm.replace(emission=loss.float())]
    for wrong in (*wrongs, hmm.to(torch.float64).replace(emission=loss)):
        with pytest.raises(
            StructureError, match=r"initial, transition is the .* pass structure.feature\(emission=...\)"
        ):
            ask(hmm, wrong)
        with pytest.raises(StructureError, match=r"structure.feature\(emission=...\)"):
            ask(semihmm.condition(hmm, mask), wrong)  # which has other emissions, but the same transitions
        with pytest.raises(StructureError, match=r"structure.feature\(emission=...\)"):
            ask(hmm.expanded(), wrong)
    assert_close(ask(hmm, hmm.feature(emission=loss)), right)
    ask(hmm, hmm)  # the structure itself is one: its score
    ask(hmm.expanded(), hmm)
    part = hmm.feature(emission=hmm.emission)  # and what is given to `feature` is meant: a part of the score
    assert_close(ask(hmm, part), ask(hmm, hmm.feature(emission=hmm.emission.clone())))


@pytest.mark.parametrize("ask", WITH_FEATURES.values(), ids=WITH_FEATURES)
def test_nor_are_copies_of_them_in_another_dtype(ask):
    """A feature in a wider dtype makes all of its potentials as wide."""
    hmm = small("HMM", (2,), 3, dtype=torch.float32)
    loss = noise(hmm, 0).emission
    narrow = hmm.to(torch.bfloat16).replace(emission=loss.bfloat16())
    one = hmm.replace(emission=hmm.emission[0]).replace(emission=loss[0].double())  # shared by all sequences
    for wrong in (hmm.replace(emission=loss.double()), hmm.expanded().replace(emission=loss.double()), narrow, one):
        with pytest.raises(
            StructureError, match=r"initial, transition is the .* pass structure.feature\(emission=...\)"
        ):
            ask(hmm, wrong)
    right = ask(hmm, hmm.feature(emission=loss))
    assert_close(ask(hmm, hmm.feature(emission=loss.double())), right, check_dtype=False)
    ask(hmm, hmm.to(torch.float64))  # the structure itself: its score
    ask(hmm, hmm.to(torch.float64).replace(emission=loss.double(), transition=torch.ones(2, 2), initial=torch.ones(2)))


@pytest.mark.parametrize("ask", WITH_FEATURES.values(), ids=WITH_FEATURES)
def test_zeros_of_another_dtype_count_nothing_whosever_they_are(ask):
    loss = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hmm = semihmm.HMM(torch.zeros(2), torch.tensor([[0.0, 0.0], [-torch.inf, 0.0]]), torch.randn(3, 2))
    assert_close(ask(hmm, hmm.replace(emission=loss)), ask(hmm, hmm.feature(emission=loss)))


@pytest.mark.parametrize("ask", [semihmm.expectation, WITH_FEATURES["covariance second"]])
def test_so_it_is_where_a_weight_sums_up_several_ways(ask):
    hsmm = semihmm.HSMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 3), torch.zeros(4, 2), censored="right")
    with pytest.raises(StructureError, match=r"initial, transition, emission is the .*feature\(duration=...\)"):
        ask(hsmm, hsmm.replace(duration=torch.ones(2, 3)))


def test_what_has_no_entries_is_not_shared():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(0, 2, 2), torch.zeros(1, 2))
    other = semihmm.HMM(torch.ones(2), hmm.transition, torch.ones(1, 2))
    assert semihmm.expectation(hmm, other) == 2.0


def test_risk_counts_the_loss_alone():
    torch.manual_seed(0)
    hmm = semihmm.HMM(torch.randn(3), torch.randn(3, 3), torch.randn(5, 3))
    loss = torch.randint(2, (5, 3)).float()
    expected = (semihmm.marginals(hmm).emission * loss).sum()
    assert_close(semihmm.risk(hmm, hmm.feature(emission=loss)), expected)


def test_features_go_through_transforms_and_compiled_programs():
    hmm = small("HMM", (3,), 4)

    def risk(emission, loss):
        model = hmm.replace(emission=emission)
        return semihmm.risk(model, model.feature(emission=loss))

    loss = noise(hmm, 0).emission
    expected = risk(hmm.emission, loss)
    one = small("HMM", (), 4, seed=0).replace(initial=hmm.initial, transition=hmm.transition)

    def single(emission, loss):
        model = one.replace(emission=emission)
        return semihmm.risk(model, model.feature(emission=loss))

    assert_close(torch.func.vmap(single)(hmm.emission, loss), expected)
    compiled = torch.compile(risk, fullgraph=True, backend="aot_eager")
    assert_close(compiled(hmm.emission, loss), expected)

    def wrong(emission, loss):
        model = one.replace(emission=emission)
        return semihmm.risk(model, model.replace(emission=loss))

    with pytest.raises(StructureError, match="initial, transition is the log-weight"):
        torch.func.vmap(wrong)(hmm.emission, loss)


def test_features_of_other_sizes_are_refused_and_one_may_be_of_all_sequences():
    hmm = small("HMM", (), 3)
    for other in (small("HMM", (), 5), small("HMM", (2,), 3)):
        with pytest.raises(ShapeError, match="emission"):
            semihmm.expectation(hmm, other)
    batch = small("HMM varying", (3,), 3)
    prior = small("HMM varying", (), 3, seed=1)
    for ask, of in ((semihmm.kl_divergence, oracle.kl_divergence), (semihmm.expectation, oracle.expectation)):
        expected = torch.stack([of(item, prior) for item in batch.unbatch()])
        for backend in ("torch", None):
            assert_close(ask(batch, prior, backend=backend), expected)


@pytest.mark.parametrize("censored", ["right", "left", "both"])
def test_censored_segments_diverge_as_their_paths_do(censored):
    def draw(seed):
        random = torch.Generator().manual_seed(seed)
        shapes = (2,), (2, 2), (2, 3), (2, 4, 2)
        parts = [torch.randn(s, generator=random, dtype=torch.float64) for s in shapes]
        return semihmm.HSMM(*parts, lengths=torch.tensor([4, 3]), censored=censored)

    p, q = draw(0), draw(1)
    assert_close(semihmm.kl_divergence(p, q), oracle.kl_divergence(p, q))
    assert_close(semihmm.cross_entropy(p, q), oracle.cross_entropy(p, q))
    assert_close(semihmm.entropy(p), oracle.entropy(p))
    assert semihmm.kl_divergence(p, p).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("backend", ["torch", None])
def test_what_varies_in_time_diverges_from_what_does_not(backend):
    p, varying = small("HMM", (2,), 4, forbidden=0.1, seed=3), small("HMM varying", (2,), 4, seed=4)
    q = semihmm.HMM(varying.initial, varying.transition, varying.emission)
    for one, other in ((p, q), (q, p)):
        found = semihmm.kl_divergence(one, other, backend=backend)
        assert_close(found, oracle.kl_divergence(one, other), equal_nan=True)


def test_what_has_no_path_is_infinitely_far_or_nowhere():
    p = small("HMM", (), 3)
    none = p.replace(initial=torch.full_like(p.initial, -math.inf))
    for ask in (semihmm.kl_divergence, semihmm.cross_entropy):
        assert ask(p, none) == math.inf
        assert ask(none, p).isnan()
        assert ask(none, none).isnan()
