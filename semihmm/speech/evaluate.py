"""How far one set of boundaries is from another.

What is compared is where a word or a phone *begins*. Labels are matched first, without looking at times, so that a
misplaced boundary stays an error and cannot turn into a missing item:

1. Words are matched by edit distance on their spelling.
2. The phones of a matched pair of words (a phone belongs to the word that began last before its middle) are matched
   one by one if both sides have as many; else by edit distance, in which a phone costs nothing to match with itself,
   0.5 with one of the same manner (vowel, glide, nasal, stop, fricative), 1 with another, 2 for a vowel with a
   consonant that is no glide, and leaving one out costs 1. The two sides' alphabets may differ.
3. Where one side has no words, all phones are matched by that edit distance.

What has no counterpart is counted as missing (only in the reference) or extra (only in the other), and its time is not
looked at.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TypeVar

import torch

from semihmm.errors import DataError
from semihmm.inference import viterbi
from semihmm.speech.intervals import Interval, Tiers
from semihmm.speech.labels import LABEL_SUFFIXES, read_labels
from semihmm.speech.phones import INSERTION, alphabet_of, distance, to_arpabet
from semihmm.structures import EditDistance
from semihmm.types import Seconds

TOLERANCES: tuple[Seconds, ...] = (0.010, 0.020, 0.025, 0.050, 0.100)
"""How close a boundary must be to count, in seconds."""

_ROUNDING: Seconds = 1e-9  # 20 ms written in binary must count as within 20 ms
_T = TypeVar("_T")


@dataclass(frozen=True)
class BoundaryErrors:
    """Differences of matched onsets, and what found no match.

    Args:
        differences: other minus reference, in seconds.
        missing: items that only the reference has.
        extra: items that only the other has.

    Example:
        >>> errors = BoundaryErrors((0.004, -0.012, 0.030))
        >>> errors.median, round(errors.bias, 4), errors.within(0.020)
        (0.012, 0.0073, 0.6666666666666666)
    """

    differences: tuple[Seconds, ...] = ()
    missing: int = 0
    extra: int = 0

    def __add__(self, other: "BoundaryErrors") -> "BoundaryErrors":
        return BoundaryErrors(
            self.differences + other.differences, self.missing + other.missing, self.extra + other.extra
        )

    @property
    def n(self) -> int:
        """Number of matched items."""
        return len(self.differences)

    @property
    def mean(self) -> Seconds:
        """Mean absolute difference; NaN without items, like the three below."""
        return fmean(map(abs, self.differences)) if self.differences else float("nan")

    @property
    def median(self) -> Seconds:
        """Median absolute difference."""
        return median(map(abs, self.differences)) if self.differences else float("nan")

    @property
    def bias(self) -> Seconds:
        """Mean difference: positive where the other is late."""
        return fmean(self.differences) if self.differences else float("nan")

    def within(self, tolerance: Seconds) -> float:
        """Share of matched items whose difference is at most ``tolerance``, in [0, 1]."""
        close = [abs(difference) <= tolerance + _ROUNDING for difference in self.differences]
        return fmean(close) if close else float("nan")


@dataclass(frozen=True)
class Evaluation:
    """Errors of words and of phones, and the recordings that only one side has.

    Args:
        words: None if neither recording had words on both sides.
        phones: the same for phones.
        recordings: how many were compared.
        unmatched: names of the recordings that only one side has.
    """

    words: BoundaryErrors | None = None
    phones: BoundaryErrors | None = None
    recordings: int = 0
    unmatched: tuple[str, ...] = ()


def compare(reference: Tiers, other: Tiers) -> Evaluation:
    """The errors of one recording's labels.

    Args:
        reference: taken to be right.
        other: measured against it.
    """
    words = phones = None
    if reference.words is not None and other.words is not None:
        pairs = match(reference.words, other.words, _spelling)
        words = _errors(pairs)
    if reference.phones is not None and other.phones is not None:
        phones = _errors(_match_phones(reference, other))
    return Evaluation(words, phones, 1)


def evaluate(
    reference: Path, other: Path, *, word_tier: str | None = None, phone_tier: str | None = None
) -> Evaluation:
    """The errors of a label file, or of a folder of them, against another.

    Args:
        reference: a TextGrid, ``.lab`` or JSON file, or a folder with such files, at any depth.
        other: the same; formats may differ. In folders, files with the same path but for the ending belong together;
            of several with the same name, a TextGrid goes before JSON before ``.lab``.
        word_tier: name of the reference's tier of words, if it is a TextGrid with unusual names.
        phone_tier: name of the reference's tier of phones.

    Raises:
        DataError: a file cannot be read, or the two sides have nothing in common.
    """
    left, right = _label_files(reference), _label_files(other)
    if reference.is_file() and other.is_file():
        right = dict(zip(left, right.values(), strict=True))
    common = [name for name in left if name in right]
    total = Evaluation()
    for name in common:
        tiers = read_labels(left[name], word_tier=word_tier, phone_tier=phone_tier)
        total = _plus(total, compare(tiers, read_labels(right[name])))
    if total.words is None and total.phones is None:
        raise DataError(
            f"evaluate: {reference} and {other} have no recording with words, or phones, on both sides. Names on the "
            f"left: {', '.join(list(left)[:5]) or 'none'}; on the right: {', '.join(list(right)[:5]) or 'none'}."
        )
    unmatched = tuple(sorted(left.keys() ^ right.keys()))
    return Evaluation(total.words, total.phones, len(common), unmatched)


def match(
    reference: Sequence[_T], other: Sequence[_T], cost: Callable[[_T, _T], float]
) -> list[tuple[_T | None, _T | None]]:
    """Pair up two sequences at the least total cost, in order; None stands for an item without a counterpart.

    Args:
        reference: n items.
        other: m items.
        cost: of pairing one with one; leaving an item out costs 1. O(n m).

    Example:
        >>> match("abc", "ac", lambda a, b: float(a != b))
        [('a', 'a'), ('b', None), ('c', 'c')]
    """
    costs = torch.tensor([[cost(a, b) for b in other] for a in reference], dtype=torch.float64)
    left_out = costs.new_full((len(reference),), INSERTION), costs.new_full((len(other),), INSERTION)
    best = viterbi(EditDistance(costs.reshape(len(reference), len(other)), *left_out))
    return [
        (reference[i] if i >= 0 else None, other[j] if j >= 0 else None)
        for i, j in best.event.tolist()
        if (i, j) != (-1, -1)
    ]


def _match_phones(reference: Tiers, other: Tiers) -> list[tuple[Interval | None, Interval | None]]:
    assert reference.phones is not None and other.phones is not None
    cost = _phone_cost(reference.phones, other.phones)
    if not reference.words or not other.words:
        everything = match(reference.phones, other.phones, cost)
        return everything  # by a name of its own: the type expected here would make mypy take items for optional
    pairs: list[tuple[Interval | None, Interval | None]] = []
    for left, right in match(_spoken(reference), _spoken(other), _same_word):
        ours, theirs = left.phones if left else [], right.phones if right else []
        if len(ours) == len(theirs):
            pairs += zip(ours, theirs, strict=True)
        else:
            of_this_word = match(ours, theirs, cost)
            pairs += of_this_word
    return pairs


@dataclass(frozen=True)
class _Spoken:
    """A word and its phones."""

    word: Interval
    phones: list[Interval]


def _same_word(a: _Spoken, b: _Spoken) -> float:
    return _spelling(a.word, b.word)


def _spoken(tiers: Tiers) -> list[_Spoken]:
    """The words with their phones. A phone belongs to the last word that begins before its middle, so none is lost."""
    words = [_Spoken(word, []) for word in tiers.words or ()]
    starts = [item.word.start for item in words]
    for phone in tiers.phones or ():
        words[max(bisect_right(starts, (phone.start + phone.end) / 2) - 1, 0)].phones.append(phone)
    return words


def _phone_cost(left: Sequence[Interval], right: Sequence[Interval]) -> Callable[[Interval, Interval], float]:
    left_alphabet = alphabet_of([item.label for item in left])
    right_alphabet = alphabet_of([item.label for item in right])

    def cost(a: Interval, b: Interval) -> float:
        return distance(to_arpabet(a.label, left_alphabet), to_arpabet(b.label, right_alphabet))

    return cost


def _spelling(a: Interval, b: Interval) -> float:
    def plain(item: Interval) -> str:
        return re.sub(r"[^\w']", "", item.label.lower())

    return float(plain(a) != plain(b))


def _errors(pairs: Iterable[tuple[Interval | None, Interval | None]]) -> BoundaryErrors:
    items = list(pairs)
    return BoundaryErrors(
        differences=tuple(b.start - a.start for a, b in items if a is not None and b is not None),
        missing=sum(b is None for _, b in items),
        extra=sum(a is None for a, _ in items),
    )


def _plus(a: Evaluation, b: Evaluation) -> Evaluation:
    def add(x: BoundaryErrors | None, y: BoundaryErrors | None) -> BoundaryErrors | None:
        return x + y if x and y else x or y

    return Evaluation(add(a.words, b.words), add(a.phones, b.phones), a.recordings + b.recordings)


def _label_files(path: Path) -> dict[str, Path]:
    """Label files by name; of a folder, by their path in it without the ending."""
    if path.is_file():
        return {path.stem: path}
    if not path.is_dir():
        raise DataError(f"evaluate: there is no file or folder {path}.")
    preference = [suffix.lower() for suffix in (".TextGrid", ".json", ".lab")]
    assert set(preference) == {suffix.lower() for suffix in LABEL_SUFFIXES}
    found = [item for item in sorted(path.rglob("*")) if item.suffix.lower() in preference and item.is_file()]
    found.sort(key=lambda item: preference.index(item.suffix.lower()), reverse=True)
    return dict(sorted((item.relative_to(path).with_suffix("").as_posix(), item) for item in found))
