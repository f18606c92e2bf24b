"""Expected counts: the log-partition and its gradient, for all potentials or for those that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from semihmm import engine
from semihmm.engine import Chain, Plan
from semihmm.engine.tensors import negated, zeros
from semihmm.engine.total import posteriors
from semihmm.engine.tracing import mapped, traced, transformed
from semihmm.inference.options import Options, check_structures
from semihmm.inference.program import posteriors_of
from semihmm.inference.total import prepare
from semihmm.semirings import Log
from semihmm.structures import Structure
from semihmm.structures.leaves import Made, Place, View, disjoint, event_axes, views

if TYPE_CHECKING:
    from typing_extensions import Unpack


def expected_counts(
    structure: Structure, names: Sequence[str] | None = None, **options: Unpack[Options]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The log-partition of each sequence, and how often each potential is used, in expectation, by all of them.

    Args:
        names: the potentials whose counts are asked for; the work and memory of the others is spared. None for all.
    Returns:
        ``(...)`` in nats; and by name, in the shape of the potential, the gradient of the sum of those (minus it, where
        the potential is a cost). One that all sequences share is counted over all of them, so no ``(B, S, S)`` exists;
        `marginals` counts for each sequence. Zero where there is no path. Differentiable in turn.

    Cost: two scans, O(T) memory (see ``checkpoint``).

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(5, 3, 2))
        >>> log_partition, counts = expected_counts(hmm)
        >>> counts["transition"].tolist()  # 5 sequences, 2 steps each
        [[2.5, 2.5], [2.5, 2.5]]
    """
    check_structures(structure)
    names = tuple(structure.ranks) if names is None else names
    if mapped():
        return _in_transforms(structure, names, options)
    by_program = posteriors_of(structure, names, options)
    if by_program is not None:
        mass, counts = by_program
        return mass, counts if structure.sign == 1 else {n: negated(g) for n, g in counts.items()}
    if torch.compiler.is_exporting() and options.get("backend") == "torch":  # others are operators as they are
        return _exported(structure, names, options)
    potentials = structure.potentials
    create_graph = torch.is_grad_enabled() and any(x.requires_grad for x in potentials.values())
    found: Sequence[Tensor]
    if not create_graph and not traced() and not transformed():
        given = structure.holding(**{n: x.detach() for n, x in potentials.items()})
        form = views(given)
        left = [n for n in names if any(isinstance(p, Made) and n in p.potentials for p in form)]
        with _recorded(given, left) as (recorded, inputs):
            chain, plan = prepare(recorded, Log(), options)
            direct = _directly(plan, chain, recorded, form, names, inputs)
            if direct is not None:
                return direct[0].to(chain.start[0].dtype), _signed(structure, names, direct[1])
        options = {**options, "validate": False}
    with _recorded(structure, names, keep=create_graph) as (recorded, inputs):
        chain, plan = prepare(recorded, Log(), options)
        value = engine.total(plan, Log(), chain)
        found = torch.autograd.grad(
            value.sum(), list(inputs.values()), create_graph=create_graph, materialize_grads=True
        )
    return value if create_graph else value.detach(), _signed(structure, names, found)


def _exported(structure: Structure, names: Sequence[str], options: Options) -> tuple[Tensor, dict[str, Tensor]]:
    """The same in a program that is exported, whose scans are operators: autograd follows what led to their leaves."""
    with _recorded(structure, names) as (recorded, inputs):
        chain, plan = prepare(recorded, Log(), options)
        found = _directly(plan, chain.unrolled(), recorded, (), names, inputs)
    assert found is not None
    return found[0].detach().to(chain.start[0].dtype), _signed(structure, names, found[1])


