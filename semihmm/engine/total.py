"""The total of a chain, and its derivatives: each is a scan again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from semihmm.engine.backends import compiled
from semihmm.engine.backends.tensors import plain
from semihmm.engine.chain import Chain
from semihmm.engine.contract import Posterior, contract
from semihmm.engine.maps import Map
from semihmm.engine.planner import Plan
from semihmm.engine.scan import advance, begin, centred, cleaned, finish, forward, unscaled
from semihmm.engine.strategies import State, Trail
from semihmm.semirings import Log, Min, Semiring
from semihmm.semirings.expectation import Expectation

Outputs = tuple[Tensor, ...]
Asked = tuple[bool, ...]  # for each leaf of a chain, whether its gradient is asked for


def total(plan: Plan, semiring: Semiring, chain: Chain, features: Sequence[Chain] = ()) -> Tensor:
    """Add up the values of all paths.

    Args:
        features: chains of the same form that hold features where ``chain`` holds log-weights; as many as
            ``semiring.inputs - 1``.
    Returns:
        The lowered total, ``(components, ..., )`` in the dtype of the log-weights (Count, Boolean: their own).
        Differentiable any number of times. Where the semiring has a temperature, the first derivative is one scan
        back over the transposed chain and the second an expectation-semiring scan. That of Max, Min and TopK is,
        natively, where the best paths went: of paths that tie, those that `decode` finds. Elsewhere each block of steps
        is computed again and differentiated by autograd.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> float(total(plan(chain, semihmm.semirings.Max()), semihmm.semirings.Max(), chain))
        0.0
    """
    floating = chain.start[0].dtype
    given = (chain, *features)
    wanted = torch.is_grad_enabled() and any(x.requires_grad for c in given for x in c.leaves)
    derived, again = wanted or transformed(), _forward_again()
    if plan.backend == "native" and not again and (not derived or _differentiable(semiring, given)):
        return _natively(plan, semiring, given, derived).to(floating)
    chains = [cleaned(c.unrolled()) for c in given]
    lost = None
    if semiring.scalable:
        chains[0], lost = centred(chains[0])
    if wanted and semiring.temperature and not features and not again and not torch.compiler.is_compiling():
        value: Tensor = _Total.apply(_Call(plan, semiring, chains[0]), *chains[0].leaves)[0]  # type: ignore[no-untyped-call]
    else:
        value = _by_blocks(plan, semiring, chains)
    answer = semiring.lower(value if lost is None else semiring.scale(value, lost))
    return answer.to(floating) if answer.dtype == torch.float64 else answer


def _differentiable(semiring: Semiring, chains: Sequence[Chain]) -> bool:
    """Whether totals have derivatives by the compiled backend here. Of moments and paths, those of autograd alone."""
    if semiring.temperature:
        return True
    if isinstance(semiring, Expectation):
        return not transformed()
    return plain([x for c in chains for x in c.leaves]) and not transformed()


def transformed() -> bool:
    """Whether values are part of a transform of torch.func, or duals of forward mode."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def _forward_again() -> bool:
    """Whether forward mode goes over forward mode: the outer one does not look into the `jvp` of a Function."""
    if torch.compiler.is_compiling():
        return False
    stack = torch._C._functorch.get_interpreter_stack() or ()
    return sum(layer.key() == torch._C._functorch.TransformType.Jvp for layer in stack) > 1


