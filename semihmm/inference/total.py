"""Totals: what every other question is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from semihmm import engine
from semihmm._numbers import check_values
from semihmm.engine import Chain, Plan, Segmental
from semihmm.engine.chain import aligned
from semihmm.engine.tracing import plain, traced
from semihmm.errors import DataError, SemiringError, ShapeError, StructureError
from semihmm.inference.options import Options, check_options, check_structures
from semihmm.inference.program import total_of
from semihmm.semirings import Bottleneck, Count, Log, Semiring
from semihmm.structures import Structure
from semihmm.structures.authoring import check_shape, tensor_of
from semihmm.structures.leaves import chain_of, numbered

if TYPE_CHECKING:
    from typing_extensions import Unpack

S = TypeVar("S", bound=Structure)


def prepare(structure: Structure, semiring: Semiring, options: Options) -> tuple[Chain, Plan]:
    """Check a structure and the options, and plan its chain."""
    check_structures(structure)
    check_options(options)
    chain = structure.checked_chain() if options.get("validate", True) and not traced() else structure.chain()
    return chain, engine.plan(
        chain, semiring, options.get("strategy"), options.get("checkpoint"), options.get("backend")
    )


def total(
    structure: Structure, semiring: Semiring, features: Sequence[Structure] = (), **options: Unpack[Options]
) -> Tensor:
    """The sum over all paths of the product of their weights, in any semiring.

    Args:
        features: structures of the same form, with features in place of log-weights, as `Structure.feature` makes them:
            as many as the semiring lifts besides the log-weight.
    Returns:
        ``(...)``, or ``(components, ...)`` in semirings that have them. Differentiable any number of times.
    Raises:
        SemiringError: another number of features than the semiring takes; more paths than int64 counts.
        DataError: NaN or infinite log-weights (``validate``).

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> int(total(hmm, semihmm.semirings.Count()))
        8
    """
    listed = isinstance(features, list | tuple)
    if listed and not features and (found := total_of(structure, semiring, options)) is not None:
        return found
    if not isinstance(semiring, Semiring):
        raise SemiringError(f"total: semiring must be one of semihmm.semirings, such as Log(), got {semiring!r}.")
    if not listed:
        raise StructureError(
            f"total: features must be a list of structures, got {type(features).__name__}.", see="features"
        )
    if len(features) != semiring.inputs - 1:
        raise SemiringError(
            f"{semiring}: lifts a log-weight and {semiring.inputs - 1} features, so total needs as many structures in "
            f"features, got {len(features)}."
        )
    chain, plan = prepare(structure, semiring, options)
    if not semiring.additive:
        chain = _without_width(structure, semiring)
    if features and not structure.linear:
        raise StructureError(
            f"{type(structure).__name__}: some of its weights sum up several ways (a censored duration: all longer "
            "ones), so a path has no one weight for a feature to go with. Ask expectation and variance, which know how."
        )
    along = [chain_of(structure, feature_of(structure, f)) for f in features]
    if isinstance(semiring, Count) and not traced():
        counts = log_count(structure, **options)
        most = float(counts.max()) if counts.numel() else 0.0
        if most >= 63 * math.log(2) - 1e-9:  # a count just below 2^63 is as good as above it: `most` is rounded
            raise SemiringError(
                f"Count: there are about exp({most:.1f}) paths, more than int64 counts. Ask log_count.",
                see="too-many-paths",
            )
    return engine.total(plan, semiring, chain, along)


def log_partition(structure: Structure, **options: Unpack[Options]) -> Tensor:
    """The log of the sum over all paths of exp(score), in nats, ``(...)``; ``-inf`` where there is no path.

    Cost: one scan; its gradient (the marginals) one more. O(T) memory, or O(sqrt T) with ``checkpoint``.

    Example:
        >>> import torch, semihmm
        >>> float(log_partition(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))).exp())
        8.0
    """
    return total(structure, Log(), **options)


def log_prob(structure: Structure, event: Tensor, **options: Unpack[Options]) -> Tensor:
    """The log-probability of an event: its score less the log-partition; more events in axes before the batch's.

    What lies behind an event's end does not count; -1 before its end is refused, as by `score`: partial labels are
    for `condition`.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> round(float(log_prob(hmm, torch.tensor([0, 1, 1])).exp()), 6)  # one path of 8
        0.125
    """
    found, whole = torch.broadcast_tensors(score(structure, event), log_partition(structure, **options))
    return torch.where(found == -torch.inf, -torch.inf, found - whole)  # also where there is no path at all


def score(structure: Structure, event: Tensor) -> Tensor:
    """The log-weight of an event ``(..., *event)``, in nats; ``-inf`` where the structure has no such path.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.tensor([[0., 1.], [3., 0.]]))
        >>> score(hmm, torch.tensor([[1, 0], [1, 1]])).tolist()
        [4.0, 1.0]

    Raises:
        ShapeError: events of another shape or type.
        DataError: an event with -1 before its end, as if that were not known: ask `condition`. One of -1 alone is no
            event, such as decoding gives where there is no path: ``-inf``.
    """
    check_structures(structure)
    event = tensor_of("score", "event", event)
    check_values("score", "event", event)
    event = event.to(structure.potentials[structure.observed].device)
    form, batch = structure.event_shape, structure.batch_shape
    if form is not None:
        axes = event.ndim - len(form)
        fits = axes >= len(batch) and event.shape[axes - len(batch) : axes] == batch
        fits = fits and not (event.is_floating_point() or event.is_complex())
        if not fits or any(want not in (-1, got) for want, got in zip(form, event.shape[axes:], strict=True)):
            raise ShapeError(
                f"score: an event of this {type(structure).__name__} is int64 {(*batch, *form)} (-1: any number), with "
                f"more of them in axes in front; got {tuple(event.shape)} of {event.dtype}."
            )
        if not traced():
            _refuse_gaps(structure, event)
    return structure.score(event)


def _refuse_gaps(structure: Structure, event: Tensor) -> None:
    gaps = structure.gaps(event)
    if gaps.any():
        at = gaps.nonzero()[0].tolist()
        raise DataError(
            f"score: event{at} of this {type(structure).__name__} is -1 before its end, so {int(gaps.sum())} of its "
            "items are not known. To add up all events that fit, ask log_partition(condition(structure, mask)), whose "
            "mask allows what is known and, where nothing is, everything; less log_partition(structure), for log_prob.",
            see="unknown-in-event",
        )


def log_count(structure: Structure, **options: Unpack[Options]) -> Tensor:
    """The log of how many paths there are, float64 ``(...)``: those with a log-weight above ``-inf``.

    Example:
        >>> import torch, semihmm
        >>> round(float(log_count(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))).exp()))
        8
    """
    with torch.no_grad():
        chain, plan = prepare(structure, Log(), options)
        chain = chain.unrolled()
        ones = (torch.where(x > -torch.inf, 0.0, x).double() if x.is_floating_point() else x for x in chain.leaves)
        return engine.total(plan, Log(), chain.rebuild(ones))


def _without_width(structure: Structure, semiring: Semiring) -> Chain:
    """The chain with ``inf``, Bottleneck's one, where it holds a constant 0: an arc that no potential weighs."""
    chain = structure.chain().unrolled()
    reaches = (0,) * (len(chain.start) + len(chain.end)) + chain.steps.reaches  # padding adds up with real frames
    leaves = list(chain.leaves)
    sources = numbered(structure, unrolled=True)
    alone = len(leaves)
    if isinstance(chain.steps, Segmental):  # what adds up to a segment is no constant if a part of it is none
        parts = sources[alone - len(chain.steps.lasting) :]
        alone -= len(parts) * any(s is not None and s.number is not None and bool((s.number >= 0).any()) for s in parts)
    for i, (source, reach) in enumerate(zip(sources, reaches, strict=False)):
        if source is None or source.number is None or reach or i >= alone:
            continue
        free = (source.number < 0) & (leaves[i] == 0)
        if not isinstance(semiring, Bottleneck) and bool(free.any()):
            raise SemiringError(
                f"{semiring}: a log-weight of 0 is not its one, which is what constants in a "
                f"{type(structure).__name__} stand for. Of such semirings only Bottleneck itself is understood: "
                "ask it alone."
            )
        leaves[i] = torch.where(free, torch.inf, leaves[i])
    return chain.rebuild(leaves)


