"""Hidden Markov model, or linear-chain conditional random field: one state per step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from semihmm.engine import Chain, Compose, Diagonal, Map, Path
from semihmm.engine.chain import aligned
from semihmm.engine.maps.form import check_range, unchecked
from semihmm.errors import ShapeError
from semihmm.structures.authoring import Labels, check_lengths, check_shape, settle, settle_indices
from semihmm.structures.base import Structure
from semihmm.structures.transitions import moves, one_step, settle_transitions


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
        emission: log-weight of each step's observation under each state, ``(..., T, S)``; with ``emission_index``,
            under each of V densities, ``(..., T, V)``.
        final: log-weight of each last state ``(..., S)``; None for 0.
        lengths: steps in use, ``1 <= lengths <= T``; later steps do not count.
        arcs: ``(source, target)``, integers ``(A,)`` each: the only transitions there are, none of them twice.
        offsets: the only distances there are between a state and the next.
        emission_index: which of the V columns of ``emission`` each state has, integers ``(..., S)``, where states share
            them: the senones of a lexicon graph. Emissions, and their gradient, then take T V numbers, not T S.

    An event is the states, int64 ``(..., T)``, -1 after the end. Work per step is S^2, or A, or S K.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> float(semihmm.log_partition(hmm).exp())  # 2 ** 3 paths
        8.0
        >>> tied = semihmm.HMM(torch.zeros(3), torch.zeros(3, 3), torch.zeros(4, 2), emission_index=[0, 1, 0])
        >>> tied.states, semihmm.marginals(tied).emission.shape, semihmm.smoothing(tied).shape
        (3, torch.Size([4, 2]), torch.Size([4, 3]))
    """

    initial: Tensor
    transition: Tensor
    emission: Tensor
    final: Tensor | None = None
    lengths: Tensor | None = None
    arcs: tuple[Tensor, Tensor] | None = None
    offsets: tuple[int, ...] | None = None
    emission_index: Tensor | None = None
    observed: ClassVar[str] = "emission"
    indices: ClassVar[dict[str, int]] = {"emission_index": 1}

    def __post_init__(self) -> None:
        settle(self, "initial", "transition", "emission", "final")
        settle_indices(self, "lengths", "emission_index")
        if self.emission.ndim < 2 or not self.emission.shape[-2] or not self.emission.shape[-1]:
            raise ShapeError(
                f"HMM: emission must be (..., T, S) with at least one step and state, got {tuple(self.emission.shape)}."
            )
        seen, hint = self._check_index()
        batch, steps, states = self.emission.shape[:-2], self.steps, self.states
        check_shape(self, seen, "initial", self.initial, (states,), hint=hint)
        check_shape(self, seen, "final", self.final, (states,), hint=hint)
        settle_transitions(self)
        event = one_step(self)
        check_shape(self, seen, "transition", self.transition, event, (steps - 1, *event), hint=hint)
        check_lengths("HMM", self.lengths, batch, steps)

    def _check_index(self) -> tuple[str, str]:
        """Refuse an index of no state or no column; returns emission's axes, and a hint at where S is from."""
        index, columns = self.emission_index, self.emission.shape[-1]
        if index is None:
            return "(..., T, S)", ""
        if not index.ndim or not index.shape[-1]:
            raise ShapeError(f"HMM: emission_index must be (..., S) with at least one state, got {tuple(index.shape)}.")
        check_shape(self, "(..., T, V)", "emission_index", index, (self.states,))
        check_range("HMM", "emission_index", index, 0, columns - 1, f"the {columns} columns of emission")
        return "(..., T, V)", f" emission_index says how many states there are, {self.states}."

    @property
    def states(self) -> int:
        """How many states there are, S."""
        return (self.emission if self.emission_index is None else self.emission_index).shape[-1]

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
        return {"transition": (self.steps - 1, *one_step(self))}

    def chain(self) -> Chain:
        """Arcs, then emissions; factored, so that no (B, T, S, S) exists."""
        first, rest = self.emission.split_with_sizes((1, self.steps - 1), -2)  # backward is one `cat`; of slices, a sum
        observed = Diagonal(rest)
        if self.emission_index is not None:
            observed, first = unchecked(Diagonal, weight=rest, index=self._columns()), self._by_state(first)
        return Chain(
            start=(aligned(self.initial, self.emission.ndim - 1), first.squeeze(-2)),
            steps=Compose(self._arcs(), observed),  # `@` is the same, but Dynamo cannot trace it
            end=() if self.final is None else (self.final,),
            lengths=self.chain_lengths,
            length=self.steps - 1,
        )

    @property
    def chain_lengths(self) -> Tensor | None:
        """A step in front of each state but the first."""
        return None if self.lengths is None else self.lengths - 1

    def untied(self) -> HMM:
        """With an emission of each state's own."""
        if self.emission_index is None:
            return self
        return replace(self, emission=self._by_state(self.emission), emission_index=None)

    def _columns(self) -> Tensor:
        """Which column each state has, the same at all steps, ``(... or 1, 1, S)``."""
        assert self.emission_index is not None
        return aligned(self.emission_index, self.emission.ndim - 1).unsqueeze(-2)

    def _by_state(self, emission: Tensor) -> Tensor:
        """What each state has of columns ``(..., T, V)``: ``(..., T, S)``."""
        return emission.gather(-1, self._columns().expand(*emission.shape[:-1], -1))

    def _arcs(self) -> Map:
        event = 1 if self.arcs is not None else 2
        weight, axes = self.transition, self.emission.ndim - 2
        if weight.ndim == event:
            weight = aligned(weight, axes + 1 + event)
        elif weight.ndim == axes + event:
            weight = weight.unsqueeze(-1 - event)
        return moves(self, weight)

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