def _natively(plan: Plan, semiring: Semiring, chains: Sequence[Chain], wanted: bool) -> Tensor:
    """A total by the compiled backend, in float64."""
    if len(chains) > 1:  # a mean grows with the chain, and a covariance is what is left of the difference of two
        chains = [_widened(c) for c in chains]
    if len(chains) > 2:  # its kernel takes one feature at a time
        each = [_natively(plan, Expectation(1), [chains[0], feature], wanted) for feature in chains[1:]]
        return torch.cat([each[0], *(x[1:] for x in each[1:])])
    if any(c.steps.ranks != chains[0].steps.ranks for c in chains):  # some are unrolled
        chains = [c.unrolled() for c in chains]
    chains = [compiled.settled(c) for c in chains]
    chain = chains[0]
    if not wanted or torch.compiler.is_compiling():
        call = compiled.call_for(semiring, chain)
        along = [x for c in chains[1:] for x in compiled.leaves(c)]
        keep = plan.segment(chain.length) if wanted else 0
        value = compiled.total(call, compiled.leaves(chain), along, chain.lengths, keep)[0]
        value = value if semiring.components else value[0]
    elif not semiring.temperature and len(chains) == 1:
        value = _Best.apply(_Call(plan, semiring, chain), *chain.leaves)[0]  # type: ignore[no-untyped-call]
        value = value if semiring.components else value[0]
    elif len(chains) == 1:
        value = _Total.apply(_Call(plan, semiring, chain), *chain.leaves)[0]  # type: ignore[no-untyped-call]
    else:
        leaves = [x for c in chains for x in c.leaves]
        value = _Moments.apply(_Call(plan, semiring, chain), *leaves)[0]  # type: ignore[no-untyped-call]
    return -value if isinstance(semiring, Min) else value


def _widened(chain: Chain) -> Chain:
    """The chain in float64."""
    leaves = chain.leaves
    if all(x.dtype == torch.float64 or not x.is_floating_point() for x in leaves):
        return chain
    return chain.rebuild(x.double() if x.is_floating_point() else x for x in leaves)


def posteriors(
    plan: Plan, chain: Chain, asked: Sequence[bool], into: Sequence[Tensor | None] = ()
) -> tuple[Tensor, list[Tensor | None]]:
    """A chain's log-mass, float64, and its gradient by each leaf that is asked for. Native plans only; no autograd.

    Args:
        into: zeros that gradients are written to, event axes in one piece; new tensors where None.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> way = plan(chain, semihmm.semirings.Log())
        >>> if way.backend == "native":
        ...     assert posteriors(way, chain, (True, False))[1][0].tolist() == [0.5, 0.5]
    """
    assert plan.backend == "native"
    call, segment = compiled.call_for(Log(), chain), plan.segment(chain.length)
    tensors = compiled.leaves(chain)
    count = len(chain.leaves) - (chain.lengths is not None)  # the tables of a Grid are behind those, lengths are not
    needed = (*asked[:count], *(False,) * (len(tensors) - count))
    value, found = compiled.posteriors(call, tensors, chain.lengths, segment, needed, into[:count])
    return value, [*found[:count], *(None,) * (len(chain.leaves) - count)]


@dataclass(frozen=True)
class _Call:
    """What a call to the engine is about, less its log-weights."""

    plan: Plan
    semiring: Semiring
    skeleton: Chain
    needed: Asked = ()  # of the gradient alone


