"""HSMM: special cases are other models, censored ends count what they cut off, and mistakes are named."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import semihmm
from semihmm import HMM, HSMM
from semihmm.engine import Chain, Path, Segmental
from semihmm.engine.backends import native
from semihmm.errors import ShapeError, StructureError
from semihmm.testing import check_structure, oracle
from semihmm.testing.examples import small

KINDS = ["HSMM", "HSMM varying", "HSMM arcs", "HSMM banded"]
BACKENDS = ["torch", *(["native"] if native() is not None else [])]
WAYS = [{"strategy": s, "checkpoint": c} for s in ("sequential", "associative", "chunked") for c in (False, True)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_is_that_of_its_paths(kind):
    check_structure(small(kind, (2,), 3, ragged=True, forbidden=0.1, seed=1))


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_segments_of_one_step_are_an_hmm():
    initial, arcs, emission = drawn(2), drawn(2, 2, seed=1), drawn(3, 5, 2, seed=2)
    lengths = torch.tensor([5, 1, 3])
    hsmm = HSMM(initial, arcs, torch.zeros(2, 1, dtype=torch.float64), emission, lengths=lengths)
    hmm = HMM(initial, arcs, emission, lengths=lengths)
    assert_close(semihmm.log_partition(hsmm), semihmm.log_partition(hmm))
    assert torch.equal(semihmm.viterbi(hsmm).states, semihmm.viterbi(hmm).event)
    assert_close(semihmm.marginals(hsmm).emission, semihmm.marginals(hmm).emission)
    assert_close(semihmm.marginals(hsmm).transition, semihmm.marginals(hmm).transition)


def test_geometric_durations_are_an_hmm_that_stays():
    steps, stay = 6, torch.tensor([0.7, 0.4], dtype=torch.float64)
    initial, emission = drawn(2), drawn(2, steps, 2, seed=3)
    lasting = torch.arange(steps, dtype=torch.float64)
    duration = lasting * stay.log().unsqueeze(-1) + (1 - stay).log().unsqueeze(-1)
    swap = torch.tensor([[-math.inf, 0.0], [0.0, -math.inf]], dtype=torch.float64)
    # The HMM's last stay has no end to pay for: the last segment's leaving is taken back.
    hsmm = HSMM(initial, swap, duration, emission, final=-(1 - stay).log())
    go = (1 - stay).log()
    hmm = HMM(
        initial, torch.stack([torch.stack([stay[0].log(), go[0]]), torch.stack([go[1], stay[1].log()])]), emission
    )
    assert_close(semihmm.log_partition(hsmm), semihmm.log_partition(hmm))
    assert_close(semihmm.marginals(hsmm).emission, semihmm.marginals(hmm).emission)
    assert torch.equal(semihmm.viterbi(hsmm).states, semihmm.viterbi(hmm).event)
    assert_close(semihmm.entropy(hsmm), semihmm.entropy(hmm))


def test_a_segment_weight_is_what_its_parts_weigh():
    hsmm = small("HSMM", (2,), 5, ragged=True, seed=4)
    weight = torch.zeros(2, 5, 3, 2, dtype=torch.float64)
    for t in range(5):
        for d in range(min(3, t + 1)):
            weight[:, t, d] = hsmm.emission[:, t - d : t + 1].sum(1)
    whole = HSMM(hsmm.initial, hsmm.transition, hsmm.duration, segment=weight, lengths=hsmm.lengths)
    assert_close(semihmm.log_partition(whole), semihmm.log_partition(hsmm))
    assert_close(semihmm.marginals(whole).emission, semihmm.marginals(hsmm).emission)
    assert torch.equal(semihmm.viterbi(whole).event, semihmm.viterbi(hsmm).event)


@pytest.mark.parametrize("censored", ["left", "right", "both"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_segment_counts_all_that_it_may_have_been(kind, censored):
    structure = replace(small(kind, (3,), 4, ragged=True, forbidden=0.1, seed=5), censored=censored)
    for way in WAYS:
        assert_close(semihmm.log_partition(structure, **way), oracle.log_partition(structure))
        assert_close(semihmm.viterbi(structure, **way).score, oracle.viterbi(structure))
        assert_close(semihmm.topk(structure, 5, **way).score, oracle.topk(structure, 5))
        assert_close(semihmm.entropy(structure, **way), oracle.entropy(structure), equal_nan=True, atol=1e-9, rtol=1e-9)
        if kind != "HSMM varying":
            assert_close(semihmm.filtering(structure, **way), oracle.filtering(structure), equal_nan=True)
    with pytest.raises(StructureError, match="mixes several potentials"):
        semihmm.max_marginals(structure)
    for item in structure.unbatch():
        for path in oracle.paths(item):
            event = torch.full((4, 3), -1)
            event[: len(path.event)] = torch.tensor(path.event)
            assert_close(semihmm.score(item, event), torch.tensor(path.score, dtype=torch.float64))


def test_a_cut_segment_has_the_marginals_of_finite_differences():
    structure = replace(small("HSMM", (2,), 4, seed=6), censored="both")

    def total(duration):
        return semihmm.log_partition(structure.replace(duration=duration))

    assert torch.autograd.gradcheck(total, structure.duration.clone().requires_grad_())
    assert torch.autograd.gradgradcheck(total, structure.duration.clone().requires_grad_())


def test_segments_tile_the_sequence():
    structure = small("HSMM", (4,), 6, ragged=True, seed=7)
    for event, length in zip(semihmm.viterbi(structure).event.tolist(), structure.lengths.tolist(), strict=True):
        segments = [s for s in event if s[0] >= 0]
        assert segments[0][1] == 0
        assert all(a[1] + a[2] == b[1] for a, b in pairwise(segments))
        assert segments[-1][1] + segments[-1][2] == length


def test_what_does_not_tile_has_no_weight():
    hsmm = small("HSMM", (), 4)

    def score(*segments):
        return float(semihmm.score(hsmm, torch.tensor([*segments, *[[-1, -1, -1]] * (4 - len(segments))])))

    assert math.isfinite(score([0, 0, 2], [1, 2, 2]))
    assert score([0, 0, 2], [1, 2, 1]) == -math.inf  # ends too soon
    assert score([0, 0, 1], [1, 2, 2]) == -math.inf  # a gap
    assert score([0, 0, 3], [1, 2, 2]) == -math.inf  # an overlap
    assert score([0, 1, 3]) == -math.inf  # begins too late
    assert score([1, 0, 4]) == -math.inf  # longer than D
    assert score([2, 0, 2], [1, 2, 2]) == -math.inf  # no such state
    assert score() == -math.inf


def test_states_are_what_the_segments_say():
    hsmm = small("HSMM", (), 4)
    event = torch.tensor([[1, 0, 1], [0, 1, 3], [-1, -1, -1], [-1, -1, -1]])
    assert hsmm.state_sequence(event).tolist() == [1, 0, 0, 0]


def test_longer_durations_than_the_sequence_are_of_no_use():
    hsmm = small("HSMM", (2,), 2, seed=8)
    wide = torch.cat([hsmm.duration, torch.zeros(2, 2, 4, dtype=torch.float64)], -1)
    for way in WAYS:
        assert_close(semihmm.log_partition(hsmm.replace(duration=wide), **way), oracle.log_partition(hsmm))


@pytest.mark.parametrize("batch", [(), (0,), (2, 1, 3)])
def test_any_batch_shape_will_do(batch):
    hsmm = small("HSMM", batch, 3)
    assert semihmm.log_partition(hsmm).shape == batch
    assert semihmm.viterbi(hsmm).event.shape == (*batch, 3, 3)
    assert semihmm.viterbi(hsmm).states.shape == (*batch, 3)
    assert semihmm.marginals(hsmm).duration.shape == (*batch, 2, 3)


FEW = settings(max_examples=max(settings.default.max_examples // 2, 3))
STATES = (1, 2, 3, 5, 40)  # of the last one, arcs that do not vary in time go without a matrix


@st.composite
def few_transitions(draw):
    """An HSMM with arcs or offsets, and for each transition: source, target, and which of the weights it has."""
    states, steps, longest, varies = draw(st.sampled_from(STATES)), draw(st.integers(1, 6)), 3, draw(st.booleans())
    batch, g = draw(st.sampled_from([(), (2,), (2, 1)])), torch.Generator().manual_seed(draw(st.integers(0, 2**16)))

    def weights(*shape):
        x = torch.randn(shape, generator=g, dtype=torch.float64)
        return torch.where(torch.rand(shape, generator=g) < 0.05, -math.inf, x)

    fields = {}
    if draw(st.booleans()):
        fields["offsets"] = draw(st.sampled_from([(1,), (0, 1), (2, -1, 0), (-1,)]))
        width = len(fields["offsets"])
        target = torch.arange(states).repeat_interleave(width)
        source = target - torch.tensor(fields["offsets"]).repeat(states)
        which = ((source >= 0) & (source < states)).nonzero().flatten()
        places, event = (source[which], target[which], which), (states, width)
    else:
        count = draw(st.sampled_from([1, max(states**2 // 20, 1), max(states**2 // 2, 1), states**2]))
        pair = torch.randperm(states**2, generator=g)[:count]
        fields["arcs"] = pair // states, pair % states
        places, event = (*fields["arcs"], torch.arange(count)), (count,)
    if varies:
        transition = weights(*batch, steps - 1, *event)
    else:
        transition = weights(*(batch if draw(st.booleans()) else ()), *event)
    if draw(st.booleans()):
        fields["segment"] = weights(*batch, steps, longest, states)
    if draw(st.booleans()):
        fields["lengths"] = torch.randint(1, steps + 1, batch, generator=g)
    fields["censored"] = draw(st.sampled_from(["none", "none", "left", "right", "both"]))
    given = weights(states, longest), weights(*batch, steps, states)
    return HSMM(weights(states), transition, *given, final=weights(states), **fields), places


def matrix(x, places, hsmm, fill):
    """Transitions as ``(..., S, S)``, from one number for each that there is."""
    source, target, which = places
    x = x if hsmm.arcs is not None else x.flatten(-2)
    whole = x.new_full((*x.shape[:-1], hsmm.states**2), fill)
    at = (source * hsmm.states + target).expand(*x.shape[:-1], -1)
    return whole.scatter(-1, at, x[..., which]).unflatten(-1, (hsmm.states, hsmm.states))


def answers(hsmm, backend):
    """Everything that has the same shape whichever transitions are listed; and each potential's gradients."""
    options = {"backend": backend}
    one = hsmm.replace(**{n: torch.ones_like(x) for n, x in hsmm.potentials.items()})
    best = semihmm.viterbi(hsmm, **options)
    found = {n: getattr(semihmm, n)(hsmm, **options) for n in ("log_partition", "entropy", "log_count")}
    found |= {"event": best.event, "states": best.states, "best": best.score, "scored": semihmm.score(hsmm, best.event)}
    found |= {"three": semihmm.topk(hsmm, 3, **options).score, "mean": semihmm.expectation(hsmm, one, **options)}
    if hsmm.segment is None:
        found |= {"filtered": semihmm.filtering(hsmm, **options)}
    potentials = {"marginals": semihmm.marginals(hsmm, **options).potentials}
    potentials["counts"] = semihmm.expected_counts(hsmm, **options)[1]
    if hsmm.linear:
        potentials["best"] = semihmm.max_marginals(hsmm, **options).potentials
    for question in ("log_partition", "viterbi"):
        leaves = {n: x.clone().requires_grad_() for n, x in hsmm.potentials.items()}
        value = getattr(semihmm, question)(hsmm.replace(**leaves), **options)
        (value if question == "log_partition" else value.score).nan_to_num(neginf=0.0).sum().backward()
        potentials[f"gradient of {question}"] = {n: x.grad for n, x in leaves.items()}
    return found, potentials


