"""The native backend: totals, gradients and paths of a whole chain in one compiled call each (csrc/).

Here a chain becomes a `Call` and its tensors. Where they hold numbers, `kernels` gets them; where they are traced,
PyTorch sees the operators of `ops`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm.engine.backends import kernels, ops, register
from semihmm.engine.backends.kernels import (
    AXES,
    BLOCK,
    DENSE,
    DIAGONAL,
    EXPECTATION,
    GRID,
    GRID_TABLES,
    GROUP,
    LANES,
    LOG,
    MAX,
    PARTS,
    SEGMENTAL,
    SPARSE,
    TIED,
    TOPK,
    Call,
    arc_indices,
    stride_of,
)
from semihmm.engine.backends.protocol import Gradients, two_passes
from semihmm.engine.chain import Chain
from semihmm.engine.decode import Decoded
from semihmm.engine.maps import Axes, Compose, Dense, Diagonal, Form, Grid, Segmental, Sparse
from semihmm.engine.memory import OFFSET, Bytes
from semihmm.engine.plan import Scan
from semihmm.engine.tensors import THREADS_FROM
from semihmm.engine.tracing import followed, mapped, plain
from semihmm.semirings import Expectation, Log, Max, Min, Sample, Semiring, SmoothMax, TopK

STEPS = BLOCK + 1  # whose tables a sequence has at a time, at most


class Native:
    """A `Backend` of compiled code: Log, SmoothMax, Max, Min, TopK, Sample and Expectation; every map; on the CPU."""

    name = "native"
    traceable = True
    exact_scores = True

    def supports(self, semiring: Semiring, chain: Chain) -> str | None:
        if _arithmetic(semiring) is None:
            return f"no kernel for {semiring}"
        leaves = chain.leaves
        if leaves[0].dtype not in (torch.float32, torch.float64):
            return f"no kernel for {leaves[0].dtype}"
        if not all(x.is_cpu for x in leaves):
            return "its tensors are not on the CPU"
        return f"no kernel for {type(chain.steps).__name__}" if _spec(chain.steps) is None else None

    def differentiates(self, semiring: Semiring) -> bool:
        return True

    def prepared(self, semiring: Semiring, chains: tuple[Chain, ...]) -> tuple[Chain, ...]:
        """With a Grid's tables as plain tensors. In float64 with a feature: a mean grows with the chain, and a
        covariance is what is left of the difference of two.
        """
        if len(chains) > 1:
            chains = tuple([_widened(c) for c in chains])
            if any(c.steps.ranks != chains[0].steps.ranks for c in chains):  # some are unrolled
                chains = tuple([c.unrolled() for c in chains])
            return tuple([_settled(c) for c in chains])
        return (_settled(chains[0]),)

    def total(self, scan: Scan, keep: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        call, chain, tensors, features = _given(scan)
        if keep and _at_once(scan, call, tensors):
            requested = [x.requires_grad for x in tensors]
            value, found = kernels.posteriors(tensors, chain.lengths, call, 1, requested)
            nothing = tensors[0].new_empty(0)
            return value, (nothing, *(nothing if g is None else g for g in found))
        run = _chosen(kernels.total, torch.ops.semihmm.total, _readable(tensors, features))
        value, *kept = run(tensors, features, chain.lengths, call, scan.plan.blocks if keep else 0)
        return _lowered(scan.semiring, value), tuple(kept)

    def gradient(self, scan: Scan, kept: tuple[Tensor, ...], weight: Tensor, requested: Sequence[bool]) -> Gradients:
        call, chain, tensors, features = _given(scan)
        groups = (tensors, features) if features else (tensors,)
        requested = _of_tensors(chain, groups, requested)
        if len(kept) > 2:  # the gradient itself, of one sequence
            scaled = [g * weight.to(g.dtype) for g, r in zip(kept[1:], requested, strict=True) if r]
            return _of_leaves(chain, groups, requested, scaled)
        weights = weight.unbind() if features else (weight, None)
        vectors, offsets = kept
        now = _readable(tensors, features, (weight,))
        run = _chosen(kernels.gradient, torch.ops.semihmm.gradient, now)
        given = (tensors, features, chain.lengths, call, scan.plan.blocks, vectors, offsets, *weights)
        return _of_leaves(chain, groups, requested, run(*given, requested))

    def posteriors(
        self,
        scan: Scan,
        requested: Sequence[bool],
        weight: Tensor | None = None,
        into: Sequence[Tensor | None] = (),
    ) -> tuple[Tensor, Gradients] | None:
        call, chain, tensors, features = _given(scan)
        if not plain((*tensors, *features, *(() if weight is None else (weight,)))):
            return None if isinstance(scan.semiring, Max) else two_passes(self, scan, requested, weight, into)
        requested = _of_tensors(chain, (tensors,), requested)
        weights = None if weight is None else (weight.unbind() if features else (weight, None))
        value, found = kernels.posteriors(
            tensors, chain.lengths, call, scan.plan.blocks, requested, into[: len(tensors)], features, weights
        )
        return value, _of_leaves(chain, (tensors,), requested, [x for x in found if x is not None])

    def paths(self, scan: Scan, generator: torch.Generator | None = None, arcs: bool = False) -> Decoded:
        call, chain, tensors, _ = _given(scan)
        semiring, uniforms = scan.semiring, None
        if isinstance(semiring, Sample):
            shape = (semiring.rows, *chain.batch, max(2, arc_indices(call.spec)) * chain.length + 2)
            uniforms = torch.rand(shape, generator=generator, dtype=torch.float64)
        run = _chosen(kernels.paths, torch.ops.semihmm.paths, plain(tensors))
        value, slots, choices, indices = run(
            tensors, chain.lengths, call, scan.plan.blocks, semiring.rows, uniforms, arcs
        )
        valid = slots[..., 0] >= 0  # of no path, or one whose score is no number, the compiled code says nothing
        return Decoded(slots, choices, -value if isinstance(semiring, Min) else value, valid, indices)

    def path_gradient(
        self, scan: Scan, slots: Tensor, arcs: Tensor, weight: Tensor, requested: Sequence[bool]
    ) -> Gradients:
        call, chain, tensors, _ = _given(scan)
        requested = _of_tensors(chain, (tensors,), requested)
        weight = -weight if isinstance(scan.semiring, Min) else weight
        now = _readable(tensors, (weight,))
        run = _chosen(kernels.gradient_of_paths, torch.ops.semihmm.gradient_of_paths, now)
        found = run(tensors, chain.lengths, call, slots, arcs, weight, requested)
        return _of_leaves(chain, (tensors,), requested, found)

    def vectors(self, scan: Scan, only: Tensor | None) -> Tensor | None:
        if type(scan.semiring) not in (Log, Max):
            return None
        call, chain, tensors, _ = _given(scan)
        run = _chosen(kernels.vectors, torch.ops.semihmm.vectors, plain(tensors))
        found: Tensor = run(tensors, chain.lengths, call, chain.steps.slots, only)
        return found

    def best_in_slots(self, scan: Scan) -> Tensor | None:
        call, chain, tensors, _ = _given(scan)
        if scan.plan.blocks != 1 or not plain(tensors):
            return None
        return kernels.best_in_slots(tensors, chain.lengths, call, chain.steps.slots)

    def program(self, scan: Scan, potentials: Sequence[Tensor], places: Sequence[Any], sign: float) -> Any:
        call, tensors = call_for(scan.semiring, scan.chain), tensors_of(scan.chain)
        if len(call.batch) > 1 or call.semiring not in (LOG, MAX) or not prod(call.batch):
            return None
        where = [place if isinstance(place, tuple) else x for place, x in zip(places, tensors, strict=False)]
        where += tensors[len(where) :]
        return kernels.MODULE.Program(
            call.semiring,
            call.beta,
            tensors[0].dtype == torch.float64,
            list(call.spec),
            bool(call.batch),
            prod(call.batch),
            call.length,
            sign,
            list(potentials),
            [x.contiguous() if isinstance(x, Tensor) else x for x in where],
        )

    def kept(self, semiring: Semiring, chain: Chain) -> Vectors:
        vector = call_for(semiring, chain).stride * chain.start[0].element_size()
        return Vectors(prod(chain.batch), vector, chain.steps.memory, chain.length)

    def workspace_bytes(self, scan: Scan) -> Bytes:
        semiring, chain, blocks = scan.semiring, scan.chain, scan.plan.blocks
        vectors = self.kept(semiring, chain)
        rows, (total, gradient) = vectors.rows(blocks), _own(chain, vectors, blocks)
        leaves = sum(x.numel() * x.element_size() for x in chain.leaves if x.is_floating_point())
        if semiring.temperature or semiring.inputs > 1:
            # Twice the rows: autograd makes zeros for what a total keeps but has no gradient.
            return Bytes(rows, total, max(total, 2 * rows + leaves + gradient))
        # Paths remain, no vectors, which are those of a few sequences at a time: slots, choices and arc indices.
        rows = vectors._replace(sequences=min(vectors.sequences, GROUP * torch.get_num_threads())).rows(blocks)
        numbers = 2 + arc_indices(call_for(semiring, chain).spec)
        paths = OFFSET * semiring.rows * vectors.sequences * numbers * (chain.length + 1)
        return Bytes(0, total, max(total, rows + paths + leaves + gradient))


register(Native())


# ---- a chain as the compiled code is given of it


def _arithmetic(semiring: Semiring) -> tuple[int, int, float] | None:
    """The kernel's semiring, its components and beta."""
    kind = type(semiring)  # a subclass may do anything; and to ask an abstract class takes a while
    if kind is Log or kind is Sample:
        return LOG, 1, 1.0
    if kind is Max or kind is Min:
        return MAX, 1, 1.0
    if kind is SmoothMax:
        assert semiring.temperature is not None
        return LOG, 1, 1.0 / semiring.temperature
    if isinstance(semiring, TopK):
        return TOPK, semiring.k, 1.0
    return (EXPECTATION, 2, 1.0) if kind is Expectation else None  # one feature at a time