def _in_transforms(structure: Structure, names: Sequence[str], options: Options) -> tuple[Tensor, dict[str, Tensor]]:
    """The same where PyTorch knows no `torch.autograd.grad`: inside vmap, grad and the other transforms."""

    def value(*given: Tensor) -> Tensor:
        chain, plan = prepare(structure.holding(**dict(zip(names, given, strict=True))), Log(), options)
        return engine.total(plan, Log(), chain)

    found, pull, *_ = torch.func.vjp(value, *(structure.potentials[n] for n in names))
    return found, _signed(structure, names, pull(torch.ones_like(found)))


@contextmanager
def _recorded(
    structure: Structure, names: Sequence[str], keep: bool = False
) -> Iterator[tuple[Structure, dict[str, Tensor]]]:
    """A structure some of whose potentials, which come by name, autograd records, whatever its mode is.

    Args:
        keep: whether it goes on from what led to the potentials.
    """
    if not names:
        yield structure, {}
        return
    with torch.inference_mode(False), torch.enable_grad():
        given = _recordable(structure)
        potentials = {}
        for name, x in given.potentials.items():
            x = x if keep and x.requires_grad else x.detach()  # a caller's tensor is never marked
            potentials[name] = x.requires_grad_() if name in names and not x.requires_grad else x
        yield given.holding(**potentials), {name: potentials[name] for name in names}


def _recordable(structure: Structure) -> Structure:
    """The structure with tensors that autograd can save: those of inference mode it cannot."""
    held: dict[str, Any] = {
        name: _recordable(x)
        if isinstance(x, Structure)
        else tree_map_only(Tensor, lambda y: y.clone() if y.is_inference() else y, x)
        for name, x in structure.__dict__.items()
    }
    return structure.holding(**held)


def _signed(structure: Structure, names: Sequence[str], found: Sequence[Tensor]) -> dict[str, Tensor]:
    """By name, and by the potential where that is a cost."""
    return {n: g if structure.sign == 1 else structure.sign * g for n, g in zip(names, found, strict=True)}


def _directly(
    plan: Plan,
    chain: Chain,
    structure: Structure,
    form: Sequence[Place],
    names: Sequence[str],
    recorded: Mapping[str, Tensor],
) -> tuple[Tensor, list[Tensor]] | None:
    """The log-mass and its gradient by some of a structure's potentials; None where the backend has no such pass.

    Where log-weights are views of a potential, the backend writes to the same views of its gradient. What else the
    structure does to its potentials, autograd has ``recorded``.
    """
    into: list[Tensor | None] = [None] * len(chain.leaves)
    grads: dict[str, Tensor] = {}
    indirect: list[tuple[int, Tensor]] = []  # views that the backend does not write to
    for name in names:
        if name in recorded:
            continue
        grads[name] = whole = zeros(structure.potentials[name].shape, structure.potentials[name])
        mine = tuple((i, place) for i, place in enumerate(form) if isinstance(place, View) and place.potential == name)
        direct = disjoint(tuple(place for _, place in mine), tuple(event_axes(chain, i) for i, _ in mine), chain.batch)
        for i, place in mine:
            once = tuple(1 if not step else size for size, step in zip(place.shape, place.stride, strict=True))
            view = whole.as_strided(place.shape if direct else once, place.stride, place.first)
            if direct:
                into[i] = view
            else:
                indirect.append((i, view))
    requested = [x.requires_grad or into[i] is not None for i, x in enumerate(chain.leaves)]
    for i, _ in indirect:
        requested[i] = True
    found = posteriors(plan, chain, requested, into)
    if found is None:
        return None
    value, weights = found
    for i, view in indirect:
        share = weights[i]
        assert share is not None
        view += share.sum_to_size(view.shape)
    if recorded:
        ends = [(x, g) for x, g in zip(chain.leaves, weights, strict=True) if x.requires_grad and g is not None]
        outputs, shares = [x for x, _ in ends], [g.clone() if g.is_inference() else g for _, g in ends]
        pulled = torch.autograd.grad(outputs, list(recorded.values()), shares, materialize_grads=True)
        grads |= dict(zip(recorded, pulled, strict=True))
    return value, [grads[n] for n in names]
