"""Word and character error rates: edit distances between what was said and what was found."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semihmm._numbers import check_values
from semihmm.decoding.lists import listed, no_text, texts
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
    said, found = _texts("word_errors", references, hypotheses)
    return errors([text.split() for text in said], [text.split() for text in found])


def character_errors(references: Sequence[str], hypotheses: Sequence[str]) -> Errors:
    """The errors in characters, spaces included; ``.rate`` is the character error rate.

    Example:
        >>> character_errors(["kitten"], ["sitting"]).total
        tensor([3])
    """
    return errors(*_texts("character_errors", references, hypotheses))


def errors(references: Sequence[Sequence[Hashable]], hypotheses: Sequence[Sequence[Hashable]]) -> Errors:
    """The errors between sequences of anything that can be equal, such as labels; of the fewest, pair by pair.

    Example:
        >>> errors([[1, 2, 3]], [[1, 3]]).deletions
        tensor([1])

    Raises:
        DataError: not as many hypotheses as references; one text, where a list of them is meant; items that cannot be
            compared.
    """
    references, hypotheses = _sequences("references", references), _sequences("hypotheses", hypotheses)
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


def _texts(owner: str, references: Any, hypotheses: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    for name, some in (("references", references), ("hypotheses", hypotheses)):
        no_text(owner, name, some)
    return texts(owner, "references", references), texts(owner, "hypotheses", hypotheses)


def _sequences(name: str, some: Any) -> list[tuple[Hashable, ...]]:
    no_text("errors", name, some)
    found = []
    for one in listed("errors", name, some):
        if isinstance(one, Tensor):
            check_values("errors", name, one)
            one = one.tolist()
        items = listed("errors", f"each of {name}", one)
        try:
            hash(items)
        except TypeError as error:
            raise DataError(
                f"errors: {name} must be sequences of words, labels or what else can be equal, got {one!r}: {error}."
            ) from error
        found.append(items)
    return found


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
