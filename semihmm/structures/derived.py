"""Structures made of another one: other paths, the same potentials."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from semihmm.errors import StructureError
from semihmm.structures.base import Structure, on_device

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, repr=False)
class Derived(Structure):
    """Some of another structure's paths, by a chain of its own: a product with an automaton, or what pruning left.

    Potentials, lengths and all that describes them are the other structure's, and are read as if they were its own; so
    gradients come in its shapes. A subclass says `chain`, `event` and `path`, and what has a state at each moment
    `filtered`; its further fields that belong to each sequence are in ``own_indices``, as in `Structure.indices`.

    Args:
        base: the other structure.
    """

    base: Structure
    own_indices: ClassVar[dict[str, int]] = {}

    def __post_init__(self) -> None:
        check_base(self)

    def __getattr__(self, name: str) -> Any:
        """What the other structure has under this name."""
        if "base" not in self.__dict__ or name.startswith("__"):  # while it is being made, as by `copy`
            raise AttributeError(name)
        return getattr(self.base, name)

    @property
    def observed(self) -> str:  # type: ignore[override]
        return self.base.observed

    @property
    def indices(self) -> dict[str, int]:  # type: ignore[override]
        """The other structure's, and its own."""
        return {**self.base.indices, **self.own_indices}

    @property
    def ragged(self) -> Any:  # type: ignore[override]
        return self.base.ragged

    @property
    def sign(self) -> float:  # type: ignore[override]
        return self.base.sign

    @property
    def ranks(self) -> dict[str, int]:
        return self.base.ranks

    @property
    def lengths(self) -> Tensor | None:  # type: ignore[override]
        return self.base.lengths

    @property
    def linear(self) -> bool:
        """As the other structure."""
        return self.base.linear

    @property
    def varying(self) -> dict[str, tuple[int, ...]]:
        """As in the other structure."""
        return self.base.varying

    @property
    def event_shape(self) -> tuple[int, ...] | None:
        return self.base.event_shape

    @property
    def event_lengths(self) -> Tensor | None:
        """The other structure's."""
        return self.base.event_lengths

    def untied(self) -> Self:
        base = self.base.untied()
        return self if base is self.base else self.holding(base=base)  # type: ignore[arg-type]

    def along_arcs(self) -> Self:
        base = self.base.along_arcs()
        return self if base is self.base else self.holding(base=base)  # type: ignore[arg-type]

    def unknown(self, event: Tensor) -> Tensor:
        return self.base.unknown(event)

    def state_sequence(self, event: Tensor) -> Tensor:
        return self.base.state_sequence(event)

    def replace(self, **changes: Tensor) -> Self:
        own, rest = self._parted(changes)
        return replace(self, base=self.base.replace(**rest), **own)

    def holding(self, **tensors: Tensor) -> Self:
        own, rest = self._parted(tensors)
        base = own.pop("base", self.base)
        same = object.__new__(type(self))
        same.__dict__.update(self.__dict__, base=base.holding(**rest), **own)
        return same

    def _parted(self, tensors: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What is its own, and the other structure's."""
        mine = {f.name for f in fields(self)}
        return {n: x for n, x in tensors.items() if n in mine}, {n: x for n, x in tensors.items() if n not in mine}

    def to(self, *args: Any, **kwargs: Any) -> Self:
        base = self.base.to(*args, **kwargs)
        device: torch.device = base.potentials[base.observed].device
        own = {f.name: on_device(getattr(self, f.name), device) for f in fields(self) if f.name != "base"}
        return self.holding(base=base, **own)  # type: ignore[arg-type]


def check_base(structure: Derived) -> None:
    """Refuse what is made of no structure."""
    if not isinstance(structure.base, Structure):
        raise StructureError(
            f"{type(structure).__name__}: base must be a structure, such as HMM or CTC, got "
            f"{type(structure.base).__name__}."
        )