def _spec(steps: Form) -> tuple[int, ...] | None:
    kind = type(steps)
    if kind is Compose:
        assert isinstance(steps, Compose)
        first, then = _spec(steps.first), _spec(steps.then)
        if first is None or then is None or SEGMENTAL in (first[0], then[0]):  # that one's vectors have two parts
            return None
        return first + then
    if kind is Dense:
        return (DENSE,)
    if isinstance(steps, Axes):
        if steps.backward:  # compiled axes move in the order of their weights
            return None
        return (AXES, len(steps.weights))
    if isinstance(steps, Diagonal):
        return (DIAGONAL if steps.index is None else TIED,)
    if isinstance(steps, Sparse):
        return (SPARSE, steps.memory)
    if isinstance(steps, Segmental):
        arcs = _spec(steps.transition)
        return None if arcs is None else (SEGMENTAL, int(steps.segment is not None), *arcs)
    return (GRID, steps.memory, steps.first) if isinstance(steps, Grid) else None


def call_for(semiring: Semiring, chain: Chain) -> Call:
    """What the compiled code is given of a chain beside its tensors.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> call_for(semihmm.semirings.Log(), chain).spec
        (1, 0, 0)
    """
    arithmetic, steps = _arithmetic(semiring), _spec(chain.steps)
    assert arithmetic is not None and steps is not None
    map_ = chain.steps
    spec = (len(chain.start), len(chain.end), *steps)
    stride = stride_of(spec, map_.slots, chain.start[0].element_size(), arithmetic[1])
    return Call(spec, *arithmetic, tuple(chain.batch), chain.length, stride, map_.memory, map_.work)