def feature_of(structure: Structure, feature: Structure) -> Structure:
    """A feature as what adds up along a path, if it is one: of the structure's form, and none of its log-weights.

    The structure itself is one, too, whose mean is the mean score.
    """
    feature = like(structure, feature)
    own, its = structure.potentials, feature.potentials
    shared = {n: same for n, x in its.items() if (same := _is_held(x, own[n])) is not None}
    if any(shared.values()) and not all(shared.values()):
        held = [n for n, same in shared.items() if same]
        rest = ", ".join(f"{n}=..." for n, same in shared.items() if not same)
        raise StructureError(
            f"features: {', '.join(held)} is the log-weight of the {type(structure).__name__} itself, which would be "
            f"added up as well. A feature is 0 where nothing counts: pass structure.feature({rest}).",
            see="features",
        )
    if feature.sign == 1:
        return feature
    return feature.replace(**{n: feature.sign * x for n, x in its.items()})


def _is_held(x: Tensor, own: Tensor) -> bool | None:
    """Whether a feature holds a log-weight itself, or a copy in another dtype; None where it does not matter."""
    if not x.numel():
        return None
    if x is own or not plain((x, own)):
        return x is own
    if x.dtype == own.dtype:
        return x.data_ptr() == own.data_ptr()
    if not bool((x == own.to(x.dtype)).all()):
        return False
    return bool((x.isfinite() & (x != 0)).any()) or None  # 0 counts nothing, whosever it is


