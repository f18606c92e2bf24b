"""How the losses of a batch become one number."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from semihmm.errors import SemihmmError, ShapeError

Reduction = Literal["none", "mean", "sum"]


def check_reduction(owner: str, reduction: str) -> None:
    """Refuse what is no reduction."""
    if reduction not in get_args(Reduction):
        raise SemihmmError(f'{owner}: reduction must be "none", "mean" or "sum", got {reduction!r}.')


def reduced(loss: Tensor, reduction: Reduction, sizes: Tensor | None = None) -> Tensor:
    """The losses themselves, their sum, or their mean; with ``sizes``, the mean of each loss over its size.

    Example:
        >>> reduced(torch.tensor([6.0, 2.0]), "mean", torch.tensor([3, 1]))
        tensor(2.)
    """
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if not loss.numel():
        raise ShapeError('reduction="mean": there are no sequences to take a mean of. Pass reduction="sum", for 0.')
    return (loss if sizes is None else loss / sizes.clamp(min=1)).mean()
