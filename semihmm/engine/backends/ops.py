"""What PyTorch's tracers and transforms see of the compiled code: operators of torch.library.

An operator takes a `Call` in pieces, as plain numbers; from those and its tensors `chain_of` makes the chain again. So
its derivatives are those of `semihmm.engine.derivatives`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from semihmm.engine import derivatives
from semihmm.engine.backends import kernels, registered
from semihmm.engine.backends.kernels import (
    AXES,
    DENSE,
    DIAGONAL,
    EXPECTATION,
    GRID,
    GRID_TABLES,
    LOG,
    MAX,
    SEGMENTAL,
    SPARSE,
    TIED,
    Call,
    arc_indices,
    workspace,
)
from semihmm.engine.chain import Chain
from semihmm.engine.maps import Axes, Compose, Dense, Diagonal, Form, Grid, Segmental, Sparse
from semihmm.engine.maps.form import unchecked
from semihmm.engine.plan import Plan, Scan
from semihmm.errors import SemihmmError
from semihmm.semirings import Expectation, Log, Max, Semiring, SmoothMax, TopK

_CALL = (
    "int[] spec, int semiring, int components, float beta, SymInt[] batch, SymInt length, SymInt stride, int memory, "
    "SymInt work"
)
_CHAIN = f"Tensor[] tensors, Tensor? lengths, {_CALL}"
_CHAINS = f"Tensor[] tensors, Tensor[] features, Tensor? lengths, {_CALL}, SymInt blocks"
SCHEMAS = {  # arguments are named as those of `kernels`
    "total": f"({_CHAINS}) -> (Tensor, Tensor, Tensor)",
    "gradient": f"({_CHAINS}, Tensor vectors, Tensor offsets, Tensor weight, Tensor? mean_weight, bool[] requested) -> "
    "Tensor[]",
    "paths": f"({_CHAIN}, SymInt blocks, SymInt rows, Tensor? uniforms, bool with_arcs) -> "
    "(Tensor, Tensor, Tensor, Tensor)",
    "gradient_of_paths": f"({_CHAIN}, Tensor slots, Tensor arcs, Tensor weight, bool[] requested) -> Tensor[]",
    "vectors": f"({_CHAIN}, SymInt slots, Tensor? only) -> Tensor",
}
_LIBRARY = torch.library.Library("semihmm", "DEF")
for _name, _schema in SCHEMAS.items():
    _LIBRARY.define(_name + _schema)
_ARGUMENTS = {n: [a.name for a in getattr(torch.ops.semihmm, n).default._schema.arguments] for n in SCHEMAS}


def traced(operator: Callable[..., Any], *args: Any) -> Any:
    """Call an operator, whose call is in pieces."""
    whole = (list(x) if isinstance(x, Sequence) and not isinstance(x, Call) else x for x in args)
    return operator(*(y for x in whole for y in (x if isinstance(x, Call) else (x,))))


def named(operator: str, args: Sequence[Any]) -> dict[str, Any]:
    """An operator's arguments by name, its call in one piece."""
    given = dict(zip(_ARGUMENTS[operator], args, strict=True))
    call = Call(*(given.pop(field) for field in Call._fields))
    return {**given, "call": call}


def chain_of(call: Call, tensors: Sequence[Tensor], lengths: Tensor | None) -> Chain:
    """The chain of a call and its tensors: what `compiled.call_for` and `tensors_of` are made of.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> from semihmm.engine.backends.compiled import call_for, tensors_of
        >>> again = chain_of(call_for(semihmm.semirings.Log(), chain), tensors_of(chain), None)
        >>> again.steps.weight is chain.steps.weight, again.length
        (True, 3)
    """
    rest = iter(tensors)
    starts, ends, *codes = call.spec
    start, end = (tuple([next(rest) for _ in range(count)]) for count in (starts, ends))
    words = iter(codes)
    steps = None
    for kind in words:
        part = _map_of(kind, words, rest)
        steps = part if steps is None else unchecked(Compose, first=steps, then=part)
    chain = object.__new__(Chain)
    batch = torch.Size(call.batch)
    chain.__dict__.update(start=start, steps=steps, end=end, lengths=lengths, length=call.length, batch=batch)
    return chain


