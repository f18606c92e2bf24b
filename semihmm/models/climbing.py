"""EM steps that have no closed form: a law climbs what is expected, and never ends lower than it began."""

from __future__ import annotations

import torch
from torch import Tensor

from semihmm.models.part import Driven

_STEPS = 20


def climb(law: Driven, counts: Tensor, inputs: Tensor | None) -> None:
    """Some iterations of L-BFGS that raise ``sum(counts * law(inputs)) + law.log_prior()``, or change nothing."""
    counts = counts.detach()
    used = [p for p in law.parameters() if p.requires_grad]
    climber = torch.optim.LBFGS(used, max_iter=_STEPS, line_search_fn="strong_wolfe", tolerance_grad=1e-9)
    scale = float(counts.sum().clamp(min=1.0))

    def loss() -> Tensor:
        climber.zero_grad()
        log_prob: Tensor = law(inputs)
        gained = (counts * torch.where(counts > 0, log_prob, 0.0)).sum()  # 0 times -inf is 0
        value = -(gained + law.log_prior()) / scale
        if value.requires_grad:
            value.backward(inputs=used)
        return value

    with torch.no_grad():
        before, start = float(loss()), [p.detach().clone() for p in used]
    with torch.enable_grad():
        climber.step(loss)
    with torch.no_grad():
        if not float(loss()) <= before:
            for parameter, value in zip(used, start, strict=True):
                parameter.copy_(value)
    climber.zero_grad()
