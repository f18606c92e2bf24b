"""Where a stream's maps come from: a structure that says what frames weigh, or a model that makes one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.structures import Structure
from semihmm.structures.authoring import tensor_of

Frames = dict[str, Tensor]  # by name, (B, T, *event) each


class Model(Protocol):
    """What makes a structure of observations ``(B, T, *event)``, each frame by itself: every model of semihmm.models.

    Example:
        >>> model: Model = lambda x: semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), -x.square())
        >>> model(torch.zeros(1, 5, 2)).steps
        5
    """

    def __call__(self, x: Tensor, /, **known: Tensor) -> Structure:
        """A structure with a batch axis, of as many frames."""
        ...


class Source(Protocol):
    """Makes structures of frames in a row."""

    def frames(self, given: Mapping[str, Any], batched: bool) -> Frames:
        """What a caller has pushed, as tensors ``(B, T, *event)``; B is 1 for a stream alone."""
        ...

    def structure(self, frames: Frames, streams: Tensor | None) -> Structure:
        """The paths through these frames of some of the streams (None: all)."""
        ...


@dataclass(frozen=True)
class Template:
    """A structure, whose frames are those that arrive, and whose other potentials are as they are.

    Args:
        whole: with a batch axis for the streams; its own frames do not count.
        late: which of the potentials that arrive are of pairs of neighbours, so that a first frame has none.
        arriving: the potentials that arrive, the observed one first.
        kept: of windows of frames that came before, by how many frames were old and new, what others share with them.
    """

    whole: Structure
    arriving: tuple[str, ...]
    late: frozenset[str]
    kept: dict[tuple[int, int], Any] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )  # windows, by form

    @staticmethod
    def of(structure: Structure, streams: int) -> Template:
        """Of a structure of one sequence, for all streams; or of a batch of as many.

        The first entry of `Structure.ragged` says which potentials go along with time.
        """
        name, batch, ranks, seen = type(structure).__name__, structure.batch_shape, structure.ranks, structure.observed
        if batch not in ((), (streams,)):
            raise ShapeError(
                f"Stream: {streams} streams take a {name} of one sequence, for all of them, or of a batch "
                f"({streams},), got a batch {tuple(batch)}."
            )
        lengths, counted = next(iter(structure.ragged.items()))
        time = {seen: -ranks[seen], **{n: axis for n, axis in counted.items() if -axis in (ranks.get(n), 0)}}
        steps = {n: structure.potentials[n].shape[axis] for n, axis in time.items() if axis}
        late = frozenset(n for n, count in steps.items() if count != steps[seen])
        changes: dict[str, Any] = {lengths: None} if lengths in structure.__dict__ else {}
        for field in (*structure.indices, *structure.ragged):
            x = getattr(structure, field, None)
            if isinstance(x, Tensor) and field not in changes and not batch:
                changes[field] = x.expand(streams, *x.shape)
        for field in steps:
            x = structure.potentials[field]
            changes[field] = x.new_zeros(streams, 1, *x.shape[x.ndim - ranks[field] + 1 :])
        return Template(structure.holding(**changes), (seen, *(n for n in steps if n != seen)), late)

    def frames(self, given: Mapping[str, Any], batched: bool) -> Frames:
        if given.keys() != set(self.arriving):
            raise ShapeError(
                f"Stream: chunks of a {type(self.whole).__name__} hold {' and '.join(self.arriving)}, got "
                f"{' and '.join(given) or 'nothing'}."
            )
        found, count = {}, -1
        for field in self.arriving:
            held = getattr(self.whole, field)
            x = _dense(field, given[field], held.device)
            x = x if batched else x.unsqueeze(0)
            event, count = held.shape[2:], x.shape[1] if count < 0 and x.ndim > 1 else count
            if x.ndim != held.ndim or x.shape != (held.shape[0], count, *event) or x.is_complex():
                frames = "frames" if field == self.arriving[0] else count
                wanted = (*held.shape[: int(batched)], frames, *event)
                raise ShapeError(
                    f"Stream: {field} of a chunk must be ({', '.join(map(str, wanted))}), as the "
                    f"{type(self.whole).__name__} has it, got {tuple(x.shape if batched else x.shape[1:])}."
                )
            found[field] = x.to(held.dtype)
        return found

    def structure(self, frames: Frames, streams: Tensor | None) -> Structure:
        whole = self.whole if streams is None else self.whole[streams]
        return whole.holding(**self.arrived(frames))

    def arrived(self, frames: Frames) -> Frames:
        """The potentials that frames are."""
        return {n: x[:, 1:] if n in self.late else x for n, x in frames.items()}


@dataclass(frozen=True)
class Modelled:
    """A model, which is given frames, and what is known besides, as they arrive."""

    model: Model

    def frames(self, given: Mapping[str, Any], batched: bool) -> Frames:
        found = {name: _dense(name, x) for name, x in given.items() if x is not None}
        found = found if batched else {name: x.unsqueeze(0) for name, x in found.items()}
        shapes = {name: tuple(x.shape[:2]) for name, x in found.items()}
        if "x" not in found or len(set(shapes.values())) > 1 or len(shapes["x"]) < 2:
            raise ShapeError(
                f"Stream: a chunk must hold frames, ({'streams, ' * batched}frames, *event) of as many each, got "
                f"{ {name: tuple(x.shape if batched else x.shape[1:]) for name, x in found.items()} }."
            )
        return found

    def structure(self, frames: Frames, streams: Tensor | None) -> Structure:
        known = dict(frames)
        found = self.model(known.pop("x"), **known)
        if not isinstance(found, Structure):
            raise StructureError(
                f"Stream: a model must make a structure of frames, such as semihmm.HMM, got {type(found).__name__}."
            )
        return found


def _dense(name: str, given: Any, device: torch.device | None = None) -> Tensor:
    """What was pushed as a tensor that has its numbers."""
    x = tensor_of("Stream", name, given, device)
    if x.layout != torch.strided or x.is_meta:
        kind = "meta" if x.is_meta else x.layout
        raise DataError(f"Stream: {name} of a chunk must be a dense tensor with numbers in it, got a {kind} one.")
    return x