def tensors_of(chain: Chain) -> list[Tensor]:
    """All tensors of a chain but its lengths, in the order of the compiled code: a Grid's tables come last.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> [tuple(x.shape) for x in tensors_of(chain)]
        [(2,), (1, 2, 2)]
    """
    steps, tables = chain.steps, []
    if isinstance(steps, Grid):
        tables = [steps.row, steps.source, steps.plane, steps.factor, steps.low, steps.high]
    return [*chain.start, *chain.end, *steps.leaves, *tables]


def _at_once(scan: Scan, call: Call, tensors: Sequence[Tensor]) -> bool:
    """Whether a total that autograd follows finds its gradient with it: that of one sequence is but multiplied later.

    Both are then of one bidirectional scan, on two threads, or with a large matrix read once for both.
    """
    steps = scan.chain.steps
    arcs = steps.first if isinstance(steps, Compose) else steps
    return (
        call.semiring == LOG
        and prod(call.batch) == 1
        and scan.plan.blocks == 1
        and call.length * call.work >= THREADS_FROM
        and isinstance(arcs, Dense)
        and arcs.weight.shape[-3] == 1
        and plain(tensors)
        and any(x.requires_grad for x in tensors)
    )


def _given(scan: Scan) -> tuple[Call, Chain, list[Tensor], list[Tensor]]:
    """What the compiled code is given of a scan: the chain with its tensors, and those of one with features."""
    chain, *features = scan.chains
    return call_for(scan.semiring, chain), chain, tensors_of(chain), tensors_of(features[0]) if features else []


def _chosen(kernel: Callable[..., Any], operator: Callable[..., Any], now: bool) -> Callable[..., Any]:
    """A kernel, where it may run now; else the operator that PyTorch is to see."""
    return kernel if now else partial(ops.traced, operator)


def _of_tensors(chain: Chain, groups: Sequence[Sequence[Tensor]], requested: Sequence[bool]) -> list[bool]:
    """Which tensors of each chain are requested, from which leaves are: those have lengths, and no tables of a Grid."""
    tables, more = GRID_TABLES if isinstance(chain.steps, Grid) else 0, chain.lengths is not None
    found, at = [], 0
    for tensors in groups:
        own = len(tensors) - tables
        found += [r and x.is_floating_point() for r, x in zip(requested[at : at + own], tensors, strict=False)]
        found += [False] * tables
        at += own + more
    return found


