"""Conditional random fields against all their paths one by one, against pytorch-crf, and against themselves."""

import math
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm import automata
from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError
from semihmm.models import CRF, LinearChainCRF, SemiMarkovCRF, constraints
from semihmm.testing import oracle

M = TypeVar("M", LinearChainCRF, SemiMarkovCRF)
STATES, STEPS, LONGEST = 3, 4, 3
LENGTHS = torch.tensor([4, 3, 1])
ALLOWED = [[True, True, False], [False, True, True], [True, False, True]]
LOSSES = ("nll", "hinge", "risk")


def random(crf: M, seed: int = 0) -> M:
    """The same CRF with scores drawn at random, in float64."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in crf.double().parameters():
            parameter.normal_(generator=generator)
    return crf


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Case(NamedTuple):
    """A CRF, with all that it may take."""

    crf: LinearChainCRF | SemiMarkovCRF
    scores: Tensor | None
    features: dict[str, Tensor]

    @property
    def structure(self) -> Any:
        return self.crf(self.scores, LENGTHS, **self.features)


CASES: dict[str, Callable[[], Case]] = {
    "linear": lambda: Case(random(LinearChainCRF(STATES)), drawn(3, STEPS, STATES), {}),
    "masked": lambda: Case(
        random(LinearChainCRF(STATES, allowed=ALLOWED, start=[0, 1], end=[0, 2])), drawn(3, STEPS, STATES), {}
    ),
    "varying": lambda: Case(
        random(LinearChainCRF(STATES, allowed=ALLOWED)),
        drawn(3, STEPS, STATES),
        {"transition": drawn(3, STEPS - 1, STATES, STATES, seed=2)},
    ),
    "segments": lambda: Case(
        random(SemiMarkovCRF(STATES, LONGEST, allowed=ALLOWED, start=[0, 1])), drawn(3, STEPS, STATES), {}
    ),
    "censored": lambda: Case(
        random(SemiMarkovCRF(STATES, LONGEST, allowed=ALLOWED, censored="right")), drawn(3, STEPS, STATES), {}
    ),
    "scored segments": lambda: Case(
        random(SemiMarkovCRF(STATES, LONGEST)),
        drawn(3, STEPS, STATES),
        {
            "transition": drawn(3, STEPS - 1, STATES, STATES, seed=2),
            "segment": drawn(3, STEPS, LONGEST, STATES, seed=3),
        },
    ),
    "nothing but segments": lambda: Case(
        random(SemiMarkovCRF(STATES, LONGEST)), None, {"segment": drawn(3, STEPS, LONGEST, STATES, seed=3)}
    ),
}
every_case = pytest.mark.parametrize("case", [make() for make in CASES.values()], ids=list(CASES))


def steps_of(event: tuple[Any, ...]) -> list[int]:
    """The label of each step of a path."""
    return [s for x in event for s in ([x[0]] * x[2] if isinstance(x, tuple) else [x])]


def begins_of(event: tuple[Any, ...]) -> list[bool]:
    """Whether a segment begins with each step."""
    return [first for _, _, length in event for first in [True, *[False] * (length - 1)]]


def filled(rows: list[list[int]], filling: int = -1) -> Tensor:
    return torch.tensor([row + [filling] * (STEPS - len(row)) for row in rows])


def paths(structure: Any) -> list[list[oracle.Path]]:
    """The possible paths of each sequence."""
    structure = structure.holding(**{n: x.detach() for n, x in structure.potentials.items()})
    return [[p for p in oracle.paths(item) if p.score > -math.inf] for item in structure.unbatch()]


def added(log_weights: list[float]) -> float:
    return float(torch.tensor(log_weights, dtype=torch.float64).logsumexp(0))


def some_labels(structure: Any, seed: int = 0) -> Tensor:
    """The label of each step of a path for each sequence, any number behind the end."""
    event = semihmm.sample(structure, (1,), torch.Generator().manual_seed(seed)).states[0]
    return torch.where(event < 0, 99, event)


# What a CRF is


def test_the_score_of_labels_is_that_of_their_steps_and_of_what_follows_what() -> None:
    crf, scores = random(LinearChainCRF(STATES)).requires_grad_(False), drawn(STEPS, STATES)
    total = {
        labels: float(crf.initial[labels[0]] + crf.final[labels[-1]])
        + sum(float(scores[t, s]) for t, s in enumerate(labels))
        + sum(float(crf.transition[a, b]) for a, b in pairwise(labels))
        for labels in product(range(STATES), repeat=STEPS)
    }
    every = added(list(total.values()))
    assert_close(semihmm.log_partition(crf(scores)), torch.tensor(every, dtype=torch.float64))
    for labels, score in total.items():
        assert float(crf.log_prob(scores, torch.tensor(labels))) == pytest.approx(score - every)
    best = max(total, key=lambda labels: total[labels])
    assert crf.predict(scores).tolist() == list(best)
    assert float(crf.decode(scores).score) == pytest.approx(total[best])


def test_the_score_of_segments_is_that_of_their_steps_lengths_and_features() -> None:
    crf = random(SemiMarkovCRF(STATES, LONGEST))
    scores, segment = drawn(STEPS, STATES), drawn(STEPS, LONGEST, STATES)
    transition = drawn(STEPS - 1, STATES, STATES)
    structure = crf(scores, transition=transition, segment=segment)
    segments = torch.tensor([[2, 0, 1], [1, 1, 3]])
    found = crf.initial[2] + crf.duration[2, 0] + scores[0, 2] + segment[0, 0, 2]
    found = found + crf.transition[2, 1] + transition[0, 2, 1]
    found = found + crf.duration[1, 2] + scores[1:, 1].sum() + segment[3, 2, 1] + crf.final[1]
    expected = found - semihmm.log_partition(structure)
    assert_close(crf.log_prob(scores, segments, transition=transition, segment=segment), expected)


@every_case
def test_answers_are_those_of_the_structure(case: Case) -> None:
    crf, scores, features = case
    structure = case.structure
    best = semihmm.viterbi(structure)
    assert torch.equal(crf.decode(scores, LENGTHS, **features).event, best.event)
    assert torch.equal(crf.predict(scores, LENGTHS, **features), best.states)
    posterior = crf.predict_proba(scores, LENGTHS, **features)
    assert_close(posterior, semihmm.marginals(structure).emission.detach())
    for i, length in enumerate(LENGTHS.tolist()):
        assert_close(posterior[i].sum(-1), (torch.arange(STEPS) < length).double())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_pytorch_crf_says_the_same(reduction: str) -> None:
    torchcrf = pytest.importorskip("torchcrf")
    generator = torch.Generator().manual_seed(0)
    crf, other = random(LinearChainCRF(5)), torchcrf.CRF(5, batch_first=True).double()
    renamed = {"start_transitions": crf.initial, "transitions": crf.transition, "end_transitions": crf.final}
    other.load_state_dict(renamed)
    scores, lengths = drawn(6, 9, 5), torch.tensor([9, 4, 1, 7, 9, 2])
    labels, mask = torch.randint(5, (6, 9), generator=generator), torch.arange(9) < lengths.unsqueeze(-1)
    ours = crf.nll(scores, labels, lengths, reduction=reduction)  # type: ignore[arg-type]
    theirs = -other(scores, labels, mask, reduction=reduction)
    assert_close(ours, theirs)
    mine = torch.autograd.grad(ours.sum(), [crf.initial, crf.transition, crf.final])
    assert_close(mine, torch.autograd.grad(theirs.sum(), list(map(other.get_parameter, renamed))))
    best = crf.predict(scores, lengths)
    assert [x[:n].tolist() for x, n in zip(best, lengths.tolist(), strict=True)] == other.decode(scores, mask)


# Losses


@every_case
def test_partial_labels_have_the_probability_of_all_paths_that_agree(case: Case) -> None:
    structure = case.structure
    labels = some_labels(structure)
    labels[0, 1:3] = labels[1, 0] = labels[1, 2] = -1
    expected = []
    for item, said in zip(paths(structure), labels.tolist(), strict=True):
        agree = [p.score for p in item if all(a in (-1, b) for a, b in zip(said, steps_of(p.event), strict=False))]
        expected.append(added([p.score for p in item]) - added(agree))
    loss = case.crf.nll(case.scores, labels, LENGTHS, reduction="none", **case.features)
    assert_close(loss, torch.tensor(expected, dtype=torch.float64))
    sets = torch.nn.functional.one_hot(labels.clamp(0, 2), STATES).bool() | (labels == -1).unsqueeze(-1)
    assert_close(case.crf.nll(case.scores, sets, LENGTHS, reduction="none", **case.features), loss)
    assert_close(case.crf.log_prob(case.scores, labels, LENGTHS, **case.features), -loss)


@every_case
def test_a_label_that_is_one_of_two_has_the_probability_of_either(case: Case) -> None:
    structure, sets = case.structure, torch.ones(3, STEPS, STATES, dtype=torch.bool)
    sets[:, 0, 2] = False
    expected = [
        added([p.score for p in item]) - added([p.score for p in item if steps_of(p.event)[0] != 2])
        for item in paths(structure)
    ]
    loss = case.crf.nll(case.scores, sets, LENGTHS, reduction="none", **case.features)
    assert_close(loss, torch.tensor(expected, dtype=torch.float64))


@every_case
def test_what_is_not_known_at_all_costs_nothing(case: Case) -> None:
    nothing = torch.full((3, STEPS), -1)
    for loss in LOSSES:
        value = getattr(case.crf, loss)(case.scores, nothing, LENGTHS, **case.features)
        assert_close(value, torch.zeros_like(value), atol=1e-12, rtol=0.0)


@every_case
@pytest.mark.parametrize("margin", [1.0, 0.5])
@pytest.mark.parametrize("partial", [False, True], ids=["all", "partial"])
def test_the_hinge_is_what_the_best_path_with_its_cost_is_ahead(case: Case, margin: float, partial: bool) -> None:
    structure = case.structure
    labels = some_labels(structure)
    if partial:
        labels[0, 1] = -1
    expected = []
    for item, said in zip(paths(structure), labels.tolist(), strict=True):
        cost = [sum(a not in (-1, b) for a, b in zip(said, steps_of(p.event), strict=False)) for p in item]
        ahead = max(p.score + margin * c for p, c in zip(item, cost, strict=True))
        expected.append(ahead - max(p.score for p, c in zip(item, cost, strict=True) if c == 0))
    loss = case.crf.hinge(case.scores, labels, LENGTHS, margin=margin, reduction="none", **case.features)
    assert_close(loss, torch.tensor(expected, dtype=torch.float64))


@torch.no_grad()
def test_the_hinge_is_never_negative_whatever_is_rounded() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(6, (64, 60), generator=generator)
    scores = torch.randn(64, 60, 6, generator=generator) + 30 * torch.nn.functional.one_hot(labels, 6)
    loss = random(LinearChainCRF(6)).float().hinge(scores, labels, reduction="none")
    assert (loss >= 0).all() and (loss < 1e-3).all()


@every_case
def test_the_risk_is_the_mean_number_of_wrong_labels(case: Case) -> None:
    structure = case.structure
    labels = some_labels(structure)
    labels[0, 1] = -1
    expected = []
    for item, said in zip(paths(structure), labels.tolist(), strict=True):
        every = added([p.score for p in item])
        cost = [sum(a not in (-1, b) for a, b in zip(said, steps_of(p.event), strict=False)) for p in item]
        expected.append(sum(math.exp(p.score - every) * c for p, c in zip(item, cost, strict=True)))
    loss = case.crf.risk(case.scores, labels, LENGTHS, reduction="none", **case.features)
    assert_close(loss, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("loss", ["hinge", "risk"])
def test_a_cost_of_ones_own_stands_for_that_of_wrong_labels(loss: str) -> None:
    crf, scores, _ = CASES["masked"]()
    labels = some_labels(crf(scores, LENGTHS))
    wrong = (torch.arange(STATES) != labels.unsqueeze(-1)).double()
    given = getattr(crf, loss)(scores, labels, LENGTHS, cost=wrong)
    assert_close(given, getattr(crf, loss)(scores, labels, LENGTHS))
    assert getattr(crf, loss)(scores, labels, LENGTHS, cost=3 * wrong) > given


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("partial", [False, True], ids=["all", "partial"])
def test_gradients_are_those_of_the_loss(loss: str, case: str, partial: bool) -> None:
    crf, scores, features = CASES[case]()
    labels = some_labels(crf(scores, LENGTHS, **features))
    if partial:
        labels[0, 1:3] = -1
    inputs = {**features, **({} if scores is None else {"scores": scores})}
    names = [*(f"crf.{n}" for n, _ in crf.named_parameters()), *inputs]

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.crf = crf

        def forward(self, scores: Tensor | None = None, **features: Tensor) -> Tensor:
            value: Tensor = getattr(self.crf, loss)(scores, labels, LENGTHS, **features)
            return value

    def value(*given: Tensor) -> Tensor:
        by_name = dict(zip(names, given, strict=True))
        parameters = {n: by_name.pop(n) for n in names if n.startswith("crf.")}
        found: Tensor = torch.func.functional_call(Loss(), parameters, (), by_name)
        return found

    leaves = [*crf.parameters(), *(x.requires_grad_() for x in inputs.values())]
    assert torch.autograd.gradcheck(value, leaves, fast_mode=True)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_go_through_transforms(loss: str) -> None:
    crf, scores, _ = CASES["masked"]()
    labels = some_labels(crf(scores, LENGTHS))
    labels[1, 2] = -1

    def value(scores: Tensor) -> Tensor:
        found: Tensor = getattr(crf, loss)(scores, labels, LENGTHS)
        return found

    assert scores is not None
    scores.requires_grad_()
    (expected,) = torch.autograd.grad(value(scores), scores)
    assert_close(torch.func.grad(value)(scores), expected)
    assert_close(torch.compile(value, fullgraph=True, backend="eager")(scores), value(scores))
    one_by_one = torch.func.vmap(getattr(crf, loss))(scores, labels, LENGTHS)
    assert_close(one_by_one, getattr(crf, loss)(scores, labels, LENGTHS, reduction="none"))


@every_case
def test_what_lies_behind_the_end_does_not_matter(case: Case) -> None:
    crf, scores, features = case
    given = {**features, "scores": drawn(3, STEPS, STATES) if scores is None else scores}
    labels = some_labels(case.crf(given["scores"], LENGTHS, **features))
    spoilt = {n: x.clone() for n, x in given.items()}
    for i, length in enumerate(LENGTHS.tolist()):
        for name, x in spoilt.items():
            x[i, length - (name == "transition") :] = math.nan
    leaves = {n: x.requires_grad_() for n, x in spoilt.items()}
    for loss in LOSSES:
        together = getattr(crf, loss)(labels=labels, lengths=LENGTHS, reduction="none", **leaves)
        alone = []
        for i, length in enumerate(LENGTHS.tolist()):
            cut = {n: x[i, : length - (n == "transition")] for n, x in given.items()}
            if length == 1:
                cut.pop("transition", None)
            alone.append(getattr(crf, loss)(labels=labels[i, :length], **cut))
        assert_close(together, torch.stack(alone))
        for grad in torch.autograd.grad(together.sum(), list(leaves.values())):
            assert grad.isfinite().all()
            assert all(bool((grad[i, n:] == 0).all()) for i, n in enumerate(LENGTHS.tolist()))


def test_sequences_may_lie_along_several_axes_or_none() -> None:
    crf = random(LinearChainCRF(STATES, allowed=ALLOWED))
    scores = drawn(2, 3, STEPS, STATES)
    labels = semihmm.sample(crf(scores), (1,), torch.Generator().manual_seed(0)).event[0]
    losses = crf.nll(scores, labels, reduction="none")
    assert losses.shape == (2, 3)
    assert_close(losses[1, 2], crf.nll(scores[1, 2], labels[1, 2]))
    assert_close(crf.nll(scores, labels), losses.mean())
    assert_close(crf.nll(scores, labels, reduction="sum"), losses.sum())


# Segments


@pytest.mark.parametrize("case", ["segments", "censored", "scored segments", "nothing but segments"])
def test_segments_can_be_said_in_two_ways(case: str) -> None:
    crf, scores, features = CASES[case]()
    structure = crf(scores, LENGTHS, **features)
    for i, item in enumerate(paths(structure)):
        every = added([p.score for p in item])
        for path in item[:: max(1, len(item) // 7)]:
            event = torch.tensor(path.event)
            pair = filled([steps_of(path.event)], 7)[0], filled([[int(x) for x in begins_of(path.event)]], 1)[0]
            given = {n: x[i] for n, x in features.items()}
            for labels in (event, pair, (pair[0], pair[1] == 1)):
                found = crf.log_prob(None if scores is None else scores[i], labels, LENGTHS[i], **given)
                assert float(found.detach()) == pytest.approx(path.score - every)


@pytest.mark.parametrize("case", ["segments", "censored", "scored segments", "nothing but segments"])
def test_decoded_segments_are_labels(case: str) -> None:
    crf, scores, features = CASES[case]()
    best = crf.decode(scores, LENGTHS, **features)
    expected = best.score - semihmm.log_partition(crf(scores, LENGTHS, **features))
    assert_close(crf.log_prob(scores, best.event, LENGTHS, **features), expected)


@pytest.mark.parametrize("case", ["segments", "censored", "scored segments", "nothing but segments"])
@pytest.mark.parametrize("labelled", [False, True])
def test_a_segmentation_that_is_known_in_part_is_the_sum_over_all_that_agree(case: str, labelled: bool) -> None:
    crf, scores, features = CASES[case]()
    structure = crf(scores, LENGTHS, **features)
    chosen = [item[len(item) // 2].event for item in paths(structure)]
    labels = filled([steps_of(event) for event in chosen])
    if not labelled:
        labels[:] = -1
    begins = filled([[int(x) for x in begins_of(event)] for event in chosen], 1)
    begins[0, 1] = begins[1, 2] = -1
    expected = []
    for item, said, begun in zip(paths(structure), labels.tolist(), begins.tolist(), strict=True):
        agree = [
            p.score
            for p in item
            if all(a in (-1, b) for a, b in zip(said, steps_of(p.event), strict=False))
            and all(a in (-1, b) for a, b in zip(begun, begins_of(p.event), strict=False))
        ]
        expected.append(added(agree) - added([p.score for p in item]))
    found = crf.log_prob(scores, (labels, begins), LENGTHS, **features)
    assert_close(found, torch.tensor(expected, dtype=torch.float64))


# What is forbidden


@pytest.mark.parametrize("case", ["masked", "varying", "segments", "censored"])
def test_what_is_forbidden_never_comes_and_is_never_trained(case: str) -> None:
    crf, scores, features = CASES[case]()
    assert scores is not None
    allowed = torch.tensor(ALLOWED)
    with torch.no_grad():  # the more it would like to
        crf.transition[~allowed] = 1e4
        crf.initial[~crf.start] = 1e4
        crf.final[~crf.end] = 1e4
    scores.requires_grad_()
    structure = crf(scores, LENGTHS, **features)
    for found in (semihmm.topk(structure, 5).event, semihmm.sample(structure, (50,)).event):
        for event in found.flatten(0, 1).tolist():
            said = [x[0] if isinstance(x, list) else x for x in event if x not in (-1, [-1] * 3)]
            assert all(ALLOWED[a][b] for a, b in pairwise(said))
            assert not said or (crf.start[said[0]] and crf.end[said[-1]])
    for loss in LOSSES:
        crf.zero_grad()
        value = getattr(crf, loss)(scores, some_labels(structure), LENGTHS, **features)
        torch.autograd.backward(value)
        assert value.isfinite()
        for name, parameter in crf.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        for parameter, mask in ((crf.transition, allowed), (crf.initial, crf.start), (crf.final, crf.end)):
            assert parameter.grad is not None and (parameter.grad[~mask] == 0).all()


def test_a_forbidden_path_has_no_probability_and_no_gradient() -> None:
    crf, scores = random(LinearChainCRF(STATES, allowed=ALLOWED)), drawn(2, STEPS, STATES).requires_grad_()
    labels = torch.tensor([[0, 0, 2, 2], [0, -1, 0, 0]])
    found = crf.log_prob(scores, labels)
    assert found.tolist() == [-math.inf, pytest.approx(float(crf.log_prob(scores[1], labels[1]).detach()))]
    assert crf.log_prob(scores, labels.clamp(min=0)).tolist()[0] == -math.inf
    (grad,) = torch.autograd.grad(found.sum(), scores)
    assert grad.isfinite().all() and (grad[0] == 0).all()


@pytest.mark.parametrize("loss", ["nll", "hinge"])
@pytest.mark.parametrize(
    ("labels", "place"),
    [
        ([1, 2, 0, 2, 1], r"labels are impossible: .* label 2 at step 3 where step 2 has label 0\."),
        ([2, 2, 0, 1, 1], r"label 2 at step 0\."),
        ([0, 0, 0, 0, 1], r"label 1 at step 4 where step 3 has label 0\."),
        ([0, 0, -1, 2, 0], None),
        ([0, 2, -1, -1, -1], r"label 2 at step 1 where step 0 has label 0\."),
        ([0, -1, 2, -1, 1], r"label 1 at step 4 where step 3 has any label\."),
    ],
    ids=["transition", "start", "end", "possible", "known", "unknown"],
)
def test_labels_of_no_path_are_refused_with_their_place(labels: list[int], place: str | None, loss: str) -> None:
    crf = random(LinearChainCRF(STATES, allowed=ALLOWED, start=[0, 1], end=[0, 2]))
    value = getattr(crf, loss)
    if place is None:
        assert value(drawn(5, STATES), torch.tensor(labels)).isfinite()
        return
    with pytest.raises(DataError, match=place):
        value(drawn(5, STATES), torch.tensor(labels))


def test_the_sequence_whose_labels_are_impossible_is_named() -> None:
    crf, scores = random(LinearChainCRF(STATES, allowed=ALLOWED)), drawn(2, 2, 3, STATES)
    labels = torch.zeros(2, 2, 3, dtype=torch.int64)
    labels[1, 0, 2] = 2
    with pytest.raises(DataError, match=r"LinearChainCRF: labels\[1, 0\] are impossible: .*label 2 at step 2"):
        crf.nll(scores, labels)
    nothing = torch.ones(2, 2, 3, STATES, dtype=torch.bool)
    nothing[0, 1, 1] = False
    with pytest.raises(DataError, match=r"labels\[0, 1\] are impossible: .* no label at step 1 where .* any label"):
        crf.nll(scores, nothing)


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        ([[0, 0, 2], [2, 2, 1], [2, 3, 1]], "label 2 at step 2 where step 1 has label 0"),
        ([[0, 0, 4]], "label 0 at step 3"),
        ([[0, 0, 3], [2, 3, 1]], "label 2 at step 3 where step 2 has label 0"),
        (([0, 0, 1, 1], [1, 0, 0, 1]), "label 1 at step 2 where step 1 has label 0"),
        (([0, 0, 1, 1], [0, 1, 1, 0]), "label 0 at step 0"),
        (([0, 0, 0, -1], [1, 0, 0, 0]), "any label at step 3"),
    ],
    ids=["transition", "too long", "end", "no segment begins", "the first", "unknown"],
)
def test_segments_of_no_path_are_refused_with_their_place(labels: Any, place: str) -> None:
    crf = random(SemiMarkovCRF(STATES, LONGEST, allowed=ALLOWED, end=[0, 1]))
    given = tuple(map(torch.tensor, labels)) if isinstance(labels, tuple) else torch.tensor(labels)
    with pytest.raises(DataError, match=f"SemiMarkovCRF: labels are impossible: .*{place}"):
        crf.nll(drawn(STEPS, STATES), given)


@pytest.mark.parametrize(
    ("segments", "at"),
    [
        ([[0, 0, 2], [1, 3, 1]], r"segments\[1\] is \[1, 3, 1\]"),
        ([[0, 1, 3]], r"segments\[0\] is \[0, 1, 3\]"),
        ([[0, 0, 2], [1, 2, 1]], r"segments\[1\] is \[1, 2, 1\]"),
        ([[0, 0, 2], [1, 2, 3]], r"segments\[1\] is"),
        ([[0, 0, 2], [1, 2, 0], [1, 2, 2]], r"segments\[1\] is"),
        ([[0, 0, 2], [-1, -1, -1], [1, 2, 2]], r"segments\[1\] is"),
        ([[0, 0, 5], [-1, -1, -1]], r"segments\[0\] is"),
        ([[0, 0, 2], [-1, 2, 2]], r"segments\[1\] is \[-1, 2, 2\]"),
        ([[0, 0, 2], [1, 2, 2], [-1, -1, 0]], r"segments\[2\] is"),
    ],
    ids=["gap", "late", "early", "beyond", "empty", "hole", "all beyond", "no state", "no filling"],
)
def test_segments_that_do_not_tile_the_sequence_are_refused(segments: list[list[int]], at: str) -> None:
    with pytest.raises(DataError, match=f"SemiMarkovCRF: {at}"):
        random(SemiMarkovCRF(STATES, LONGEST)).log_prob(drawn(STEPS, STATES), torch.tensor(segments))


@pytest.mark.parametrize("crf", [LinearChainCRF(STATES), SemiMarkovCRF(STATES, LONGEST)], ids=["linear", "segments"])
@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (torch.tensor([0, 3, 0, 0]), DataError, r"labels\[1\] is 3, but labels are 0 to 2, or -1"),
        (torch.tensor([0, 0, -2, 0]), DataError, r"labels\[2\] is -2"),
        (torch.tensor([0, 0, 0]), ShapeError, r"labels must be integers \(..., T\) = \(4,\), .* got \(3,\)"),
        (torch.zeros(4), ShapeError, "of torch.float32"),
        (torch.ones(4, dtype=torch.bool), ShapeError, r"got \(4,\) of torch.bool"),
        (torch.ones(4, 2, dtype=torch.bool), ShapeError, r"or bool \(..., T, S\) = \(4, 3\)"),
    ],
    ids=["too high", "too low", "shape", "float", "bool", "mask"],
)
def test_labels_that_are_none_are_refused(crf: M, labels: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"{type(crf).__name__}: .*{message}"):
        crf.nll(torch.zeros(STEPS, STATES), labels)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: LinearChainCRF(3)(torch.zeros(4, 2)), r"scores must be \(..., T, S\) with S = 3, got \(4, 2\)"),
        (lambda: LinearChainCRF(3)(torch.zeros(4, 3), transition=torch.zeros(3, 2, 2)), "transition must be"),
        (lambda: LinearChainCRF(3, end=[3]), "end must name at least one of the states 0 to 2"),
        (lambda: LinearChainCRF(3, allowed=[[True]]), "allowed must be bool"),
        (lambda: SemiMarkovCRF(3, 0), "max_duration is a number of steps"),
        (lambda: SemiMarkovCRF(3, 2)(None, segment=torch.zeros(4, 2, 2)), r"segment must be \(..., T, D, S\)"),
        (lambda: SemiMarkovCRF(3, 2).nll(torch.zeros(4, 3), torch.zeros(2, 2, dtype=torch.int64)), "segments must be"),
        (
            lambda: SemiMarkovCRF(3, 2).nll(torch.zeros(4, 3), (torch.zeros(4).long(), torch.zeros(3).bool())),
            r"where segments begin must be bool \(..., T\) = \(4,\)",
        ),
        (lambda: LinearChainCRF(3).risk(torch.zeros(4, 3), torch.zeros(4).long(), cost=torch.ones(3)), "cost must be"),
        (
            lambda: LinearChainCRF(3).nll(torch.zeros(4, 3), torch.zeros(4).long(), reduction="mode"),  # type: ignore[arg-type]
            "reduction must be 'mean', 'sum' or 'none', got 'mode'",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(SemihmmError, match=message):
        wrong()


# Tagging schemes

TAGS = ["O", "B-x", "I-x", "B-y", "I-y"]
ENDED = ["O", "B-x", "I-x", "E-x", "S-x"]
LANGUAGES = {
    "bio": (automata.bio(TAGS), 5),
    "bioes": (automata.bioes(ENDED), 5),
    "bio without O": (automata.bio(TAGS[1:]), 4),
    "no repeat": (automata.no_repeat(), 3),
    "one only": (automata.label(1).repeat(1), 3),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_constraints_allow_what_the_language_does(language: str) -> None:
    scheme, count = LANGUAGES[language]
    crf = LinearChainCRF(count, **constraints(scheme, count))
    accepts = scheme.automaton(count).accepts
    for steps in (1, 2, 3, 4):
        every = torch.tensor(list(product(range(count), repeat=steps)))
        found = semihmm.score(crf(torch.zeros(steps, count)), every) == 0
        assert found.tolist() == [accepts(labels) for labels in every.tolist()]


def test_a_label_that_never_comes_leads_nowhere() -> None:
    found = constraints(automata.label(1).repeat(1), 3)
    assert found["allowed"].nonzero().tolist() == [[1, 1]] and found["start"] == found["end"] == [1]


@pytest.mark.parametrize(
    ("language", "message"),
    [
        (automata.exactly(2, 1), "remembers more than the last label"),
        (automata.label(0) & automata.label(1), "allows no sequence"),
        (automata.label(0).repeat(0, 0), "allows no sequence"),
    ],
)
def test_a_language_of_more_than_neighbours_is_refused(language: automata.Language, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        constraints(language, 3)


# In use


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["linear", "segments"])
def test_training_finds_the_labels_also_where_some_are_missing(loss: str, kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (20, 4), generator=generator).repeat_interleave(3, -1)  # each lasts three steps or more
    x = labels.unsqueeze(-1) + 0.5 * torch.randn(20, 12, 1, generator=generator)
    crf: CRF[Any] = LinearChainCRF(2) if kind == "linear" else SemiMarkovCRF(2, 12)
    network = torch.nn.Linear(1, 2)
    with torch.no_grad():
        network.weight.zero_()
    optimizer = torch.optim.Adam([*crf.parameters(), *network.parameters()], lr=0.1)
    before = (crf.predict(network(x)) == labels).float().mean()
    seen = torch.where(torch.rand(20, 12, generator=generator) < 0.3, -1, labels)
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(getattr(crf, loss)(network(x), seen))
        optimizer.step()
    after = (crf.predict(network(x)) == labels).float().mean()
    assert before < 0.7 and after > 0.9


@pytest.mark.parametrize("case", ["masked", "segments", "censored"])
def test_a_crf_in_a_file_is_the_same(case: str, tmp_path: Path) -> None:
    crf, scores, _ = CASES[case]()
    crf.save(tmp_path / "crf.safetensors")
    again = type(crf).load(tmp_path / "crf.safetensors")
    assert again.config == crf.config
    one, other = crf(scores, LENGTHS), again(scores, LENGTHS)
    assert all(torch.equal(x, other.potentials[n]) for n, x in one.potentials.items())
    other_kind = SemiMarkovCRF if isinstance(crf, LinearChainCRF) else LinearChainCRF
    with pytest.raises(DataError, match=f"holds a {type(crf).__name__}, not a {other_kind.__name__}"):
        other_kind.load(tmp_path / "crf.safetensors")
