"""Random chains around a map of one kind: what a map, a backend or a strategy is tried on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from semihmm.engine import Arcs, Axes, Banded, Chain, Compose, Dense, Diagonal, Form, Grid, Map, Segmental, Sparse
from semihmm.errors import StructureError
from semihmm.testing.examples import small

T = TypeVar("T")

ONE_STEP = (
    *("dense", "diagonal", "tied", "banded", "arcs", "arcs over time", "sparse with memory"),
    *("axes", "coupled axes"),
)
SEVERAL_STEPS = (
    *("segmental", "segmental over time", "segmental with segments"),
    *("segmental banded", "segmental arcs", "segmental arcs over time"),
    "grid",
)
STRUCTURES = ("DTW", "DTW open", "RNNT", "EditDistance")  # the chains of these
PRODUCTS = (
    "dense @ diagonal",
    "dense @ dense",
    "diagonal @ dense",
    "banded @ diagonal",
    "banded @ tied",
    "axes @ diagonal",
    "diagonal @ coupled axes",
    "diagonal @ arcs",
    "tied @ dense",
    "dense @ dense @ diagonal",
    "dense @ diagonal @ tied",
    "diagonal @ banded @ dense",
)
KINDS = ONE_STEP + SEVERAL_STEPS + STRUCTURES + PRODUCTS
# Sizes of the axes of so many joint states.
_AXES: dict[int, tuple[tuple[int, ...], ...]] = {
    **{n: ((n,), (1, n), (n, 1)) for n in (1, 2, 3, 5, 17)},
    **{4: ((2, 2), (4,)), 6: ((2, 3), (3, 2)), 12: ((2, 3, 2), (3, 4)), 36: ((6, 6), (2, 18), (18, 2))},
}
MOVES = ((1, 0), (0, 1), (1, 1), (2, 1))


@dataclass(frozen=True)
class ChainCase:
    """What a random chain is to be like. The same case is the same chain.

    Args:
        seed: of all that is drawn.
        batch: its batch shape.
        steps: how many maps in a row; of a grid, about as many.
        dtype: of its log-weights.
        ragged: whether sequences have lengths of their own, 0 and ``steps`` among them.
        forbidden: how likely a log-weight is ``-inf``.
        blocks: what a test passes on to `plan_of`: how many blocks a scan with checkpoints takes; None for no
            checkpoints, 0 for the planner's number.
    Example:
        >>> case = ChainCase(seed=1, batch=(3,), dtype=torch.float32)
        >>> random_chain("dense @ diagonal", case).batch
        torch.Size([3])
        >>> case.tolerance
        {'rtol': 0.0001, 'atol': 0.0001}
    """

    seed: int
    batch: tuple[int, ...] = (2,)
    steps: int = 5
    dtype: torch.dtype = torch.float64
    ragged: bool = False
    forbidden: float = 0.1
    blocks: int | None = None

    @property
    def tolerance(self) -> dict[str, float]:
        """How near to float64 a total or a gradient of this dtype is: for `torch.testing.assert_close`."""
        return {"rtol": 1e-9, "atol": 1e-9} if self.dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}


class RandomWeights:
    """Random log-weights, each tensor shared over the batch and laid out in memory in a way that is drawn too.

    Args:
        case: gives the seed, the batch shape, the dtype, and how likely ``-inf`` is.

    Example:
        >>> weights = RandomWeights(ChainCase(seed=0, batch=(2, 3)))
        >>> weights.log_weights(5, 4).shape[-2:]  # in front of these, all batch axes or none, some of size 1
        torch.Size([5, 4])
        >>> weights.pick("dense", "banded") in {"dense", "banded"}
        True
    """

    def __init__(self, case: ChainCase) -> None:
        self.batch, self.dtype, self.forbidden = case.batch, case.dtype, case.forbidden
        self.generator = torch.Generator().manual_seed(case.seed)

    def pick(self, *options: T) -> T:
        """One of them, each as likely."""
        return options[int(torch.randint(len(options), (), generator=self.generator))]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, drawn in float64 and rounded to the dtype."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def batch_axes(self) -> tuple[int, ...]:
        """The batch axes of one tensor: none, all of size 1 (shared), all of full size, or every other one shared."""
        how = self.pick("none", "ones", "own", "own", "some")
        if how == "some":
            return tuple(n if i % 2 else 1 for i, n in enumerate(self.batch))
        return {"none": (), "ones": (1,) * len(self.batch), "own": self.batch}[how]

    def layout(self, x: Tensor) -> Tensor:
        """A tensor of the same shape: contiguous, transposed in memory, or its first item expanded."""
        how = self.pick("contiguous", "contiguous", "transposed", "expanded")
        if how == "transposed" and x.ndim > 1:
            return x.mT.contiguous().mT
        if how == "expanded" and x.ndim > 1 and x.shape[0] > 1:
            return x[:1].expand_as(x)
        return x

    def log_weights(self, *event: int, batch: tuple[int, ...] | None = None) -> Tensor:
        """Log-weights ``(..., *event)``, some ``-inf``; with these batch axes, or with drawn ones."""
        x = self.normal(*(self.batch_axes() if batch is None else batch), *event)
        forbidden = torch.rand(x.shape, generator=self.generator) < self.forbidden
        return self.layout(torch.where(forbidden, -torch.inf, x))

    def time(self, steps: int) -> int:
        """The size of a time axis: ``steps``, or 1 for log-weights that all steps share."""
        return self.pick(1, steps, steps)


MakeMap = Callable[[RandomWeights, int, int], Form]


def random_map(kind: str, weights: RandomWeights, steps: int, states: int) -> Form:
    """A map of one kind, from as many states to as many.

    Args:
        kind: one of `semihmm.testing.chains.KINDS` that is no structure; ``first @ then`` is a product.
        weights: where its log-weights come from.
        steps: how many time steps; a grid has as many anti-diagonals, about.
        states: how many, as a path sees them: a Segmental map has two slots for each.
    Example:
        >>> random_map("banded", RandomWeights(ChainCase(seed=0)), steps=5, states=3).slots
        3
    """
    if kind == "grid":
        weight = weights.log_weights(len(MOVES), states, max(steps - states + 2, 1))
        return Grid.of(MOVES, weight, weights.pick(1.0, 0.5))
    if kind.startswith("segmental"):
        return _segmental(kind, weights, steps, states)
    parts = kind.split(" @ ")
    sizes = [states] * (len(parts) + 1)
    if kind.startswith("dense @ dense"):
        sizes[1] = states + 2
    maps = [_factor(k, weights, steps, a, b) for k, a, b in zip(parts, sizes[:-1], sizes[1:], strict=True)]
    product = maps[0]
    for then in maps[1:]:
        product = Compose(product, then)
    return product


def _segmental(kind: str, weights: RandomWeights, steps: int, states: int) -> Map:
    longest = weights.pick(1, 3, 7)
    time = steps if kind == "segmental over time" else 1
    moves = kind.removeprefix("segmental ")
    transition: Any = weights.log_weights(time, states, states)
    if moves in ONE_STEP:
        transition = _factor(moves, weights, steps, states, states)
    duration = weights.log_weights(time, longest, states)
    segment = weights.log_weights(steps, longest, states) if kind == "segmental with segments" else None
    return Segmental.of(transition, duration, weights.log_weights(steps, states), segment)


def _factor(kind: str, weights: RandomWeights, steps: int, states: int, then: int) -> Map:
    """A map that is one factor of a product, from ``states`` to ``then`` slots."""
    g = weights.generator
    if kind == "dense":
        return Dense(weights.log_weights(weights.time(steps), states, then))
    if kind == "diagonal":
        return Diagonal(weights.log_weights(weights.time(steps), then))
    if kind == "tied":
        columns = weights.pick(1, 3, 20, 70, 150)  # from one SIMD vector of them to more than registers hold
        index = torch.randint(columns, (*weights.batch_axes(), 1, then), generator=g)
        return Diagonal(weights.log_weights(weights.time(steps), columns), index)
    if kind == "banded":
        offsets = weights.pick((0, 1, -2), (0, 1, 2), (-1, 16, 0))
        return Banded(offsets, weights.log_weights(weights.time(steps), then, 3))
    if kind == "sparse with memory":
        source = torch.randint(-2, 3 * states, (1, states, 4), generator=g).clamp(min=-1)
        weight = torch.where(source < 0, -torch.inf, weights.log_weights(weights.time(steps), states, 4))
        return Sparse(weight, source, memory=3)
    if kind.endswith("axes"):
        sizes = weights.pick(*_AXES[states])
        times = [weights.time(steps) for _ in sizes]
        rows = sizes if kind == "axes" else [weights.pick(size, states) for size in sizes]
        every = zip(times, rows, sizes, strict=True)
        return Axes(tuple(weights.log_weights(*event) for event in every))
    if kind not in ("arcs", "arcs over time"):
        raise StructureError(f"random_map: kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    source, target = torch.randint(0, states, (2, 2 * states), generator=g)
    if kind == "arcs over time" and steps:
        present = torch.rand((steps, 1), generator=g) + torch.rand(2 * states, generator=g) < 1.4
        source, target = torch.where(present, source, -1), torch.where(present, target, -1)
        return Arcs(source, target, weights.log_weights(steps, 2 * states), then)
    return Arcs(source, target, weights.log_weights(weights.time(steps), 2 * states), then)


def random_chain(kind: str | MakeMap, case: ChainCase) -> Chain:
    """A chain around one map: one or two start vectors, none to two end vectors, lengths if ragged.

    Args:
        kind: one of `semihmm.testing.chains.KINDS`; or a function ``(weights, steps, states) -> map`` that makes a map
            of your own.
    Example:
        >>> random_chain("segmental", ChainCase(seed=3, steps=4)).length
        4
        >>> def shift(weights, steps, states):  # a map to try
        ...     return semihmm.engine.Banded((1,), weights.log_weights(steps, states, 1))
        >>> chain = random_chain(shift, ChainCase(seed=3, batch=(2,), ragged=True))
        >>> chain.lengths.shape
        torch.Size([2])
    """
    weights = RandomWeights(case)
    if isinstance(kind, str) and kind in STRUCTURES:
        return _structure_chain(kind, case, weights)
    if isinstance(kind, str) and "axes" in kind:
        states = weights.pick(1, 4, 6, 6, 12, 36) if case.steps < 10 else weights.pick(4, 6)
    else:
        states = weights.pick(1, 2, 3, 3, 5, 17) if case.steps < 10 else weights.pick(2, 3)
    make = (lambda *given: random_map(kind, *given)) if isinstance(kind, str) else kind
    map_ = make(weights, case.steps, states)
    slots, steps = map_.slots, case.steps if map_.steps is None else map_.steps
    possible = RandomWeights(replace(case, forbidden=0.0))
    start = (possible.log_weights(slots, batch=case.batch), *[weights.log_weights(slots)] * weights.pick(0, 1))
    end = [weights.log_weights(slots) for _ in range(weights.pick(0, 1, 2))]
    if isinstance(map_, Segmental):  # the slots of segments that end, then those of segments that begin
        begins = torch.arange(slots) >= states
        start = tuple(torch.where(begins, x, -torch.inf) for x in start)
        final = weights.log_weights(slots)  # of what begins after the last frame too, in one of two chains
        end = [*end, torch.where(begins, -torch.inf, final) if weights.pick(True, False) else final]
    return Chain(start, map_, tuple(end), _lengths(case, weights, steps), steps)


def _structure_chain(kind: str, case: ChainCase, weights: RandomWeights) -> Chain:
    """That of a small structure, with numbers added of which each path has its own."""
    given: dict[str, Any] = {"ragged": case.ragged, "dtype": case.dtype, "forbidden": case.forbidden}
    chain = small(kind, case.batch, min(max(case.steps, 1), 9), seed=case.seed, **given).chain()
    return chain.rebuild(x + weights.normal(*x.shape) if x.is_floating_point() else x for x in chain.leaves)


def _lengths(case: ChainCase, weights: RandomWeights, steps: int) -> Tensor | None:
    if not case.ragged:
        return None
    lengths = torch.randint(0, steps + 1, case.batch, generator=weights.generator)
    if case.batch:
        lengths.view(-1)[0], lengths.view(-1)[-1] = weights.pick(0, 1, steps), steps
    return lengths.clamp(max=steps)


def random_feature(chain: Chain, case: ChainCase) -> Chain:
    """A feature for `semihmm.semirings.Expectation`: a chain of the same form, shared over the batch in other ways.

    Args:
        case: the one that the chain was made for.
    Example:
        >>> case = ChainCase(seed=1)
        >>> chain = random_chain("dense @ diagonal", case)
        >>> total_of(chain, semihmm.semirings.Expectation(1), [random_feature(chain, case)]).shape
        torch.Size([2, 2])
    """
    weights = RandomWeights(replace(case, seed=case.seed + 1, forbidden=0.0))
    ranks = (0,) * len(chain.start + chain.end) + chain.steps.ranks
    leaves = []
    for i, x in enumerate(chain.leaves):
        if x.is_floating_point():
            event = x.shape[x.ndim - 1 - ranks[i] :]
            leaves.append(weights.log_weights(*event, batch=None if i else case.batch))
        else:
            leaves.append(x)
    return chain.rebuild(leaves)
