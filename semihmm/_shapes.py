"""Shapes of tensors that are used together."""

from collections.abc import Sequence
from itertools import zip_longest

import torch


def broadcast(*shapes: Sequence[int]) -> torch.Size:
    """`torch.broadcast_shapes`, without the 0.4 s that its first call takes to import sympy.

    Raises:
        RuntimeError: they do not broadcast, as PyTorch says it.
    Example:
        >>> broadcast((4, 1), (2, 1, 3), ())
        torch.Size([2, 4, 3])
    """
    found = []
    for sizes in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1):
        size = 1
        for n in sizes:
            if n != 1 and n != size != 1:
                raise RuntimeError(f"shapes {[tuple(shape) for shape in shapes]} do not broadcast.")
            size = n if size == 1 else size
        found.append(size)
    return torch.Size(reversed(found))
