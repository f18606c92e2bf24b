"""Hidden Markov model, or linear-chain conditional random field: one state per step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from semihmm.engine import Arcs, Banded, Chain, Compose, Dense, Diagonal, Map, Path
from semihmm.engine.chain import aligned
from semihmm.engine.maps.form import as_index, check_range, check_shared, remembered_for
from semihmm.engine.tracing import numbers
from semihmm.errors import ShapeError
from semihmm.structures.authoring import (
    Labels,
    check_lengths,
    check_shape,
    settle,
    settle_indices,
    tensor_of,
    whole_numbers,
)
from semihmm.structures.base import Structure


@dataclass(frozen=True, repr=False)
class HMM(Structure):
    """Every path through S states, one state per step. Also a linear-chain CRF (Rabiner 1989; Lafferty et al. 2001).

    Args:
        initial: log-weight of each first state ``(..., S)``, in nats; need not be normalised.
        transition: log-weight of ``[from, to]``: ``(..., S, S)``, or ``(..., T-1, S, S)`` where it differs over time.
            With ``arcs``: ``(..., A)`` or ``(..., T-1, A)``. With ``offsets``: ``(..., S, K)`` or ``(..., T-1, S, K)``;
            ``[j, k]`` is the weight of arriving at ``j`` from ``j - offsets[k]``. The number of axes says which it is:
            beside an emission ``(B, T, S)``, three axes are ``(B, S, S)``, and one that differs over time but not over
            sequences is ``(1, T-1, S, S)``.
        emission: log-weight of each step's observation under each state, ``(..., T, S)``.
        final: log-weight of each last state ``(..., S)``; None for 0.
        lengths: steps in use, ``1 <= lengths <= T``; later steps do not count.
        arcs: ``(source, target)``, integers ``(A,)`` each: the only transitions there are, none of them twice.
        offsets: the only distances there are between a state and the next.

    An event is the states, int64 ``(..., T)``, -1 after the end. Work per step is S^2, or A, or S K.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> float(semihmm.log_partition(hmm).exp())  # 2 ** 3 paths
        8.0
    """

    initial: Tensor
    transition: Tensor
    emission: Tensor
    final: Tensor | None = None
    lengths: Tensor | None = None
    arcs: tuple[Tensor, Tensor] | None = None
    offsets: tuple[int, ...] | None = None
    observed: ClassVar[str] = "emission"

    def __post_init__(self) -> None:
        settle(self, "initial", "transition", "emission", "final")
        settle_indices(self, "lengths")
        if self.emission.ndim < 2 or not self.emission.shape[-2] or not self.states:
            raise ShapeError(
                f"HMM: emission must be (..., T, S) with at least one step and state, got {tuple(self.emission.shape)}."
            )
        batch, (steps, states) = self.emission.shape[:-2], self.emission.shape[-2:]
        check_shape(self, "(..., T, S)", "initial", self.initial, (states,))
        check_shape(self, "(..., T, S)", "final", self.final, (states,))
        if self.arcs is not None and self.offsets is not None:
            raise ShapeError("HMM: give arcs or offsets, not both: each says which transitions there are.")
        event = self._event()
        check_shape(self, "(..., T, S)", "transition", self.transition, event, (steps - 1, *event))
        check_lengths("HMM", self.lengths, batch, steps)

    def _event(self) -> tuple[int, ...]:
        """The axes of transitions at one step."""
        event: tuple[int, ...] = (self.states, self.states)
        if self.offsets is not None:
            object.__setattr__(self, "offsets", whole_numbers("HMM", "offsets", self.offsets))
            event = (self.states, len(self.offsets))
            if len(set(self.offsets)) != len(self.offsets):
                raise ShapeError(f"HMM: offsets must differ from one another, got {self.offsets}.")
        if self.arcs is not None:
            source, target = (as_index("HMM", "arcs", tensor_of("HMM", "arcs", x)) for x in _pair(self.arcs))
            object.__setattr__(self, "arcs", (source, target))
            _check_arcs(source, target, self.states)
            event = (len(source),)
        return event

    @property
    def states(self) -> int:
        """How many states there are, S."""
        return self.emission.shape[-1]

    @property
    def steps(self) -> int:
        """How many steps there are, T."""
        return self.emission.shape[-2]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.steps,)

    @property
    def ranks(self) -> dict[str, int]:
        event = 1 if self.arcs is not None else 2
        varying = self.transition.ndim == self.emission.ndim - 2 + event + 1
        given = {"initial": 1, "transition": event + varying, "emission": 2}
        return given if self.final is None else {**given, "final": 1}

    @property
    def ragged(self) -> dict[str, dict[str, int]]:  # type: ignore[override]
        """Steps; transitions that vary have theirs in front."""
        return {"lengths": {"emission": -2, "transition": -2 if self.arcs is not None else -3}}

    @property
    def varying(self) -> dict[str, tuple[int, ...]]:
        """Transitions."""
        return {"transition": (self.steps - 1, *self._event())}

    def chain(self) -> Chain:
        """Arcs, then emissions; factored, so that no (B, T, S, S) exists."""
        first, rest = self.emission.split_with_sizes((1, self.steps - 1), -2)  # backward is one `cat`; of slices, a sum
        arcs = Compose(self._arcs(), Diagonal(rest))  # `@` is the same, but Dynamo cannot trace it
        return Chain(
            start=(aligned(self.initial, self.emission.ndim - 1), first.squeeze(-2)),
            steps=arcs,
            end=() if self.final is None else (self.final,),
            lengths=self.chain_lengths,
            length=self.steps - 1,
        )

    @property
    def chain_lengths(self) -> Tensor | None:
        """A step in front of each state but the first."""
        return None if self.lengths is None else self.lengths - 1

    def _arcs(self) -> Map:
        event = 1 if self.arcs is not None else 2
        weight, axes = self.transition, self.emission.ndim - 2
        if weight.ndim == event:
            weight = aligned(weight, axes + 1 + event)
        elif weight.ndim == axes + event:
            weight = weight.unsqueeze(-1 - event)
        if self.arcs is not None:
            if weight.shape[-2] == 1 and _is_dense(self.states, weight.shape[-1]):
                at = (self.arcs[0] * self.states + self.arcs[1]).expand_as(weight)
                matrix = weight.new_full((*weight.shape[:-1], self.states**2), -torch.inf).scatter(-1, at, weight)
                return Dense(matrix.unflatten(-1, (self.states, self.states)))
            return Arcs(*self.arcs, weight, self.states)
        return Dense(weight) if self.offsets is None else Banded(self.offsets, weight)

    def event(self, path: Path) -> Tensor:
        """States are slots."""
        return path.slots

    def path(self, event: Tensor) -> Path:
        return Path.through(event)

    def state_sequence(self, event: Tensor) -> Tensor:
        return event

    def labels(self) -> Labels:
        """The state of each step."""
        return Labels(torch.arange(self.states, device=self.emission.device), self.states)

    def filtered(self, vectors: Tensor) -> Tensor:
        """State vectors are over states."""
        return vectors


def _pair(arcs: Any) -> tuple[Any, Any]:
    """Sources and targets."""
    if not hasattr(arcs, "__len__") or len(arcs) != 2:
        raise ShapeError(f"HMM: arcs must be a pair (source, target) of integers (A,) each, got {type(arcs).__name__}.")
    return arcs[0], arcs[1]


@remembered_for
def _check_arcs(source: Tensor, target: Tensor, states: int) -> None:
    """Refuse arcs that lead outside, come twice, or are no pairs."""
    for x in (source, target):
        check_shared("HMM", "arcs", x)
        check_range("HMM", "arcs", x, 0, states - 1, f"the {states} states")
    fits = source.shape == target.shape and source.ndim == 1
    pairs = numbers(source * states + target) if fits else None
    if not fits or (pairs is not None and len(pairs.unique()) != len(pairs)):
        raise ShapeError(
            "HMM: arcs must be (source, target), integers (A,) each, and none may come twice: states would not "
            "say which was taken (semihmm.Lattice allows it). "
            f"Got {tuple(source.shape)} and {tuple(target.shape)}."
        )


def _is_dense(states: int, arcs: int) -> bool:
    """Whether it takes less time to go along a matrix of all arcs, most of them forbidden, than along those there are.

    As measured (benchmarks/sparse.py compares the two): between few states vectors stay in registers; else what is
    multiplied one after the other takes an eighth to a quarter of the time of what lies anywhere.
    """
    return states <= 32 or states**2 <= (8 if states <= 64 else 4) * arcs
