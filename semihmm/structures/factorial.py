"""Factorial hidden Markov model: several chains side by side, which meet in what is seen, or move each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from semihmm.engine import Axes, Chain, Compose, Diagonal, Path
from semihmm.engine.chain import aligned
from semihmm.errors import ShapeError
from semihmm.structures.authoring import check_lengths, check_shape, settle, settle_indices
from semihmm.structures.base import Structure


@dataclass(frozen=True, repr=False)
class FactorialHMM(Structure):
    """Every way through d chains of S states each (Ghahramani & Jordan 1997); coupled ones too (Brand 1997).

    Args:
        initial: log-weight of each chain's first state ``(..., d, S)``, in nats; ``-inf`` for states that a smaller
            chain does not have.
        transition: log-weight of each chain's ``[from, to]``: ``(..., d, S, S)``, or ``(..., T-1, d, S, S)`` where it
            differs over time. Coupled chains have ``(..., d, S^d, S)`` or ``(..., T-1, d, S^d, S)``: the row of chain k
            is a joint state, the last chain's state fastest, in which the chains before k have moved already and the
            others have not. The number of axes says whether it differs over time.
        emission: log-weight of each step's observation under each joint state, ``(..., T, S, ..., S)`` with an axis for
            each chain.
        final: log-weight of each chain's last state ``(..., d, S)``; None for 0.
        lengths: steps in use, ``1 <= lengths <= T``; later steps do not count.

    An event is the chains' states, int64 ``(..., T, d)``, -1 after the end. Work per step is d S^(d + 1), where the
    joint HMM's is S^(2 d).

    Example:
        >>> import torch, semihmm
        >>> pair = semihmm.FactorialHMM(torch.zeros(2, 3), torch.zeros(2, 3, 3), torch.zeros(4, 3, 3))
        >>> round(float(semihmm.log_partition(pair).exp()))  # 9 ** 4 paths
        6561
        >>> semihmm.marginals(pair).transition.shape
        torch.Size([2, 3, 3])
    """

    initial: Tensor
    transition: Tensor
    emission: Tensor
    final: Tensor | None = None
    lengths: Tensor | None = None
    observed: ClassVar[str] = "emission"

    def __post_init__(self) -> None:
        settle(self, "initial", "transition", "emission", "final")
        settle_indices(self, "lengths")
        if self.initial.ndim < 2 or not self.initial.shape[-1] or not self.initial.shape[-2]:
            raise ShapeError(
                f"FactorialHMM: initial must be (..., d, S), with at least one chain and state, got "
                f"{tuple(self.initial.shape)}."
            )
        shape, joint = tuple(self.emission.shape), (self.states,) * self.chains
        if len(shape) <= self.chains or shape[-self.chains :] != joint or not shape[-1 - self.chains]:
            raise ShapeError(
                f"FactorialHMM: initial is (..., d, S) = {tuple(self.initial.shape)}, so emission must be (..., T, "
                f"{', '.join(map(str, joint))}), with at least one step, got {shape}."
            )
        borders, move = (self.chains, self.states), self._move()
        seen = "(..., T, S, ..., S)"
        check_shape(self, seen, "initial", self.initial, borders)
        check_shape(self, seen, "final", self.final, borders)
        check_shape(self, seen, "transition", self.transition, move, (self.steps - 1, *move))
        check_lengths("FactorialHMM", self.lengths, self.batch_shape, self.steps)

    @property
    def chains(self) -> int:
        """How many chains there are, d."""
        return self.initial.shape[-2]

    @property
    def states(self) -> int:
        """How many states each chain has, S."""
        return self.initial.shape[-1]

    @property
    def steps(self) -> int:
        """How many steps there are, T."""
        return self.emission.shape[-1 - self.chains]

    def _move(self) -> tuple[int, int, int]:
        """The axes of transitions at one step."""
        coupled = self.transition.ndim > 1 and self.transition.shape[-2] == self.states**self.chains
        return self.chains, self.states**self.chains if coupled else self.states, self.states

    @property
    def ranks(self) -> dict[str, int]:
        varying = self.transition.ndim == self.emission.ndim - 1 - self.chains + 4
        given = {"initial": 2, "transition": 3 + varying, "emission": 1 + self.chains}
        return given if self.final is None else {**given, "final": 2}

    @property
    def ragged(self) -> dict[str, dict[str, int]]:  # type: ignore[override]
        """Steps; transitions that vary have theirs in front."""
        return {"lengths": {"emission": -1 - self.chains, "transition": -4}}

    @property
    def varying(self) -> dict[str, tuple[int, ...]]:
        """Transitions."""
        return {"transition": (self.steps - 1, *self._move())}

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.steps, self.chains)

    def chain(self) -> Chain:
        """One axis of the joint state for each chain, then what is seen."""
        moves, batch = self.transition, self.emission.ndim - 1 - self.chains
        if self.ranks["transition"] == 3:
            moves = moves.unsqueeze(-4)
        first, rest = self.emission.flatten(-self.chains).split_with_sizes((1, self.steps - 1), -2)
        axes = Axes(aligned(moves, batch + 4).unbind(-3))
        return Chain(
            start=(*self._joint(aligned(self.initial, batch + 2)), first.squeeze(-2)),
            steps=Compose(axes, Diagonal(rest)),
            end=() if self.final is None else self._joint(self.final),
            lengths=self.chain_lengths,
            length=self.steps - 1,
        )

    @property
    def chain_lengths(self) -> Tensor | None:
        """A step in front of each joint state but the first."""
        return None if self.lengths is None else self.lengths - 1

    def _joint(self, x: Tensor) -> tuple[Tensor, ...]:
        """Each chain's log-weights ``(..., d, S)``, by joint state: d times ``(..., S^d)``."""
        found = []
        for k, own in enumerate(x.unbind(-2)):
            each = own.reshape(*own.shape[:-1], *(self.states if i == k else 1 for i in range(self.chains)))
            found.append(each.expand(*own.shape[:-1], *(self.states,) * self.chains).flatten(-self.chains))
        return tuple(found)

    def _places(self) -> Tensor:
        """How far apart the states of each chain are among joint states."""
        powers = [self.states ** (self.chains - 1 - k) for k in range(self.chains)]
        return torch.tensor(powers, device=self.emission.device)

    def event(self, path: Path) -> Tensor:
        """The chains' states in each joint state."""
        slots = path.slots.unsqueeze(-1)
        return torch.where(slots < 0, -1, slots // self._places() % self.states)

    def path(self, event: Tensor) -> Path:
        return Path.through(self.state_sequence(event))

    def state_sequence(self, event: Tensor) -> Tensor:
        """The number of each step's joint state, the last chain fastest, int64 ``(..., T)``; -1 after the end."""
        inside = ((event >= 0) & (event < self.states)).all(-1)
        return torch.where(inside, (event * self._places()).sum(-1), -1)

    def filtered(self, vectors: Tensor) -> Tensor:
        """State vectors are over joint states: an axis for each chain."""
        by_chain: Tensor = vectors.unflatten(-1, (self.states,) * self.chains)
        return by_chain
