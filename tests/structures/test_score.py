"""Scores of events: one gather along the path that an event stands for, for every structure."""

import math

import pytest
import torch

import semihmm
from semihmm import DTW, StepPattern, engine
from semihmm.engine import Chain, Compose, Dense, Diagonal, Path
from semihmm.errors import ShapeError, StructureError
from semihmm.semirings import TopK
from semihmm.structures.dtw import PATTERNS
from semihmm.testing import oracle
from semihmm.testing.evaluate import paths_of
from semihmm.testing.examples import KINDS, small

each_kind = pytest.mark.parametrize("kind", KINDS)


def assert_undone(structure: semihmm.Structure, k: int) -> None:
    """Events of the k best paths are those paths again, and have their scores."""
    chain = structure.chain()
    found = paths_of(chain, TopK(k))
    event = structure.event(found)
    slots = torch.where(found.valid.unsqueeze(-1), structure.path(event).slots, -1)
    time = torch.arange(chain.length + 1)
    over = time > (torch.tensor(chain.length) if chain.lengths is None else chain.lengths).unsqueeze(-1)
    assert torch.equal(torch.where(over, -1, slots), found.slots)
    scores = torch.where(found.valid, structure.score(event), -math.inf)  # what is no path may read as one of no arc
    torch.testing.assert_close(scores, found.value)
    torch.testing.assert_close(engine.score(chain, found), found.value)


@each_kind
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("ragged", [False, True])
def test_an_events_path_is_the_one_that_it_was_read_from(kind, batch, ragged):
    for seed in range(3):
        assert_undone(small(kind, batch, 4, ragged=ragged, forbidden=0.1 * (seed == 2), seed=seed), 5)


@pytest.mark.parametrize("shape", [(7, 7), (6, 9), (2, 8, 6)])
@pytest.mark.parametrize("ends", [{}, {"open_begin": True}, {"open_end": True}, {"open_begin": True, "open_end": True}])
def test_so_it_is_with_every_step_pattern(shape, ends):
    rabiner_juang = {f"{k}{w}": StepPattern.rabiner_juang(k, w) for k in range(1, 8) for w in "acd"}
    cost = torch.rand(shape, dtype=torch.float64)
    for name, pattern in (PATTERNS | rabiner_juang).items():
        dtw = DTW(cost, pattern, **ends)
        if semihmm.viterbi(dtw).valid.any():
            assert_undone(dtw, 4)
        else:
            assert ends == {} or (name == "rigid" and shape[-2] > shape[-1]), name


@each_kind
@pytest.mark.parametrize("ragged", [False, True])
def test_what_is_no_event_has_no_score(kind, ragged):
    random = torch.Generator().manual_seed(1)
    strange = torch.tensor([-(2**63), -3, -2, -1, -1, 0, 0, 1, 1, 2, 2, 3, 4, 5, 7, 2**62, 2**63 - 1])

    def draw(n, size):
        return torch.randint(n, (size,), generator=random)

    for seed in range(4):
        structure = small(kind, (), 4, ragged=ragged, seed=seed)
        known = {p.event: p.score for p in oracle.paths(structure)}
        if not known:
            continue
        whole = semihmm.viterbi(structure).event
        events = torch.full((600, *whole.shape), -1)
        for event, i in zip(events, draw(len(known), 600).tolist(), strict=True):
            right = list(known)[i]
            if right:
                event[: len(right)] = torch.tensor(right)
            for at in draw(event.numel(), int(draw(4, 1))).tolist() if event.numel() else ():
                event.view(-1)[at] = strange[draw(len(strange), 1)]
            if event.ndim == 2 and draw(3, 1) == 0:  # something that fits in part goes on after the end
                event[len(right) :][:1] = event[max(len(right) - 1, 0)] + draw(2, event.shape[1])
        used = structure.chain().lengths
        if (
            kind.startswith(("HMM", "FactorialHMM", "CTC", "Mono")) and used is not None
        ):  # what comes after the end does not count
            events[:, int(used) + (not kind.startswith("CTC")) :] = -1
        expected = [known.get(oracle.plain_event(event), -math.inf) for event in events]
        found = structure.score(events)
        assert torch.equal(found, torch.tensor(expected, dtype=torch.float64)), kind
        assert found.isfinite().any() and found.isinf().any()


