"""Lattice: every path through an acyclic graph."""

import math

import networkx as nx
import pytest
import torch
from torch import Tensor

import semihmm
from semihmm import Lattice
from semihmm.errors import ShapeError, StructureError
from semihmm.semirings import Bottleneck, Count
from semihmm.testing import check_structure
from semihmm.testing.paths import lattice_paths


def eighths(*shape: int) -> Tensor:
    return torch.randint(-16, 17, shape).double() / 8


def random_graph(nodes: int, arcs: int) -> nx.MultiDiGraph:
    """Arcs go from lower to higher numbers; the numbers then mean nothing, and some arcs are double."""
    ends = torch.stack([torch.randint(0, nodes, (arcs,)), torch.randint(0, nodes, (arcs,))], -1).sort(-1).values
    names = torch.randperm(nodes).tolist()
    graph = nx.MultiDiGraph()
    for (u, v), weight in zip(ends.tolist(), torch.randn(arcs).tolist(), strict=True):
        if u != v:
            graph.add_edge(names[u], names[v], log_weight=weight)
    return graph


@pytest.mark.parametrize(
    ("source", "target", "batch", "ends"),
    [
        ([0, 0, 1, 2, 2, 1, 0, 1], [1, 2, 3, 3, 4, 4, 4, 2], (2,), ()),
        ([0, 0, 1, 1, 3], [1, 1, 2, 3, 2], (), ((0, 1), (3, 2))),  # parallel arcs
        ([0, 1, 0], [1, 2, 5], (), ((0, 1), (1,))),  # an empty path, a dead end
        ([0, 1], [1, 2], (2,), ((2,), (0,))),  # no path
    ],
)
def test_every_answer_is_that_of_its_paths(
    source: list[int], target: list[int], batch: tuple[int, ...], ends: tuple[tuple[int, ...], ...]
) -> None:
    lattice = Lattice(torch.tensor(source), torch.tensor(target), eighths(*batch, len(source)), *ends)
    check_structure(lattice, paths=lattice_paths)


@pytest.mark.parametrize("seed", range(5))
def test_a_random_graph_is_as_networkx_has_it(seed: int) -> None:
    torch.manual_seed(seed)
    graph = random_graph(14, 40)
    sources = [v for v in graph if not graph.in_degree(v)]
    sinks = [v for v in graph if not graph.out_degree(v)]
    lattice = Lattice.from_networkx(graph)
    paths = [p for s in sources for p in nx.all_simple_edge_paths(graph, s, sinks)]
    assert int(semihmm.total(lattice, Count())) == len(paths) > 0
    scores = sorted((sum(graph.edges[e]["log_weight"] for e in p) for p in paths), reverse=True)
    torch.testing.assert_close(semihmm.log_partition(lattice), torch.tensor(scores).logsumexp(0))
    k = min(len(paths), 7)
    best = semihmm.topk(lattice, k)
    torch.testing.assert_close(best.score, torch.tensor(scores[:k]))
    edges = list(graph.edges)
    for event in best.event.tolist():
        assert [edges[a] for a in event if a >= 0] in [list(p) for p in paths]


def test_the_best_path_is_the_shortest_by_minus_the_weights() -> None:
    graph = nx.DiGraph()
    for u, v, weight in zip(
        *torch.randint(0, 60, (2, 300)).sort(0).values.tolist(), torch.randn(300).tolist(), strict=True
    ):
        if u != v:
            graph.add_edge(u, v, log_weight=weight, length=-weight)
    nx.add_path(graph, ["first", *sorted(graph), "last"], log_weight=-1.0, length=1.0)
    best = semihmm.viterbi(Lattice.from_networkx(graph, start=["first"], end=["last"]))
    assert float(-best.score) == pytest.approx(nx.bellman_ford_path_length(graph, "first", "last", "length"), rel=1e-5)
    edges = [list(graph.edges)[a] for a in best.event.tolist() if a >= 0]
    assert nx.is_path(graph, [edges[0][0], *(v for _, v in edges)])


def test_the_widest_path_is_as_wide_as_its_narrowest_arc() -> None:
    lattice = Lattice(torch.tensor([0, 0, 1, 2]), torch.tensor([1, 2, 3, 3]), torch.tensor([9.0, 4.0, 2.0, 5.0]))
    assert float(semihmm.total(lattice, Bottleneck())) == 4.0


def test_a_batch_shares_the_graph() -> None:
    graph = nx.DiGraph()
    graph.add_edge("a", "b", log_weight=torch.tensor([1.0, -math.inf]))
    graph.add_edge("b", "c", log_weight=2.0)
    graph.add_edge("a", "c")
    total = semihmm.log_partition(Lattice.from_networkx(graph))
    torch.testing.assert_close(total, torch.tensor([math.log(math.exp(3.0) + 1.0), 0.0]))


def test_a_long_arc_costs_no_slot_of_its_own() -> None:
    steps = 50
    chain = torch.arange(steps)
    source, target = torch.cat([chain, torch.zeros(steps - 1).long()]), torch.cat([chain + 1, chain[1:] + 1])
    lattice = Lattice(source, target, torch.zeros(2 * steps - 1))  # a path, and from its start an arc to every node
    assert lattice.chain().steps.slots <= 4
    assert int(semihmm.total(lattice, Count())) == steps


def test_what_is_no_path_has_no_score() -> None:
    lattice = Lattice(torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2]), torch.tensor([1.0, 2.0, 3.0]))
    events = torch.tensor([[0, 2], [1, -1], [2, -1], [0, -1], [-1, 1], [0, 1], [1, 2], [3, -1], [-1, -1]])
    assert lattice.score(events).tolist() == [4.0, 2.0] + [-math.inf] * 7


def test_a_cycle_is_named() -> None:
    with pytest.raises(StructureError, match=r"(1 -> 2 -> 3 -> 1|2 -> 3 -> 1 -> 2|3 -> 1 -> 2 -> 3)"):
        Lattice(torch.tensor([0, 1, 2, 3]), torch.tensor([1, 2, 3, 1]), torch.zeros(4))
    with pytest.raises(StructureError, match="0 -> 0"):
        Lattice(torch.tensor([0, 0]), torch.tensor([0, 1]), torch.zeros(2))


@pytest.mark.parametrize(
    ("source", "target", "weight", "message"),
    [
        (torch.zeros(0).long(), torch.zeros(0).long(), torch.zeros(0), "at least one arc"),
        (torch.tensor([0]), torch.tensor([1, 2]), torch.zeros(2), r"must be integers \(2,\)"),
        (torch.tensor([0.0]), torch.tensor([1]), torch.zeros(1), "must be integers"),
        (torch.tensor([0]), torch.tensor([1]), torch.zeros(()), "must be integers"),
    ],
)
def test_an_error_says_what_is_wrong(source: Tensor, target: Tensor, weight: Tensor, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Lattice(source, target, weight)


def test_starts_and_ends_must_be_there() -> None:
    arcs = torch.tensor([0, 1]), torch.tensor([1, 2]), torch.zeros(2)
    for start, end in (((7,), (2,)), ((0,), ()), ((0, 1), (0, 1))):
        with pytest.raises(StructureError, match="start and end must be nodes"):
            Lattice(*arcs, start, end)
    with pytest.raises(StructureError, match="numbered from 0"):
        Lattice(torch.tensor([-1]), torch.tensor([0]), torch.zeros(1))
    with pytest.raises(StructureError, match="must be directed"):
        Lattice.from_networkx(nx.Graph([(0, 1)]))
