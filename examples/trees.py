"""Trees over the public semirings: CKY, Eisner's algorithm and the matrix-tree theorem.

Run it: ``python examples/trees.py`` (``--smoke`` changes nothing, ``--picture FILE`` draws arcs).

semihmm's engine is for chains: what it does fast, in little memory and on many sequences at once, it does for those.
Its semirings know nothing of chains, though. A dynamic program over trees is a forest: items, each the sum of some ways
to make it, each way a weight times other items. `total` goes through one in any semiring, so marginals are the gradient
of its log-partition; `derivations` traces back what a selective semiring chose: the best tree, the k best, or draws.
A forest is a Python loop over items; for long sentences that is slow.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Hashable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm.semirings import Count, Log, Max, Sample, Semiring, TopK


class Way(NamedTuple):
    """A way to make an item: its log-weight, of what that is, and the items that it takes."""

    log_weight: Tensor
    label: Hashable
    parts: tuple[Hashable, ...] = ()


Forest = Mapping[Hashable, list[Way]]  # items after those that they are made of; the goal comes last


def cky(span: Tensor) -> Forest:
    """Binary trees over n leaves; ``span (n, n)`` is the log-weight of a constituent from i to j."""
    n = len(span)
    forest: dict[Hashable, list[Way]] = {(i, i): [Way(span[i, i], (i, i))] for i in range(n)}
    for width in range(1, n):
        for i in range(n - width):
            j = i + width
            forest[i, j] = [Way(span[i, j], (i, j), ((i, k), (k + 1, j))) for k in range(i, j)]
    return forest


def eisner(arc: Tensor) -> Forest:
    """Projective dependency trees of n words; ``arc[head, word] (n + 1, n + 1)``, head 0 is the root (Eisner 1996).

    Items are spans: ``>`` and ``<`` have their head on the left and on the right, ``->`` and ``<-`` end with its last
    arc.
    """
    n, free = len(arc) - 1, torch.zeros((), dtype=arc.dtype)
    forest: dict[Hashable, list[Way]] = {(i, i, side): [Way(free, None)] for i in range(n + 1) for side in "><"}
    for width in range(1, n + 1):
        for i in range(n + 1 - width):
            j = i + width
            halves = [((i, k, ">"), (k + 1, j, "<")) for k in range(i, j)]
            forest[i, j, "->"] = [Way(arc[i, j], (i, j), parts) for parts in halves]
            forest[i, j, "<-"] = [Way(arc[j, i], (j, i), parts) for parts in halves]
            forest[i, j, "<"] = [Way(free, None, ((i, k, "<"), (k, j, "<-"))) for k in range(i, j)]
            forest[i, j, ">"] = [Way(free, None, ((i, k, "->"), (k, j, ">"))) for k in range(i + 1, j + 1)]
    return forest


def matrix_tree(arc: Tensor) -> Tensor:
    """The log of the sum over all dependency trees, crossing arcs allowed, by a determinant (Koo et al. 2007)."""
    weight = arc.exp() * (1 - torch.eye(len(arc), dtype=arc.dtype))
    return torch.logdet((torch.diag(weight.sum(0)) - weight)[1:, 1:])


def total(forest: Forest, semiring: Semiring) -> Tensor:
    """The sum over all trees of the product of their weights."""
    values: dict[Hashable, Tensor] = {}
    for item, ways in forest.items():
        each = [_value(semiring, way, values) for way in ways]
        values[item] = semiring.sum(torch.stack(each, -1), -1)
    return semiring.lower(values[next(reversed(list(forest)))])


def _value(semiring: Semiring, way: Way, values: Mapping[Hashable, Tensor]) -> Tensor:
    value = semiring.sum(semiring.lift(way.log_weight).unsqueeze(-1), -1)  # with every component
    for part in way.parts:
        value = semiring.times(value, values[part])
    return value


def derivations(
    forest: Forest, semiring: Semiring, generator: torch.Generator | None = None
) -> list[tuple[float, frozenset[Any]]]:
    """The trees that a selective semiring chooses: the score of each, or the total where they are drawn, and labels."""
    values: dict[Hashable, Tensor] = {}
    chosen: dict[Hashable, tuple[list[int], list[list[Tensor | None]]]] = {}
    for item, ways in forest.items():
        each, ranks = [], []
        for way in ways:
            value, trail = semiring.sum(semiring.lift(way.log_weight).unsqueeze(-1), -1), []
            for part in way.parts:
                value, ranked = _product(semiring, value, values[part])
                trail.append(ranked)
            each.append(value)
            ranks.append(trail)
        values[item], index = semiring.choose(torch.stack(each, -1), -1, generator)
        chosen[item] = index.tolist(), ranks

    def labels(item: Hashable, row: int) -> Iterator[Any]:
        index, ranks = chosen[item]
        which, rank = divmod(index[row], semiring.rows)
        way = forest[item][which]
        if way.label is not None:
            yield way.label
        for part, ranked in reversed(list(zip(way.parts, ranks[which], strict=True))):
            rank, of_part = (rank, rank) if ranked is None else divmod(int(ranked[rank]), semiring.rows)
            yield from labels(part, of_part)

    goal = next(reversed(list(forest)))
    scores = values[goal].reshape(-1).expand(semiring.rows).tolist()
    rows = [row for row in range(semiring.rows) if scores[row] > -math.inf]
    return [(scores[row], frozenset(labels(goal, row))) for row in rows]


def _product(semiring: Semiring, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor | None]:
    """Two values multiplied, and for each rank of the result those of both that it came from."""
    if not semiring.components:
        return semiring.times(a, b), None
    return semiring.choose(torch.stack([semiring.times(one, b) for one in a.split(1)], -1), -1)


def binary_trees(i: int, j: int) -> Iterator[frozenset[tuple[int, int]]]:
    """All of them, from the definition."""
    if i == j:
        yield frozenset({(i, i)})
    for k in range(i, j):
        for left, right in product(binary_trees(i, k), binary_trees(k + 1, j)):
            yield left | right | {(i, j)}


def dependency_trees(n: int, projective: bool) -> Iterator[frozenset[tuple[int, int]]]:
    """All of them, from the definition: every word has a head, and every way up ends at the root."""
    for heads in product(range(n + 1), repeat=n):
        head = dict(enumerate(heads, 1))

        def up(word: int, head: Mapping[int, int] = head) -> list[int]:
            way = [word]
            while way[-1] in head and len(way) <= n + 1:
                way.append(head[way[-1]])
            return way

        if all(up(word)[-1] == 0 for word in head):
            between = ((h, w, x) for w, h in head.items() for x in range(min(h, w) + 1, max(h, w)))
            if not projective or all(h in up(x) for h, w, x in between):
                yield frozenset((h, w) for w, h in head.items())


def check(forest: Forest, weight: Tensor, trees: list[frozenset[tuple[int, int]]], marginals: Tensor) -> None:
    """Every answer about a forest is that of its trees, listed one by one."""
    scores = torch.stack([sum((weight[x] for x in sorted(tree)), weight.new_zeros(())) for tree in trees]).detach()
    assert int(total(forest, Count())) == len(trees)
    torch.testing.assert_close(total(forest, Log()).detach(), scores.logsumexp(0))
    chances = scores.softmax(0)
    expected = torch.zeros_like(weight)
    for tree, chance in zip(trees, chances, strict=True):
        for x in tree:
            expected[x] += chance
    torch.testing.assert_close(marginals, expected.detach())
    order = scores.argsort(descending=True).tolist()
    for semiring in (Max(), TopK(5)):
        found = derivations(forest, semiring)
        assert [tree for _, tree in found] == [trees[i] for i in order[: len(found)]]
        torch.testing.assert_close(torch.tensor([s for s, _ in found], dtype=scores.dtype), scores[order[: len(found)]])
    draws = [tree for _, tree in derivations(forest, Sample(4000), torch.Generator().manual_seed(0))]
    share = torch.tensor([draws.count(tree) / len(draws) for tree in trees], dtype=scores.dtype)
    assert float((share - chances).abs().max()) < 5 * math.sqrt(0.25 / len(draws))  # one alarm in a million


def main() -> None:
    """Checks all answers of small forests against all of their trees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="for the tests: it is short anyway")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the dependency trees of four words")
    arguments = parser.parse_args()
    g = torch.Generator().manual_seed(0)

    span = torch.randn(5, 5, generator=g, dtype=torch.float64, requires_grad=True)
    (marginals,) = torch.autograd.grad(total(cky(span), Log()), span)
    check(cky(span.detach()), span.detach(), list(binary_trees(0, 4)), marginals)
    print("CKY: every answer is that of its 14 trees.")

    arc = torch.randn(5, 5, generator=g, dtype=torch.float64, requires_grad=True)
    projective = list(dependency_trees(4, projective=True))
    (marginals,) = torch.autograd.grad(total(eisner(arc), Log()), arc)
    check(eisner(arc.detach()), arc.detach(), projective, marginals)
    if arguments.picture:
        picture(arguments.picture, marginals, derivations(eisner(arc.detach()), Max())[0][1])
    print(f"Eisner: every answer is that of its {len(projective)} trees.")

    trees = list(dependency_trees(4, projective=False))
    scores = torch.stack([sum((arc[x] for x in sorted(tree)), arc.new_zeros(())) for tree in trees])
    torch.testing.assert_close(matrix_tree(arc), scores.logsumexp(0))
    ours, its = (torch.autograd.grad(x, arc)[0] for x in (matrix_tree(arc), scores.logsumexp(0)))
    torch.testing.assert_close(ours, its)
    print(f"Matrix-tree theorem: the total and its gradient are those of all {len(trees)} trees.")


def picture(file: Path, marginals: Tensor, best: frozenset[tuple[int, int]]) -> None:
    """All arcs, the wider the more probable; those of the best tree above, the others below."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Arc

    axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    for (head, word), chance in zip(product(range(5), range(5)), marginals.flatten().tolist(), strict=True):
        if chance > 0.01:
            side, middle, apart = (head, word) in best, (head + word) / 2, abs(head - word)
            ends = (0, 180) if side else (180, 360)
            look = {"theta1": ends[0], "theta2": ends[1], "linewidth": 8 * chance, "color": "C1" if side else "0.6"}
            axes.add_patch(Arc((middle, 0.25 if side else -0.25), apart - 0.16, 0.7 * apart, **look))
            if side:
                axes.text(
                    middle, 0.13 + 0.35 * apart, f"{head} > {word}: {chance:.2f}", ha="center", va="top", fontsize=8
                )
    for number, name in enumerate(("root", "word 1", "word 2", "word 3", "word 4")):
        axes.text(number, 0, name, ha="center", va="center")
    axes.set(xlim=(-0.5, 4.5), ylim=(-1.7, 1.9))
    axes.axis("off")
    axes.figure.savefig(file)


if __name__ == "__main__":
    main()