def _of_leaves(
    chain: Chain, groups: Sequence[Sequence[Tensor]], requested: Sequence[bool], found: Iterable[Tensor]
) -> Gradients:
    """The other way: what was found of the tensors that were requested, for each leaf."""
    tables, more = GRID_TABLES if isinstance(chain.steps, Grid) else 0, chain.lengths is not None
    rest = iter(found)
    each: Gradients = [next(rest) if r else None for r in requested]
    gradients: Gradients = []
    for tensors in groups:
        gradients += each[: len(tensors) - tables] + [None] * more
        each = each[len(tensors) :]
    return gradients


def _lowered(semiring: Semiring, value: Tensor) -> Tensor:
    value = value if semiring.components else value[0]
    return -value if isinstance(semiring, Min) else value


def _readable(*given: Sequence[Tensor]) -> bool:
    """Whether tensors hold numbers, and autograd does not follow what is made of them."""
    tensors = [x for xs in given for x in xs]
    return plain(tensors) and not followed(tensors)


def _widened(chain: Chain) -> Chain:
    """The chain in float64."""
    leaves = chain.leaves
    if all(x.dtype == torch.float64 or not x.is_floating_point() for x in leaves):
        return chain
    return chain.rebuild(x.double() if x.is_floating_point() else x for x in leaves)


def _settled(chain: Chain) -> Chain:
    """The chain with the tables of a Grid as plain tensors, which outlive the transform that they were made in."""
    if not isinstance(chain.steps, Grid) or not mapped():
        return chain
    tables = {}
    for name in ("row", "source", "plane", "factor", "low", "high"):
        x = getattr(chain.steps, name)
        while torch._C._functorch.is_functorch_wrapped_tensor(x):
            x = torch._C._functorch.get_unwrapped(x)
        tables[name] = x
    return replace(chain, steps=chain.steps.holding(**tables))


# ---- memory


class Vectors(NamedTuple):
    """Every state vector, or the carry in front of each block."""

    sequences: int
    vector: int  # bytes of one vector, padding included
    memory: int  # vectors in a carry
    length: int

    def rows(self, blocks: int) -> int:
        each = self.sequences * (self.vector + OFFSET)
        if blocks == 1:  # behind the offsets, of each block of steps, whether its vectors are scaled
            return each * (self.length + 1) + self.sequences * OFFSET * -(-self.length // BLOCK)
        return each * (self.length // max(-(-self.length // blocks), 1) + 1) * self.memory

    def block(self, blocks: int) -> int:
        steps = -(-self.length // blocks) + self.memory
        at_once = min(self.sequences, GROUP * torch.get_num_threads())
        return at_once * steps * (self.vector + OFFSET) if blocks > 1 else 0


def _own(chain: Chain, vectors: Vectors, blocks: int) -> tuple[int, int]:
    """What the compiled code takes for itself, for a total and for a gradient."""
    steps, item, batch = chain.steps, chain.start[0].element_size(), vectors.sequences
    threads = min(torch.get_num_threads(), batch)
    row = vectors.vector + OFFSET
    at_once = min(batch, GROUP * threads)
    own = at_once * (steps.memory + STEPS) * row
    lanes = LANES // item
    tables = sums = groups = 0
    for leaf, rank in zip(steps.leaves, steps.ranks, strict=True):
        if not leaf.is_floating_point():
            continue
        shape = leaf.shape[leaf.ndim - rank :]
        wide = max(shape[-1], steps.slots) if rank == 1 else shape[-1]  # an index may make them wider
        width = -(-wide // lanes) * lanes  # a table is padded to whole vectors, whichever way it is turned
        other = prod(shape[:-1])
        time = leaf.shape[-1 - rank]
        entries = other * width if rank == 1 else max(other * width, -(-other // lanes) * lanes * shape[-1])
        tables += item * entries * (STEPS if time > 1 and not isinstance(steps, Grid) else 1)
        if leaf.shape[: -1 - rank].numel() == 1 or time == 1:  # else added up where it goes
            sums += OFFSET * time * shape.numel()
        groups += item * entries if rank > 1 and time == 1 else 0  # expected counts, for each of a group
    if isinstance(steps, Grid):  # whose planes lie in rows; its tables are those of some anti-diagonals
        tables = item * (STEPS + steps.memory) * 4 * steps.work + 3 * OFFSET * steps.slots * (chain.length + 1)
    if isinstance(steps, Segmental):
        tables += item * 2 * (chain.length + steps.memory) * vectors.vector // item
    total = own + threads * 4 * tables + 2 * OFFSET * batch
    parts = min(batch, PARTS)
    ring = at_once * (2 * steps.memory + 2 * STEPS) * row
    gradient = own + ring + vectors.block(blocks) + parts * (4 * tables + sums) + at_once * groups
    return total, gradient