@each_kind
def test_the_mean_gradient_of_scores_is_the_gradient_of_the_log_partition(kind):
    structure = small(kind, (), 3, seed=4)
    leaves = {n: x.clone().requires_grad_() for n, x in structure.potentials.items()}
    given, listed = structure.replace(**leaves), oracle.paths(structure)
    events = torch.full((len(listed), *semihmm.viterbi(structure).event.shape), -1)
    for event, path in zip(events, listed, strict=True):
        if path.event:
            event[: len(path.event)] = torch.tensor(path.event)
    score, total = given.score(events), semihmm.log_partition(given)
    chances = (score - total).exp().detach()
    found = torch.autograd.grad((chances * score).sum(), list(leaves.values()), materialize_grads=True)
    expected = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
    torch.testing.assert_close(found, expected)
    (counts,) = torch.autograd.grad(given.score(events[0]), [leaves[structure.observed]])
    if "DTW" not in kind:  # there a cell counts as often as its move says
        assert set((structure.sign * counts).unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_score_keeps_the_dtype(dtype):
    for kind in KINDS:
        structure = small(kind, (2,), 3, dtype=dtype)
        assert structure.score(semihmm.viterbi(structure).event).dtype == dtype


def test_a_path_of_another_length_is_refused():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
    with pytest.raises(ShapeError, match="this chain has 2 steps, so a path must have a slot at 3 times, got 4"):
        engine.score(hmm.chain(), Path.through(torch.zeros(4, dtype=torch.int64)))


def test_a_path_between_two_maps_that_both_move_it_is_refused_by_name():
    both = Compose(Dense(torch.zeros(1, 2, 3)), Dense(torch.zeros(1, 3, 2)))
    with pytest.raises(StructureError, match=r"Dense @ Dense: .* does not say where it is between them"):
        engine.score(Chain((torch.zeros(2),), both, length=1), Path.through(torch.zeros(2, dtype=torch.int64)))


def test_an_emission_may_come_before_the_arcs():
    arcs, seen = torch.randn(1, 2, 3), torch.randn(4, 2)
    early = Chain((torch.zeros(3),), Compose(Dense(arcs.mT), Compose(Diagonal(seen), Dense(arcs))), length=4)
    with pytest.raises(StructureError, match="Dense @ Compose"):
        engine.score(early, Path.through(torch.zeros(5, dtype=torch.int64)))
    square = torch.randn(1, 2, 2)
    chain = Chain((torch.zeros(2),), Compose(Diagonal(seen), Dense(square)), length=4)
    found = paths_of(chain, TopK(3))
    torch.testing.assert_close(engine.score(chain, found), found.value)


def test_a_diagonal_leads_nowhere_else():
    chain = Chain((torch.zeros(2),), Diagonal(torch.tensor([[1.0, 2.0]])), length=1)
    found = engine.score(chain, Path.through(torch.tensor([[0, 0], [1, 1], [0, 1]])))
    assert found.tolist() == [1.0, 2.0, -math.inf]


@pytest.mark.parametrize("backend", ["torch", None])
def test_a_long_score_is_rounded_once_and_is_that_of_the_best_path(backend):
    random = torch.Generator().manual_seed(0)
    hmm = semihmm.HMM(*(10 + torch.randn(shape, generator=random) for shape in [(3, 2), (3, 2, 2), (3, 4000, 2)]))
    best = semihmm.viterbi(hmm, backend=backend)
    found = semihmm.score(hmm, best.event)
    assert found.dtype == torch.float32
    assert torch.equal(found, semihmm.score(hmm.to(torch.float64), best.event).float())
    torch.testing.assert_close(found, best.score, rtol=torch.finfo(torch.float32).eps, atol=0)
