"""Paths: the best, the k best, and draws from the posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from semihmm import engine
from semihmm.engine.tracing import mapped, transformed
from semihmm.errors import SemihmmError
from semihmm.inference.options import Options
from semihmm.inference.program import best_path_of
from semihmm.inference.total import prepare
from semihmm.semirings import Max, Sample, Semiring, TopK
from semihmm.structures import Structure
from semihmm.structures.authoring import whole_numbers

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


def topk(structure: Structure, k: int, **options: Unpack[Options]) -> Paths:
    """The k best paths, best first, ``(k, ...)``. Where there are fewer, the rest score -inf and are not valid.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.tensor([[0., 1.], [3., 0.]]))
        >>> topk(hmm, 3).score.tolist()
        [4.0, 3.0, 1.0]
    """
    (k,) = whole_numbers("topk", "k", [k])
    if k < 1:
        raise SemihmmError(f"topk: k is how many paths, at least 1, got {k}.")
    return decode(structure, TopK(k), **options)


def sample(
    structure: Structure,
    shape: Sequence[int] = (),
    generator: torch.Generator | None = None,
    **options: Unpack[Options],
) -> Paths:
    """Exact, independent draws from the posterior over paths, ``(*shape, ...)``: forward filtering, backward sampling.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> sample(hmm, (100,), generator=torch.Generator().manual_seed(0)).event.shape
        torch.Size([100, 3])
    """
    if mapped() and not _may_draw():
        raise SemihmmError(
            "sample: inside torch.func.vmap, draws must be said to be the same or different for all: pass "
            "randomness='same' or 'different' to vmap (jacfwd and hessian: draw outside of them)."
        )
    shape = whole_numbers("sample", "shape, a tuple such as (100,),", shape)
    count = torch.Size(shape).numel()
    if count < 1 or min(shape, default=1) < 1:
        raise SemihmmError(f"sample: shape must hold at least one draw, got {shape}.")
    drawn = decode(structure, Sample(count), generator, **options)
    event, score, valid = (x.reshape((*shape, *x.shape[1:])) for x in (drawn.event, drawn.score, drawn.valid))
    return Paths(event, score, valid, structure)


def _may_draw() -> bool:
    """Whether every vmap around says how its items draw."""
    functorch = torch._C._functorch
    layers = functorch.get_interpreter_stack() or ()
    said = [functorch.CVmapInterpreterPtr(x).randomness() for x in layers if x.key() == functorch.TransformType.Vmap]
    return functorch.RandomnessType.Error not in said
