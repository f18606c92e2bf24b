"""Decisions: the answer whose expected loss is least, rather than the one that is most probable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from semihmm.errors import SemihmmError, ShapeError, StructureError
from semihmm.inference.marginals import marginals
from semihmm.inference.options import Options, check_structures
from semihmm.inference.viterbi import Paths, argmax, topk
from semihmm.structures import Structure
from semihmm.structures.authoring import until

if TYPE_CHECKING:
    from typing_extensions import Unpack

Loss = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def minimum_bayes_risk(
    structure: Structure, loss: str | Loss = "hamming", k: int = 100, **options: Unpack[Options]
) -> Tensor:
    """The answer whose expected loss under the posterior is least (Kumar & Byrne 2004).

    Args:
        loss: ``"hamming"``, the number of steps with a wrong state: each step gets its most probable one, int64
            ``(..., T)``, -1 after the end, numbered as in `Paths.states`. ``"segment"``, of an HSMM, the number of
            segments that are not right: those that tile the sequence and whose posteriors add up to most, an event. Or
            a function of two events ``(..., *event)`` that returns how much the first one loses where the second is
            true, ``(...)``: of the k best paths the one that loses least if one of them is true, an event.
        k: how many those are.

    Example:
        >>> import torch, semihmm
        >>> arcs = torch.tensor([[0.5, -torch.inf, -torch.inf], [-torch.inf, 0.4, 0.4], [-torch.inf, 0.4, 0.4]])
        >>> hmm = semihmm.HMM(torch.tensor([0.2, 0., -9.]), arcs, torch.zeros(3, 3))
        >>> semihmm.argmax(hmm).tolist(), minimum_bayes_risk(hmm).tolist()  # one path against many that differ little
        ([0, 0, 0], [1, 1, 1])

    Raises:
        StructureError: a loss that says nothing of this structure.
    """
    check_structures(structure)
    if not isinstance(loss, str) and not callable(loss):
        raise SemihmmError(f"minimum_bayes_risk: loss must be a name or a function, got {type(loss).__name__}.")
    if not isinstance(loss, str):
        return _least_of_the_best(structure, loss, k, options)
    if loss == "hamming":
        if type(structure).state_sequence is Structure.state_sequence:
            raise StructureError(
                f"minimum_bayes_risk: {type(structure).__name__} has no state at each step. In a structure of your own "
                "that has one, say it by state_sequence().",
                see="own-structures",
            )
        whole = structure.untied()
        posterior = marginals(whole, **options).potentials[whole.observed]
        posterior = posterior.flatten(1 - whole.ranks[whole.observed])  # a state of several parts has an axis for each
        used, best = until(structure.lengths, posterior.shape[-2]), posterior.argmax(-1)
        possible = (posterior != 0).any(-1)
        return torch.where(possible if used is None else possible & used, best, -1)
    if loss == "segment":
        if "segment" not in structure.varying or not structure.linear:
            why = (
                "has no segments" if structure.linear else "has segments that are longer than is seen: decide by a loss"
            )
            raise StructureError(f"minimum_bayes_risk: {type(structure).__name__} {why}.")
        posterior = marginals(structure.over_time("segment"), **options).potentials["segment"]
        free = {n: torch.where(x.isfinite(), 0.0, x) for n, x in structure.potentials.items()}
        sure = torch.where(posterior > 0, posterior, -torch.inf)  # never one that is impossible
        return argmax(structure.replace(**{**free, "segment": sure}), **options)
    raise SemihmmError(f"minimum_bayes_risk: loss is 'hamming', 'segment' or a function of two events, got {loss!r}.")


def _least_of_the_best(structure: Structure, loss: Loss, k: int, options: Options) -> Tensor:
    best = topk(structure, k, **options)
    log_weight = torch.where(best.valid, best.score, -torch.inf)
    chance = log_weight.softmax(0).nan_to_num(0.0)
    risk = torch.stack(
        [
            (chance * torch.where(best.valid, _lost(loss, event.expand_as(best.event), best), 0.0)).sum(0)
            for event in best.event
        ]
    )
    at = torch.where(best.valid, risk, torch.inf).argmin(0)
    more = best.event.ndim - best.score.ndim
    index = at.reshape(1, *at.shape, *(1,) * more).expand(1, *best.event.shape[1:])
    return best.event.gather(0, index).squeeze(0)


def _lost(loss: Loss, event: Tensor, true: Paths) -> Tensor:
    lost = torch.as_tensor(loss(event, true.event), device=event.device)
    if lost.shape != true.score.shape:
        raise ShapeError(
            f"minimum_bayes_risk: a loss gets two batches of events, {tuple(event.shape)} each, and must return a "
            f"number for each pair, {tuple(true.score.shape)}, got {tuple(lost.shape)}. Sum over an event's own axes "
            "alone."
        )
    return lost