@pytest.mark.parametrize("backend", BACKENDS)
@FEW
@given(few_transitions())
def test_transitions_that_are_not_listed_are_forbidden(backend, drawn):
    hsmm, places = drawn
    dense = replace(hsmm, transition=matrix(hsmm.transition, places, hsmm, -math.inf), arcs=None, offsets=None)
    (found, each), (expected, every) = answers(hsmm, backend), answers(dense, backend)
    assert_close(found, expected, equal_nan=True)
    for question, potentials in each.items():
        nothing = -math.inf if question == "best" else 0.0
        moved = {**potentials, "transition": matrix(potentials["transition"], places, hsmm, nothing)}
        assert_close(moved, every[question], equal_nan=True)
    sample = semihmm.sample(hsmm, (4,), torch.Generator().manual_seed(0), backend=backend)
    assert_close(semihmm.score(dense, sample.event), sample.score)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sequence_of_a_batch_keeps_its_arcs(backend):
    arcs = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])  # a ring: nothing follows itself
    given = drawn(4, 3), drawn(3, 2, seed=1), drawn(4, 5, 3, seed=2)
    ring = HSMM(drawn(3, seed=3), *given, lengths=torch.tensor([5, 4, 3, 1]), arcs=arcs)
    options = {"backend": backend}
    alone = torch.stack([semihmm.log_partition(item, **options) for item in ring.unbatch()])
    assert_close(alone, semihmm.log_partition(ring, **options))
    assert_close(semihmm.log_partition(semihmm.stack(ring.unbatch()), **options), alone)
    assert_close(semihmm.log_partition(ring[1:3], **options), alone[1:3])
    assert "arcs" in repr(ring) and "transition (4, 3)" in repr(ring)
    steps = semihmm.marginals(ring.over_time("transition"), **options).transition
    assert_close(steps.sum(-2), semihmm.marginals(ring, **options).transition)
    moves = ring.feature(transition=torch.ones(3, dtype=torch.float64))  # how many segments there are, but the first
    segments = semihmm.marginals(ring, **options).duration.sum((-2, -1))
    assert_close(semihmm.expectation(ring, moves, **options), segments - 1)


