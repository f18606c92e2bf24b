"""Phones in context: which states a phone has between its neighbours.

A vowel sounds otherwise after L than after T. Models therefore have states of their own for a phone between two others
(a triphone), and since most triphones are rare, many share a state. Which states belong to which is one table.
"""

from dataclasses import dataclass

from torch import Tensor

from semihmm.errors import ShapeError

INSIDE, BEGIN, END, SINGLE = range(4)
"""Where in its word a phone stands."""


@dataclass(frozen=True)
class Contexts:
    """The states of every phone between any two neighbours, anywhere in a word.

    Args:
        table: ``(4, P, P, P, S)`` integers: for a position in the word (inside, begin, end, single), the phone before
            (the silence where a recording begins), the phone itself, the phone after and a state, which column of the
            model's log-likelihoods it takes. A phone that was not seen so takes those of its own without context,
            ``p * S + s``. Repeat one position where all are alike.

    Example:
        >>> import torch
        >>> alone = torch.arange(6).reshape(2, 1, 3).expand(4, 2, 2, 2, 3).clone()  # two phones of three states
        >>> alone[:, 1, 0, 1] = torch.tensor([6, 1, 7])  # phone 0 between two of 1: a begin and an end of its own
        >>> Contexts(alone).columns
        8
    """

    table: Tensor

    def __post_init__(self) -> None:
        phones = self.table.shape[1] if self.table.ndim == 5 else 0
        if self.table.shape[:4] != (4, phones, phones, phones) or self.table.is_floating_point():
            raise ShapeError(
                f"Contexts: table must be integers (4, P, P, P, S): position, phone before, phone, phone after, state; "
                f"got {self.table.dtype} {tuple(self.table.shape)}."
            )

    @property
    def columns(self) -> int:
        """How many columns there are: one more than the highest in the table."""
        return int(self.table.max()) + 1
