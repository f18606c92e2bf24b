"""What enters a model: observations, inputs and labels of the right shapes, in its dtype, with nothing lost."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from semihmm._numbers import check_values
from semihmm.engine.tensors import usable
from semihmm.engine.tracing import plain
from semihmm.errors import DataError, ShapeError
from semihmm.models.arguments import real_tensor
from semihmm.models.emissions import Emission
from semihmm.models.part import Driven, Law
from semihmm.models.sequences import Batch
from semihmm.structures.authoring import check_lengths, tensor_of, until

_LOST = 1e-2  # the share of a feature's standard deviation that rounding it to the model's dtype may take


def checked(
    name: str,
    emission: Emission,
    laws: Mapping[str, Law],
    states: int,
    x: Tensor,
    lengths: Tensor | None,
    *,
    inputs: Tensor | Mapping[str, Tensor] | None = None,
    labels: Tensor | None = None,
    weights: Tensor | None = None,
    starts: Tensor | None = None,
) -> Batch:
    """The data as a model's parts take them; after the end, what the emission can take.

    Args:
        name: of the model, for errors.
    Raises:
        ShapeError: other shapes than the parts take.
        DataError: infinite values before the end, inputs that are missing, labels of no state, or observations that the
            model's dtype cannot tell apart.
    """
    own, event = _any(laws), emission.event_shape
    if x.is_meta and not own.is_meta:
        raise DataError(f"{name}: observations on the meta device have no values.")
    x = x.to(own.device)
    axes = x.ndim - len(event)
    fits = axes >= 1 and all(size in (None, got) for size, got in zip(event, x.shape[axes:], strict=True))
    if not fits or not x.numel():
        expected = ", ".join(["...", "T", *("any" if size is None else str(size) for size in event)])
        hint = " One feature? Pass x.unsqueeze(-1)." if event == (1,) and x.numel() else ""
        raise ShapeError(
            f"{name}: {type(emission).__name__} takes observations ({expected}) with at least one step, got "
            f"{tuple(x.shape)}.{hint}",
            see="observations",
        )
    if x.is_complex() or x.layout != torch.strided:
        raise ShapeError(f"{name}: observations are dense and real, got {x.dtype} and {x.layout}.")
    shape = x.shape[:axes]
    lengths = None if lengths is None else tensor_of(name, "lengths", lengths).to(x.device)
    if lengths is not None and lengths.ndim == 1 and len(shape) == 1 and int(lengths.sum()) == shape[0]:
        raise ShapeError(
            f"{name}: lengths are one for each sequence of a padded tensor, (..., T, ...). Sequences one behind the "
            "other, as in hmmlearn? Pass x.split(list(lengths))."
        )
    check_lengths(name, lengths, shape[:-1], shape[-1])
    lengths = lengths.clone() if lengths is not None and lengths.is_inference() else lengths
    inside = until(lengths, shape[-1], 1 + len(event))
    if inside is not None:
        x = torch.where(inside, x, torch.as_tensor(emission.filler, device=x.device))
    if x.dtype == torch.bool:
        x = x.to(own.dtype) if event else x.long()
    if x.is_floating_point():
        x = _converted(name, x, inside, own.dtype, features=bool(event))
    x = x.clone() if x.is_inference() else x
    driven = checked_inputs(name, emission, laws, inputs, shape, lengths)
    seen = emission.observed(x, driven.get("emission"))
    allowed = None if labels is None else _allowed(name, tensor_of(name, "labels", labels).to(x.device), shape, states)
    weights = None if weights is None else _weights(name, weights, shape[:-1], own)
    if starts is not None:
        starts = _starts(name, tensor_of(name, "starts", starts).to(x.device), shape)
    return Batch(seen, lengths, driven, allowed, weights, starts, seen.ndim - axes)


def checked_inputs(
    name: str,
    emission: Emission,
    laws: Mapping[str, Law],
    inputs: Tensor | Mapping[str, Tensor] | None,
    shape: torch.Size,
    lengths: Tensor | None = None,
) -> dict[str, Tensor]:
    """The inputs of each part that takes some, ``(..., T, U)`` in the model's dtype, 0 behind the end.

    Args:
        shape: ``(..., T)``.
    """
    takes = {part: law.inputs for part, law in laws.items() if isinstance(law, Driven)}
    takes |= {"emission": emission.inputs} if emission.inputs else {}
    given = inputs if isinstance(inputs, Mapping) else dict.fromkeys(takes, inputs)
    if given.keys() != takes.keys() or (inputs is not None and not takes):
        got = ", ".join(given) if isinstance(inputs, Mapping) else "some"
        raise ShapeError(
            f"{name}: inputs are for {', '.join(takes) or 'no part'} of this model, got {got or 'none'}.",
            see="observations",
        )
    return {part: _input(name, part, given[part], size, shape, lengths, laws) for part, size in takes.items()}


def _input(
    name: str,
    part: str,
    given: Tensor | None,
    size: int,
    shape: torch.Size,
    lengths: Tensor | None,
    laws: Mapping[str, Law],
) -> Tensor:
    if given is None:
        raise ShapeError(
            f"{name}: its {part} takes {size} inputs at each step: give inputs=, (..., T, {size}).", see="observations"
        )
    own = _any(laws)
    found = tensor_of(name, "inputs", given).to(own)
    axes = list(zip(reversed(found.shape), reversed((*shape, size)), strict=False))
    if found.ndim < 2 or found.ndim > len(shape) + 1 or any(n not in (1, m) for n, m in axes) or axes[0][0] != size:
        hint = " One input? Pass inputs.unsqueeze(-1), in a list of each." if size == 1 and found.ndim else ""
        raise ShapeError(
            f"{name}: the inputs of its {part} must be (..., T, U) = {(*shape, size)}, got {tuple(found.shape)}.{hint}"
        )
    found = found.expand(*shape, size)
    inside = until(lengths, shape[-1], 2)
    found = found if inside is None else torch.where(inside, found, 0.0)
    if plain((found,)) and not usable([found], 0.0) and (bad := ~found.isfinite()).any():
        at = [int(i) for i in bad.nonzero()[0]]
        raise DataError(
            f"{name}: input {at} of its {part} is {float(found[tuple(at)])}. Inputs cannot be missing.",
            see="missing-observations",
        )
    return found


def _any(laws: Mapping[str, Law]) -> Tensor:
    """A parameter, for its dtype and device."""
    return next(x for law in laws.values() for x in law.parameters())


def _converted(name: str, x: Tensor, inside: Tensor | None, dtype: torch.dtype, features: bool) -> Tensor:
    """Observations in the model's dtype; refused if infinite, or if that loses what tells them apart."""
    found = x.to(dtype)
    if not plain((x,)):
        return found
    if not usable([found], 0.0) and (bad := x.isinf()).any():
        at = tuple(int(i) for i in bad.nonzero()[0])
        raise DataError(
            f"{name}: observation {list(at)} is {float(x[at])}. Say with NaN that it is missing, "
            "cut such steps out, or end the sequence before them with lengths.",
            see="missing-observations",
        )
    if torch.finfo(dtype).eps > torch.finfo(x.dtype).eps:
        rows = (x if inside is None else torch.where(inside, x, torch.nan)).reshape(-1, x.shape[-1] if features else 1)
        away = (rows - found.reshape(rows.shape)).abs().nan_to_num(0.0).amax(0)
        spread = (rows - rows.nanmean(0)).square().nanmean(0).sqrt()
        if bool((lost := away > _LOST * spread).any()):
            feature = int(lost.nonzero()[0])
            raise DataError(
                f"{name}: feature {feature} varies by {float(spread[feature]):.3g} around "
                f"{float(rows[:, feature].nanmean()):.10g}, and {dtype} rounds it by up to "
                f"{float(away[feature]):.3g}. Subtract what all observations have in common, or ask model.double()."
            )
    return found