def _map_of(kind: int, words: Iterator[int], rest: Iterator[Tensor]) -> Form:
    """A map of a kind, of the next words of a spec and the next tensors."""
    if kind == DENSE:
        return unchecked(Dense, weight=next(rest))
    if kind in (DIAGONAL, TIED):
        return unchecked(Diagonal, weight=next(rest), index=next(rest) if kind == TIED else None)
    if kind == SPARSE:
        return unchecked(Sparse, weight=next(rest), source=next(rest), memory=next(words))
    if kind == AXES:
        return unchecked(Axes, weights=tuple([next(rest) for _ in range(next(words))]), backward=False)
    if kind == SEGMENTAL:
        names = ("duration", "emission", *(("segment",) if next(words) else ()))
        transition = _map_of(next(words), words, rest)
        return unchecked(Segmental, transition=transition, **{name: next(rest) for name in names})
    names = ("weight", "row", "source", "plane", "factor", "low", "high")
    return unchecked(Grid, **{n: next(rest) for n in names}, memory=next(words), first=next(words))


def _semiring(call: Call) -> Semiring:
    if call.semiring == LOG:
        return Log() if call.beta == 1.0 else SmoothMax(1.0 / call.beta)
    if call.semiring == EXPECTATION:
        return Expectation(call.components - 1)
    return Max() if call.semiring == MAX else TopK(call.components)


# ---- shapes


def _total_shapes(
    tensors: list[Tensor], features: list[Tensor], lengths: Tensor | None, call: Call, blocks: int
) -> tuple[Tensor, Tensor, Tensor]:
    values = tensors[0].new_empty(call.components, *call.batch, dtype=torch.float64)
    return values, *workspace(call, blocks, tensors[0], call.batch)


def _gradient_shapes(
    tensors: list[Tensor], requested: list[bool], features: Sequence[Tensor] = (), **others: Any
) -> list[Tensor]:
    return [torch.empty_like(x).contiguous() for x, r in zip([*tensors, *features], requested, strict=True) if r]


