"""Marginals: the gradient of the log-partition, in the structure's own shape; and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from semihmm import engine
from semihmm.errors import ShapeError, StructureError
from semihmm.inference.counts import expected_counts
from semihmm.inference.options import Options, check_structures
from semihmm.inference.total import prepare
from semihmm.semirings import Log, Max
from semihmm.structures import Structure
from semihmm.structures.authoring import check_names, tensor_of, until
from semihmm.structures.leaves import Made, numbered, views

if TYPE_CHECKING:
    from typing_extensions import Unpack

S = TypeVar("S", bound=Structure)


def marginals(structure: S, **options: Unpack[Options]) -> S:
    """How often, in expectation, each potential is used: the posterior of every arc, state and segment.

    Returns:
        A structure of the same class. Each of its potentials is the gradient of the log-partition with respect to
        that log-weight, for each sequence of the batch, so with all batch axes, whatever sequences share:
        ``.emission (..., T, S)`` sums to 1 at each step of an HMM, and ``.transition (..., S, S)`` holds expected
        counts. Zero where there is no path. Differentiable in turn. Where states share V columns of emissions, it is
        ``.emission (..., T, V)``, and `smoothing` tells the states apart.

    Cost: two scans, O(T) memory (see ``checkpoint``).

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> marginals(hmm).emission.tolist()
        [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    """
    check_structures(structure)
    batch, ranks = structure.batch_shape, structure.ranks
    if batch and any(x.shape[: x.ndim - ranks[name]] != batch for name, x in structure.potentials.items()):
        structure = structure.holding(**structure.expanded_potentials)  # to be counted for each sequence
    return structure.holding(**expected_counts(structure, **options)[1])


def max_marginals(structure: S, **options: Unpack[Options]) -> S:
    """The score of the best path through each potential, in the structure's own shape; ``-inf`` where there is none.

    Raises:
        StructureError: a log-weight of the chain mixes several potentials (HSMM with ``censored``), so that no
            path through it is a path through one of them.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.tensor([[0., 1.], [3., 0.]]))
        >>> max_marginals(hmm).emission.tolist()
        [[3.0, 4.0], [4.0, 1.0]]
    """
    check_structures(structure)
    whole = structure.replace(**{n: x.detach() for n, x in structure.expanded_potentials.items()})
    with torch.no_grad():
        chain, plan = prepare(whole, Max(), options)
        form, best = engine.best_through(plan, chain)
        return structure.replace(**_by_owner(whole, best, unrolled=form is not chain))


def _by_owner(structure: Structure, best: list[Tensor], unrolled: bool) -> dict[str, Tensor]:
    """From the log-weights of a chain to the potentials that they are made of."""
    given = structure.potentials
    sizes = [x.numel() for x in given.values()]
    score = torch.full((sum(sizes) + 1,), -torch.inf, dtype=best[0].dtype, device=best[0].device)  # constants go last
    places = [place for place in views(structure) if place is not None]
    weights = (source for source in numbered(structure, unrolled) if source is not None)
    for i, (weight, source, place) in enumerate(zip(best, weights, places, strict=True)):
        if source.number is None:
            assert isinstance(place, Made)
            raise StructureError(
                f"{type(structure).__name__}: log-weight {i} of its chain {place.why}", see="whose-entries"
            )
        owner = (source.number % len(score)).expand(weight.shape)
        score = score.scatter_reduce(0, owner.flatten(), weight.flatten(), "amax")
    return {n: x.reshape(given[n].shape) for n, x in zip(given, score[:-1].split(sizes), strict=True)}


def filtering(structure: Structure, **options: Unpack[Options]) -> Tensor:
    """Log-posterior of the state at each step given the steps up to it, ``(..., T, S)``; ``-inf`` after the end.

    A state of several parts, as a FactorialHMM's, has an axis for each.

    Raises:
        StructureError: the structure has no state at each moment.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.tensor([[0., 0.], [1., -1.]]))
        >>> [round(p, 2) for p in filtering(hmm).exp().flatten().tolist()]
        [0.5, 0.5, 0.88, 0.12]
    """
    chain, plan = prepare(structure, Log(), options)
    weights = structure.filtered(engine.vectors(plan, Log(), chain))
    time = len(structure.batch_shape)
    state = weights.shape[time + 1 :]
    weights = weights.flatten(time + 1)
    mass = Log().sum(weights, -1).unsqueeze(-1)
    posterior = torch.where(mass == -torch.inf, -torch.inf, weights - torch.where(mass == -torch.inf, 0.0, mass))
    posterior = posterior.to(structure.potentials[structure.observed].dtype)
    used = until(structure.lengths, weights.shape[-2], 2)
    posterior = posterior if used is None else torch.where(used, posterior, -torch.inf)
    by_part: Tensor = posterior.unflatten(-1, state)
    return by_part


def smoothing(structure: Structure, **options: Unpack[Options]) -> Tensor:
    """Log-posterior of the state at each step given all steps: the log of the observed potential's marginals.

    Of states that share emissions, each has its own. Computed in float64, so that posteriors down to exp(-700) have a
    logarithm; in the structure's dtype.

    Example:
        >>> sticky = torch.tensor([[0., -9.], [-9., 0.]])
        >>> hmm = semihmm.HMM(torch.zeros(2), sticky, torch.tensor([[0., 0.], [1., -1.]]))
        >>> [round(p, 2) for p in smoothing(hmm).exp().flatten().tolist()]
        [0.88, 0.12, 0.88, 0.12]
    """
    check_structures(structure)
    structure = structure.untied()
    seen = structure.potentials[structure.observed]
    posterior = expected_counts(structure.to(torch.float64), (structure.observed,), **options)[1][structure.observed]
    used = posterior > 0
    return torch.where(used, torch.where(used, posterior, 1.0).log(), -torch.inf).to(seen.dtype)


def condition(structure: S, mask: Tensor | None = None, **masks: Tensor) -> S:
    """The same structure with only the allowed entries of its potentials: partial labels.

    It takes as much work as before; where few states are left at each step, `prune` with the same mask takes less.

    Args:
        mask: bool, True for what is allowed, in the shape of the observed potential (HMM: ``(..., T, S)``, or of the
            columns ``(..., T, V)`` that its states share; a mask over states goes to ``structure.untied()``).
        masks: the same for other potentials, by name; of one that sequences share, each may have a mask of its own.
    Raises:
        ShapeError: a mask of another shape or dtype, by name.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> round(float(semihmm.log_partition(condition(hmm, torch.tensor([True, False]))).exp()), 4)  # one path
        1.0
    """
    check_structures(structure)
    if mask is not None:
        masks[structure.observed] = mask
    check_names(structure, masks)
    forbidden, given = -structure.sign * torch.inf, structure.potentials
    allowed = {n: _mask(structure, n, m) for n, m in masks.items()}
    return structure.replace(**{n: torch.where(m, given[n], forbidden) for n, m in allowed.items()})


def _mask(structure: Structure, name: str, mask: Tensor) -> Tensor:
    """What is allowed of a potential: bool, as large, or of one for each sequence where it is shared."""
    x = structure.potentials[name]
    mask = tensor_of("condition", f"the mask of {name}", mask, x.device)
    pairs = list(zip(reversed(mask.shape), reversed(x.shape), strict=False))
    fits = all(m in (1, n) or (n == 1 and name != structure.observed) for m, n in pairs)
    if mask.dtype != torch.bool or not fits or (name == structure.observed and mask.ndim > x.ndim):
        untied = structure.untied() if name == structure.observed else structure
        hint = (
            ""
            if untied is structure
            else (
                f" Its states share those: a mask over states, {tuple(untied.potentials[name].shape)}, is one of "
                "structure.untied(), which has log-weights of each state's own."
            )
        )
        raise ShapeError(
            f"condition: {name} of this {type(structure).__name__} is {tuple(x.shape)}, so its mask must be bool of "
            f"that shape, True for what is allowed (an axis of 1, or none, is shared), got {tuple(mask.shape)} of "
            f"{mask.dtype}.{hint}"
        )
    return mask