def _allowed(name: str, labels: Tensor, shape: torch.Size, states: int) -> Tensor:
    """Which states each step may be in, bool ``(..., T, S)``."""
    if labels.dtype == torch.bool:
        if labels.shape != (*shape, states):
            raise ShapeError(
                f"{name}: labels say which states each step may be in, bool (..., T, S) = {(*shape, states)}, got "
                f"{tuple(labels.shape)}."
            )
        return labels
    if labels.shape != shape or labels.is_floating_point() or labels.is_complex():
        raise ShapeError(
            f"{name}: labels are the state of each step, integers (..., T) = {tuple(shape)}, -1 where it is not known; "
            f"got {tuple(labels.shape)} of {labels.dtype}.",
            see="labels",
        )
    labels = labels.long()
    if bool(((labels < -1) | (labels >= states)).any()):
        raise DataError(
            f"{name}: labels are states 0 to {states - 1}, or -1 where they are not known; got {int(labels.min())} to "
            f"{int(labels.max())}.",
            see="labels",
        )
    labels = labels.unsqueeze(-1)
    return (labels == torch.arange(states, device=labels.device)) | (labels == -1)


def _starts(name: str, starts: Tensor, shape: torch.Size) -> Tensor:
    if starts.shape != shape or starts.is_floating_point() or bool(((starts < -1) | (starts > 1)).any()):
        raise ShapeError(
            f"{name}: starts say whether a segment begins at each step, integers (..., T) = {tuple(shape)}: 1, 0, or "
            f"-1 where it is not known; got {tuple(starts.shape)} of {starts.dtype}."
        )
    return starts.long()


def _weights(name: str, weights: object, shape: torch.Size, own: Tensor) -> Tensor:
    found = real_tensor(name, "weights", weights)
    check_values(name, "weights", found)
    found = found.to(own)
    if found.shape != shape or not bool((found >= 0).all() & found.isfinite().all()):
        raise ShapeError(
            f"{name}: weights say how often each sequence counts, so they must be {tuple(shape)}, finite, at least 0; "
            f"got {tuple(found.shape)}."
        )
    return found
