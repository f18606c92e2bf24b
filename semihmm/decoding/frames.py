"""Log-probabilities as decoders take them."""

from __future__ import annotations

import torch
from torch import Tensor

from semihmm._numbers import check_values
from semihmm.engine import tensors
from semihmm.errors import DataError, ShapeError
from semihmm.structures.authoring import check_lengths, tensor_of, until


def checked(
    owner: str, log_probs: Tensor, lengths: Tensor | None, size: int | None = None, batch: int | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probabilities ``(..., T, V)``, float32 or float64; and how many frames of each sequence count.

    Args:
        size: V, where it is known.
        batch: where there must be one batch axis of that size; one of 1 may be left out.
    """
    x = tensor_of(owner, "log_probs", log_probs)
    check_values(owner, "log_probs", x)
    if batch == 1 and x.ndim == 2:
        x = x.unsqueeze(0)
    if x.ndim < 2 or x.shape[-1] < 1 or not x.is_floating_point() or (batch is not None and x.shape[:-2] != (batch,)):
        wanted = "(..., T, V)" if batch is None else f"({batch}, T, V)"
        raise ShapeError(f"{owner}: log_probs must be floats {wanted}, got {tuple(x.shape)} of {x.dtype}.")
    if size is not None and x.shape[-1] != size:
        raise ShapeError(
            f"{owner}: the vocabulary has {size} tokens, so log_probs must be (..., T, {size}), got {tuple(x.shape)}. "
            "The blank is one of them, and time comes before tokens."
        )
    x = x if x.dtype in (torch.float32, torch.float64) else x.float()
    counts = _counted(owner, lengths, x)
    if lengths is not None and not tensors.usable([x]):  # what lies behind the ends may be anything
        used = until(counts.reshape(x.shape[:-2]).to(x.device), x.shape[-2], 2)
        x = x if used is None else torch.where(used, x, 0.0)
    if not tensors.usable([x]):
        place = (~(x < torch.inf)).nonzero()[0].tolist()
        raise DataError(
            f"{owner}: log_probs must be below infinity, got {float(x[tuple(place)])} at {place}. Pass log_softmax(-1) "
            "of the network's scores.",
            see="log-probs",
        )
    return x, counts


def _counted(owner: str, lengths: Tensor | None, log_probs: Tensor) -> Tensor:
    """Frames in use of each sequence, int64 ``(batch,)``."""
    batch, steps = log_probs.shape[:-2], log_probs.shape[-2]
    if lengths is None:
        return torch.full((batch.numel(),), steps)
    lengths = tensor_of(owner, "lengths", lengths)
    check_lengths(owner, lengths, batch, steps, 0, "lengths")
    return lengths.reshape(-1).to(torch.int64)
