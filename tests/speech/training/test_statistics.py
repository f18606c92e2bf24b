"""Statistics of a recording, against adding up its paths one by one."""

from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch

from semihmm.speech import AcousticModel, FrontEnd, Interval, Pronunciation, build_graph
from semihmm.speech.training.estimation import left_to_right
from semihmm.speech.training.mixtures import Mixtures
from semihmm.speech.training.statistics import Draft, Example, path_of, statistics_of, statistics_of_path


def random_draft(seed=0, phones=("A", "B", "SIL"), states=1, components=2, features=2):
    generator = torch.Generator().manual_seed(seed)
    columns = len(phones) * states
    mixtures = Mixtures(
        torch.rand(columns, components, generator=generator, dtype=torch.float64).log().log_softmax(1),
        torch.randn(columns, components, features, generator=generator, dtype=torch.float64),
        torch.rand(columns, components, features, generator=generator, dtype=torch.float64) + 0.5,
    )
    leave = torch.rand(len(phones), states, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    model = AcousticModel(phones, (mixtures.emission(),), left_to_right(leave), FrontEnd())
    return Draft(model, mixtures, torch.arange(columns))


@pytest.fixture
def draft():
    return random_draft()


@pytest.fixture
def example():
    generator = torch.Generator().manual_seed(1)
    words = (Pronunciation("ab", (("A", "B"), ("B",))), Pronunciation("a", (("A",),)))
    return Example(torch.randn(5, 2, generator=generator), words)


def enumerated(draft, example, allowed=lambda time, node: True):
    """The sums of the definition: over all strings of states, each weighed by its probability."""
    graph = build_graph(example.words, draft.model)
    arcs = dict(zip(zip(graph.source.tolist(), graph.target.tolist(), strict=True), graph.weight.tolist(), strict=True))
    mixtures, frames = draft.mixtures, len(example.features)
    normal = torch.distributions.Normal(mixtures.mean, mixtures.variance.sqrt())
    each = normal.log_prob(example.features.double()[:, None, None]).sum(-1) + mixtures.log_weight  # (T, J, C)
    found = {name: torch.zeros_like(getattr(mixtures, name)) for name in ("log_weight", "mean", "variance")}
    leaving, evidence = torch.zeros(len(draft.owner), dtype=torch.float64), 0.0
    for path in product(range(len(graph.node)), repeat=frames):
        steps = [arcs.get(pair, -torch.inf) for pair in pairwise(path)]
        weight = float(graph.initial[path[0]]) + sum(steps) + float(graph.final[path[-1]])
        if weight == -torch.inf or not all(allowed(t, graph.nodes[graph.node[s]]) for t, s in enumerate(path)):
            continue
        columns = [int(graph.column[state]) for state in path]
        probability = torch.tensor(weight).double().exp()
        for time, column in enumerate(columns):
            probability = probability * each[time, column].exp().sum()
        evidence += probability
        for time, column in enumerate(columns):
            share = probability * each[time, column].softmax(0)
            x = example.features[time].double()
            found["log_weight"][column] += share
            found["mean"][column] += share[:, None] * x
            found["variance"][column] += share[:, None] * x.square()
            if time == frames - 1 or path[time + 1] != path[time]:
                leaving[column] += probability
    return {name: sums / evidence for name, sums in {**found, "leaving": leaving}.items()}, evidence.log()


def assert_equal(found, sums, evidence):
    torch.testing.assert_close(found.occupancy, sums["log_weight"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.first, sums["mean"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.second, sums["variance"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.leaving, sums["leaving"], atol=1e-5, rtol=1e-4)
    assert found.log_likelihood == pytest.approx(float(evidence), abs=1e-4)


def test_statistics_are_sums_over_paths(draft, example):
    assert_equal(statistics_of(draft, example), *enumerated(draft, example))


def test_while_a_label_lasts_nothing_else_is_said(draft, example):
    front_end = replace(draft.model.front_end, window=0.01)  # frame t lasts from t to t + 1 hundredths of a second
    draft = replace(draft, model=replace(draft.model, front_end=front_end))
    known = replace(example, known=(Interval(0.01, 0.03, "B"),))
    expected = enumerated(draft, example, lambda time, node: time not in {1, 2} or node.phone == "B")
    assert_equal(statistics_of(draft, known), *expected)


def test_a_label_may_name_a_word(draft, example):
    front_end = replace(draft.model.front_end, window=0.01)
    draft = replace(draft, model=replace(draft.model, front_end=front_end))
    known = replace(example, known=(Interval(0.0, 0.01, "ab"),))
    expected = enumerated(draft, example, lambda time, node: time > 0 or node.word == 0)
    assert_equal(statistics_of(draft, known), *expected)


def test_statistics_add_up(draft, example):
    other = replace(example, features=example.features.flip(0))
    one, two = statistics_of(draft, example), statistics_of(draft, other)
    both = one + two
    torch.testing.assert_close(both.first, one.first + two.first)
    assert both.frames == 10 and both.log_likelihood == one.log_likelihood + two.log_likelihood


@pytest.mark.parametrize("known", [(), (Interval(0.0, 1.0, "C"),)], ids=["too short", "labelled otherwise"])
def test_what_cannot_be_is_counted_and_nothing_else(draft, example, known):
    impossible = replace(example, features=example.features[: 5 if known else 1], known=known)
    found = statistics_of(draft, impossible)
    assert (found.impossible, found.frames, float(found.occupancy.sum())) == (1, 0, 0.0)
    assert path_of(draft, impossible) is None


def test_statistics_of_a_path_are_those_of_its_states():
    found = statistics_of_path(torch.tensor([0, 0, 2]), torch.tensor([[1.0], [2.0], [5.0]]), 3)
    assert found.occupancy.tolist() == [[2.0], [0.0], [1.0]]
    assert found.first.flatten().tolist() == [3.0, 0.0, 5.0]
    assert found.second.flatten().tolist() == [5.0, 0.0, 25.0]
    assert found.leaving.tolist() == [1.0, 0.0, 1.0]
