"""Which states a sequence may begin in, and which may follow which."""

from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm.errors import ShapeError
from semihmm.structures.authoring import tensor_of

Arcs = tuple[Tensor, Tensor]
Allowed = Tensor | Sequence[Sequence[bool]]


def first_states(states: int, start: Sequence[int] | None, name: str = "start") -> Tensor | None:
    """Bool ``(S,)``."""
    if start is None:
        return None
    if not start or min(start) < 0 or max(start) >= states:
        raise ShapeError(f"{name} must name at least one of the states 0 to {states - 1}, got {list(start)}.")
    return torch.zeros(states, dtype=torch.bool).index_fill(0, torch.tensor(start), True)


def dense(states: int, allowed: Allowed | None) -> tuple[Tensor, Tensor, Tensor]:
    """For each entry of a transition ``(S, S)``: where it leads from and to, and whether there is such a transition."""
    source = torch.arange(states).unsqueeze(-1).expand(-1, states)
    real = torch.ones(states, states, dtype=torch.bool) if allowed is None else torch.as_tensor(allowed)
    if real.shape != source.shape or real.dtype != torch.bool:
        raise ShapeError(
            f"allowed must be bool ({states}, {states}), [from, to], got {tuple(real.shape)} of {real.dtype}."
        )
    return source, source.T, real


def banded(states: int, offsets: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The same for a transition ``(S, K)``, where ``[j, k]`` arrives at ``j`` from ``j - offsets[k]``."""
    target = torch.arange(states).unsqueeze(-1).expand(-1, len(offsets))
    source = target - torch.tensor(offsets)
    return source.clamp(0, states - 1), target, (source >= 0) & (source < states)


def sparse(states: int, arcs: Arcs | Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """The same for a transition ``(A,)``."""
    try:
        source, target = (tensor_of("arcs", "source and target", ends) for ends in arcs)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"arcs must be a pair (source, target), int64 (A,) each, got {arcs!r}.") from error
    ends = torch.cat([source, target]) if source.shape == target.shape and source.ndim == 1 else torch.tensor([-1])
    if ends.is_floating_point() or not len(ends) or int(ends.min()) < 0 or int(ends.max()) >= states:
        raise ShapeError(
            f"arcs must be (source, target), int64 (A,) each, of states 0 to {states - 1}; got "
            f"{source.tolist()} and {target.tolist()}."
        )
    return source, target, torch.ones_like(source, dtype=torch.bool)
