"""Word and character error rates: edit distances between what was said and what was found."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.inference import total, viterbi
from semihmm.semirings import Max
from semihmm.structures import EditDistance

CELLS = 1 << 22  # of all tables of edit distances that are made at a time


@dataclass(frozen=True)
class Errors:
    """What turns each reference into its hypothesis, counted: int64 ``(N,)`` each.

    Args:
        substitutions, deletions, insertions: of items.
        items: in the reference.

    Example:
        >>> found = word_errors(["the cat sat"], ["a cat sat down"])
        >>> found.substitutions.tolist(), found.insertions.tolist(), round(found.rate, 3)
        ([1], [1], 0.667)
    """

    substitutions: Tensor
    deletions: Tensor
    insertions: Tensor
    items: Tensor

    @property
    def total(self) -> Tensor:
        """All errors of each pair: the edit distance."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """All errors, as a share of all items of the references; NaN where there are none."""
        items = int(self.items.sum())
        return int(self.total.sum()) / items if items else math.nan


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> Errors:
    """The errors in words, which spaces separate; ``.rate`` is the word error rate.

    Example:
        >>> word_errors(["the cat", "sat"], ["the hat", "sat"]).rate
        0.3333333333333333
    """
    _refuse_one_text(references, hypotheses)
    return errors([text.split() for text in references], [text.split() for text in hypotheses])


def character_errors(references: Sequence[str], hypotheses: Sequence[str]) -> Errors:
    """The errors in characters, spaces included; ``.rate`` is the character error rate.

    Example:
        >>> character_errors(["kitten"], ["sitting"]).total
        tensor([3])
    """
    return errors(references, hypotheses)


def errors(references: Sequence[Sequence[Hashable]], hypotheses: Sequence[Sequence[Hashable]]) -> Errors:
    """The errors between sequences of anything that can be equal, such as labels; of the fewest, pair by pair.

    Example:
        >>> errors([[1, 2, 3]], [[1, 3]]).deletions
        tensor([1])

    Raises:
        DataError: not as many hypotheses as references; one text, where a list of them is meant.
    """
    _refuse_one_text(references, hypotheses)
    if len(references) != len(hypotheses):
        raise DataError(
            f"errors: there must be a hypothesis for each reference, got {len(references)} references and "
            f"{len(hypotheses)} hypotheses. To compare all hypotheses of an n-best list, repeat the reference."
        )
    kinds: list[Tensor] = []
    for edit in _pairs(references, hypotheses):
        i, j = viterbi(edit).event.unbind(-1)
        changed = edit.substitution.flatten(-2)
        at = (i.clamp(min=0) * edit.substitution.shape[-1] + j.clamp(min=0)).clamp(max=max(changed.shape[-1] - 1, 0))
        both = (i >= 0) & (j >= 0)
        wrong = changed.gather(-1, at) > 0 if changed.shape[-1] else both
        kinds.append(torch.stack([both & wrong, (i >= 0) & (j < 0), (i < 0) & (j >= 0)]).sum(-1))
    counts = torch.cat(kinds, -1) if kinds else torch.zeros(3, 0, dtype=torch.int64)
    substitutions, deletions, insertions = counts
    return Errors(substitutions, deletions, insertions, torch.tensor([len(x) for x in references], dtype=torch.int64))


def _refuse_one_text(references: object, hypotheses: object) -> None:
    """A text is a sequence of texts of one letter, which nobody means."""
    for name, some in (("references", references), ("hypotheses", hypotheses)):
        if isinstance(some, str):
            raise DataError(f"errors: {name} must be a list, got the text {some!r}. Pass [{some!r}].")


def edit_distances(sources: Sequence[Sequence[Hashable]], targets: Sequence[Sequence[Hashable]]) -> Tensor:
    """The least number of deletions, insertions and substitutions between the two of each pair, int64 ``(N,)``."""
    found = [-total(edit, Max()) for edit in _pairs(sources, targets)]
    return torch.cat(found).round().long() if found else torch.zeros(0, dtype=torch.int64)


def _pairs(sources: Sequence[Sequence[Hashable]], targets: Sequence[Sequence[Hashable]]) -> list[EditDistance]:
    """Their edit distances, as many at a time as fit, less what they have in common in front and at the end."""
    cut = [_without_ends(*pair) for pair in zip(sources, targets, strict=True)]
    sources, targets = [a for a, _ in cut], [b for _, b in cut]
    numbers: dict[Hashable, int] = {}

    def padded(some: Sequence[Sequence[Hashable]]) -> tuple[Tensor, Tensor]:
        rows = [torch.tensor([numbers.setdefault(x, len(numbers)) for x in one], dtype=torch.int64) for one in some]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])

    longest = (1 + max(map(len, sources), default=0)) * (1 + max(map(len, targets), default=0))
    step = max(CELLS // longest, 1)
    cuts = [slice(i, i + step) for i in range(0, len(sources), step)]
    made = [(padded(sources[cut]), padded(targets[cut])) for cut in cuts]
    return [EditDistance.between(a, b, n, m) for (a, n), (b, m) in made]


def _without_ends(a: Sequence[Hashable], b: Sequence[Hashable]) -> tuple[Sequence[Hashable], Sequence[Hashable]]:
    """Without the items that both begin with, then those that both end with: they match in a best alignment."""
    short = min(len(a), len(b))
    first = next((i for i in range(short) if a[i] != b[i]), short)
    last = next((i for i in range(short - first) if a[-1 - i] != b[-1 - i]), short - first)
    return a[first : len(a) - last], b[first : len(b) - last]
