"""Frames with their neighbours, and affine maps of features, ``A x + b``, as one matrix ``[A, b]``."""

import torch
from torch import Tensor

from semihmm.errors import ShapeError


def identity(features: int) -> Tensor:
    """The map that changes nothing, ``(F, F + 1)`` in float64.

    Example:
        >>> identity(2).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    return torch.eye(features, features + 1, dtype=torch.float64)


def transformed(features: Tensor, transform: Tensor) -> Tensor:
    """``A x + b`` of each frame: ``(T, F)`` to ``(T, D)`` by a map ``(D, F + 1)``.

    Raises:
        ShapeError: the frames are of another width.

    Example:
        >>> transformed(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 1.0]])).tolist()
        [[4.0], [7.0]]
    """
    if features.ndim != 2 or features.shape[1] != transform.shape[1] - 1:
        raise ShapeError(
            f"transform: it maps features (T, {transform.shape[1] - 1}), got {tuple(features.shape)}. Compute them "
            f"with the model's own front_end."
        )
    return features @ transform[:, :-1].t().to(features) + transform[:, -1].to(features)


def spliced(features: Tensor, context: int) -> Tensor:
    """Each frame with its neighbours: ``(T, F)`` to ``(T, (2 context + 1) F)``, the earliest first.

    The first and the last frame are repeated beyond the ends.

    Example:
        >>> spliced(torch.tensor([[1.0], [2.0], [3.0]]), 1).tolist()
        [[1.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 3.0]]
    """
    place = torch.arange(len(features))[:, None] + torch.arange(-context, context + 1)
    return features[place.clamp(0, len(features) - 1)].flatten(1)


def after(second: Tensor, first: Tensor | None) -> Tensor:
    """One map after another as one; None for none before it.

    Example:
        >>> after(torch.tensor([[2.0, 1.0]]), torch.tensor([[3.0, 1.0]])).tolist()  # 2 (3 x + 1) + 1
        [[6.0, 3.0]]
    """
    if first is None:
        return second
    found = second[:, :-1] @ first.to(second)
    found[:, -1] += second[:, -1]
    return found