MISTAKES = {
    "give emission": {"emission": None},
    "emission must be": {"emission": torch.zeros(3)},
    "none of them empty": {"duration": torch.zeros(2, 0)},
    "initial must be": {"initial": torch.zeros(3)},
    "transition must be": {"transition": torch.zeros(2, 3)},
    "duration must be": {"duration": torch.zeros(3, 2)},
    "segment must be": {"segment": torch.zeros(2, 3, 2)},
    "final must be": {"final": torch.zeros(1, 2, 2)},
    "censored must be": {"censored": "top"},
    "must lie between 1 and 3": {"lengths": torch.tensor([0, 3])},
    "HSMM: give arcs or offsets, not both": {"arcs": (torch.tensor([0]), torch.tensor([1])), "offsets": (0,)},
    "HSMM: arcs must be a pair": {"arcs": torch.tensor([0])},
    "HSMM: arcs must lie between 0 and 1": {"arcs": (torch.tensor([0]), torch.tensor([2]))},
    "none may come twice": {"arcs": (torch.tensor([0, 0]), torch.tensor([1, 1])), "transition": torch.zeros(2)},
    r"transition must be \(2, 1\) or \(2, 2, 1\)": {"arcs": (torch.tensor([0]), torch.tensor([1]))},
    "HSMM: offsets must differ": {"offsets": (1, 1)},
    r"transition must be \(2, 2, 1\) or \(2, 2, 2, 1\)": {"offsets": (1,)},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_named(message):
    right = {
        "initial": torch.zeros(2),
        "transition": torch.zeros(2, 2),
        "duration": torch.zeros(2, 2),
        "emission": torch.zeros(2, 3, 2),
    }
    HSMM(**right)
    with pytest.raises(ShapeError, match=message):
        HSMM(**{**right, **MISTAKES[message]})


@pytest.mark.parametrize("far", [-math.inf, -700.0, -120.0, -88.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_censored_duration_that_is_forbidden_or_all_but_has_finite_derivatives(dtype, far):
    """Durations 1 and 3 alone, over three steps: 1+1+1, 1+1+(3), 1+(3), (3), cut at the end."""
    duration = torch.tensor([[0.0, far, 0.0]], dtype=dtype)
    zeros = [torch.zeros(shape, dtype=dtype) for shape in ((1,), (1, 1), (3, 1))]
    hsmm = HSMM(zeros[0], zeros[1], duration, zeros[2], censored="right")
    ones = hsmm.replace(**{n: torch.ones_like(x) for n, x in hsmm.potentials.items()})
    for backend in (None, "torch"):
        assert_close(semihmm.expectation(hsmm, ones, backend=backend), torch.tensor(7.5, dtype=dtype))
        assert_close(semihmm.variance(hsmm, ones, backend=backend), torch.tensor(2.75, dtype=dtype))
    free = duration.clone().requires_grad_()
    (slope,) = torch.autograd.grad(semihmm.log_partition(hsmm.replace(duration=free)), free, create_graph=True)
    rows = [torch.autograd.grad(slope[0, d], free, retain_graph=True)[0][0] for d in range(3)]
    expected = torch.tensor([[1.25, 0.0, -0.375], [0.0, 0.0, 0.0], [-0.375, 0.0, 0.1875]], dtype=dtype)
    assert_close(slope.detach(), torch.tensor([[1.5, 0.0, 0.75]], dtype=dtype))
    assert_close(torch.stack(rows), expected)


def test_the_log_of_a_sum_has_the_derivatives_of_a_sum():
    from semihmm.structures.hsmm import either

    a, b = (drawn(6, seed=s).requires_grad_() for s in (3, 4))
    with torch.no_grad():
        a[0] = b[0]  # a tie
    assert_close(either(a, b), torch.logaddexp(a, b))
    assert torch.autograd.gradcheck(either, (a, b)) and torch.autograd.gradgradcheck(either, (a, b))


def test_a_duration_that_is_a_constant_of_a_segmental_map_adds_to_the_width_of_segments():
    @dataclass(frozen=True)
    class Free(semihmm.Structure):
        emission: torch.Tensor
        observed: ClassVar = "emission"
        ranks: ClassVar = {"emission": 2}
        lengths: ClassVar[None] = None

        def chain(self):
            (steps, states), never = self.emission.shape[-2:], torch.full((2,), -torch.inf)
            zeros, ends = self.emission.new_zeros, torch.cat([torch.zeros(states), never])
            segments = Segmental.of(zeros(1, states, states), zeros(1, 2, states), self.emission)
            return Chain((ends.roll(states),), segments, (ends,), length=steps)

        def event(self, path):
            return path.slots

        def path(self, event):
            return Path.through(event)

    emission = torch.tensor([[-3.0, -4.0], [-5.0, -6.0], [-7.0, -8.0]])
    assert semihmm.total(Free(emission), semihmm.semirings.Bottleneck()) == -7.0
    check_structure(Free(emission.double()), samples=100)
