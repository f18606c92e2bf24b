"""Explicit durations: a segment remembers when it began, in a ring buffer, at S^2 + S D work per step."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine.maps.base import Look, Map, Measure, Origin, fit
from semihmm.engine.maps.form import (
    FORBIDDEN,
    Transitions,
    check_weight,
    entries,
    unchecked,
)
from semihmm.engine.maps.sparse import later
from semihmm.errors import ShapeError
from semihmm.semirings import Semiring


@dataclass(frozen=True)
class Segmental(Map):
    """``ended[t] = sum_d begun[t-d] lasting[t, d]`` and ``begun[t] = ended[t] transition``.

    A state vector is ``[ended | begun]``, each S long: the weight of all paths whose last segment ends after frame
    ``t``, and of those that go on from there into each next state. Neither the state space nor what is kept for the
    gradient grows with D: only the carry does, which holds the D latest vectors (Yu 2010, eq. 16 to 21).
    At the start nothing has ended: those slots of a chain's start are ``-inf``.

    Args:
        transition: log-weights ``[from, to]``, ``(..., T or 1, S, S)``; that of step ``t`` leads out of frame ``t``.
        duration: ``(..., T or 1, D, S)``, of a segment of ``d + 1`` frames whose last one is ``t``.
        emission: ``(..., T, S)``, of each frame in a segment.
        segment: ``(..., T, D, S)``, of a whole segment of ``d + 1`` frames whose last one is ``t``; None for 0.

    Example:
        >>> begun, ended = torch.tensor([-torch.inf, 0.0]), torch.tensor([0.0, -torch.inf])
        >>> steps = Segmental.of(torch.zeros(1, 1, 1), torch.zeros(1, 2, 1), torch.zeros(4, 1))
        >>> chain, count = semihmm.engine.Chain((begun,), steps, (ended,)), semihmm.semirings.Count()
        >>> int(semihmm.engine.total(semihmm.engine.plan(chain, count), count, chain))  # 4 as a sum of 1s and 2s
        5
    """

    transition: Tensor
    duration: Tensor
    emission: Tensor  # with D - 1 frames of padding in front: see `of`
    segment: Tensor | None = None
    table_ranks = (2, 2)
    in_one_slot = False  # who has ended a segment has begun another one

    def __post_init__(self) -> None:
        axes = {"transition": ("T or 1", "S", "S"), "duration": ("T or 1", "D", "S"), "emission": ("T", "S")}
        for name, form in (axes if self.segment is None else axes | {"segment": ("T", "D", "S")}).items():
            check_weight("Segmental", name, getattr(self, name), form)
        longest, states, padding = self.memory, self.states, self.memory - 1
        events = [self.transition.shape[-2:], self.duration.shape[-2:], self.emission.shape[-1:]]
        fits = events == [(states, states), (longest, states), (states,)] and self.emission.shape[-2] >= padding >= 0
        if not fits or (self.segment is not None and self.segment.shape[-2:] != (longest, states)):
            raise ShapeError(
                "Segmental: transition (..., T or 1, S, S), duration (..., T or 1, D, S), emission (..., T, S), with "
                "D - 1 frames of padding in front, and segment (..., T, D, S) must agree on S and D, got "
                f"{[tuple(x.shape) for x in self.leaves]}. Segmental.of does the padding."
            )

    @staticmethod
    def of(transition: Tensor, duration: Tensor, emission: Tensor, segment: Tensor | None = None) -> "Segmental":
        """As the class, from an emission of exactly T frames."""
        for name, x, form in (("duration", duration, ("T or 1", "D", "S")), ("emission", emission, ("T", "S"))):
            check_weight("Segmental", name, x, form)
        return Segmental(transition, duration, pad(emission, (0, 0, duration.shape[-2] - 1, 0)), segment)

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.duration.shape[-2]

    @property
    def slots(self) -> int:  # type: ignore[override]
        return 2 * self.states

    @property
    def states(self) -> int:
        """How many states there are, S: half as many as slots."""
        return self.transition.shape[-1]

    @property
    def pointers(self) -> int:
        """2 S: how long each state lasted, which one came before."""
        return 2 * self.states

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        given = (self.transition, self.duration, self.emission)
        return given if self.segment is None else (*given, self.segment)

    @property
    def ranks(self) -> tuple[int, ...]:
        return (2, 2, 1, 2)[: len(self.leaves)]

    @property
    def steady(self) -> tuple[bool, ...]:
        """The frames: each lies in one segment."""
        return (False, False, True, False)[: len(self.leaves)]

    @property
    def reaches(self) -> tuple[int, ...]:
        """The frames of padding."""
        return (0, 0, self.memory - 1, 0)[: len(self.leaves)]

    @property
    def work(self) -> int:
        return self.states * (self.states + self.memory)

    @property
    def unfolded(self) -> int:
        """The weight of a segment of each length in each state."""
        return self.states * self.memory

    def rebuild(self, leaves: tuple[Tensor, ...]) -> "Segmental":
        transition, duration, emission, *segment = leaves
        return unchecked(
            Segmental,
            transition=transition,
            duration=duration,
            emission=emission,
            segment=segment[0] if segment else None,
        )

    def log_weights(self, at: Transitions) -> Tensor:
        """Each frame by itself, also where a segment goes on; its length and what follows where it ends."""
        begun, onward = (at.before >= self.states) & (at.delay <= self.memory), at.after >= self.states
        state, following = at.before % self.states, at.after % self.states
        cell = (at.delay.clamp(max=self.memory) - 1) * self.states + state
        ended = entries(self.duration, 2, cell)
        if self.segment is not None:
            ended = ended + entries(self.segment, 2, cell)
        moved = entries(self.transition, 2, state * self.states + following)
        ended = ended + torch.where(onward, moved, torch.where(state == following, 0.0, FORBIDDEN))
        frames = entries(self.emission[..., self.memory - 1 :, :], 1, state)
        return torch.where(begun, frames + torch.where(at.arrives, ended, 0.0), FORBIDDEN)

    def tables(self) -> tuple[Tensor, ...]:
        """The weight of a segment by its last frame and length ``(..., T, D, S)``, and the transitions."""
        last = self.memory - 1  # not `unfold`, whose gradient vmap cannot batch
        steps = self.emission.shape[-2] - last
        frames = torch.stack([self.emission.narrow(-2, last - age, steps) for age in range(self.memory)], -2)
        lasting = frames.cumsum(-2) + self.duration  # (..., T, D, S)
        return (lasting if self.segment is None else lasting + self.segment), self.transition

    def step(self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...]) -> Tensor:
        """Segments of every length end; others begin."""
        lasting, transition = tables
        ended = semiring.sum(semiring.times(carry[..., self.states :], lasting), -2)
        return torch.cat([ended, semiring.vecmat(ended, transition)], -1)

    def choose(
        self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...], generator: torch.Generator | None
    ) -> Tensor:
        """How long each state lasted (from 0 for one frame), and which one came before each that begins."""
        lasting, transition = tables
        ended, length = semiring.choose(semiring.times(carry[..., self.states :], lasting), -2, generator)
        _, source = semiring.choose(semiring.times(ended.unsqueeze(-1), transition), -2, generator)
        return torch.cat([length, source], -1)

    def trace(self, look: Look, slot: Tensor, tables: tuple[Tensor, ...]) -> Origin:
        """From what begins (or, at the end, from what ended) to where the segment before it began."""
        begun = slot >= self.states
        before, row = look(slot, None)
        state = torch.where(begun, before, slot)
        length, row_there = look(state, row)
        length_here, row_here = before, row
        length = torch.where(begun, length, length_here)
        return Origin(state + self.states, torch.where(begun, row_there, row_here), length + 1, length)

    def dual(self, vector: Tensor) -> Tensor:
        """Backwards, what ended begins."""
        return vector.roll(self.states, -1)

    def transpose(self) -> Map:
        """Semi-Markov again: segments run from their last frame to their first."""
        delay = torch.arange(self.memory, device=self.duration.device).unsqueeze(-1).expand(-1, self.states)
        duration = self.duration.flip(-3)
        segment = None if self.segment is None else later(self.segment.flip(-3), delay, 0.0)
        if duration.shape[-3] != 1:
            duration = later(duration, delay, 0.0)
        transition = self.transition.mT
        if transition.shape[-3] != 1:  # what led out of frame t now leads into it
            transition = torch.cat(
                [transition.flip(-3)[..., 1:, :, :], torch.zeros_like(transition[..., :1, :, :])], -3
            )
        frames = self.emission[..., self.memory - 1 :, :].flip(-2)
        return Segmental.of(transition, duration, frames, segment)

    def contract(
        self, measure: Measure, carry: Tensor, output: Tensor, cost: Tensor, tables: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Segments: begun, lasting, ended. Transitions: ended, arc, begun. Frames: all segments over them."""
        lasting, transition = tables
        after_begun, after_ended = cost.split(self.states, -1)
        through = measure.weigh(carry[..., self.states :] + lasting + after_ended.unsqueeze(-2))  # (..., T, D, S)
        arc = output[..., : self.states].unsqueeze(-1) + transition + after_begun.unsqueeze(-2)
        covers = measure.tail(through, -2)  # entry [t, a]: through frame t - a
        frames = measure.empty((*covers.shape[:-3], covers.shape[-3] + self.memory - 1, self.states), covers)
        for age in range(self.memory):
            at = (..., slice(self.memory - 1 - age, frames.shape[-2] - age), slice(None))
            frames[at] = measure.plus(frames[at], covers[..., age, :])
        arcs = fit(measure, measure.weigh(arc), self.transition)
        found = (arcs, fit(measure, through, self.duration), fit(measure, frames, self.emission))
        return found if self.segment is None else (*found, fit(measure, through, self.segment))
