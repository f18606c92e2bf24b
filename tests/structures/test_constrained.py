"""Products with automata: of a structure's paths those whose labels a language allows, counted by hand."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm import CTC, DTW, HMM, HSMM, Lattice
from semihmm.automata import (
    Language,
    any_label,
    at_least,
    at_most,
    before,
    exactly,
    label,
    must_occur,
    no_repeat,
)
from semihmm.engine import Axes, Chain, Dense, Path, Sparse
from semihmm.engine.backends import native
from semihmm.errors import StructureError
from semihmm.structures import Constrained, Structure
from semihmm.structures.authoring import Labels
from semihmm.structures.derived import Derived
from semihmm.testing import check_structure, oracle
from semihmm.testing.examples import small
from semihmm.testing.walk import chain_paths

Said = Sequence[int]

BACKENDS = ["torch", *(["native"] if native() is not None else [])]
KINDS = [
    "HMM",
    "HMM varying",
    "HMM arcs",
    "HMM banded",
    "HSMM",
    "HSMM varying",
    "HSMM arcs",
    "HSMM banded",
    "CTC",
    "CTC optional",
    "MonotonicAlignment",
    "Lattice",
]
# Each language, and what it means, in a few words of Python. Every kind has the labels 0 and 1.
LANGUAGES: dict[str, tuple[Language, Callable[[Said], bool]]] = {
    "exactly": (exactly(2, 1), lambda said: said.count(1) == 2),
    "at least": (at_least(2, 0), lambda said: said.count(0) >= 2),
    "at most": (at_most(1, 1), lambda said: said.count(1) <= 1),
    "must occur": (must_occur(0), lambda said: 0 in said),
    "before": (before(1, 0), lambda said: 0 not in said or 1 in said[: said.index(0)]),
    "no repeat": (no_repeat(), lambda said: all(a != b for a, b in pairwise(said))),
    "regular": (
        label(0) + any_label.star() + label(1).repeat(1, 2),
        lambda said: len(said) >= 2 and said[0] == 0 and said[-1] == 1,
    ),
    "nothing": (any_label & ~any_label, lambda said: False),
}


def said_by(structure: Structure, event: Any) -> list[int]:
    """What an event says, read off it without its structure."""
    return [x[0] for x in event] if isinstance(structure, CTC | HSMM) else list(event)


def some_paths(structure: Structure, allows: Callable[[Said], bool]) -> oracle.By:
    """The paths of the structure that say what is allowed."""

    def by(item: Constrained) -> Iterator[Any]:
        for event, weights in oracle.KNOWN[type(structure)](item.base):
            if allows(said_by(structure, oracle.plain_event(event))):
                yield event, weights

    return by


# Each kind with some of the languages, each language with kinds of all sorts; all with all at one step, below.
PAIRS = [(kind, each) for (i, kind), (j, each) in product(enumerate(KINDS), enumerate(LANGUAGES)) if (i + j) % 3 == 0]


@pytest.mark.parametrize(("kind", "language"), PAIRS)
def test_every_answer_is_that_of_the_paths_that_are_allowed(kind: str, language: str) -> None:
    chosen, allows = LANGUAGES[language]
    structure = small(kind, (3,), steps=3, ragged=True, forbidden=0.1, seed=1)
    check_structure(semihmm.constrain(structure, chosen), paths=some_paths(structure, allows), samples=300)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_both_backends_agree_about_batches_without_lengths_too(kind: str, backend: str) -> None:
    structure = small(kind, (2, 2), steps=4, seed=2)
    allows = LANGUAGES["before"][1]
    constrained, by = semihmm.constrain(structure, LANGUAGES["before"][0]), some_paths(structure, allows)
    assert_close(semihmm.log_partition(constrained, backend=backend), oracle.log_partition(constrained, by))
    assert_close(semihmm.viterbi(constrained, backend=backend).score, oracle.viterbi(constrained, by))
    found, expected = semihmm.marginals(constrained, backend=backend), oracle.marginals(constrained, by)
    assert_close(dict(found.potentials), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_is_enough(kind: str) -> None:
    structure = small(kind, (2,), steps=1, ragged=True, seed=3)
    for chosen, allows in LANGUAGES.values():
        constrained = semihmm.constrain(structure, chosen)
        assert_close(
            semihmm.log_partition(constrained), oracle.log_partition(constrained, some_paths(structure, allows))
        )


LONGEST = 4  # of the sequences that languages are compared on
ALL = [said for n in range(LONGEST + 1) for said in product(range(3), repeat=n)]


def languages() -> st.SearchStrategy[tuple[Language, frozenset[tuple[int, ...]]]]:
    """Regular expressions over three labels, with the sequences up to the longest that they mean."""
    every = frozenset(ALL)
    one = st.sets(st.integers(0, 2), min_size=1).map(lambda x: (label(*x), frozenset((i,) for i in x)))

    def then(a: frozenset[Any], b: frozenset[Any]) -> frozenset[Any]:
        return frozenset(x + y for x in a for y in b if len(x + y) <= LONGEST)

    def often(a: frozenset[Any], least: int, most: int) -> frozenset[Any]:
        found, power = set[Any](), frozenset([()])
        for n in range(most + 1):
            found |= power if n >= least else set()
            power = then(power, a)
        return frozenset(found)

    def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        pairs, times = st.tuples(inner, inner), st.tuples(st.integers(0, 2), st.integers(0, 2))
        return st.one_of(
            pairs.map(lambda p: (p[0][0] + p[1][0], then(p[0][1], p[1][1]))),
            pairs.map(lambda p: (p[0][0] | p[1][0], p[0][1] | p[1][1])),
            pairs.map(lambda p: (p[0][0] & p[1][0], p[0][1] & p[1][1])),
            inner.map(lambda p: (~p[0], every - p[1])),
            inner.map(lambda p: (p[0].star(), often(p[1], 0, LONGEST))),
            st.tuples(inner, times).map(
                lambda p: (p[0][0].repeat(p[1][0], sum(p[1])), often(p[0][1], p[1][0], sum(p[1])))
            ),
        )

    return st.recursive(st.one_of(one, st.just((any_label, frozenset([(0,), (1,), (2,)])))), larger, max_leaves=6)


@given(pair=languages())
def test_an_expression_accepts_what_it_means(pair: tuple[Language, frozenset[tuple[int, ...]]]) -> None:
    language, meant = pair
    automaton = language.automaton(3)
    assert {said for said in ALL if automaton.accepts(said)} == meant


@given(pair=languages(), steps=st.integers(1, LONGEST))
def test_each_sequence_that_is_accepted_is_counted_once(
    pair: tuple[Language, frozenset[tuple[int, ...]]], steps: int
) -> None:
    language, meant = pair
    hmm = semihmm.constrain(HMM(torch.zeros(3), torch.zeros(3, 3), torch.zeros(steps, 3)), language)
    count = sum(len(said) == steps for said in meant)
    assert_close(semihmm.log_count(hmm).exp(), torch.tensor(float(count), dtype=torch.float64))
    events = semihmm.topk(hmm, count + 1)
    assert events.valid.tolist() == [True] * count + [False]
    assert {tuple(x) for x in events.event[:count].tolist()} == {said for said in meant if len(said) == steps}


@given(a=languages(), b=languages())
def test_two_constraints_are_one_that_wants_both(a: Any, b: Any) -> None:
    hmm = small("HMM arcs", (2,), steps=4, seed=4)
    twice, once = semihmm.constrain(semihmm.constrain(hmm, a[0]), b[0]), semihmm.constrain(hmm, a[0] & b[0])
    assert twice.automaton == once.automaton
    assert_close(semihmm.log_partition(twice), semihmm.log_partition(once))


def test_gradients_and_second_ones_come_in_the_potentials_own_shapes() -> None:
    random = torch.Generator().manual_seed(5)
    shapes = {"initial": (3,), "transition": (3, 3), "emission": (2, 4, 3), "final": (3,)}
    given = [torch.randn(s, generator=random, dtype=torch.float64).requires_grad_() for s in shapes.values()]

    def total(*potentials: Tensor) -> Tensor:
        hmm = HMM(*potentials, lengths=torch.tensor([4, 3]))
        return semihmm.log_partition(semihmm.constrain(hmm, exactly(2, 1)))

    assert [x.shape for x in torch.autograd.grad(total(*given).sum(), given)] == [
        torch.Size(s) for s in shapes.values()
    ]
    assert torch.autograd.gradcheck(total, given)
    assert torch.autograd.gradgradcheck(total, given)


def test_a_feature_is_summed_along_the_paths_that_are_allowed() -> None:
    structure = small("HMM", (2,), steps=4, seed=6)
    constrained = semihmm.constrain(structure, exactly(3, 1))
    visits = constrained.feature(emission=torch.tensor([0.0, 1.0]).expand(4, 2))
    assert_close(semihmm.expectation(constrained, visits), torch.full((2,), 3.0, dtype=torch.float64))
    assert_close(semihmm.variance(constrained, visits), torch.zeros(2, dtype=torch.float64))


def test_what_is_read_may_be_something_else_than_what_is_said() -> None:
    hmm = HMM(torch.zeros(4), torch.zeros(4, 4), torch.zeros(3, 4))
    noun, verb, silence = 0, 1, -1
    grammar = semihmm.constrain(hmm, label(noun) + label(verb), labels=[noun, noun, verb, silence])
    # Two states are nouns, one is a verb; silence is before, between or behind them.
    assert round(float(semihmm.log_count(grammar).exp())) == 3 * 2
    words = Lattice(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 2, 2]), torch.zeros(4))
    chosen = semihmm.constrain(words, must_occur(7), labels=torch.tensor([5, 7, 5, 6]))
    assert sorted(semihmm.topk(chosen, 2).event.tolist()) == [[1, 2], [1, 3]]


def test_an_arc_beside_another_one_is_told_from_it() -> None:
    lattice = Lattice(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 2, 2]), torch.tensor([1.0, 2.0, 4.0, 8.0]))
    constrained = semihmm.constrain(lattice, exactly(1, 1, 2))
    events = torch.tensor([[0, 2], [0, 3], [1, 2], [1, 3]])
    assert semihmm.score(constrained, events).tolist() == [5.0, -math.inf, -math.inf, 10.0]


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_that_is_refused_or_none_at_all_has_no_score(kind: str) -> None:
    structure = small(kind, steps=4, seed=7)
    constrained = semihmm.constrain(structure, LANGUAGES["at most"][0])
    for path in oracle.paths(structure):
        event = torch.full_like(semihmm.viterbi(structure).event, -1)
        event[: len(path.event)] = torch.tensor(path.event)
        allowed = LANGUAGES["at most"][1](said_by(structure, path.event))
        expected = path.score if allowed else -math.inf
        assert float(semihmm.score(constrained, event)) == pytest.approx(expected)
        odd = event.clone()
        odd[0] = 9
        assert float(semihmm.score(constrained, odd)) == -math.inf


def test_targets_of_their_own_say_tokens_of_their_own() -> None:
    emission = torch.randn(2, 4, 4, dtype=torch.float64)
    ctc = CTC(emission, torch.tensor([[1, 2], [3, 1]]), target_lengths=torch.tensor([2, 1]))
    constrained = semihmm.constrain(ctc, at_least(2, 1, 3))
    alone = [semihmm.log_partition(x) for x in constrained]
    assert_close(semihmm.log_partition(constrained), torch.stack(alone))
    by = some_paths(ctc, lambda said: said.count(1) + said.count(3) >= 2)
    assert_close(semihmm.log_partition(constrained), oracle.log_partition(constrained, by))


def test_vmap_and_jvp_go_through() -> None:
    hmm = small("HMM", steps=3, seed=8)

    def total(emission: Tensor) -> Tensor:
        return semihmm.log_partition(semihmm.constrain(hmm.replace(emission=emission), exactly(1, 1)))

    several = torch.randn(4, 3, 2, dtype=torch.float64)
    assert_close(torch.func.vmap(total)(several), torch.stack([total(x) for x in several]))
    x, direction = several[0], several[1]
    slope = (torch.func.grad(total)(x) * direction).sum()
    assert_close(torch.func.jvp(total, (x,), (direction,))[1], slope)


@dataclass(frozen=True, repr=False)
class Tagged(Derived):
    """An HMM whose states have other tags in each sequence."""

    tags: Tensor
    own_indices: ClassVar[dict[str, int]] = {"tags": 1}

    def chain(self) -> Chain:
        return self.base.chain()

    def event(self, path: Path) -> Tensor:
        return self.base.event(path)

    def path(self, event: Tensor) -> Path:
        return self.base.path(event)

    def filtered(self, vectors: Tensor) -> Tensor:
        return self.base.filtered(vectors)

    def labels(self) -> Labels:
        return Labels(self.tags, 3)


def test_labels_of_their_own_are_read_from_the_first_step_on() -> None:
    tags = torch.tensor([[0, 1], [2, 0], [-1, 1]])
    hmm = Tagged(small("HMM", (3,), steps=3, ragged=True, seed=10), tags)

    def by(item: Constrained) -> Iterator[Any]:
        for event, weights in oracle.KNOWN[HMM](item.base.base):
            said = [x for x in item.tags[torch.tensor(event)].tolist() if x >= 0]
            if said and said[0] == 0 and said.count(1) <= 1:
                yield event, weights

    check_structure(semihmm.constrain(hmm, label(0) + at_most(1, 1)), paths=by, samples=300)


@pytest.mark.parametrize("kind", ["HMM", "CTC", "MonotonicAlignment"])
def test_what_lies_behind_the_end_says_nothing(kind: str) -> None:
    structure = semihmm.constrain(small(kind, steps=4, seed=11), exactly(2, 1))
    name = "lengths" if kind == "HMM" else "input_lengths"
    short = structure.replace(**{name: torch.tensor(3)})
    best = semihmm.viterbi(short)
    odd = best.event.clone()
    odd[3] = 1
    assert bool(best.valid)
    assert_close(semihmm.score(short, odd), best.score)


def test_a_traced_program_is_refused() -> None:
    hmm = semihmm.constrain(small("HMM", steps=3, seed=9), exactly(1, 1))
    compiled = torch.compile(lambda x: semihmm.log_partition(hmm.replace(emission=x)), backend="eager")
    with pytest.raises(StructureError, match=r"Leave it out of torch\.compile"):
        compiled(hmm.emission)


@dataclass(frozen=True, repr=False)
class Hops(Structure):
    """From slot to slot, one step or two at a time; what it comes to says its number, but for the first one."""

    weight: Tensor
    observed: ClassVar[str] = "weight"
    ranks: ClassVar[dict[str, int]] = {"weight": 3}
    lengths: ClassVar[None] = None

    def chain(self) -> Chain:
        source = torch.tensor([[[0, 1, 2], [0, 1, 3]]])  # 2 and 3: slots 0 and 1, two steps before
        start = (torch.zeros(2, dtype=self.weight.dtype),)
        return Chain(start, Sparse(self.weight, source, memory=2), length=self.weight.shape[-3])

    def event(self, path: Path) -> Tensor:
        return path.slots

    def path(self, event: Tensor) -> Path:
        return Path.through(event)

    def labels(self) -> Labels:
        return Labels(torch.arange(2), 2, first=False)


def test_a_structure_of_ones_own_says_what_there_is_to_read() -> None:
    hops = Hops(torch.randint(-8, 9, (2, 4, 2, 3)).double() / 8)
    constrained = semihmm.constrain(hops, exactly(2, 1))

    def by(item: Constrained) -> Iterator[Any]:
        for path, (event, weights) in zip(oracle.paths(item.base), chain_paths(item.base), strict=True):
            if path.event[1:].count(1) == 2:
                yield event, weights

    assert 0 < len(oracle.paths(constrained[0], by)) < len(oracle.paths(hops[0]))
    check_structure(constrained, paths=by, samples=300)


def test_work_is_that_of_the_pairs_that_a_path_can_use() -> None:
    hmm = HMM(torch.zeros(5), torch.zeros(5, 5), torch.zeros(6, 5))
    steps = semihmm.constrain(hmm, exactly(3, 1)).chain().steps
    assert steps.slots == 4 * 4 + 3  # state 1 is never the one before the first time
    forward = HMM(torch.zeros(5), torch.zeros(5, 2), torch.zeros(6, 5), offsets=(0, 1))
    ordered = semihmm.constrain(forward, before(3, 1)).chain().steps  # state 1 only ever comes before state 3
    assert semihmm.constrain(forward, must_occur(1)).chain().steps.slots == 1 + 4  # who is past state 1 has been there
    assert ordered.slots == 4 + 1  # from 3 on each state after it was; 0 and 2 and 3, 4 without state 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("k", [0, 1, 20, 24])
def test_of_many_pairs_only_the_arcs_are_taken(k: int, backend: str) -> None:
    steps, states = 24, 5
    hmm = HMM(torch.zeros(states), torch.zeros(states, states), torch.zeros(3, steps, states), lengths=[24, 24, 20])
    constrained = semihmm.constrain(hmm, exactly(k, 1))
    assert isinstance(constrained.chain().steps.first, Sparse if k >= 20 else Dense)
    expected = [math.log(math.comb(n, k) * (states - 1) ** (n - k)) if k <= n else -math.inf for n in (24, 24, 20)]
    assert_close(semihmm.log_partition(constrained, backend=backend).tolist(), expected, rtol=1e-5, atol=1e-5)
    best = semihmm.viterbi(constrained, backend=backend)
    assert (best.event == 1).sum(-1).tolist() == [k if k <= n else 0 for n in (24, 24, 20)]
    share = semihmm.marginals(constrained, backend=backend).emission[..., 1].sum(-1)
    assert_close(share.tolist(), [float(k) if k <= n else 0.0 for n in (24, 24, 20)], rtol=1e-4, atol=1e-4)


def hmm_of(states: int, *batch: int, varying: bool = False) -> HMM:
    """Nine steps, the shortest one; some states and transitions are forbidden."""
    g = torch.Generator().manual_seed(12345 + states)

    def random(*shape: int) -> Tensor:
        x = torch.randn(shape, generator=g, dtype=torch.float64)
        return x.masked_fill(torch.rand(shape, generator=g) < 0.1, -math.inf)

    move = (*batch, 8, states, states) if varying else (states, states)
    lengths = None if not batch else torch.tensor([9, 1, 7])
    return HMM(random(states), random(*move), random(*batch, 9, states), random(states), lengths=lengths)


# Of each way to move between pairs an HMM and a language for which it takes the least time.
WAYS: dict[str, tuple[Callable[[], HMM], Language, type]] = {
    "few pairs": (lambda: hmm_of(5, 3), exactly(1, 1), Dense),
    "few pairs of many": (lambda: hmm_of(30, 3), no_repeat(), Dense),
    "many states of the automaton": (lambda: hmm_of(5, 3), exactly(20, 1), Sparse),
    "both": (lambda: hmm_of(10, 3), exactly(5, 1, 2), Axes),
    "both, one sequence": (lambda: hmm_of(10), at_most(5, 1, 2), Axes),
    "varying": (lambda: hmm_of(3, 3, varying=True), at_least(2, 1), Axes),
    "varying, few pairs": (lambda: hmm_of(12, 3, varying=True), no_repeat(), Sparse),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_way_that_takes_the_least_time_is_taken(way: str) -> None:
    hmm, language, map_ = WAYS[way]
    assert type(semihmm.constrain(hmm(), language).chain().steps.first) is map_


JOINT = [way for way, (*_, map_) in WAYS.items() if map_ is Axes]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", JOINT)
def test_axes_have_the_answers_of_arcs(way: str, backend: str) -> None:
    joint = semihmm.constrain(WAYS[way][0](), WAYS[way][1])
    arcs = joint.along_arcs()
    assert not isinstance(arcs.chain().steps.first, Axes)
    for ask in (semihmm.log_partition, semihmm.entropy, semihmm.filtering, semihmm.smoothing, semihmm.log_count):
        assert_close(ask(joint, backend=backend), ask(arcs, backend=backend), equal_nan=True)  # of no path, no entropy
    found, expected = semihmm.topk(joint, 4, backend=backend), semihmm.topk(arcs, 4, backend=backend)
    assert_close(found.event, expected.event)
    assert_close(found.score, expected.score)
    for names in (("initial", "transition", "emission", "final"), ("emission",), ("transition",)):
        counts = semihmm.expected_counts(joint, names, backend=backend)
        assert_close(counts, semihmm.expected_counts(arcs, names, backend=backend))
    assert_close(
        dict(semihmm.max_marginals(joint, backend=backend).potentials),
        dict(semihmm.max_marginals(arcs, backend=backend).potentials),
    )


@pytest.mark.parametrize("way", JOINT)
def test_axes_score_events_as_arcs_do(way: str) -> None:
    joint = semihmm.constrain(WAYS[way][0](), WAYS[way][1])
    uniform = HMM(*(torch.zeros_like(x) for x in joint.base.potentials.values()), lengths=joint.lengths)
    events, best = (
        semihmm.sample(uniform, (50,), generator=torch.Generator().manual_seed(1)).event,
        semihmm.topk(joint, 4),
    )
    assert_close(semihmm.score(joint, events), semihmm.score(joint.along_arcs(), events))
    assert_close(semihmm.score(joint, best.event), best.score)
    sampled = semihmm.sample(joint, (20,), generator=torch.Generator().manual_seed(0))
    possible = semihmm.viterbi(joint).valid
    assert bool((semihmm.score(joint, sampled.event)[..., possible] > -math.inf).all())


@pytest.mark.parametrize("way", JOINT)
def test_axes_have_the_derivatives_of_arcs(way: str) -> None:
    hmm = WAYS[way][0]()
    potentials = {n: x.clone().requires_grad_() for n, x in hmm.potentials.items()}
    seed = torch.Generator().manual_seed(0)
    directions = [torch.randn(x.shape, generator=seed, dtype=torch.float64) for x in potentials.values()]

    def derivatives(structure: Constrained) -> tuple[list[Tensor], list[Tensor]]:
        total = semihmm.log_partition(structure)
        first = torch.autograd.grad(total[total > -math.inf].sum(), list(potentials.values()), create_graph=True)
        along = sum((x * d).sum() for x, d in zip(first, directions, strict=True))
        return list(first), list(torch.autograd.grad(along, list(potentials.values())))

    joint = semihmm.constrain(hmm.replace(**potentials), WAYS[way][1])
    assert_close(derivatives(joint), derivatives(joint.along_arcs()))


def test_axes_read_tags_silence_and_states_that_share_emissions() -> None:
    hmm = hmm_of(10, 3)
    large = hmm_of(14)
    tied = HMM(large.initial, large.transition, hmm.emission, emission_index=torch.arange(14) % 10)
    tags = [-1, 0, 1, 1, 0, -1, 1, 0, 0, 1, 1, 0, -1, 1]
    joint = semihmm.constrain(tied, exactly(4, 1), labels=tags)
    assert isinstance(joint.chain().steps.first, Axes)
    arcs = joint.along_arcs()
    assert_close(dict(semihmm.marginals(joint).potentials), dict(semihmm.marginals(arcs).potentials))
    best = semihmm.viterbi(joint)
    assert_close(best.event, semihmm.viterbi(arcs).event)
    assert_close(semihmm.score(joint, best.event), best.score)


def test_an_arc_that_does_not_go_on_from_the_one_before_is_no_path() -> None:
    lattice = Lattice(torch.tensor([0, 0, 1, 2]), torch.tensor([1, 2, 3, 3]), torch.zeros(4))
    once = semihmm.constrain(lattice, at_most(1, 0))
    events = torch.tensor([[0, 2], [1, 3], [0, 3], [1, 2]])
    assert semihmm.score(once, events).tolist() == [0.0, 0.0, -math.inf, -math.inf]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: semihmm.constrain(DTW(torch.zeros(2, 2)), exactly(1, 0)), "DTW says nothing at each step"),
        (lambda: semihmm.constrain(small("HMM"), exactly(1, 2)), "numbered from 0 to 1 here, so there is no 2"),
        (lambda: semihmm.constrain(small("HMM"), exactly(1, 0).automaton(3)), "says 2 labels, but .* reads 3"),
        (lambda: semihmm.constrain(small("HMM"), "ab*"), "a language is one of semihmm.automata, .* got 'ab\\*'"),
        (lambda: semihmm.constrain(small("HMM"), exactly(1, 0), labels=[0]), "must be 2 integers"),
        (lambda: semihmm.constrain(small("HMM"), exactly(1, 0), labels=[0, -2]), "from -1"),
    ],
)
def test_an_error_says_what_is_wrong(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(StructureError, match=message):
        make()