class _Total(torch.autograd.Function):
    """A total, with what its gradient needs: the states in front of each block, and maybe every state vector."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: _Call, *leaves: Tensor) -> Outputs:
        chain = call.skeleton.rebuild(leaves)
        if call.plan.backend == "native":
            told = compiled.call_for(call.semiring, chain)
            value, *saved = compiled.total(
                told, compiled.leaves(chain), (), chain.lengths, call.plan.segment(chain.length)
            )
            return (value[0], *saved)
        keep = call.plan.blocks == 1
        last, fronts, trail = forward(call.plan, call.semiring, [chain], keep)
        ends, offset = finish(call.semiring, [chain], last)
        value = unscaled(call.semiring, call.semiring.sum(ends, -1), offset)
        states = [*fronts, last]
        kept = (torch.stack([s.carry for s in states], -3), torch.stack([s.offset for s in states], -1))
        return (value, *kept, *(trail if trail is not None else ()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.call = inputs[0]
        ctx.set_materialize_grads(False)  # no zeros for what is kept
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output, *inputs[1:])
        ctx.save_for_forward(*output, *inputs[1:])  # the same: vmap remembers the axes of what was saved last
        ctx.outputs = len(output)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        leaves = ctx.saved_tensors[ctx.outputs :]
        moved = _along(ctx.call, leaves, [_or_zeros(v, x) for v, x in zip(tangents, leaves, strict=True)])
        return (moved, *(None,) * (ctx.outputs - 1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        leaves = saved[ctx.outputs :]
        if grads[0] is None:  # a derivative of what is kept: there is none
            return (None, *(None for _ in leaves))
        if ctx.call.plan.backend == "native" and _many(grads[0]):
            return (None, *_pullback(partial(_slowly, ctx.call), tuple(leaves), (grads[0].unsqueeze(0),))[1])
        needed = tuple(n and x.is_floating_point() for n, x in zip(ctx.needs_input_grad[1:], leaves, strict=True))
        followed = torch.is_grad_enabled() or transformed() or torch.compiler.is_compiling()
        work = _Gradient.apply if followed else _Gradient.forward
        found = work(replace(ctx.call, needed=needed), ctx.outputs, grads[0], *saved)
        return (None, *_placed(found, needed))


class _Gradient(torch.autograd.Function):
    """The gradient of totals, weighted: posteriors by one scan back. Its own gradient is a covariance."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: _Call, outputs: int, weight: Tensor, *saved: Tensor) -> Outputs:
        needed = call.needed
        value, carries, offsets, *trail = saved[:outputs]
        chain = call.skeleton.rebuild(saved[outputs:])
        if call.plan.backend == "native":
            return _shares(call, [chain], (carries, offsets), (weight, None), needed)
        states = [State(c, o) for c, o in zip(carries.unbind(-3), offsets.unbind(-1), strict=True)]
        assert call.semiring.temperature is not None
        measure = Posterior(call.semiring, weight.to(carries.dtype), call.semiring.temperature)
        kept = Trail(*trail) if trail else None
        found = contract(call.plan, chain, measure, states[:-1], kept, states[-1], value)
        return tuple(x for x, n in zip(found, needed, strict=False) if n and x is not None)  # lengths are not in found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.call, ctx.outputs = inputs[:2]
        ctx.save_for_backward(*inputs[2:])
        ctx.save_for_forward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, *saved = ctx.saved_tensors
        leaves = tuple(saved[ctx.outputs :])
        direction = [_or_zeros(v, x) for v, x in zip(_placed(grads, ctx.call.needed), leaves, strict=True)]
        if ctx.call.plan.backend == "native" and not (torch.is_grad_enabled() or transformed()):
            needed = tuple(
                n and x.is_floating_point()
                for n, x in zip(ctx.needs_input_grad[3 + ctx.outputs :], leaves, strict=True)
            )
            moved, pulled = _curved(ctx.call, leaves, direction, weight, needed)
        else:
            (moved,), pulled = _pullback(lambda *x: (_along(ctx.call, x, direction),), leaves, (weight,))
        return (None, None, moved, *(None,) * ctx.outputs, *pulled)

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, moved: Tensor | None, *tangents: Tensor | None) -> Outputs:
        weight, *saved = ctx.saved_tensors
        leaves = tuple(saved[ctx.outputs :])
        direction = [_or_zeros(v, x) for v, x in zip(tangents[ctx.outputs :], leaves, strict=True)]
        curved = _pullback(lambda *x: (_along(ctx.call, x, direction),), leaves, (weight,))[1]
        by_weight = _Gradient.forward(ctx.call, ctx.outputs, _or_zeros(moved, weight), *saved)
        needed = (x for x, n in zip(curved, ctx.call.needed, strict=True) if n and x is not None)
        return tuple(a + b for a, b in zip(needed, by_weight, strict=True))


for _function in (_Total, _Gradient):  # `apply` binds its arguments to a signature: to find it anew takes 25 us a call
    _function.forward.__signature__ = signature(_function.forward)  # type: ignore[union-attr]


