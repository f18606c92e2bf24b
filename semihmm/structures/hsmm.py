"""Hidden semi-Markov model, or semi-Markov conditional random field: each state lasts a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

from semihmm.engine import Chain, Path, Segmental
from semihmm.errors import ShapeError, StructureError
from semihmm.structures.authoring import Labels, check_lengths, check_shape, settle, settle_indices, spread
from semihmm.structures.base import Structure
from semihmm.structures.transitions import moves, one_step, settle_transitions

_BLOCK = 1 << 20  # numbers that `HSMM.filtered` makes at a time
Censored = Literal["none", "left", "right", "both"]


@dataclass(frozen=True, repr=False)
class HSMM(Structure):
    """Every way to tile the steps with segments, each in one of S states for 1 to D steps (Yu 2010).

    Also the semi-Markov CRF (Sarawagi & Cohen 2004).

    Args:
        initial: log-weight of the first segment's state ``(..., S)``, in nats; need not be normalised.
        transition: log-weight from one segment's state to the next one's ``[from, to]``: ``(..., S, S)``, or
            ``(..., T-1, S, S)`` where it depends on the last step of the first of them. A state may follow itself. With
            ``arcs``: ``(..., A)`` or ``(..., T-1, A)``. With ``offsets``: ``(..., S, K)`` or ``(..., T-1, S, K)``;
            ``[j, k]`` is the weight of arriving at ``j`` from ``j - offsets[k]``.
        duration: log-weight of lasting ``d + 1`` steps: ``(..., S, D)``, or ``(..., T, S, D)`` where it depends on the
            segment's last step. Of this and ``transition`` the number of axes says which it is: beside an emission
            ``(B, T, S)``, three axes are ``(B, S, D)``, and one that differs over time but not over sequences is
            ``(1, T, S, D)``.
        emission: log-weight of each step's observation under each state, ``(..., T, S)``; None for 0, with ``segment``.
        segment: log-weight of a whole segment ``(..., T, D, S)``: ``[t, d, s]`` has ``d + 1`` steps, the last ``t``.
        final: log-weight of the last segment's state ``(..., S)``; None for 0.
        lengths: steps in use, ``1 <= lengths <= T``. Segments tile ``[0, length)`` exactly.
        censored: which ends of the sequence cut a segment short: the first one may have begun before (``"left"``), the
            last one may go on (``"right"``). Such a segment's duration weight is that of lasting at least as long;
            one cut at both ends counts every way to lie across. This takes a (T, D, S) tensor, which else never exists,
            and leaves out `max_marginals`: such a weight is not one potential's.
        arcs: ``(source, target)``, integers ``(A,)`` each: the only transitions there are from one segment's state to
            the next one's, none of them twice.
        offsets: the only distances there are between a segment's state and the next one's.

    An event is the segments ``(state, start, length)`` in order, int64 ``(..., T, 3)``, filled up with -1;
    `state_sequence` turns it into the state of each step. Work per step is S D + S^2, or S D + A, or S D + S K; memory
    beyond the ring buffer of D vectors and T S numbers for the frames is that of an HMM.

    Example:
        >>> import torch, semihmm
        >>> hsmm = semihmm.HSMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> round(float(semihmm.log_partition(hsmm).exp()))  # tilings 1+1+1, 1+2, 2+1: 8 + 4 + 4
        16
        >>> semihmm.viterbi(hsmm).event.tolist()
        [[0, 0, 1], [0, 1, 1], [0, 2, 1]]
        >>> onward = semihmm.HSMM(torch.zeros(2), torch.zeros(2, 1), torch.zeros(2, 2), torch.zeros(3, 2), offsets=(1,))
        >>> round(float(semihmm.log_partition(onward).exp()))  # from state 0 to state 1, or neither
        2
    """

    initial: Tensor
    transition: Tensor
    duration: Tensor
    emission: Tensor = None  # type: ignore[assignment]  # always a tensor once built
    segment: Tensor | None = None
    final: Tensor | None = None
    lengths: Tensor | None = None
    censored: Censored = "none"
    arcs: tuple[Tensor, Tensor] | None = None
    offsets: tuple[int, ...] | None = None
    observed: ClassVar[str] = "emission"

    def __post_init__(self) -> None:
        settle(self, "initial", "transition", "duration", "emission", "segment", "final")
        settle_indices(self, "lengths")
        if cast("Tensor | None", self.emission) is None:
            if self.segment is None or self.segment.ndim < 3:
                raise ShapeError(
                    "HSMM: give emission (..., T, S), segment (..., T, D, S), or both: one of them says what T is."
                )
            object.__setattr__(self, "emission", torch.zeros_like(self.segment[..., 0, :]))
        shape = tuple(self.emission.shape)
        if len(shape) < 2 or self.duration.ndim < 2 or not shape[-1] or not shape[-2] or not self.longest:
            raise ShapeError(
                f"HSMM: emission must be (..., T, S) and duration (..., S, D), none of them empty, got {shape} and "
                f"{tuple(self.duration.shape)}."
            )
        steps, states, longest = self.steps, self.states, self.longest
        settle_transitions(self)
        arcs = one_step(self)
        events: dict[str, list[tuple[int, ...]]] = {
            "initial": [(states,)],
            "transition": [arcs, (steps - 1, *arcs)],
            "duration": [(states, longest), (steps, states, longest)],
            "segment": [(steps, longest, states)],
            "final": [(states,)],
        }
        for name, forms in events.items():
            check_shape(self, "(..., T, S)", name, getattr(self, name), *forms)
        if not isinstance(self.censored, str) or self.censored not in ("none", "left", "right", "both"):
            raise ShapeError(f"HSMM: censored must be 'none', 'left', 'right' or 'both', got {self.censored!r}.")
        check_lengths("HSMM", self.lengths, self.batch_shape, steps)

    @property
    def states(self) -> int:
        """How many states there are, S."""
        return self.emission.shape[-1]

    @property
    def steps(self) -> int:
        """How many steps there are, T."""
        return self.emission.shape[-2]

    @property
    def longest(self) -> int:
        """The longest duration, D."""
        return self.duration.shape[-1]

    @property
    def batch_shape(self) -> torch.Size:
        return self.emission.shape[:-2]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (-1, 3)

    @property
    def ranks(self) -> dict[str, int]:
        axes = self.emission.ndim - 2
        given = {"initial": 1, "transition": len(one_step(self)), "duration": 2, "emission": 2}
        for name in ("transition", "duration"):
            given[name] += getattr(self, name).ndim == axes + given[name] + 1
        given |= {} if self.segment is None else {"segment": 3}
        return given | ({} if self.final is None else {"final": 1})

    @property
    def ragged(self) -> dict[str, dict[str, int]]:  # type: ignore[override]
        """Steps; what varies has them in front."""
        return {"lengths": {"emission": -2, "transition": -1 - len(one_step(self)), "duration": -3, "segment": -3}}

    @property
    def linear(self) -> bool:
        """Unless a censored duration sums up longer ones."""
        return self.censored == "none"

    @property
    def varying(self) -> dict[str, tuple[int, ...]]:
        """All but what begins, ends, and is seen."""
        steps, states, longest = self.steps, self.states, self.longest
        return {
            "transition": (steps - 1, *one_step(self)),
            "duration": (steps, states, longest),
            "segment": (steps, longest, states),
        }

    def chain(self) -> Chain:
        """One map: what ended, by how long it lasted, and what begins."""
        rank, transition = len(one_step(self)), self.transition
        if self.ranks["transition"] == rank:
            transition = transition.unsqueeze(-1 - rank)
        else:
            used = self.counted("transition")  # the last step leads nowhere, so there may be NaN in it
            transition = transition if used is None else torch.where(used, transition, 0.0)
            transition = pad(transition, (0, 0) * rank + (0, 1))
        nothing = torch.full_like(self.initial, -torch.inf)
        final = torch.zeros_like(self.initial) if self.final is None else self.final
        return Chain(
            start=(torch.cat([nothing, self.initial], -1),),
            steps=Segmental.of(moves(self, transition), self._lasting(), self.emission, self.segment),
            end=(torch.cat([final, torch.full_like(final, -torch.inf)], -1),),
            lengths=self.lengths,
            length=self.steps,
        )

    def _lasting(self) -> Tensor:
        """Log-weights of durations ``(..., T or 1, D, S)``."""
        duration = self.duration.mT
        if self.ranks["duration"] == 2:
            duration = duration.unsqueeze(-3)
        if self.censored == "none":
            return duration
        longer = at_least(duration)
        steps = torch.arange(1, self.steps + 1, device=duration.device)
        first = steps.unsqueeze(-1) == torch.arange(1, self.longest + 1, device=duration.device)  # (T, D)
        first = first.unsqueeze(-1) if self.censored in ("left", "both") else torch.zeros_like(first).unsqueeze(-1)
        end = torch.tensor(self.steps, device=duration.device) if self.lengths is None else self.lengths.unsqueeze(-1)
        last = (steps == end).unsqueeze(-1).unsqueeze(-1)  # (..., T, 1, 1)
        last = last if self.censored in ("right", "both") else torch.zeros_like(last)
        across = at_least(longer)
        return torch.where(first & last, across, torch.where(first | last, longer, duration))

    def event(self, path: Path) -> Tensor:
        """The slots where a segment begins, and how far it is to the next."""
        slots = path.slots
        begins = slots[..., :-1] >= self.states  # what begins at time t begins with step t
        state = torch.where(begins, slots[..., :-1] - self.states, -1)
        start = torch.arange(self.steps, device=slots.device).expand(state.shape)
        # Segments first, in the order of time. No two are equal: a stable sort is no operator of ONNX.
        order = torch.where(begins, start, self.steps + start).argsort(dim=-1)
        state, start, begins = (x.gather(-1, order) for x in (state, start, begins))
        end = torch.tensor(self.steps, device=slots.device) if self.lengths is None else self.lengths
        over = end.unsqueeze(-1).expand(*state.shape[:-1], 1)
        bound = torch.where(begins, start, over)
        length = torch.cat([bound[..., 1:], over], -1) - start
        return torch.where(begins.unsqueeze(-1), torch.stack([state, start, length], -1), -1)

    def state_sequence(self, event: Tensor) -> Tensor:
        """The state of each step, int64 ``(..., T)``; -1 after the end."""
        event = torch.as_tensor(event, dtype=torch.int64, device=self.emission.device)
        state, start, length = event.unbind(-1)
        real = state >= 0
        marks = torch.zeros(*state.shape[:-1], self.steps + 1, dtype=torch.int64, device=state.device)
        marks = marks.scatter_add(-1, torch.where(real, start, self.steps).clamp(0, self.steps), real.long())
        number = marks[..., :-1].cumsum(-1) - 1
        inside = torch.arange(self.steps, device=state.device) < torch.where(real, start + length, 0).amax(
            -1, keepdim=True
        )
        return torch.where(inside & (number >= 0), state.gather(-1, number.clamp(0, state.shape[-1] - 1)), -1)

    def path(self, event: Tensor) -> Path:
        """Where segments begin, their states; where the last one ends, its state."""
        state, start, length = event.unbind(-1)
        real = state >= 0
        end = torch.where(real, length, 0).cumsum(-1)
        joined = (start == end - length) & (length >= 1) & (length <= self.longest)
        fine = torch.where(real, joined, (event == -1).all(-1)).all(-1, keepdim=True) & (
            real[..., 1:] <= real[..., :-1]
        ).all(-1, keepdim=True)
        begun = spread(state + self.states, torch.where(real, start, -1), self.steps + 1)
        ended = spread(state, torch.where(real, end, -1), self.steps + 1)
        return Path.through(torch.where(fine, torch.where(begun < 0, ended, begun), -1))

    def labels(self) -> Labels:
        """The state of each segment, where it begins."""
        states = torch.arange(self.states, device=self.emission.device)
        return Labels(torch.cat([torch.full_like(states, -1), states]), self.states)

    def filtered(self, vectors: Tensor) -> Tensor:
        """Segments begun at each time before that have lasted until now, or longer."""
        return self.filtered_last(vectors, self.steps)

    def filtered_last(self, vectors: Tensor, count: int) -> Tensor:
        """The same at the last ``count`` steps alone."""
        padding = (0, 0, self.longest - 1, 0)
        begun = pad(vectors[..., :-1, self.states :], padding, value=-torch.inf)  # at time t, before step t
        frames, going = pad(self.emission, padding), self.going().to(vectors.dtype)
        block = max(_BLOCK // max(begun[..., 0, :].numel() * self.longest, 1), 1)
        ages = torch.arange(self.longest - 1, -1, -1, device=begun.device)
        found = []
        for step in torch.arange(self.steps - count, self.steps, device=begun.device).split(block):
            latest = step.unsqueeze(-1) + ages  # the D latest of each step, the latest first
            weight = begun[..., latest, :] + frames[..., latest, :].cumsum(-2)
            found.append(all_of(weight + (going if going.shape[-3] == 1 else going[..., step, :, :])))
        return torch.cat(found, -2)

    def going(self) -> Tensor:
        """Log-weights of having lasted so long, and not ended perhaps ``(..., T or 1, D, S)``.

        Raises:
            StructureError: segments that have not ended have no weight yet.
        """
        if self.segment is not None or self.ranks["duration"] == 3:
            raise StructureError(
                "HSMM: a segment that has not ended has no weight yet where segment or a duration (..., T, S, D) is "
                "given, so it cannot be filtered. Give emission and a duration (..., S, D), or ask smoothing."
            )
        longer = cumulative(self.duration.mT).unsqueeze(-3)
        if self.censored not in ("left", "both"):
            return longer
        first = torch.ones(self.steps, self.longest, dtype=torch.bool, device=longer.device).tril().triu()
        return torch.where(first.unsqueeze(-1), cumulative(longer), longer)


def either(a: Tensor, b: Tensor) -> Tensor:
    """``log(exp(a) + exp(b))``, whose derivatives at ``-inf`` are 0; `torch.logaddexp` has NaN in the second one."""
    nothing, first = (a == -torch.inf) & (b == -torch.inf), a >= b
    more, less = torch.where(nothing, 0.0, torch.where(first, a, b)), torch.where(first, b, a)
    return torch.where(nothing, -torch.inf, more + softplus(less - more))


def all_of(log_weight: Tensor) -> Tensor:
    """The log of the sum over the second axis from the right, by pairs where somebody may ask for a derivative."""
    if not torch.is_grad_enabled():
        return log_weight.logsumexp(-2)
    while (count := log_weight.shape[-2]) > 1:
        half = count // 2
        pairs = either(log_weight[..., :half, :], log_weight[..., half : 2 * half, :])
        log_weight = torch.cat([pairs, log_weight[..., 2 * half :, :]], -2)
    return log_weight.squeeze(-2)


def cumulative(log_weight: Tensor) -> Tensor:
    """`at_least` to rounding, in fewer calls where nobody may ask for a derivative."""
    if torch.is_grad_enabled():
        return at_least(log_weight)
    return log_weight.flip(-2).logcumsumexp(-2).flip(-2)


def at_least(log_weight: Tensor) -> Tensor:
    """The log-weight of lasting at least as long, from ``(..., D, S)``."""
    reach, longest = 1, log_weight.shape[-2]
    while reach < longest:  # each entry holds so many, from its own on
        further = pad(log_weight[..., reach:, :], (0, 0, 0, reach), value=-torch.inf)
        log_weight, reach = either(log_weight, further), 2 * reach
    return log_weight
