"""All lengths of a range are as likely."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.durations.base import Duration, check_support


class Uniform(Duration):
    """``p(d) = 1 / (longest - shortest + 1)`` for d = shortest to longest, a range for each state.

    Parameters: ``shortest (S,)``, ``longest (S,)``, whole numbers, of which there is no gradient. The EM step is exact:
    the narrowest range around what was counted, which is all that may be as long as nothing else is known. So where a
    fit has converged, `search` moves the ends, one at a time, to where the data themselves are more probable.

    Args:
        states: S.
        max_duration: D.
        min_duration: the least number of steps.
        ranges: the (shortest, longest) of each state to start from, which no fit leaves; None for min_duration to D in
            all.

    Example:
        >>> duration = Uniform(states=2, max_duration=4, ranges=[(1, 4), (2, 3)])
        >>> duration().exp().tolist()
        [[0.25, 0.25, 0.25, 0.25], [0.0, 0.5, 0.5, 0.0]]
    """

    apart = True

    def __init__(
        self,
        states: int,
        max_duration: int,
        min_duration: int = 1,
        ranges: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__()
        check_support("Uniform", max_duration, min_duration)
        self.states, self.max_duration, self.min_duration = states, max_duration, min_duration
        self.ranges = [(min_duration, max_duration)] * states if ranges is None else [(a, b) for a, b in ranges]
        inside = all(min_duration <= shortest <= longest <= max_duration for shortest, longest in self.ranges)
        if len(self.ranges) != states or not inside:
            raise ShapeError(
                f"Uniform: ranges must be {states} pairs (shortest, longest) within {min_duration} to {max_duration}, "
                f"got {self.ranges}."
            )
        self.shortest = nn.Parameter(torch.empty(states))
        self.longest = nn.Parameter(torch.empty(states))
        self.initialise()

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "max_duration": self.max_duration,
            "min_duration": self.min_duration,
            "ranges": [list(one) for one in self.ranges],
        }

    def repeated(self, count: int) -> Uniform:
        made = Uniform(count * self.states, self.max_duration, self.min_duration, self.ranges * count)
        return made.to(self.dtype)

    def permute(self, order: Sequence[int]) -> None:
        super().permute(order)
        self.ranges = [self.ranges[state] for state in order]

    def forward(self) -> Tensor:
        steps = torch.arange(1, self.max_duration + 1, device=self.shortest.device)
        shortest, longest = self.shortest.detach(), self.longest.detach()  # whole numbers have no gradient
        inside = (steps >= shortest.unsqueeze(-1)) & (steps <= longest.unsqueeze(-1))
        return torch.where(inside, -(longest - shortest + 1).log().unsqueeze(-1), -torch.inf)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        shortest, longest = self.shortest.new_tensor(self.ranges).unbind(-1)
        self.shortest.copy_(shortest)
        self.longest.copy_(longest)

    @torch.no_grad()
    def update(self, counts: Tensor) -> None:
        seen = counts > 0
        met = seen.any(-1)
        first, last = seen.int().argmax(-1), seen.flip(-1).int().argmax(-1)
        for end, found in ((self.shortest, 1.0 + first), (self.longest, 1.0 * self.max_duration - last)):
            if end.requires_grad:
                end.copy_(torch.where(met, found, end))

    @torch.no_grad()
    def search(self, objective: Callable[[], float], least: float) -> bool:
        before = value = objective()
        for state, (shortest, longest) in enumerate(self.ranges):
            for end in (self.shortest, self.longest):
                for towards in (1, -1) if end.requires_grad else ():
                    step = towards
                    while shortest <= (tried := float(end[state]) + step) <= longest:
                        kept, end[state] = float(end[state]), tried
                        found = objective() if self.shortest[state] <= self.longest[state] else -torch.inf
                        if found > value + least:
                            value, step = found, 2 * step
                        else:
                            end[state] = kept
                            if step == towards:
                                break
                            step = towards
        return value > before