def _shares(
    call: _Call,
    chains: Sequence[Chain],
    kept: tuple[Tensor, Tensor],
    weights: tuple[Tensor, Tensor | None],
    needed: Asked | None = None,
) -> Outputs:
    """The gradient of totals by each log-weight of ``chains`` (that is needed), from the compiled backend."""
    chain = chains[0]
    told = compiled.call_for(call.semiring, chain)
    along = [x for c in chains[1:] for x in compiled.leaves(c)]
    segment = call.plan.segment(chain.length)
    tensors = compiled.leaves(chain)
    if needed is not None:  # its leaves have lengths last; the tables of a Grid are none of them
        count, own = len(chain.leaves), len(chain.leaves) - (chain.lengths is not None)
        rest = (False,) * (len(tensors) - own)
        needed = sum(((*needed[i : i + own], *rest) for i in range(0, len(needed), count)), ())
    found = compiled.gradient(told, tensors, along, chain.lengths, kept, segment, weights, needed)
    return tuple(x for x in found if x is not None)


class _Moments(torch.autograd.Function):
    """The log-mass and mean of a feature, by the compiled backend. Leaves are the log-weights, then the features."""

    @staticmethod
    def forward(call: _Call, *leaves: Tensor) -> Outputs:
        chain, feature = _split(call, leaves)
        told = compiled.call_for(call.semiring, chain)
        segment = call.plan.segment(chain.length)
        return compiled.total(told, compiled.leaves(chain), compiled.leaves(feature), chain.lengths, segment)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.call = inputs[0]
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:], *inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        call, (vectors, offsets, *leaves) = ctx.call, ctx.saved_tensors
        if grads[0] is None:
            return (None, *(None for _ in leaves))
        if torch.is_grad_enabled() or _many(grads[0]):  # somebody may ask for a derivative of this
            moved = _pullback(partial(_both, call), tuple(leaves), (grads[0],))[1]
            return (None, *moved)
        needed = tuple(n and x.is_floating_point() for n, x in zip(ctx.needs_input_grad[1:], leaves, strict=True))
        found = _shares(call, _split(call, leaves), (vectors, offsets), (grads[0][0], grads[0][1]), needed)
        return (None, *_placed(found, needed))


class _Best(torch.autograd.Function):
    """The totals of best paths, one for each, by the compiled backend; and where the paths went."""

    @staticmethod
    def forward(call: _Call, *leaves: Tensor) -> Outputs:
        chain = call.skeleton.rebuild(leaves)
        told, segment = compiled.call_for(call.semiring, chain), call.plan.segment(chain.length)
        return compiled.marked_paths(told, compiled.leaves(chain), chain.lengths, segment, call.semiring.rows)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.call = inputs[0]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:], *inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        slots, marks, *leaves = ctx.saved_tensors
        weight = grads[0]
        if weight is None:
            return (None, *(None for _ in leaves))
        if _many(weight):
            return (None, *_pullback(partial(_slowly, ctx.call), tuple(leaves), (weight,))[1])
        needed = tuple(n and x.is_floating_point() for n, x in zip(ctx.needs_input_grad[1:], leaves, strict=True))
        work = _Taken.apply if torch.is_grad_enabled() else _Taken.forward
        return (None, *_placed(work(replace(ctx.call, needed=needed), weight, slots, marks, *leaves), needed))


