"""Hidden semi-Markov models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from semihmm import structures
from semihmm.errors import ShapeError, StructureError
from semihmm.models.describing import stationary
from semihmm.models.durations import Duration
from semihmm.models.durations.driven import by_end
from semihmm.models.emissions import Emission
from semihmm.models.forecasting import Ahead, after_hsmm
from semihmm.models.markov import Markov
from semihmm.models.part import Driven, Law, Part
from semihmm.models.sequences import Batch
from semihmm.models.topology import Allowed, Arcs
from semihmm.models.transitions import Transition
from semihmm.models.transitions.base import every_other


class HSMM(Markov[structures.HSMM]):
    """A hidden semi-Markov model: as an HMM, but each state lasts as long as its duration law says (Yu 2010).

    Args:
        states: S.
        emission: how likely each observation is in each state.
        duration: how likely each state is to last 1 to D steps.
        allowed: which state may follow which, bool ``(S, S)``, ``[from, to]``; None for every other one (the state
            itself too if it is the only one).
        offsets: instead, the only distances from a state to the next one.
        arcs: instead, the only transitions, ``(source, target)``, int64 ``(A,)`` each.
        transition: instead of these three, a law: see `semihmm.models.transitions`. One that inputs change takes those
            of the first step of the segment that is entered.
        start: the states that a sequence may begin in; None for all.
        final: the states that a sequence may end in, each with a chance of its own to be the last, which is learnt.
        censored: which ends of a sequence cut a segment short: see `semihmm.HSMM`. None for ``"right"``: sequences just
            stop, the last segment lasts at least as long as it was seen, and the likelihood is that of the model
            without a word on how long sequences are; with ``final``, for ``"none"``.
        initial_pseudo_count: what EM adds to the count of each first state (a Dirichlet prior).
        transition_pseudo_count: what EM adds to the count of each transition.

    ``model(x, lengths)`` is a `semihmm.HSMM`.

    Example:
        >>> from semihmm.models import Gaussian, durations
        >>> model = HSMM(2, emission=Gaussian(2, features=1), duration=durations.Poisson(2, max_duration=20))
        >>> model.sample(30).x.shape
        torch.Size([30, 1])
    """

    def __init__(
        self,
        states: int,
        emission: Emission,
        duration: Duration,
        *,
        allowed: Allowed | None = None,
        offsets: Sequence[int] | None = None,
        arcs: Arcs | Sequence[Sequence[int]] | None = None,
        transition: Transition | None = None,
        start: Sequence[int] | None = None,
        final: Sequence[int] | None = None,
        censored: Literal["none", "left", "right", "both"] | None = None,
        initial_pseudo_count: float | Tensor | Sequence[float] = 0.0,
        transition_pseudo_count: float | Tensor | Sequence[Any] = 0.0,
    ) -> None:
        if duration.states != states:
            raise ShapeError(f"HSMM: states is {states}, so duration must be a law for as many, got {duration.states}.")
        censored = ("right" if final is None else "none") if censored is None else censored
        if final is not None and censored in ("right", "both"):
            raise ShapeError(
                f"HSMM: final says in which states sequences end, and censored={censored!r} that they just stop: give "
                "one of them."
            )
        if allowed is None and offsets is None and arcs is None and transition is None:
            allowed = every_other(states)
        super().__init__(
            states,
            emission,
            allowed=allowed,
            offsets=offsets,
            arcs=arcs,
            transition=transition,
            start=start,
            final=final,
            initial_pseudo_count=initial_pseudo_count,
            transition_pseudo_count=transition_pseudo_count,
        )
        self.duration, self.censored = duration, censored

    @property
    def laws(self) -> dict[str, Law]:
        return {**super().laws, "duration": self.duration}

    @property
    def parts(self) -> dict[str, Part]:
        return {**super().parts, "duration": self.duration}

    @property
    def config(self) -> dict[str, object]:
        return {**super().config, "censored": self.censored}

    def stationary_distribution(self) -> Tensor:
        visits = stationary(self.transition.matrix()) * self.expected_durations()
        return visits / visits.sum()

    def expected_durations(self) -> Tensor:
        chance = self._lasting()
        return chance @ torch.arange(1, chance.shape[-1] + 1, dtype=chance.dtype, device=chance.device)

    def sojourn(self, longest: int) -> Tensor:
        chance = self._lasting()[:, :longest]
        return torch.nn.functional.pad(chance, (0, longest - chance.shape[-1]))

    def _lasting(self) -> Tensor:
        """The probability of each duration, ``(S, D)`` in float64."""
        if isinstance(self.duration, Driven):
            raise StructureError(f"HSMM: how long states last by {type(self.duration).__name__} depends on inputs.")
        law: Tensor = self.duration()
        return law.detach().double().exp()

    def endless(self, structure: structures.HSMM) -> structures.HSMM:
        if isinstance(self.duration, Driven):
            if self.censored in ("right", "both"):
                return replace(structure, final=None)
            raise StructureError(
                f"HSMM: how a segment goes on after the end is not known under {type(self.duration).__name__} unless "
                "the model is made with censored='right'."
            )
        begins = self.censored in ("left", "both")
        return replace(structure, final=None, censored="both" if begins else "right")

    def following(self, structure: structures.HSMM, batch: Batch, steps: int) -> Ahead:
        law, duration = self.transition, self.potentials(batch.inputs)["duration"]
        return after_hsmm(structure, steps, law.source, law.target, duration)

    def segmented(self, structure: structures.HSMM, starts: Tensor) -> structures.HSMM:
        longest, steps = structure.longest, starts.shape[-1]
        end = torch.arange(steps, device=starts.device).unsqueeze(-1)
        begin = end - torch.arange(longest, device=starts.device)  # (T, D)
        known = torch.nn.functional.pad((starts == 1).long().cumsum(-1), (1, 0))
        within = known[..., end + 1] - known[..., begin.clamp(min=0) + 1]  # those after the first step
        after = torch.nn.functional.pad(starts[..., 1:], (0, 1), value=-1)
        if structure.lengths is not None:
            last = torch.arange(steps, device=starts.device) == structure.lengths.unsqueeze(-1) - 1
            after = torch.where(last, -1, after)
        fits = (within == 0) & (starts[..., begin.clamp(min=0)] != 0) & (after != 0).unsqueeze(-1)
        if self.censored in ("left", "both"):  # one that began before the first step does not begin with it
            fits = fits | ((begin == 0) & (within == 0) & (after != 0).unsqueeze(-1))
        segment = torch.where(fits, 0.0, -torch.inf).to(structure.emission).unsqueeze(-1)
        return replace(structure, segment=segment.expand(*segment.shape[:-1], self.states))

    def structure(
        self, emission: Tensor, lengths: Tensor | None = None, laws: Mapping[str, Tensor] | None = None
    ) -> structures.HSMM:
        laws = self.potentials() if laws is None else laws
        (transition, final), driven = self.steps(laws), isinstance(self.duration, Driven)
        return structures.HSMM(
            laws["initial"],
            transition,
            by_end(laws["duration"], self.censored, lengths) if driven else laws["duration"],
            emission,
            final=final,
            lengths=lengths,
            censored="none" if driven else self.censored,
            arcs=self.transition.arcs,
            offsets=self.transition.offsets,
        )

    def counts(self, found: dict[str, Tensor], laws: Mapping[str, Tensor], lengths: Tensor | None) -> dict[str, Tensor]:
        if isinstance(self.duration, Driven):
            with torch.enable_grad():
                own = laws["duration"].detach().requires_grad_()
                moved = by_end(own, self.censored, lengths)
                (used,) = torch.autograd.grad(moved, own, found["duration"])
            found = {**found, "duration": used}
        return super().counts(found, laws, lengths)
