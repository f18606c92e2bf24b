"""Fisher scoring: how the laws with formulas are fitted to counts."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_ITERATIONS = 100
_HALVINGS = 40
_LEAST_GAIN = 1e-11  # nats for each segment that was counted


def climb(
    log_weight: Callable[[Tensor], Tensor], share: Tensor, starts: Sequence[Tensor], low: Tensor, high: Tensor
) -> Tensor:
    """Parameters that make the mean log-probability of what was counted greatest, for all states at once.

    With ``p(d) = exp(w(d)) / sum exp(w)``, scores ``u(d) = dw(d) - sum p dw`` and shares ``q`` of the counts, the
    gradient is ``sum q u`` and the Fisher information ``sum p u u'``. A step is the gradient divided by the
    information, without what would pass a bound that is reached; it ends at the next bound, and is halved until it
    gains. For an exponential family in its natural parameters this is Newton's method on a concave function.

    Args:
        log_weight: from parameters ``(S, K)`` to log-weights ``(S, L)``, float64.
        share: ``(S, L)``, each row sums to 1.
        starts: parameters ``(S, K)`` within the bounds; each state takes the best of them.
        low, high: the bounds ``(K,)``.
    Returns:
        ``(S, K)``, none worse than its start.
    References:
        Osborne (1992), "Fisher's Method of Scoring", International Statistical Review 60.
    Example:
        >>> share, start, bound = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0]]), torch.tensor([2.0])
        >>> climb(lambda slope: slope * torch.arange(3), share, [start], -bound, bound)
        tensor([[-2.]])
    """

    def objective(at: Tensor) -> Tensor:
        log_prob = log_weight(at).log_softmax(-1)
        return torch.where(share > 0, share * log_prob, 0.0).sum(-1, keepdim=True)

    here, value = starts[0], objective(starts[0])
    for start in starts[1:]:
        there = objective(start)
        here, value = torch.where(there > value, start, here), torch.maximum(value, there)
    climbing = torch.ones_like(value, dtype=torch.bool)
    for _ in range(_ITERATIONS):
        gradient, information = _slopes(log_weight, share, here)
        direction = torch.where(climbing, _inside(gradient, information, here, low, high), 0.0)
        gain = (gradient * direction).sum(-1, keepdim=True)
        # As far as the nearest bound, which a coordinate then is at exactly.
        room = torch.where(direction == 0, torch.inf, torch.where(direction > 0, high - here, low - here) / direction)
        step = room.amin(-1, keepdim=True).clamp(max=1.0)
        trying, climbing = climbing, climbing & (gain > _LEAST_GAIN)  # the last step is not halved
        for _ in range(_HALVINGS):
            if not trying.any():
                break
            there = torch.where(room <= step, torch.where(direction > 0, high, low), here + step * direction)
            found = objective(there)
            enough = trying & (found > value + 1e-4 * step * gain)
            here, value = torch.where(enough, there, here), torch.where(enough, found, value)
            trying, step = trying & climbing & ~enough, step / 2
        climbing = climbing & ~trying
        if not climbing.any():
            break
    return here


def _slopes(log_weight: Callable[[Tensor], Tensor], share: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient ``(S, K)`` and the information ``(S, K, K)``."""
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        weight = log_weight(at)
        # A gradient is linear in the factors of what was added up: its derivatives by those are the slopes. Forward
        # mode would run in Python, and import torch._dynamo first.
        factor = torch.zeros_like(weight, requires_grad=True)
        (pulled,) = torch.autograd.grad((factor * weight).sum(), at, create_graph=True)
        slopes = [torch.autograd.grad(x.sum(), factor, retain_graph=True)[0] for x in pulled.unbind(-1)]
    scores, prob = torch.stack(slopes, -1), weight.detach().softmax(-1).unsqueeze(-1)
    scores = scores - (prob * scores).sum(-2, keepdim=True)
    return (share.unsqueeze(-1) * scores).sum(-2), (prob * scores).mT @ scores


def _inside(gradient: Tensor, information: Tensor, at: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The gradient divided by the information, of the coordinates that it does not move out of their bounds."""
    out = ((at <= low) & (gradient < 0)) | ((at >= high) & (gradient > 0))
    for _ in range(at.shape[-1]):
        direction = _divided(gradient, information, ~out)
        out = out | ((at <= low) & (direction < 0)) | ((at >= high) & (direction > 0))
    return torch.where(out, 0.0, direction)


def _divided(gradient: Tensor, information: Tensor, free: Tensor) -> Tensor:
    """The free part of the gradient divided by that of the information, in units that make its diagonal ones."""
    unit = information.diagonal(dim1=-2, dim2=-1).sqrt().clamp(min=1e-150)
    scaled = information / (unit.unsqueeze(-1) * unit.unsqueeze(-2))
    one = torch.eye(unit.shape[-1], dtype=unit.dtype, device=unit.device)
    scaled = torch.where(free.unsqueeze(-1) & free.unsqueeze(-2), scaled, 0.0) + 1e-10 * one
    solved: Tensor = torch.linalg.solve(scaled, torch.where(free, gradient, 0.0) / unit)
    return solved / unit
