"""Explicit durations: a segment remembers when it began, in a ring buffer, at the transition's work + S D per step."""

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine.maps.base import Look, Map, Measure, Origin, fit
from semihmm.engine.maps.dense import Dense
from semihmm.engine.maps.form import (
    FORBIDDEN,
    Transitions,
    check_weight,
    entries,
    unchecked,
)
from semihmm.engine.maps.sparse import Sparse, later
from semihmm.engine.tracing import transformed
from semihmm.errors import ShapeError
from semihmm.semirings import Semiring

T = TypeVar("T")


@dataclass(frozen=True)
class Segmental(Map):
    """``ended[t] = sum_d begun[t-d] lasting[t, d]`` and ``begun[t] = ended[t] transition``.

    A state vector is ``[ended | begun]``, each S long: the weight of all paths whose last segment ends after frame
    ``t``, and of those that go on from there into each next state. Neither the state space nor what is kept for the
    gradient grows with D: only the carry does, which holds the D latest vectors (Yu 2010, eq. 16 to 21).
    At the start nothing has ended: those slots of a chain's start are ``-inf``.

    Args:
        transition: from each segment's state to the next one's, a Dense or a Sparse map that looks one step back; that
            of step ``t`` leads out of frame ``t``.
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

    transition: Dense | Sparse
    duration: Tensor
    emission: Tensor  # with D - 1 frames of padding in front: see `of`
    segment: Tensor | None = None
    in_one_slot = False  # who has ended a segment has begun another one

    def __post_init__(self) -> None:
        arcs = self.transition
        if not isinstance(arcs, Dense | Sparse) or arcs.memory != 1:
            raise ShapeError(
                f"Segmental: transition must be a Dense or a Sparse map of memory 1, got {type(arcs).__name__}"
                f"{f' of memory {arcs.memory}' if isinstance(arcs, Map) else ''}. "
                "Segmental.of makes one of a tensor (..., T or 1, S, S)."
            )
        axes = {"duration": ("T or 1", "D", "S"), "emission": ("T", "S")}
        for name, form in (axes if self.segment is None else axes | {"segment": ("T", "D", "S")}).items():
            check_weight("Segmental", name, getattr(self, name), form)
        longest, states, padding = self.memory, self.states, self.memory - 1
        events = [(arcs.inputs, arcs.slots), self.duration.shape[-2:], self.emission.shape[-1:]]
        fits = events == [(states, states), (longest, states), (states,)] and self.emission.shape[-2] >= padding >= 0
        if not fits or (self.segment is not None and self.segment.shape[-2:] != (longest, states)):
            raise ShapeError(
                "Segmental: transition from S to S states, duration (..., T or 1, D, S), emission (..., T, S), with "
                "D - 1 frames of padding in front, and segment (..., T, D, S) must agree on S and D, got "
                f"{events[0]} and {[tuple(x.shape) for x in self._lasting]}. Segmental.of does the padding."
            )

    @staticmethod
    def of(
        transition: Tensor | Dense | Sparse, duration: Tensor, emission: Tensor, segment: Tensor | None = None
    ) -> "Segmental":
        """As the class, from an emission of exactly T frames; a tensor of transitions is a Dense map."""
        for name, x, form in (("duration", duration, ("T or 1", "D", "S")), ("emission", emission, ("T", "S"))):
            check_weight("Segmental", name, x, form)
        arcs = Dense(transition) if isinstance(transition, Tensor) else transition
        return Segmental(arcs, duration, pad(emission, (0, 0, duration.shape[-2] - 1, 0)), segment)

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.duration.shape[-2]

    @property
    def slots(self) -> int:  # type: ignore[override]
        return 2 * self.states

    @property
    def states(self) -> int:
        """How many states there are, S: half as many as slots."""
        return self.transition.slots

    @property
    def pointers(self) -> int:
        """How long each state lasted, and what the transition has."""
        return self.states + self.transition.pointers

    @property
    def leads_on(self) -> Tensor:
        """What begins."""
        return torch.arange(self.slots) >= self.states

    @property
    def _lasting(self) -> tuple[Tensor, ...]:
        """The leaves behind the transition's, which add up to the weight of a segment."""
        given = (self.duration, self.emission)
        return given if self.segment is None else (*given, self.segment)

    def _each(self, moving: T, *lasting: T) -> tuple[T, ...]:
        """One thing for each leaf: for those of the transition, duration, emission, segment."""
        return (moving,) * len(self.transition.ranks) + (lasting[:-1] if self.segment is None else lasting)

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.transition.leaves + self._lasting

    @property
    def ranks(self) -> tuple[int, ...]:
        return self._each(2, 2, 1, 2)

    @property
    def steady(self) -> tuple[bool, ...]:
        """The frames: each lies in one segment."""
        return self._each(False, False, True, False)

    @property
    def reaches(self) -> tuple[int, ...]:
        """The frames of padding."""
        return self._each(0, 0, self.memory - 1, 0)

    def free(self, zero: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Durations in states that neither frames nor segments weigh; of transitions, as given."""
        n = len(self.transition.leaves)
        duration, emission, *segment = zero[n:]
        unweighed = emission[..., self.memory - 1 :, :].all(-2)
        for x in segment:
            unweighed = unweighed & x.all(-2).all(-2)
        others = (torch.zeros_like(x) for x in (emission, *segment))
        return (*zero[:n], duration & unweighed[..., None, None, :], *others)

    @property
    def table_ranks(self) -> tuple[int, ...]:
        return (2, *self.transition.table_ranks)

    @property
    def work(self) -> int:
        return self.transition.work + self.unfolded

    @property
    def unfolded(self) -> int:
        """The weight of a segment of each length in each state."""
        return self.states * self.memory

    def rebuild(self, leaves: tuple[Tensor, ...]) -> "Segmental":
        n = len(self.transition.leaves)
        duration, emission, *segment = leaves[n:]
        return unchecked(
            Segmental,
            transition=self.transition.rebuild(leaves[:n]),
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
        step = at._replace(before=state, after=following, delay=torch.ones_like(at.delay))
        moved = self.transition.log_weights(step)
        ended = ended + torch.where(onward, moved, torch.where(state == following, 0.0, FORBIDDEN))
        frames = entries(self.emission[..., self.memory - 1 :, :], 1, state)
        return torch.where(begun, frames + torch.where(at.arrives, ended, 0.0), FORBIDDEN)

    def tables(self) -> tuple[Tensor, ...]:
        """The weight of a segment by its last frame and length ``(..., T, D, S)``, and the transition's."""
        last = self.memory - 1
        steps = self.emission.shape[-2] - last
        if torch.is_grad_enabled() or transformed():  # the gradient of `unfold` cannot be batched by vmap
            frames = torch.stack([self.emission.narrow(-2, last - age, steps) for age in range(self.memory)], -2)
        else:
            frames = self.emission.unfold(-2, self.memory, 1).flip(-1).mT
        lasting = frames.cumsum(-2) + self.duration  # (..., T, D, S)
        return lasting if self.segment is None else lasting + self.segment, *self.transition.tables()

    def step(self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...]) -> Tensor:
        """Segments of every length end; others begin."""
        lasting, arcs = tables[0], tables[1:]
        ended = semiring.sum(semiring.times(carry[..., self.states :], lasting), -2)
        return torch.cat([ended, self.transition.step(semiring, ended.unsqueeze(-2), arcs)], -1)

    def choose(
        self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...], generator: torch.Generator | None
    ) -> Tensor:
        """How long each state lasted (from 0 for one frame), and by what each that begins came."""
        lasting, arcs = tables[0], tables[1:]
        ended, length = semiring.choose(semiring.times(carry[..., self.states :], lasting), -2, generator)
        came = self.transition.choose(semiring, ended.unsqueeze(-2), arcs, generator)
        return torch.cat([length, came], -1)

    def trace(self, look: Look, slot: Tensor, tables: tuple[Tensor, ...]) -> Origin:
        """From what begins (or, at the end, from what ended) to where the segment before it began.

        The choice is the transition's, -1 at the end.
        """
        begun, state = slot >= self.states, slot % self.states
        moved = self.transition.trace(lambda column, row: look(column + self.states, row), state, tables[1:])
        lengths = (look(moved.slot, moved.row), look(state, None))
        length, row = (torch.where(begun, x, y) for x, y in zip(*lengths, strict=True))
        slot = torch.where(begun, moved.slot, state) + self.states
        return Origin(slot, row, length + 1, torch.where(begun, moved.choice, -1))

    def close(self, semiring: Semiring, end: Tensor, lengths: Tensor | None) -> Tensor:
        """What ended may still begin something, by the transition out of the last frame."""
        if self.emission.shape[-2] < self.memory:
            return end  # there is no frame
        turned = self.transition.transpose()  # the last frame comes first
        last = [_of_last(x, -1 - rank, lengths) for x, rank in zip(turned.tables(), turned.table_ranks, strict=True)]
        ended, begun = end.split(self.states, -1)
        moved = turned.step(semiring, begun.unsqueeze(-2), tuple(last))
        both = torch.stack(torch.broadcast_tensors(ended, moved), -1)
        return torch.cat(torch.broadcast_tensors(semiring.sum(both, -1), begun), -1)

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
        frames = self.emission[..., self.memory - 1 :, :].flip(-2)
        turned = self.transition.transpose()  # what led out of frame t now leads into it
        leaves = [_earlier(x, -1 - rank) for x, rank in zip(turned.leaves, turned.ranks, strict=True)]
        return Segmental.of(turned.rebuild(tuple(leaves)), duration, frames, segment)

    def contract(
        self, measure: Measure, carry: Tensor, output: Tensor, cost: Tensor, tables: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Segments: begun, lasting, ended. Transitions: as the map has it. Frames: all segments over them."""
        lasting, arcs = tables[0], tables[1:]
        after_begun, after_ended = cost.split(self.states, -1)
        through = measure.weigh(carry[..., self.states :] + lasting + after_ended.unsqueeze(-2))  # (..., T, D, S)
        ended, begun = output.split(self.states, -1)
        moved = self.transition.contract(measure, ended.unsqueeze(-2), begun, after_begun, arcs)
        covers = measure.tail(through, -2)  # entry [t, a]: through frame t - a
        frames = measure.empty((*covers.shape[:-3], covers.shape[-3] + self.memory - 1, self.states), covers)
        for age in range(self.memory):
            at = (..., slice(self.memory - 1 - age, frames.shape[-2] - age), slice(None))
            frames[at] = measure.plus(frames[at], covers[..., age, :])
        found = (*moved, fit(measure, through, self.duration), fit(measure, frames, self.emission))
        return found if self.segment is None else (*found, fit(measure, through, self.segment))


def _of_last(x: Tensor, time: int, lengths: Tensor | None) -> Tensor:
    """What each sequence has at its last time, without that axis; times run backwards."""
    if lengths is None or x.shape[time] == 1:
        return x.select(time, 0)
    at = (x.shape[time] - lengths).clamp(max=x.shape[time] - 1)
    at = at.reshape(*at.shape, *(1,) * -time)
    x = x[(None,) * (at.ndim - x.ndim)]  # the arcs of a topology have no batch axes
    return x.take_along_dim(at, time).select(time, 0)


def _earlier(x: Tensor, time: int) -> Tensor:
    """What is at each time moved to the time before it, 0 at the last one; what all times share stays as it is."""
    if x.shape[time] < 2:
        return x
    return torch.cat([x.narrow(time, 1, x.shape[time] - 1), torch.zeros_like(x.narrow(time, 0, 1))], time)
