"""Paths: the best, and the k best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from semihmm import engine
from semihmm.engine.tracing import transformed
from semihmm.errors import SemihmmError
from semihmm.inference.options import Options
from semihmm.inference.program import best_path_of
from semihmm.inference.total import prepare
from semihmm.semirings import Max, Sample, Semiring, TopK
from semihmm.structures import Structure
from semihmm.structures.authoring import tensor_of, whole_numbers

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True)
class Paths:
    """Events, each with its score.

    Attributes:
        event: in the structure's own terms, ``(..., *event)``; -1 where an event is over and where it is not valid.
        score: log-weight in nats ``(...)``; ``-inf`` where not valid. Differentiable.
        valid: whether there is such a path, bool ``(...)``.
        structure: where they come from.

    Example:
        >>> best = viterbi(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2)))
        >>> best.event.tolist(), float(best.score), bool(best.valid)
        ([0, 0, 0], 0.0, True)
    """

    event: Tensor
    score: Tensor
    valid: Tensor
    structure: Structure

    @property
    def states(self) -> Tensor:
        """The state at each step, int64 ``(..., T)``, where the structure has one (HMM, HSMM, CTC)."""
        return self.structure.state_sequence(self.event)


def decode(
    structure: Structure, semiring: Semiring, generator: torch.Generator | None = None, **options: Unpack[Options]
) -> Paths:
    """The paths that a selective semiring chooses, ``(rows, ...)``."""
    chain, plan = prepare(structure, semiring, options)
    path = engine.decode(plan, semiring, chain, generator)
    event = structure.event(path)
    if plan.worker.exact_scores and not isinstance(semiring, Sample) and not _derived(structure):
        return Paths(event, path.value, path.valid, structure)  # summed in float64, on the way; -inf if not valid
    score = engine.score(chain, path)
    return Paths(event, torch.where(path.valid, score, -torch.inf), path.valid, structure)


def _derived(structure: Structure) -> bool:
    """Whether somebody may ask for a derivative of scores: then they are to come from the potentials."""
    if transformed() or torch.compiler.is_compiling():
        return True
    return torch.is_grad_enabled() and any(x.requires_grad for x in structure.potentials.values())


def viterbi(structure: Structure, **options: Unpack[Options]) -> Paths:
    """The best path (Viterbi 1967). Ties go to the lowest index, at the end first.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.tensor([[0., 1.], [3., 0.]]))
        >>> best = viterbi(hmm)
        >>> best.event.tolist(), float(best.score)
        ([1, 0], 4.0)
    """
    path = best_path_of(structure, options)
    if path is not None:
        return Paths(structure.event(path), path.value, path.valid, structure)
    best = decode(structure, Max(), **options)
    return Paths(best.event[0], best.score[0], best.valid[0], structure)


def argmax(structure: Structure, **options: Unpack[Options]) -> Tensor:
    """The event of the best path.

    Example:
        >>> argmax(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.tensor([[0., 1.], [3., 0.]]))).tolist()
        [1, 0]
    """
    return viterbi(structure, **options).event


def topk(
    structure: Structure,
    k: int,
    distinct: Tensor | Callable[[Tensor], Tensor] | None = None,
    most: int = 1024,
    **options: Unpack[Options],
) -> Paths:
    """The k best paths, best first, ``(k, ...)``. Where there are fewer, the rest score -inf and are not valid.

    Args:
        distinct: what no two of them may have in common: a label for each state, integers ``(S,)``, or a function of
            events ``(rows, ..., *event)`` that returns labels ``(rows, ..., L)``. Of paths with the same labels the
            best one counts. None: any k paths.
        most: with ``distinct``, how many paths are looked through: k, then twice as many as often as it takes. What is
            found is exact; where more than these share fewer than k labels, the rest are not valid.

    Cost: k log k times that of the best path; with ``distinct``, that of as many paths as were looked through.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.tensor([[0., 1.], [3., 0.]]))
        >>> topk(hmm, 3).score.tolist()
        [4.0, 3.0, 1.0]
        >>> last_state = topk(hmm, 2, distinct=lambda event: event[..., -1:])
        >>> last_state.event.tolist(), last_state.score.tolist()
        ([[1, 0], [1, 1]], [4.0, 1.0])
    """
    (k,), (most,) = whole_numbers("topk", "k", [k]), whole_numbers("topk", "most", [most])
    if k < 1 or most < 1:
        raise SemihmmError(f"topk: k is how many paths, at least 1, and so is most, got {k} and {most}.")
    if distinct is None:
        return decode(structure, TopK(k), **options)
    count = k
    while True:
        found = decode(structure, TopK(count), **options)
        new = found.valid & _first_of_their_labels(found, distinct)
        over = ~found.valid[-1]  # there are no more paths
        if count >= most or bool((over | (new.sum(0) >= k)).all()):
            return _chosen(found, new, k)
        count = min(2 * count, most)


def _first_of_their_labels(paths: Paths, distinct: Tensor | Callable[[Tensor], Tensor]) -> Tensor:
    """Whether no better path has the same labels, bool ``(rows, ...)``."""
    if callable(distinct):
        labels = torch.as_tensor(distinct(paths.event))
    else:
        states, names = paths.states, tensor_of("topk", "distinct", distinct, paths.event.device)
        whole = paths.structure.untied()
        seen = whole.potentials[whole.observed]
        count = seen.shape[seen.ndim - whole.ranks[whole.observed] + 1 :].numel()  # behind the axis of time
        if names.shape != (count,) or names.is_floating_point():
            raise SemihmmError(
                f"topk: distinct must be a function of events, or a label for each state, integers ({count},), got "
                f"{tuple(names.shape)} of {names.dtype}."
            )
        labels = torch.where(states < 0, -1, names.to(states)[states.clamp(min=0)])
    rows, batch = paths.valid.shape[0], paths.valid.shape[1:]
    if labels.shape[: paths.valid.ndim] != paths.valid.shape:
        raise SemihmmError(
            f"topk: distinct must give labels {(*paths.valid.shape, 'L')} for events {tuple(paths.event.shape)}, got "
            f"{tuple(labels.shape)}."
        )
    flat = labels.reshape(rows, batch.numel(), -1)
    owner = torch.arange(batch.numel(), device=flat.device).expand(rows, -1).unsqueeze(-1)
    kind = torch.unique(torch.cat([owner.to(flat.dtype), flat], -1).flatten(0, 1), dim=0, return_inverse=True)[1]
    kind, row = kind.unflatten(0, (rows, batch.numel())), torch.arange(rows, device=flat.device).unsqueeze(-1)
    best = torch.full((int(kind.max()) + 1 if kind.numel() else 0,), rows, device=flat.device)
    best = best.scatter_reduce(0, kind.flatten(), row.expand_as(kind).flatten(), "amin")
    return (best[kind] == row).reshape(rows, *batch)


def _chosen(paths: Paths, new: Tensor, k: int) -> Paths:
    """The first k of the paths that are new; the rest are not valid."""
    rank = torch.where(new, new.long().cumsum(0) - 1, k).clamp(max=k)
    row = torch.full((k + 1, *new.shape[1:]), -1, device=new.device)
    row = row.scatter(
        0, rank, torch.arange(len(new), device=new.device).reshape(-1, *(1,) * (new.ndim - 1)).expand_as(rank)
    )
    row, event = row[:k], paths.event
    valid, at = row >= 0, row.clamp(min=0)
    more = event.ndim - at.ndim
    picked = event.gather(0, at.reshape(*at.shape, *(1,) * more).expand(*at.shape, *event.shape[at.ndim :]))
    event = torch.where(valid.reshape(*valid.shape, *(1,) * more), picked, -1)
    score = torch.where(valid, paths.score.gather(0, at), -torch.inf)
    return Paths(event, score, valid, paths.structure)
