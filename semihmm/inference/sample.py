"""Draws from the posterior over paths, independent ones or different ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import torch

from semihmm.engine.tracing import mapped
from semihmm.errors import SemihmmError
from semihmm.inference.options import Options, check_structures
from semihmm.inference.viterbi import Paths, decode
from semihmm.inference.without_replacement import Draws, different
from semihmm.semirings import Sample
from semihmm.structures import Structure
from semihmm.structures.authoring import check_generator, whole_numbers

if TYPE_CHECKING:
    from typing_extensions import Unpack


@overload
def sample(
    structure: Structure,
    shape: Sequence[int] = (),
    generator: torch.Generator | None = None,
    replacement: Literal[True] = True,
    **options: Unpack[Options],
) -> Paths: ...


@overload
def sample(
    structure: Structure,
    shape: int | Sequence[int],
    generator: torch.Generator | None = None,
    *,
    replacement: Literal[False],
    **options: Unpack[Options],
) -> Draws: ...


def sample(
    structure: Structure,
    shape: int | Sequence[int] = (),
    generator: torch.Generator | None = None,
    replacement: bool = True,
    **options: Unpack[Options],
) -> Paths | Draws:
    """Exact draws from the posterior over paths, ``(*shape, ...)``: forward filtering, backward sampling.

    Args:
        shape: of the draws, a tuple, as in PyTorch's distributions: ``(3,)`` for three. Without replacement there can
            be one axis alone, of k different paths, so the number k will do as well.
        replacement: True for independent draws. False for different paths, each drawn from the posterior given that it
            is none of those before it, with the probability that it was to be among them.

    Cost: one forward pass; without replacement, that of the ``max(2 k, 32)`` best paths and of some independent draws:
    few, unless the mass of all other paths is small and one of them is drawn nevertheless.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> generator = torch.Generator().manual_seed(0)
        >>> sample(hmm, (100,), generator).event.shape
        torch.Size([100, 3])
        >>> paths, log_inclusion = sample(hmm, 8, generator, replacement=False)  # there are eight
        >>> len(paths.event.unique(dim=0)), log_inclusion.exp().tolist()
        (8, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    """
    check_structures(structure)
    check_generator("sample", generator)
    if not isinstance(replacement, bool):
        raise SemihmmError(f"sample: replacement must be True or False, got {replacement!r}.")
    if not replacement:
        k = _count(shape)
        return different(structure, k, max(2 * k, 32), generator, options)
    if mapped() and not _may_draw():
        raise SemihmmError(
            "sample: inside torch.func.vmap, draws must be said to be the same or different for all: pass "
            "randomness='same' or 'different' to vmap (jacfwd and hessian: draw outside of them).",
            see="vmap",
        )
    shape = whole_numbers("sample", "shape, a tuple such as (100,),", shape)  # type: ignore[arg-type]
    count = torch.Size(shape).numel()
    if count < 1 or min(shape, default=1) < 1:
        raise SemihmmError(f"sample: shape must hold at least one draw, got {shape}.")
    drawn = decode(structure, Sample(count), generator, **options)
    event, score, valid = (x.reshape((*shape, *x.shape[1:])) for x in (drawn.event, drawn.score, drawn.valid))
    return Paths(event, score, valid, structure)


def _count(shape: int | Sequence[int]) -> int:
    """How many different paths."""
    size = whole_numbers("sample", "k without replacement", shape if isinstance(shape, Sequence) else [shape])
    if len(size) != 1 or size[0] < 1:
        raise SemihmmError(f"sample: without replacement, k or (k,) says how many paths, at least 1, got {shape}.")
    return size[0]


def _may_draw() -> bool:
    """Whether every vmap around says how its items draw."""
    functorch = torch._C._functorch
    layers = functorch.get_interpreter_stack() or ()
    said = [functorch.CVmapInterpreterPtr(x).randomness() for x in layers if x.key() == functorch.TransformType.Vmap]
    return functorch.RandomnessType.Error not in said
