"""Pruning: the states that good paths go through, kept at the cost of what is left.

The score of the best path through a state at a time is its max-marginal. Without the states whose max-marginal is
below a threshold, all paths that score as much as the threshold are still there. The cascades of Weiss & Taskar (2010,
"Structured Prediction Cascades") prune a model by the max-marginals of a cheaper one, with a threshold between the best
score and the mean max-marginal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm import engine
from semihmm.engine import Chain, Plan
from semihmm.errors import DataError, SemihmmError, ShapeError
from semihmm.inference.options import Options, check_structures
from semihmm.inference.total import prepare
from semihmm.inference.viterbi import decode
from semihmm.semirings import Log, Max
from semihmm.structures import Pruned, Structure
from semihmm.structures.authoring import one_hot, tensor_of, until, whole_numbers
from semihmm.structures.pruned import prunable

if TYPE_CHECKING:
    from typing_extensions import Unpack


@torch.no_grad()
def prune(
    structure: Structure,
    *,
    within: float | None = None,
    top: int | None = None,
    alpha: float | None = None,
    mask: Tensor | None = None,
    by: Structure | Tensor | None = None,
    **options: Unpack[Options],
) -> Pruned:
    """Some of a structure's states at each time, and the paths that keep to them, at the cost of what is left.

    States are kept that meet all criteria given. What scores them is their max-marginal: the score of the best path
    through them. The best path is always kept, so that `viterbi` finds the same one.

    Args:
        within: how many nats below the best at its time a state may score.
        top: how many states to keep at each time at most (one more, where ties leave out the best path).
        alpha: the threshold between the mean of all max-marginals of a sequence (0) and its best score (1).
        mask: instead, bool ``(..., times, states)``: just the states to keep, as `condition` would allow.
        by: what scores them instead: a structure of the same states that is cheaper, by its max-marginals; or scores
            ``(..., times, states)``, such as `smoothing` returns. Where these leave a sequence without a path that it
            has, its best path is kept, found by one pass over the whole.
    Returns:
        `semihmm.structures.Pruned`, of which everything can be asked; potentials, gradients and events are those of
        ``structure``. ``.bound`` is the largest score of any state that was pruned: where scores are max-marginals, no
        path that was pruned has a larger one, so the k best paths are exact as far as they score more. ``.lost`` is
        the log of the sum of their exps: where scores are log-posteriors, the log of a share of the probability that
        is at least what was lost. What was lost in fact is the difference of both log-partitions.

    Cost: that of the max-marginals and the best path, for what scores: three times that of `viterbi` between many
    states, all at all steps by the same transitions, and up to 15 times it else; with ``mask`` or scores, nothing
    of the kind. Then, for all that is asked of what is left, with n states kept at each time: n^2 a step, or their
    arcs.

    Times and states are those of the structure's chain: HMM and MonotonicAlignment ``(..., T, S)``, CTC
    ``(..., T, 2 U + 1)``, its states before the first step all kept, or ``(..., T + 1, 2 U + 1)``.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> hmm = semihmm.HMM(torch.zeros(100), torch.randn(100, 100, generator=g), torch.randn(50, 100, generator=g))
        >>> small = prune(hmm, top=5)
        >>> small.active.shape, torch.equal(semihmm.argmax(small), semihmm.argmax(hmm))
        (torch.Size([50, 5]), True)
        >>> semihmm.marginals(small).transition.shape
        torch.Size([100, 100])

    Raises:
        SemihmmError: no criterion, or one that is out of range.
        StructureError: the structure has no state at each time: HSMM, DTW and other grids.
        ShapeError: a mask or scores of another shape.
    """
    check_structures(structure)
    structure = structure.along_arcs()
    chain = prunable(structure)
    criteria = {"within": within, "top": top, "alpha": alpha}
    if mask is not None:
        if by is not None or any(x is not None for x in criteria.values()):
            raise SemihmmError("prune: mask says which states are kept. Prune what is left again, by what scores it.")
        allowed = _checked(chain, "mask", mask, _times(structure, chain))
        return Pruned.keeping(structure, _from_the_start(chain, allowed, True))
    if all(x is None for x in criteria.values()):
        raise SemihmmError("prune: say what to keep: within= (nats), top= (states), alpha= (0 to 1) or mask=.")
    _check(within, top, alpha)
    if by is None or isinstance(by, Structure):
        score, best = _max_marginals(structure if by is None else by, options)
        score = _checked(chain, "the other structure's max-marginals", score, (chain.length + 1,))
    else:
        score, best = _checked(chain, "scores", by, _times(structure, chain)), None
    kept = _from_the_start(chain, _kept(chain, score, within, top, alpha), True)
    score = _from_the_start(chain, score, -torch.inf)
    kept = kept if best is None else kept | best
    if by is not None:
        without = ~decode(Pruned.keeping(structure, kept), Max(), **options).valid[0]
        if bool(without.any()):
            kept = kept | (_on_best(*prepare(structure, Max(), options)) & without[..., None, None])
    gone = torch.where(_used(chain, ~kept), score, -torch.inf).flatten(-2)
    return Pruned.keeping(structure, kept, bound=gone.amax(-1), lost=Log().sum(gone, -1))


def _check(within: float | None, top: int | None, alpha: float | None) -> None:
    """Refuse criteria that are out of range."""
    for name, value in (("within", within), ("alpha", alpha)):
        if value is not None and not isinstance(value, int | float):
            raise SemihmmError(f"prune: {name} must be a number, got {value!r}.")
    if within is not None and not within >= 0:
        raise SemihmmError(f"prune: within is how far below the best a state may score, at least 0 nats, got {within}.")
    if top is not None and whole_numbers("prune", "top", [top])[0] < 1:
        raise SemihmmError(f"prune: top is how many states to keep at each time, at least 1, got {top}.")
    if alpha is not None and not 0 <= alpha <= 1:
        raise SemihmmError(f"prune: alpha lies between 0, the mean max-marginal, and 1, the best score, got {alpha}.")


def _max_marginals(structure: Structure, options: Options) -> tuple[Tensor, Tensor]:
    """Of each slot at each time, ``(..., times, slots)``; and whether the best path goes through it."""
    structure = structure.along_arcs()
    prunable(structure)
    chain, plan = prepare(structure, Max(), options)
    return engine.best_in_slots(plan, chain), _on_best(chain, plan)


def _on_best(chain: Chain, plan: Plan) -> Tensor:
    """Whether the best path goes through each slot at each time."""
    return one_hot(engine.decode(plan, Max(), chain).slots[0], chain.steps.slots)


def _times(structure: Structure, chain: Chain) -> tuple[int, ...]:
    """How many times there may be in what is given: all, or those of the steps, where the first time is before them."""
    seen, rank = structure.potentials[structure.observed], structure.ranks[structure.observed]
    after_each = rank > 1 and seen.shape[-rank] == chain.length
    return (chain.length + 1, chain.length) if after_each else (chain.length + 1,)


def _checked(chain: Chain, what: str, given: Tensor, times: tuple[int, ...]) -> Tensor:
    """Numbers (a mask: bool) for each slot of a chain at so many times."""
    x = tensor_of("prune", what, given, chain.start[0].device)
    shape = (chain.length + 1, chain.steps.slots)
    fits = x.ndim > 1 and x.shape[-2] in times and x.shape[-1] == shape[1] and x.shape[:-2] in (chain.batch, ())
    if not fits or (x.dtype == torch.bool) != (what == "mask"):
        raise ShapeError(
            f"prune: the chain has {shape[0]} times and {shape[1]} states, so {what} must be "
            f"{'bool' if what == 'mask' else 'numbers'}, {shape} for all sequences or {(*chain.batch, *shape)}, got "
            f"{tuple(x.shape)} of {x.dtype}."
        )
    if bool(x.isnan().any()):
        raise DataError(f"prune: {what} must be numbers, or -inf for what is never kept; some are NaN.")
    return x


def _from_the_start(chain: Chain, x: Tensor, value: float) -> Tensor:
    """The same with a value for all slots at the first time, if that is not there."""
    return x if x.shape[-2] > chain.length else pad(x, (0, 0, 1, 0), value=value)


def _used(chain: Chain, x: Tensor) -> Tensor:
    """The same, and False behind the end of each sequence."""
    used = until(None if chain.lengths is None else chain.lengths + 1, chain.length + 1, 2)
    return x if used is None else x & used[..., chain.length + 1 - x.shape[-2] :, :]


def _kept(chain: Chain, score: Tensor, within: float | None, top: int | None, alpha: float | None) -> Tensor:
    """Which slots meet all criteria, bool ``(..., times, slots)``."""
    possible = _used(chain, (score > -torch.inf).expand(*chain.batch, -1, -1))
    score = torch.where(possible, score, -torch.inf)
    kept = possible
    if within is not None:
        kept = kept & (score >= score.amax(-1, keepdim=True) - within)
    if alpha is not None:
        count = possible.sum((-2, -1), keepdim=True)
        mean = torch.where(possible, score, 0.0).sum((-2, -1), keepdim=True) / count.clamp(min=1)
        best = torch.where(count > 0, score.amax((-2, -1), keepdim=True), 0.0)
        kept = kept & (score >= alpha * best + (1 - alpha) * mean)
    if top is not None and top < score.shape[-1]:
        kept = kept & torch.zeros_like(kept).scatter(-1, score.topk(top, -1).indices, True)
    return kept