def _paths_shapes(
    tensors: list[Tensor], call: Call, rows: int, with_arcs: bool, **others: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shape, whole = (rows, *call.batch), partial(tensors[0].new_empty, dtype=torch.int64)
    values = tensors[0].new_empty(call.components, *call.batch, dtype=torch.float64)
    arcs = whole(*shape, call.length, arc_indices(call.spec) if with_arcs else 0)
    return values, whole(*shape, call.length + 1), whole(*shape, call.length), arcs


def _vectors_shapes(
    tensors: list[Tensor], lengths: Tensor | None, call: Call, slots: int, only: Tensor | None
) -> Tensor:
    each = (slots,) if only is None else ()
    return tensors[0].new_empty(*call.batch, call.length + 1, *each, dtype=torch.float64)


# ---- derivatives, by the engine's rules: an operator's arguments become chains, gradients go back to arguments


_READ = {"total": (1, 2), "paths": (1, 3)}  # the outputs that a derivative reads


class _Given(SimpleNamespace):
    """What an operator was called with, by name; its ``output``; which of its tensors require gradients: ``needs``."""

    tensors: list[Tensor]
    features: list[Tensor]
    lengths: Tensor | None
    call: Call
    output: list[Tensor]
    needs: list[list[bool]]  # of its tensors, and of its features

    @staticmethod
    def remember(operator: str, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save tensors as autograd has it, and keep the rest."""
        given = {"features": [], "blocks": 1, **named(operator, inputs)}
        given |= {"vectors": None, "offsets": None, "uniforms": None}  # no derivative reads them
        given["output"] = [output[i] for i in _READ.get(operator, ())]
        given["needs"] = [[x.requires_grad for x in given[name]] for name in ("tensors", "features")]
        flat, ctx.form = tree_flatten(given)
        ctx.rest = [None if isinstance(x, Tensor) else x for x in flat]
        ctx.is_tensor = [isinstance(x, Tensor) for x in flat]
        ctx.save_for_backward(*(x for x in flat if isinstance(x, Tensor)))

    @classmethod
    def of(cls, ctx: Any) -> _Given:
        """What was remembered."""
        saved = iter(ctx.saved_tensors)
        flat = [next(saved) if held else x for held, x in zip(ctx.is_tensor, ctx.rest, strict=True)]
        return cls(**tree_unflatten(flat, ctx.form))

    @property
    def scan(self) -> Scan:
        """The same for the engine."""
        given = [self.tensors, self.features] if self.features else [self.tensors]
        chains = tuple([chain_of(self.call, tensors, self.lengths) for tensors in given])
        return Scan(Plan("sequential", self.blocks, "native", "traced"), _semiring(self.call), chains)

    def leaves(self, each: Sequence[Any], other: Any) -> list[Any]:
        """One thing for each leaf of a chain, from one for each of its tensors."""
        tables = GRID_TABLES if self.call.spec[2] == GRID else 0
        return [*each[: len(each) - tables], *([] if self.lengths is None else [other])] if each else []

    def requires_grad(self) -> list[bool]:
        """Of each leaf of all chains, whether it requires a gradient."""
        return [x for needs in self.needs for x in self.leaves(needs, False)]

    def answers(self, operator: str, found: Sequence[Tensor | None] = (), **others: Tensor) -> tuple[Any, ...]:
        """The gradient by each argument: what was found for each leaf of all chains, and others by name."""
        size = len(self.leaves(self.tensors, None))
        own = size - (self.lengths is not None)
        lists = {"tensors": found[:own], "features": found[size : size + own] if self.features else ()}

        def answer(name: str) -> Any:
            if name in lists:
                whole = getattr(self, name)
                return [*lists[name], *(None,) * (len(whole) - len(lists[name]))]
            value = getattr(self.call if name in Call._fields else self, name, None)
            return [] if isinstance(value, tuple | list) and not value else others.get(name)

        return tuple(answer(name) for name in _ARGUMENTS[operator])


def _pull_total(ctx: Any, by_value: Tensor, *_: Tensor) -> tuple[Any, ...]:
    given = _Given.of(ctx)
    weight = by_value if given.features else by_value[0]
    found = registered("native").gradient(given.scan, tuple(given.output), weight, given.requires_grad())
    return given.answers("total", found)


def _pull_gradient(ctx: Any, along: list[Tensor]) -> tuple[Any, ...]:
    given, directions = _Given.of(ctx), iter(along)
    if given.features:
        raise NotImplementedError(
            "semihmm::gradient: a traced gradient of moments has no derivative of its own. Ask for it outside of "
            "torch.compile and make_fx, or with backend='torch'."
        )
    direction = given.leaves([next(directions) if r else None for r in given.requested], None)
    moved, found = derivatives.curved(given.scan, direction, given.weight, given.requires_grad())
    return given.answers("gradient", found, weight=moved.to(given.weight.dtype).sum_to_size(given.weight.shape))


def _pull_paths(ctx: Any, by_value: Tensor, *_: Tensor) -> tuple[Any, ...]:
    given = _Given.of(ctx)
    slots, arcs = given.output
    found = registered("native").path_gradient(given.scan, slots, arcs, by_value, given.requires_grad())
    return given.answers("paths", found)


def _pull_gradient_of_paths(ctx: Any, along: list[Tensor]) -> tuple[Any, ...]:
    given, directions = _Given.of(ctx), iter(along)
    direction = given.leaves([next(directions) if r else None for r in given.requested], None)
    moved = derivatives.scores_along(given.scan, given.slots, given.arcs, direction)
    weight = moved.to(given.weight.dtype).sum_to_size(given.weight.shape)
    return given.answers("gradient_of_paths", (), weight=weight)


def _pull_vectors(ctx: Any, _: Tensor) -> tuple[Any, ...]:
    raise AssertionError("semihmm::vectors has no derivative: `engine.vectors` asks PyTorch where one may be requested")


def _constant(operator: str, inputs: Sequence[Any], output: Any) -> Any:
    """Which outputs have no derivative."""
    if operator == "total":
        return output[1:]
    if operator == "paths":
        return output[1:] if named(operator, inputs)["with_arcs"] else output
    return (output,) if operator == "vectors" else ()


# ---- vmap: one more axis in front of a batch


def _batched(operator: str, info: Any, dims: Sequence[Any], args: Sequence[Any]) -> dict[str, Any]:
    """An operator's arguments by name, with the axis that vmap maps over in front; a Grid's tables have none."""

    def in_front(dim: Any, x: Any) -> Any:
        if isinstance(x, list | tuple) and x and isinstance(x[0], Tensor):
            return [in_front(d, y) for d, y in zip(dim, x, strict=True)]
        if not isinstance(x, Tensor):
            return x
        return x.unsqueeze(0) if dim is None else x.movedim(dim, 0)

    given, axes = named(operator, args), dict(zip(_ARGUMENTS[operator], dims, strict=True))
    call, batch = given["call"], (info.batch_size, *given["call"].batch)
    moved = {name: in_front(axes[name], x) for name, x in given.items() if name != "call"}
    if call.spec[2] == GRID:
        for name in ("tensors", "features"):
            if given.get(name):
                if any(dim is not None for dim in axes[name][-GRID_TABLES:]):
                    raise SemihmmError(
                        "Grid: its tables are the same for all sequences, so vmap cannot map over them.", see="vmap"
                    )
                moved[name][-GRID_TABLES:] = given[name][-GRID_TABLES:]
    for name in ("lengths", "weight", "mean_weight"):
        if moved.get(name) is not None:
            moved[name] = moved[name].expand(batch)
    return {**moved, "call": call._replace(batch=batch), "axes": axes}


def _called(operator: str, given: dict[str, Any]) -> Any:
    pieces = {**given, **given["call"]._asdict()}
    whole = (pieces[name] for name in _ARGUMENTS[operator])
    return getattr(torch.ops.semihmm, operator)(*(list(x) if isinstance(x, tuple) else x for x in whole))


def _map_total(info: Any, dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
    return _called("total", _batched("total", info, dims, args)), (1, 0, 0)


def _map_gradient(info: Any, dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
    given = _batched("gradient", info, dims, args)
    batch, requested = given["call"].batch, iter(given["requested"])
    for name in ("vectors", "offsets"):  # what is kept is each sequence's own
        given[name] = given[name].expand(*batch, *given[name].shape[len(batch) :])
    for name in ("tensors", "features"):  # and so is each gradient
        every = zip(given[name], given["axes"][name] or (), strict=True)
        given[name] = [
            x.expand(info.batch_size, *x.shape[1:]) if next(requested) and d is None else x for x, d in every
        ]
    found = _called("gradient", given)
    return found, [0] * len(found)


def _map_paths(info: Any, dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
    given = _batched("paths", info, dims, args)
    uniforms = given["uniforms"]
    if uniforms is not None:  # their rows come first
        given["uniforms"] = uniforms.movedim(0, 1).expand(uniforms.shape[1], *given["call"].batch, uniforms.shape[-1])
    return _called("paths", given), (1, 1, 1, 1)


# ---- what each operator does, in which shapes, and its derivative; and two rules for vmap alone, as it asks no others


Functions = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]
OPERATORS: dict[str, Functions] = {
    # Whoever traces compares: states kept but not reached, after a sequence's end, are 0 and not what lay there.
    "total": (partial(kernels.total, new=torch.zeros), _total_shapes, _pull_total),
    "gradient": (kernels.gradient, _gradient_shapes, _pull_gradient),
    "paths": (kernels.paths, _paths_shapes, _pull_paths),
    "gradient_of_paths": (kernels.gradient_of_paths, _gradient_shapes, _pull_gradient_of_paths),
    "vectors": (kernels.vectors, _vectors_shapes, _pull_vectors),
}


def _by_name(operator: str, work: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: work(**named(operator, args))


def _setup(operator: str) -> Callable[..., None]:
    def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable(*_constant(operator, inputs, output))
        _Given.remember(operator, ctx, inputs, output)

    return setup


for _name, (_work, _shapes, _pull) in OPERATORS.items():
    _LIBRARY.impl(_name, _by_name(_name, _work), "CPU")
    torch.library.register_fake(f"semihmm::{_name}", _by_name(_name, _shapes), lib=_LIBRARY)
    torch.library.register_autograd(f"semihmm::{_name}", _pull, setup_context=_setup(_name), lib=_LIBRARY)
for _name, _map in (("total", _map_total), ("gradient", _map_gradient), ("paths", _map_paths)):
    torch.library.register_vmap(f"semihmm::{_name}", _map, lib=_LIBRARY)
