"""prune: which states it keeps, that good paths stay, and what it says of those that do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import semihmm
from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError
from semihmm.structures import Pruned
from semihmm.testing import oracle
from semihmm.testing.examples import small
from semihmm.testing.strategies_structures import structures

STATES = ("HMM", "HMM varying", "HMM arcs", "HMM banded", "HMM tied", "CTC", "CTC optional", "MonotonicAlignment")
BACKENDS = ("torch", None)  # None: the fastest
CRITERIA = st.sampled_from([{"within": 0.5}, {"within": 0.0}, {"top": 1}, {"top": 2}, {"alpha": 0.4}, {"alpha": 1.0}])
inf = torch.inf


def best_through(item: semihmm.Structure) -> dict[tuple[int, int], float]:
    """The best score of all paths through each slot at each time, path by path."""
    found: dict[tuple[int, int], float] = {}
    shape = semihmm.viterbi(item).event.shape
    for path in oracle.paths(item):
        event = torch.full(shape, -1)
        if path.event:
            event[: len(path.event)] = torch.tensor(path.event)
        for t, slot in enumerate(item.path(event).slots.tolist()):
            if slot >= 0 and path.score > -inf:
                found[t, slot] = max(found.get((t, slot), -inf), path.score)
    return found


def slots_of(pruned: Pruned) -> set[tuple[int, int]]:
    """The times and slots that one sequence keeps."""
    return {(t, slot) for t, row in enumerate(pruned.active.tolist()) for slot in row if slot >= 0}


@given(structures(STATES), CRITERIA, st.sampled_from(BACKENDS))
def test_the_best_path_is_always_kept(structure: semihmm.Structure, criteria: Any, backend: str | None) -> None:
    best, left = (semihmm.viterbi(s) for s in (structure, semihmm.prune(structure, **criteria, backend=backend)))
    assert torch.equal(left.valid, best.valid)
    close(left.score, best.score)


@given(structures(STATES), CRITERIA)
def test_no_path_that_was_pruned_scores_more_than_the_bound(structure: semihmm.Structure, criteria: Any) -> None:
    pruned = semihmm.prune(structure, **criteria)
    assert pruned.bound is not None
    for item, bound in zip(pruned.unbatch(), pruned.bound.flatten().tolist(), strict=True):
        kept = {p.event: float(semihmm.score(item, event(item, p))) for p in oracle.paths(item.base)}
        lost = [p.score for p in oracle.paths(item.base) if kept[p.event] == -inf]
        assert max(lost, default=-inf) <= bound + 1e-9
        top = semihmm.topk(item, 4).score
        whole = semihmm.topk(item.base, 4).score
        close(top[top > bound], whole[whole > bound])


@given(structures(STATES), st.floats(0, 4))
def test_within_keeps_what_a_path_of_that_score_goes_through(structure: semihmm.Structure, within: float) -> None:
    for item in semihmm.prune(structure, within=within).unbatch():
        scores = best_through(item.base)
        threshold = max(scores.values(), default=-inf) - within
        assert {at for at, score in scores.items() if score > threshold + 1e-9} <= slots_of(item)
        assert slots_of(item) <= {at for at, score in scores.items() if score > threshold - 1e-9}


@given(structures(STATES), st.floats(0, 1))
def test_alpha_is_between_the_mean_max_marginal_and_the_best_score(structure: semihmm.Structure, alpha: float) -> None:
    for item in semihmm.prune(structure, alpha=alpha).unbatch():
        scores = best_through(item.base)
        if scores:
            threshold = alpha * max(scores.values()) + (1 - alpha) * sum(scores.values()) / len(scores)
            assert {at for at, score in scores.items() if score > threshold + 1e-9} <= slots_of(item)
            best = {at for at, score in scores.items() if score >= max(scores.values()) - 1e-9}
            assert slots_of(item) <= best | {at for at, score in scores.items() if score > threshold - 1e-9}


@given(structures(STATES), st.integers(1, 3))
def test_top_keeps_the_best_of_each_time(structure: semihmm.Structure, top: int) -> None:
    for item in semihmm.prune(structure, top=top).unbatch():
        scores, kept = best_through(item.base), slots_of(item)
        for t in range(item.chain().length + 1):
            here = sorted((score for (time, _), score in scores.items() if time == t), reverse=True)
            mine = sorted((scores[at] for at in kept if at[0] == t), reverse=True)
            assert min(top, len(here)) <= len(mine) <= min(top, len(here)) + 1
            assert mine[:top] == pytest.approx(here[:top])


def test_all_criteria_are_to_be_met() -> None:
    hmm = small("HMM varying", (2,), steps=4, seed=3)
    both = semihmm.prune(hmm, within=1.0, top=1)
    assert both.active.shape[-1] == 1
    one, other = (torch.rand(20, 6, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    wide = semihmm.HMM(one[:, 0], torch.zeros(20, 20), other.T)
    assert semihmm.prune(wide, top=5, within=0.2).active.shape[-1] <= 5


@given(structures(("HMM", "HMM varying", "HMM arcs", "HMM banded")), st.integers(0, 9), st.sampled_from(BACKENDS))
def test_a_mask_is_a_condition_at_the_cost_of_what_is_left(hmm: semihmm.HMM, seed: int, backend: str | None) -> None:
    mask = torch.rand(hmm.emission.shape, generator=torch.Generator().manual_seed(seed)) < 0.6
    left, held = semihmm.prune(hmm, mask=mask), semihmm.condition(hmm, mask)
    close(semihmm.log_partition(left, backend=backend), semihmm.log_partition(held, backend=backend))
    close(semihmm.topk(left, 3, backend=backend).score, semihmm.topk(held, 3, backend=backend).score)
    found, expected = (semihmm.marginals(s).potentials for s in (left, held))
    for name, x in found.items():
        close(x, expected[name])
    close(semihmm.filtering(left), semihmm.filtering(held))
    assert left.bound is None


def test_a_mask_for_all_sequences_is_one_of_each() -> None:
    hmm = small("HMM", (3,), steps=4, ragged=True)
    mask = torch.tensor([True, False])[torch.randint(2, (4, 2))]
    assert semihmm.prune(hmm, mask=mask).active.ndim == 2
    each = semihmm.prune(hmm, mask=mask.expand(3, -1, -1))
    close(semihmm.log_partition(semihmm.prune(hmm, mask=mask)), semihmm.log_partition(each))


@given(structures(("HMM", "HMM varying", "HMM arcs", "HMM tied")), st.floats(0, 4))
def test_pruned_posteriors_add_up_to_at_least_what_was_lost(hmm: semihmm.HMM, within: float) -> None:
    pruned = semihmm.prune(hmm, within=within, by=semihmm.smoothing(hmm))
    whole = semihmm.log_partition(hmm)
    kept = torch.where(whole == -inf, 0.0, semihmm.log_partition(pruned) - whole).exp()
    assert pruned.lost is not None
    assert bool((1 - kept <= pruned.lost.exp() + 1e-9).all())


def test_a_cascade_prunes_by_what_a_cheaper_structure_says() -> None:
    hmm = semihmm.HMM(torch.randn(6), torch.randn(6, 6), torch.randn(3, 5, 6), lengths=torch.tensor([5, 1, 3]))
    coarse = semihmm.HMM(hmm.initial, hmm.transition.amax(0).expand(6, 6), hmm.emission, lengths=hmm.lengths)
    pruned = semihmm.prune(hmm, within=1.0, by=coarse)
    assert [slots_of(x) for x in pruned] == [slots_of(x) for x in semihmm.prune(coarse, within=1.0)]
    # Its scores are from above, so what the best path of what is left has over the bound, no other path has.
    found = semihmm.viterbi(pruned)
    assert pruned.bound is not None
    sure = found.score > pruned.bound
    assert bool((found.score == semihmm.viterbi(hmm).score)[sure].all())
    close(semihmm.prune(hmm, top=6, by=coarse).bound, torch.full((3,), -inf))


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_that_leave_no_path_get_the_best_one(backend: str | None) -> None:
    to_next = torch.full((3, 3), -inf)
    to_next[[0, 1, 2], [1, 2, 0]] = 0.0
    hmm = semihmm.HMM(torch.zeros(3), to_next, torch.zeros(2, 4, 3))
    scores = torch.tensor([0.0, -1.0, -1.0]).expand(2, 4, 3)
    scores = torch.stack([scores[0], torch.eye(3)[[0, 1, 2, 0]]])  # of the second sequence they leave one
    pruned = semihmm.prune(hmm, top=1, by=scores, backend=backend)
    assert torch.equal(semihmm.argmax(pruned), torch.stack([semihmm.argmax(hmm)[0], torch.tensor([0, 1, 2, 0])]))


def test_what_has_no_path_has_none_when_pruned() -> None:
    hmm = semihmm.HMM(torch.full((2,), -inf), torch.zeros(2, 2), torch.zeros(3, 2))
    for criteria in ({"top": 1}, {"within": 1.0}, {"alpha": 0.5}):
        assert float(semihmm.log_partition(semihmm.prune(hmm, **criteria))) == -inf
        assert not bool(semihmm.viterbi(semihmm.prune(hmm, **criteria)).valid)


def test_states_before_the_first_step_of_ctc_need_no_scores() -> None:
    ctc = semihmm.CTC(torch.randn(4, 3), torch.tensor([1, 2]))
    later = semihmm.prune(ctc, top=2, by=torch.arange(20.0).reshape(4, 5).flip(-1))
    assert bool(semihmm.viterbi(later).valid)
    mask = torch.ones(4, 5, dtype=torch.bool)
    close(semihmm.log_partition(semihmm.prune(ctc, mask=mask)), semihmm.log_partition(ctc))


def test_nothing_is_known_to_be_lost_of_other_potentials() -> None:
    hmm = small("HMM", (), steps=4)
    pruned = semihmm.prune(hmm, top=1)
    assert pruned.bound is not None and pruned.replace(emission=2 * hmm.potentials["emission"]).bound is None


def test_features_go_along_with_what_is_left() -> None:
    hmm = small("HMM", (2,), steps=4, seed=1)
    pruned = semihmm.prune(hmm, within=1.0)
    visits = torch.tensor([0.0, 1.0]).double()
    expected = semihmm.marginals(pruned).emission[..., 1].sum(-1)
    close(semihmm.expectation(pruned, pruned.feature(emission=visits.expand(4, 2))), expected)
    close(semihmm.kl_divergence(pruned, pruned.replace()), torch.zeros(2))


def test_it_asks_no_derivatives_and_leaves_those_of_what_is_left() -> None:
    emission = torch.randn(5, 4, requires_grad=True)
    pruned = semihmm.prune(semihmm.HMM(torch.zeros(4), torch.zeros(4, 4), emission), top=2)
    assert pruned.bound is not None and not pruned.bound.requires_grad
    semihmm.log_partition(pruned).backward()
    assert emission.grad is not None
    assert torch.equal(emission.grad != 0, torch.zeros(5, 4).scatter(-1, pruned.active, 1.0) != 0)


HMM = semihmm.HMM(torch.zeros(3), torch.zeros(3, 3), torch.zeros(4, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, SemihmmError, "say what to keep: within= .nats., top="),
        ({"within": -1.0}, SemihmmError, "at least 0 nats, got -1.0"),
        ({"within": torch.nan}, SemihmmError, "at least 0 nats, got nan"),
        ({"top": 0}, SemihmmError, "at least 1, got 0"),
        ({"top": 1.5}, ShapeError, "top must be integers"),
        ({"alpha": 1.5}, SemihmmError, "alpha lies between 0, .*got 1.5"),
        ({"mask": torch.ones(4, 3)}, ShapeError, "mask must be bool"),
        ({"mask": torch.ones(4, 2) > 0}, ShapeError, r"4 times and 3 states.*got \(4, 2\)"),
        ({"mask": torch.ones(3, 3) > 0}, ShapeError, r"4 times and 3 states.*got \(3, 3\)"),
        ({"mask": torch.ones(4, 3) > 0, "top": 2}, SemihmmError, "mask says which states are kept"),
        ({"top": 1, "by": torch.ones(2, 2)}, ShapeError, r"scores must be numbers.*got \(2, 2\)"),
        ({"top": 1, "by": torch.full((4, 3), torch.nan)}, DataError, "some are NaN"),
        ({"top": 1, "by": semihmm.HMM([0.0] * 3, torch.zeros(3, 3), torch.zeros(3, 3))}, ShapeError, r"got \(3, 3\)"),
        ({"top": 1, "by": small("HMM", (), steps=4)}, ShapeError, "the other structure's max-marginals must be"),
        ({"top": 1, "by": small("HSMM", (), steps=4)}, StructureError, "prune: HSMM has paths that pass over steps"),
        ({"top": 1, "bakend": "torch"}, TypeError, "Did you mean backend"),
    ],
    ids=lambda x: "" if not isinstance(x, dict) else " ".join(f"{k}" for k in x) or "nothing",
)
def test_what_makes_no_sense_is_refused(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        semihmm.prune(HMM, **arguments)


def event(item: Pruned, path: oracle.Path) -> Tensor:
    """An event as the structure has it."""
    whole = torch.full(semihmm.viterbi(item.base).event.shape, -1)
    if path.event:
        whole[: len(path.event)] = torch.tensor(path.event)
    return whole


def close(found: Tensor | None, expected: Tensor) -> None:
    """The same numbers, up to rounding."""
    assert found is not None
    torch.testing.assert_close(found, expected, check_dtype=False)


def test_what_is_constrained_is_pruned_along_its_arcs() -> None:
    g = torch.Generator().manual_seed(8)
    shapes = (10,), (10, 10), (3, 12, 10)
    hmm = semihmm.HMM(*(3 * torch.randn(s, generator=g, dtype=torch.float64) for s in shapes), lengths=[12, 9, 7])
    counted = semihmm.constrain(hmm, semihmm.automata.exactly(5, 1, 2))
    pruned = semihmm.prune(counted, top=3)
    steps = counted.along_arcs().chain().steps
    assert pruned.chain().steps.work < steps.work / 4
    close(semihmm.viterbi(pruned).score, semihmm.viterbi(counted).score)
    events = semihmm.topk(pruned, 3)
    close(semihmm.score(counted, events.event), events.score)
    close(semihmm.score(pruned, events.event), events.score)
    whole = semihmm.prune(counted, top=1000)
    close(dict(semihmm.marginals(whole).potentials), dict(semihmm.marginals(counted).potentials))
    again = semihmm.prune(whole, top=3)
    close(semihmm.log_partition(again), semihmm.log_partition(pruned))
    direct = Pruned(counted, pruned.active)
    close(semihmm.log_partition(direct), semihmm.log_partition(pruned))
    by = semihmm.prune(counted, top=3, by=counted)
    assert torch.equal(by.active, pruned.active)
