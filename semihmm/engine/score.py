"""The log-weight of a path: along it, one gather from each leaf of a chain."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm._shapes import broadcast
from semihmm.engine.chain import Chain
from semihmm.engine.decode import Path
from semihmm.engine.maps.form import Transitions, pick
from semihmm.errors import ShapeError


def score(chain: Chain, path: Path) -> Tensor:
    """The sum of the log-weights along paths, ``(...)``, added up in float64; ``-inf`` where there is no such path.

    A path may hold any numbers: what is no slot, or led to by no arc, is no path. What comes after its end does not
    count. Differentiable any number of times.

    Cost: one entry of each leaf for each step; no table of all arcs at all steps.

    Raises:
        ShapeError: a path of another number of steps.

    Example:
        >>> arcs = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
        >>> chain = Chain((torch.zeros(2),), Dense(arcs), length=2)
        >>> score(chain, Path.through(torch.tensor([[0, 1, 0], [0, 1, 2]]))).tolist()
        [5.0, -inf]
    """
    steps, length = chain.steps, chain.length
    if path.slots.shape[-1] != length + 1:
        raise ShapeError(
            f"score: this chain has {length} steps, so a path must have a slot at {length + 1} times, got "
            f"{path.slots.shape[-1]}."
        )
    batch = broadcast(path.slots.shape[:-1], chain.batch)
    given, choices = path.slots.expand(*batch, -1), path.choices.expand(*batch, -1)
    slots, time = given.clamp(0, steps.slots - 1), torch.arange(length + 1, device=given.device)
    lengths = time[-1] if chain.lengths is None else chain.lengths
    end = lengths.expand(batch).unsqueeze(-1)
    over, there = time > end, slots == given
    fine, at = there, Transitions(slots[..., :-1], slots[..., 1:], torch.ones_like(choices), choices, there[..., 1:])
    if steps.memory > 1:
        latest = _latest(there, time)[..., :-1]  # when it came to the slot that it is in
        at = at._replace(before=slots.gather(-1, latest.clamp(min=0)), delay=time[1:] - latest)
        fine = there | (given == -1)
    fine = (fine | over).all(-1) & there[..., 0] & there.gather(-1, end).squeeze(-1)
    total = torch.where(over[..., 1:], 0.0, steps.log_weights(at)).sum(-1)
    for x, slot in [(x, slots[..., :1]) for x in chain.start] + [(x, slots.gather(-1, end)) for x in chain.end]:
        total = total + pick(x, slot).squeeze(-1)
    return torch.where(fine, total, -math.inf).to(chain.start[0].dtype)


def _latest(there: Tensor, time: Tensor) -> Tensor:
    """The last time up to each at which something is there, ``(..., T + 1)``; -1 before the first.

    It is a `cummax`, made of what is an operator in ONNX as well.
    """
    count = there.cumsum(-1)
    times = pad(torch.full_like(count, -1), (0, 1))
    return times.scatter(-1, torch.where(there, count, 0), torch.where(there, time, -1)).gather(-1, count)
