"""Right structures pass, broken ones are refused with the question that they answer wrongly."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from hypothesis import find, given

import semihmm
from semihmm import HMM, HSMM, EditDistance, MonotonicAlignment
from semihmm.engine import Chain, Dense, Diagonal, Map, Path
from semihmm.errors import LawError, StructureError
from semihmm.testing import check_structure, oracle
from semihmm.testing.examples import KINDS, small
from semihmm.testing.state_paths import hmm_paths, log_sum
from semihmm.testing.strategies_structures import options, structures
from semihmm.testing.walk import chain_paths


@pytest.mark.parametrize("kind", KINDS)
def test_right_structures_pass_in_float32(kind):
    check_structure(small(kind, (2,), 2, ragged=True, dtype=torch.float32, forbidden=0.1, seed=1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_walk_along_the_chain_finds_the_paths_of_the_definition(kind):
    for seed in range(4):
        item = small(kind, (), 3, ragged=True, forbidden=0.2, seed=seed)
        known = {p.event: p.score for p in oracle.paths(item) if p.score > -math.inf}
        walked = {p.event: p.score for p in oracle.paths(item, chain_paths) if p.score > -math.inf}
        assert walked.keys() == known.keys()
        assert all(walked[event] == pytest.approx(score) for event, score in known.items())


def test_a_structure_never_seen_before_is_walked():
    @dataclass(frozen=True)
    class Loud(HMM):
        """The same under another name."""

    hmm = small("HMM varying", (2,), 3, ragged=True)
    check_structure(Loud(hmm.initial, hmm.transition, hmm.emission, hmm.final, hmm.lengths))


@dataclass(frozen=True)
class EventLate(HMM):
    def event(self, path):
        return path.slots.roll(1, -1)


@dataclass(frozen=True)
class EventBlind(HMM):
    def event(self, path):
        return torch.where(path.slots < 0, -1, 0)


@dataclass(frozen=True)
class EventOther(HMM):
    """Its states are numbered from the last one, in events and out of them, which is not what was meant."""

    def event(self, path):
        return torch.where(path.slots < 0, -1, self.states - 1 - path.slots)

    def path(self, event):
        return Path.through(torch.where(event < 0, -1, self.states - 1 - event))


@dataclass(frozen=True)
class PathLate(HMM):
    def path(self, event):
        return Path.through(event.roll(-1, -1))


@dataclass(frozen=True)
class EventUnfilled(HMM):
    def event(self, path):
        return path.slots.clamp(min=0)


@dataclass(frozen=True)
class PathLoose(HMM):
    """A label that there is not is taken for another one."""

    def path(self, event):
        return Path.through(torch.where(event < 0, -1, event % self.states))


@dataclass(frozen=True)
class RaggedElsewhere(HMM):
    ragged: ClassVar[dict] = {"lengths": {"emission": -1}}


@dataclass(frozen=True)
class RaggedNowhere(HMM):
    ragged: ClassVar[dict] = {"lengths": {"emision": -2}}


@dataclass(frozen=True)
class RanksWithoutTime(HMM):  # so ragged counts an axis that is none of a sequence's
    @property
    def ranks(self):
        return {**super().ranks, "emission": 1}


class Changed(HMM):
    """One whose chain is made of other parts."""

    def chain(self):
        chain = super().chain()
        return Chain(*self.parts(chain), chain.length)

    def parts(self, chain):
        return chain.start, chain.steps, chain.end, chain.lengths


@dataclass(frozen=True)
class ChainForgetful(Changed):
    def parts(self, chain):
        return chain.start, chain.steps, (), chain.lengths


@dataclass(frozen=True)
class LengthsForgotten(Changed):
    def parts(self, chain):
        return chain.start, chain.steps, chain.end, None


@dataclass(frozen=True)
class LengthsShort(Changed):
    def parts(self, chain):
        return chain.start, chain.steps, chain.end, None if chain.lengths is None else chain.lengths.clamp(max=1)


@dataclass(frozen=True)
class EmissionTwice(Changed):
    def parts(self, chain):
        return (*chain.start, chain.start[-1]), chain.steps, chain.end, chain.lengths


@dataclass(frozen=True)
class Mixed(Changed):
    def parts(self, chain):
        return (sum(chain.start),), chain.steps, chain.end, chain.lengths


@dataclass(frozen=True)
class RanksLow(HMM):
    @property
    def ranks(self):
        return {**super().ranks, "initial": 0}


@dataclass(frozen=True)
class RanksHigh(HMM):
    @property
    def ranks(self):
        return {**super().ranks, "transition": 3}


@dataclass(frozen=True)
class FilteredLate(HMM):
    def filtered(self, vectors):
        return super().filtered(vectors).roll(1, -2)


@dataclass(frozen=True)
class SignTurned(MonotonicAlignment):
    sign = -1.0


ONE_STATE = "initial=[0.0], transition=[[0.0]]"
TWO_STATES = "initial=[0.0, 0.0], transition=[[0.0, 0.0], [0.0, 0.0]]"
TWO_STEPS = f"{TWO_STATES}, emission=[[0.0, 0.0], [0.0, 0.0]]"
THREE_SEQUENCES = "emission=[[[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]]"
BROKEN = [
    (RanksLow, None, "ranks, observed and ragged name", f"{TWO_STATES}, {THREE_SEQUENCES}"),
    (RanksHigh, None, "ranks, observed and ragged name", None),
    (RaggedNowhere, None, "ranks, observed and ragged name", None),
    (RanksWithoutTime, None, "ranks, observed and ragged name", None),
    (RaggedElsewhere, None, "what lies behind", None),
    (Mixed, None, "each log-weight of the chain is one potential", f"{ONE_STATE}, emission=[[0.0]]"),
    (LengthsForgotten, None, "what lies behind", f"{ONE_STATE}, emission=[[0.0], [1.0]], lengths=1"),
    (LengthsShort, None, "what lies behind", f"{ONE_STATE}, emission=[[0.0], [0.0], [1.0], [0.0]], lengths=3"),
    (EventBlind, None, "no two paths read as one event", f"{TWO_STATES}, emission=[[0.0, 0.0]]"),
    (EventLate, None, "path undoes event", TWO_STEPS),
    (PathLate, None, "path undoes event", TWO_STEPS),
    (EventUnfilled, None, "an event is -1 behind", f"{ONE_STATE}, emission=[[0.0], [0.0]], lengths=1"),
    (PathLoose, None, "what is no path's event scores -inf", f"{ONE_STATE}, emission=[[0.0]]"),
    (ChainForgetful, hmm_paths, "an event scores the sum", f"{ONE_STATE}, emission=[[0.0]], final=[1.0]"),
    (EmissionTwice, hmm_paths, "an event scores the sum", f"{ONE_STATE}, emission=[[1.0]]"),
    (EventOther, hmm_paths, "an event scores the sum", f"{TWO_STATES}, emission=[[0.0, 1.0]]"),
    (FilteredLate, None, "filtering is that", f"{TWO_STATES}, emission=[[0.0, 0.0], [0.0, 1.0]], lengths=1"),
]


@pytest.mark.parametrize(("kind", "paths", "law", "example"), BROKEN, ids=lambda x: getattr(x, "__name__", None))
def test_a_planted_mistake_is_shown_in_the_smallest_structure_that_has_it(kind, paths, law, example):
    hmm, final = small("HMM", (3,), 4, ragged=True, seed=2), torch.tensor([0.5, -1.25]).double()
    with pytest.raises(StructureError) as caught:
        check_structure(kind(hmm.initial, hmm.transition, hmm.emission, final, hmm.lengths), paths=paths)
    message = str(caught.value)
    assert message.startswith(f"check_structure: {kind.__name__} breaks a law: {law}")
    assert example is None or f"Smallest example found: {kind.__name__}({example}). There, " in message
    assert "Look at " in message


def test_an_example_says_what_was_expected_what_came_and_where_to_look():
    with pytest.raises(StructureError) as caught:
        check_structure(EmissionTwice(torch.zeros(2), torch.zeros(2, 2), torch.randn(2, 3, 2)), paths=hmm_paths)
    assert str(caught.value) == (
        "check_structure: EmissionTwice breaks a law: an event scores the sum along its path. Smallest example found: "
        "EmissionTwice(initial=[0.0], transition=[[0.0]], emission=[[1.0]]). There, the score of event (0,), whose "
        "log-weights are (0.0, 1.0): expected 1.0, got 2.0. Look at chain(): whether each potential is there once, at "
        "each step in use, in its place; then at event() and path()."
    )


def test_an_event_of_another_form_is_shown_with_both_shapes():
    paths = lambda item: [((path.event,), path.weights) for path in oracle.paths(item)]  # noqa: E731
    with pytest.raises(
        StructureError, match=r"of shape \(1,\), but one of the paths has .* of shape \(1, 1\) \(a path's"
    ):
        check_structure(HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 2)), paths=paths)


def test_events_that_are_refused_lead_to_what_says_their_end():
    @dataclass(frozen=True)
    class Fixed(EditDistance):
        @property
        def event_shape(self):
            return (sum(self.substitution.shape[-2:]), 2)

        lengths: ClassVar[None] = None

    with pytest.raises(StructureError, match=r"are refused \(event_shape and unknown\(\) say .* is -1 before its end"):
        check_structure(Fixed(*(small("EditDistance", (), 2).potentials.values())))


def test_a_filtered_state_may_have_an_axis_for_each_of_its_parts():
    @dataclass(frozen=True)
    class Parts(HMM):
        def filtered(self, vectors):
            return vectors.unflatten(-1, (self.states, 1))

    check_structure(Parts(torch.zeros(2), torch.randn(2, 2), torch.randn(2, 3, 2), lengths=torch.tensor([3, 1])))


def test_a_structure_that_says_nothing_of_lengths_is_made_smaller_too():
    @dataclass(frozen=True)
    class Skewed(EditDistance):
        ragged: ClassVar[dict] = {}

        def event(self, path):
            return super().event(path).flip(-1)

    edit = small("EditDistance", (2,), 3)
    with pytest.raises(StructureError, match=r"path undoes event.*Skewed\(substitution=\[\[0.0\]\], "):
        check_structure(Skewed(edit.substitution, edit.deletion, edit.insertion))


@pytest.mark.parametrize("method", ["chain", "event", "path", "filtered"])
def test_the_error_of_a_structure_that_raises_is_its_own(method):
    def broken(*_):
        raise LookupError("of my own")

    kind = type("Mine", (HMM,), {method: broken})
    hmm = small("HMM", (2,), 2)
    with pytest.raises(LookupError, match="of my own"):
        check_structure(kind(hmm.initial, hmm.transition, hmm.emission))


def test_paths_that_cannot_be_listed_are_no_riddle():
    def deeper(hmm):
        yield (0,), [float(hmm.emission[0])]

    with pytest.raises(StructureError, match=r"cannot list the paths of HMM\(.* with paths=: .*look at ranks"):
        check_structure(small("HMM", (), 2), paths=deeper)


def test_an_event_of_more_items_than_its_path_is_pointed_at():
    @dataclass(frozen=True)
    class Longer(HMM):
        event_shape: ClassVar[None] = None

        def chain(self):
            arcs = Dense(self.transition.unsqueeze(-3)) @ Diagonal(self.emission)
            return Chain((self.initial, self.emission[..., 0, :]), arcs, length=self.emission.shape[-2])

    hmm = small("HMM", (), 2)
    with pytest.raises(StructureError, match=r"event \(0,\), with 1 times -1 behind it, as event\(\) has 2 items"):
        check_structure(Longer(hmm.initial, hmm.transition, hmm.emission), paths=hmm_paths)


def test_the_paths_of_a_sequence_are_listed_once():
    listed = Counter()

    def counted(hmm):
        listed[tuple(tuple(x.flatten().tolist()) for x in hmm.potentials.values())] += 1
        return hmm_paths(hmm)

    check_structure(small("HMM", (2,), 3, seed=2), paths=counted)
    assert len(listed) > 10  # of the structure, of features, of numbers that tell who is on a path
    assert set(listed.values()) == {1}


def test_a_wrong_sign_is_refused():
    with pytest.raises(StructureError, match=r"SignTurned breaks a law: conditioned log_partition .* Look at observed"):
        check_structure(SignTurned(small("MonotonicAlignment", (), 3).emission))


def test_a_biased_sampler_is_refused(monkeypatch):
    def biased(structure, shape, generator):
        best = semihmm.viterbi(structure)
        return semihmm.Paths(*(x.expand(*shape, *x.shape) for x in (best.event, best.score, best.valid)), structure)

    monkeypatch.setattr(semihmm, "sample", biased)
    with pytest.raises(LawError, match="do not fit its posterior"):
        check_structure(small("HMM", (), 2))


def test_more_paths_than_can_be_listed_are_refused():
    with pytest.raises(StructureError, match="more than 20,000 paths"):
        check_structure(small("HMM", (), 15))


def test_a_map_of_an_unknown_kind_is_refused():
    nothing = dict.fromkeys(Map.__abstractmethods__, ()) | {"memory": 1, "slots": 2, "steps": 1}
    nothing["rebuild"] = lambda self, leaves: self
    unknown = type("Spiral", (Map,), nothing)()

    @dataclass(frozen=True)
    class Odd(HMM):
        def chain(self):
            return Chain((self.initial,), unknown)

    hmm = small("HMM", (), 2)
    with pytest.raises(StructureError, match=r"cannot walk through a Spiral.*Pass paths="):
        oracle.paths(Odd(hmm.initial, hmm.transition, hmm.emission))


def test_a_log_weight_of_several_potentials_has_no_owner():
    def mixed(hmm):
        for event, weights in hmm_paths(hmm):
            yield event, [log_sum(weights[:2]), *weights[2:]]

    with pytest.raises(StructureError, match="mixes several potentials"):
        oracle.marginals(small("HMM"), mixed)


def test_a_kind_that_there_is_not_is_refused():
    with pytest.raises(StructureError, match="kind must be one of HMM"):
        small("HMMM")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn(kind):
    expected = type(small(kind))
    assert isinstance(find(structures(), lambda s: type(s) is expected), expected)


@given(structures(dtypes=[torch.float32], steps=3, forbidden=False), options(associative=False))
def test_draws_are_as_asked_for(structure, way):
    assert all(x.dtype == torch.float32 and x.isfinite().all() for x in structure.potentials.values())
    assert way["strategy"] in {"sequential", None}


def test_ragged_batches_and_forbidden_weights_are_drawn():
    ragged = find(structures(kinds=["HMM"]), lambda s: s.lengths is not None and len(s.lengths.unique()) > 1)
    assert ragged.batch_shape
    shut = find(structures(kinds=["HMM"]), lambda s: bool((s.emission == -math.inf).any()))
    assert shut.emission.isinf().any()


@dataclass(frozen=True)
class Unnamed(HMM):
    ranks: ClassVar[dict[str, int]] = {"initial": 1, "emission": 2}


@dataclass(frozen=True)
class Scaled(HMM):
    """Its transitions count `scale` times, which is no log-weight."""

    scale: torch.Tensor | None = None

    def chain(self):
        chain = super().chain()
        steps = Dense(self.transition.unsqueeze(-3) * self.scale) @ chain.steps.then
        return Chain(chain.start, steps, chain.end, chain.lengths, chain.length)


@dataclass(frozen=True)
class ScaledAndSaid(Scaled):
    indices: ClassVar[dict[str, int]] = {"emission_index": 1, "scale": 0}


def test_log_weights_that_ranks_leaves_out_are_named():
    hmm = small("HMM", (2,), 3, ragged=True)
    given = hmm.initial, hmm.transition, hmm.emission, None, hmm.lengths
    with pytest.raises(
        StructureError, match="log-weights of the chain come from transition, which ranks does not name"
    ):
        check_structure(Unnamed(*given))
    scale = torch.tensor(0.5, dtype=torch.float64)
    with pytest.raises(StructureError, match=r"come from scale.*multiplied by, name it in indices"):
        check_structure(Scaled(*given, scale=scale))
    check_structure(ScaledAndSaid(*given, scale=scale), samples=500)


@dataclass(frozen=True)
class Endless(HMM):
    """The end was meant to be state 0 and is forgotten."""


def test_a_forgotten_end_is_looked_for_in_the_chain_too():
    def paths(item):
        return ((event, weights) for event, weights in hmm_paths(item) if event[len(item.emission) - 1] == 0)

    with pytest.raises(StructureError, match=r"Look at path\(\).*or at start and end of chain\(\)"):
        check_structure(Endless(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 3, 2)), paths=paths)


def test_stretches_of_paths_are_read_as_a_stream_reads_them():
    @dataclass(frozen=True)
    class Closed(HSMM):
        """A last segment whose end is not there is none."""

        def event(self, path):
            event = super().event(path)
            last = event[..., 1:].sum(-1, keepdim=True) == self.steps
            return torch.where(last & (path.slots[..., -1:] < 0).unsqueeze(-1), -1, event)

    hsmm = HSMM(torch.zeros(1), torch.zeros(1, 1), torch.zeros(1, 2), torch.randn(2, 3, 1))
    check_structure(hsmm, samples=100)
    with pytest.raises(StructureError, match=r"Closed breaks a law: a stretch of a path has .* Look at event\(\) and"):
        check_structure(Closed(*hsmm.potentials.values()), samples=100)


def test_a_width_that_paths_tells_otherwise_may_be_a_mistake_in_paths():
    def split(item):
        for path in oracle.paths(item):
            yield path.event, [x for w in path.weights for x in (w if isinstance(w, tuple) else (w,))]

    hsmm = HSMM(*(torch.full(shape, -1.0) for shape in ((2,), (2, 2), (2, 2), (2, 2, 2))))
    with pytest.raises(StructureError, match=r"total in Bottleneck.*or at paths=.* in one tuple"):
        check_structure(hsmm, paths=split)
