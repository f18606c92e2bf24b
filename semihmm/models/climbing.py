"""Ways uphill for EM steps that have no formula. None of them lowers what it climbs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from semihmm.models.part import Driven

_STEPS, _HALVINGS, _ITERATIONS = 25, 30, 20
_CLOSE = 1e-12


def newton(function: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]], at: Tensor) -> Tensor:
    """Where concave functions are greatest, each of a row of its own.

    Newton's method; a step that does not raise its function is halved until it does.

    Args:
        function: from points ``(..., Q)`` to values ``(...)``, gradients ``(..., Q)`` and negative second derivatives
            ``(..., Q, Q)``, which are positive definite.
        at: where to start.
    """
    value, gradient, curvature = function(at)
    for _ in range(_STEPS):
        step = torch.linalg.solve(curvature, gradient)
        # What the step would gain, twice, if the function were quadratic; the last one only polishes.
        close = (step * gradient).sum(-1) <= _CLOSE * value.abs().clamp(min=1.0)
        for halving in range(_HALVINGS):
            after = function(at + step)
            better = close | (after[0] >= value)  # not of NaN
            if bool(better.all()):
                break
            step = torch.where(better.unsqueeze(-1), step, step / 2 if halving < _HALVINGS - 2 else 0.0)
        at = at + step
        value, gradient, curvature = after
        if bool(close.all()):
            break
    return at


def ascend(
    parameters: Iterable[nn.Parameter], objective: Callable[[], Tensor], steps: int, project: Callable[[], None]
) -> None:
    """Climb a differentiable function by a few steps of L-BFGS; the parameters stay as they were if it did not rise.

    Args:
        parameters: what may be changed, in place.
        objective: the function at the parameters as they are.
        steps: how many, at most.
        project: moves parameters back into their bounds.
    """
    free = [p for p in parameters if p.requires_grad]
    if not free:
        return
    before = [p.detach().clone() for p in free]
    climber = torch.optim.LBFGS(free, max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def descent() -> Tensor:
        climber.zero_grad()
        loss = -objective()
        if loss.requires_grad:
            loss.backward(inputs=free)
        return loss.detach()

    with torch.enable_grad():
        start = -float(objective().detach())
        climber.step(descent)
    climber.zero_grad()
    project()
    with torch.no_grad():
        if not -float(objective()) <= start:  # not of NaN
            for parameter, value in zip(free, before, strict=True):
                parameter.copy_(value)


def climb(law: Driven, counts: Tensor, inputs: Tensor | None) -> None:
    """The EM step of a law that inputs change: `ascend` on ``sum(counts * law(inputs)) + law.log_prior()``."""
    counts = counts.detach()
    scale = float(counts.sum().clamp(min=1.0))

    def gain() -> Tensor:
        log_prob: Tensor = law(inputs)
        gained: Tensor = (counts * torch.where(counts > 0, log_prob, 0.0)).sum()  # 0 times -inf is 0
        return (gained + law.log_prior()) / scale

    ascend(law.parameters(), gain, _ITERATIONS, law.project)