def like(structure: Structure, other: S) -> S:
    """Another structure of the same form, with the same paths; with as many batch axes, where it has none."""
    if type(other) is not type(structure) or other.ranks.keys() != structure.ranks.keys():
        its = f" with {', '.join(other.ranks)}" if isinstance(other, Structure) else ""
        raise StructureError(
            f"features must be a {type(structure).__name__} with {', '.join(structure.ranks)}, like the structure they "
            f"go along with, got {type(other).__name__}{its}.",
            see="features",
        )
    if differs := _difference(structure, other):
        raise StructureError(
            f"{type(structure).__name__}: two structures with the same paths are needed, but {differs} differs. "
            f"Pass the same {differs} to both."
        )
    for name, x in structure.potentials.items():
        y, rank = other.potentials[name], min(structure.ranks[name], other.ranks[name])
        if y.shape[y.ndim - rank :] != x.shape[x.ndim - rank :]:
            raise ShapeError(
                f"{type(structure).__name__}: two structures of one form are needed, but {name} is {tuple(x.shape)} in "
                f"one and {tuple(y.shape)} in the other."
            )
    if other.batch_shape == structure.batch_shape:
        return other
    seen, axes = structure.observed, len(structure.batch_shape)
    own = structure.potentials[seen].shape
    check_shape(structure, "(...)", f"the other's {seen}", other.potentials[seen], tuple(own[axes:]))
    given = {n: aligned(x, axes + other.ranks[n]) for n, x in other.potentials.items()}
    return other.replace(**{**given, seen: given[seen].expand(own)})


def _difference(a: Structure, b: Structure) -> str:
    """The first field of two structures of one class that is no potential and differs; "" if none does."""
    for field in fields(a):  # type: ignore[arg-type]
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, Structure) and type(x) is type(y):
            if inner := _difference(x, y):
                return inner
        elif field.compare and field.name not in a.ranks and not _same(x, y):
            return field.name
    return ""


def _same(a: object, b: object) -> bool:
    """Whether two fields that are no potentials agree; tensors that cannot be looked at now are trusted."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a is b or traced() or torch.equal(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)