class _Taken(torch.autograd.Function):
    """The gradient of the totals of best paths, weighted: linear in the weights, and constant otherwise."""

    @staticmethod
    def forward(call: _Call, weight: Tensor, slots: Tensor, marks: Tensor, *leaves: Tensor) -> Outputs:
        chain = call.skeleton.rebuild(leaves)
        tensors = compiled.leaves(chain)
        count = len(leaves) - (chain.lengths is not None)
        needed = (*call.needed[:count], *(False,) * (len(tensors) - count))
        told = compiled.call_for(call.semiring, chain)
        found = compiled.gradient_of_paths(told, tensors, chain.lengths, slots, marks, weight, needed)
        return tuple(x for x in found if x is not None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.call = inputs[0]
        ctx.save_for_backward(inputs[1], *inputs[4:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, *leaves = ctx.saved_tensors

        def along(weight: Tensor) -> Outputs:
            found = _pullback(partial(_slowly, ctx.call), tuple(leaves), (weight,))[1]
            return tuple(g for g, n in zip(found, ctx.call.needed, strict=True) if n and g is not None)

        with torch.enable_grad():  # how the totals move along the direction
            moved = _pullback(along, (weight,), grads)[1][0]
        flat = (torch.zeros_like(x) if n else None for x, n in zip(leaves, ctx.call.needed, strict=True))
        return (None, moved, None, None, *flat)


def _many(weight: Tensor) -> bool:
    """Whether these are weights of several gradients at once, as autograd has them for its `is_grads_batched`."""
    return torch._C._functorch.is_legacy_batchedtensor(weight)


def _slowly(call: _Call, *leaves: Tensor) -> Outputs:
    """What the compiled backend gives of one chain, ``(components, ...)``, as autograd can follow it."""
    found = total(replace(call.plan, backend="torch"), call.semiring, call.skeleton.rebuild(leaves)).double()
    found = -found if isinstance(call.semiring, Min) else found
    return (found if call.semiring.components else found.unsqueeze(0),)


def _split(call: _Call, leaves: Sequence[Tensor]) -> list[Chain]:
    count = len(call.skeleton.leaves)
    return [call.skeleton.rebuild(leaves[:count]), call.skeleton.rebuild(leaves[count:])]


def _both(call: _Call, *leaves: Tensor) -> Outputs:
    """Log-mass and mean as autograd can follow them."""
    chain, *features = _split(call, leaves)
    return (total(replace(call.plan, backend="torch"), call.semiring, chain, features).double(),)


def _along(call: _Call, leaves: Sequence[Tensor], direction: Sequence[Tensor]) -> Tensor:
    """How far a total moves when its log-weights move along ``direction``: the expectation of a feature."""
    chains = _tilted(call, leaves, direction)
    if call.plan.backend == "native" and not transformed():
        return _natively(call.plan, Expectation(1), chains, torch.is_grad_enabled())[1]
    chains = [c.unrolled() for c in chains]
    return _by_blocks(replace(call.plan, backend="torch"), Expectation(1), chains)[1]


def _tilted(call: _Call, leaves: Sequence[Tensor], direction: Sequence[Tensor]) -> list[Chain]:
    """Log-weights, and the feature that adds up along a path as they move."""
    temperature = call.semiring.temperature
    assert temperature is not None
    warm = [x / temperature if temperature != 1.0 and x.is_floating_point() else x for x in leaves]
    return [call.skeleton.rebuild(warm), call.skeleton.rebuild(direction)]


def _curved(
    call: _Call, leaves: Sequence[Tensor], direction: Sequence[Tensor], weight: Tensor, needed: Asked
) -> tuple[Tensor, list[Tensor | None]]:
    """What `_along` says, natively, and its gradient by the leaves that are needed; nobody follows them."""
    chains = [compiled.settled(_widened(c)) for c in _tilted(call, leaves, direction)]
    wide = replace(call, semiring=Expectation(1))
    told, (tensors, along) = compiled.call_for(wide.semiring, chains[0]), map(compiled.leaves, chains)
    segment, lengths = call.plan.segment(chains[0].length), chains[0].lengths
    weights = (torch.zeros_like(weight), weight)
    found: Sequence[Tensor | None]
    if plain((*tensors, *along, weight)):
        own = len(leaves) - (lengths is not None)  # the tables of a Grid are behind those, lengths are not
        asked = (*needed[:own], *(False,) * (len(tensors) - own))
        value, each = compiled.posteriors(told, tensors, lengths, segment, asked, (), along, weights)
        found = [*each[:own], *(None,) * (len(leaves) - own)]
    else:
        value, *kept = compiled.total(told, tensors, along, lengths, segment)
        found = _placed(_shares(wide, chains, (kept[0], kept[1]), weights, (*needed, *(False,) * len(leaves))), needed)
    scale = call.semiring.temperature
    assert scale is not None
    cooled = [g if g is None or scale == 1.0 else g / scale for g in found]
    return value[1], [None if g is None else g.to(x.dtype) for g, x in zip(cooled, leaves, strict=True)]


def _or_zeros(tangent: Tensor | None, like: Tensor) -> Tensor:
    """A tangent; zeros where there is none; an index as it is."""
    return tangent if tangent is not None else torch.zeros_like(like) if like.is_floating_point() else like


def _placed(found: Sequence[Tensor], needed: Asked) -> list[Tensor | None]:
    """One entry for each leaf: what was found for it, None where nothing was asked for."""
    rest = iter(found)
    return [next(rest) if n else None for n in needed]


def _skip_indices(found: Sequence[Tensor], leaves: Sequence[Tensor], keep: bool = False) -> list[Any]:
    """One entry for each leaf: what was found for it, and for indices None (or, with ``keep``, the indices)."""
    rest = iter(found)
    return [next(rest) if x.is_floating_point() else (x if keep else None) for x in leaves]


def _by_blocks(plan: Plan, semiring: Semiring, chains: Sequence[Chain]) -> Tensor:
    """A total that autograd can follow. With more than one block, only the states between them are remembered."""
    chain = chains[0]
    active = chain.active(chain.batch)
    again = plan.blocks > 1 and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    state = begin(semiring, chains)
    for start, stop in plan.bounds(chain.length):
        maps = [c.steps.window(start, stop) for c in chains]
        going = None if active is None else active[..., start:stop]
        block = partial(_advance, plan, semiring, maps, stop - start)
        leaves = (x for m in maps for x in m.leaves)
        inputs = (*state, *leaves) if going is None else (*state, *leaves, going)
        state = State(*(_Again.apply(block, *inputs) if again else block(*inputs)))  # type: ignore[no-untyped-call]
    ends, offset = finish(semiring, chains, state)
    return unscaled(semiring, semiring.sum(ends, -1), offset)


def _advance(plan: Plan, semiring: Semiring, maps: list[Map], length: int, *inputs: Tensor) -> Outputs:
    """Advance a state over a block, as a function of tensors: the state's, all leaves, which steps are taken."""
    rest = iter(inputs[2:])
    given = tuple(m.rebuild(tuple(next(rest) for _ in m.leaves)) for m in maps)
    return tuple(advance(plan, semiring, given, State(*inputs[:2]), next(rest, None), False, length)[0])


class _Again(torch.autograd.Function):
    """A function whose inner values are not remembered but computed again, for derivatives of any order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(function: Callable[..., Outputs], *inputs: Tensor) -> Outputs:
        return tuple(x.view_as(x) for x in function(*inputs))  # autograd refuses an input that comes out as it is

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
        ctx.function = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *_pullback(ctx.function, ctx.saved_tensors, grads)[1])


def _pullback(
    function: Callable[..., Outputs], inputs: tuple[Tensor, ...], cotangents: Outputs
) -> tuple[Outputs, list[Tensor | None]]:
    """The function's outputs and the gradient of its floating inputs; itself differentiable where grad mode is on."""
    floating = [x for x in inputs if x.is_floating_point()]

    def of_floating(*given: Tensor) -> Outputs:
        return function(*_skip_indices(given, inputs, keep=True))

    if torch.is_grad_enabled():
        outputs, pull, *_ = torch.func.vjp(of_floating, *floating)
        found = pull(cotangents)
    else:
        with torch.enable_grad():
            fresh = [x.detach().requires_grad_() for x in floating]
            outputs = of_floating(*fresh)
            found = torch.autograd.grad(outputs, fresh, cotangents, allow_unused=True)
        outputs = tuple(x.detach() for x in outputs)
    for_all = iter(found)
    return outputs, [next(for_all) if x.is_floating_point() else None for x in inputs]
