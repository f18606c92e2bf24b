"""How far one set of boundaries is from another.

What is compared is where a word or a phone *begins*. Labels are matched first, without looking at times, so that a
misplaced boundary stays an error and cannot turn into a missing item:

Where both sides tell speakers apart, by names that they share, each speaker's labels are matched with that speaker's.

1. Words are matched by edit distance, with words of the same spelling alone: case, accents and punctuation aside.
2. The phones of a matched pair of words (a phone belongs to the word that began last before its middle) are matched
   one by one if both sides have as many; else by edit distance, in which a phone costs nothing to match with itself,
   0.5 with one of the same manner (vowel, glide, nasal, stop, fricative), 1 with another, 2 for a vowel with a
   consonant that is no glide, and leaving one out costs 1. The two sides' alphabets may differ. A compound (``z_s``,
   two phones that run together) is matched as its first phone; at the beginning of a word, that is the last one of the
   word before.
3. Where one side has no words, all phones are matched by that edit distance.

What has no counterpart is counted as missing (only in the reference) or extra (only in the other), and its time is not
looked at.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from semihmm.errors import DataError
from semihmm.inference import viterbi
from semihmm.speech.engines.engine import Engine
from semihmm.speech.engines.local import ALONE
from semihmm.speech.files.labels import LABEL_SUFFIXES, read_labels
from semihmm.speech.intervals import Interval, Tiers
from semihmm.speech.metrics.boundaries import BoundaryErrors, Matches, Pair, follows, kinds_before
from semihmm.speech.text.phones import INSERTION, alphabet_of, distance, is_compound, manners, to_arpabet
from semihmm.structures import EditDistance

_T = TypeVar("_T")
_NEVER = 3 * INSERTION  # dearer than leaving both out


@dataclass(frozen=True)
class Evaluation:
    """The words and phones of two sides matched, and the recordings that only one side has.

    Args:
        word_matches: None if no recording had words on both sides.
        phone_matches: the same for phones.
        recordings: how many were compared.
        unmatched: names of the recordings that only one side has.
    """

    word_matches: Matches | None = None
    phone_matches: Matches | None = None
    recordings: int = 0
    unmatched: tuple[str, ...] = ()

    @classmethod
    def of(cls, parts: Iterable["Evaluation"]) -> "Evaluation":
        """Add up evaluations, as of many recordings."""
        parts = list(parts)
        return cls(
            Matches.of(part.word_matches for part in parts),
            Matches.of(part.phone_matches for part in parts),
            sum(part.recordings for part in parts),
            tuple(name for part in parts for name in part.unmatched),
        )

    def __add__(self, other: "Evaluation") -> "Evaluation":
        return Evaluation.of([self, other])

    @property
    def words(self) -> BoundaryErrors | None:
        """Errors of the words' onsets."""
        return None if self.word_matches is None else self.word_matches.starts

    @property
    def phones(self) -> BoundaryErrors | None:
        """Errors of the phones' onsets."""
        return None if self.phone_matches is None else self.phone_matches.starts


def compare(reference: Tiers, other: Tiers) -> Evaluation:
    """One recording's labels matched.

    Args:
        reference: taken to be right.
        other: measured against it.

    Example:
        >>> from semihmm.speech import Interval, Tiers
        >>> left = Tiers(words=(Interval(0.1, 0.4, "hello"), Interval(0.4, 0.9, "world")))
        >>> right = Tiers(words=(Interval(0.1, 0.4, "Hello"), Interval(0.5, 0.9, "word")))
        >>> errors = compare(left, right).words
        >>> errors.n, errors.missing, errors.extra
        (1, 1, 1)
    """
    left, right = _speakers(reference), _speakers(other)
    if not left.keys() & right.keys():
        return _compare(reference, other)
    parts = (_compare(_said_by(name, reference), _said_by(name, other)) for name in left | right)
    return replace(Evaluation.of(parts), recordings=1)


def _speakers(tiers: Tiers) -> dict[str, None]:
    """Their names, in order; none if there is but one speaker."""
    return {item.speaker: None for item in (*(tiers.words or ()), *(tiers.phones or ())) if item.speaker}


def _said_by(speaker: str, tiers: Tiers) -> Tiers:
    def own(items: tuple[Interval, ...] | None) -> tuple[Interval, ...] | None:
        return items and tuple(item for item in items if item.speaker == speaker)

    return Tiers(own(tiers.words), own(tiers.phones))


def _compare(reference: Tiers, other: Tiers) -> Evaluation:
    """The labels of one speaker matched."""
    words = phones = None
    if reference.words is not None and other.words is not None:
        pairs = match(reference.words, other.words, _spelling)
        words = _matches(pairs, reference.words, other.words, lambda labels: ["word"] * len(labels))
    if reference.phones is not None and other.phones is not None:
        phones = _matches(_match_phones(reference, other), reference.phones, other.phones, manners)
    return Evaluation(words, phones, 1)


def evaluate(
    reference: Path,
    other: Path,
    *,
    word_tier: str | None = None,
    phone_tier: str | None = None,
    phone_map: Mapping[str, str] | None = None,
    engine: Engine = ALONE,
) -> Evaluation:
    """The errors of a label file, or of a folder of them, against another.

    Args:
        reference: a TextGrid, ``.lab`` or JSON file, or a folder with such files, at any depth.
        other: the same; formats may differ. In folders, files with the same path but for the ending belong together;
            of several with the same name, a TextGrid goes before JSON before ``.lab``.
        word_tier: name of the reference's tier of words, if it is a TextGrid with unusual names.
        phone_tier: name of the reference's tier of phones.
        phone_map: what to take the reference's phones for, by their labels; the others stay as they are.
        engine: who does the work (`semihmm.speech.open_engine`).

    Raises:
        DataError: a file cannot be read, or the two sides have nothing in common.
    """
    left, right = _label_files(reference), _label_files(other)
    if reference.is_file() and other.is_file():
        right = dict(zip(left, right.values(), strict=True))
    common = [name for name in left if name in right]
    task = partial(_compare_files, word_tier=word_tier, phone_tier=phone_tier, phone_map=phone_map or {})
    total = Evaluation.of(engine.map(task, [(left[name], right[name]) for name in common], died=_died))
    if total.word_matches is None and total.phone_matches is None:
        raise DataError(
            f"evaluate: {reference} and {other} have no recording with words, or phones, on both sides. Names on the "
            f"left: {', '.join(list(left)[:5]) or 'none'}; on the right: {', '.join(list(right)[:5]) or 'none'}."
        )
    return replace(total, unmatched=tuple(sorted(left.keys() ^ right.keys())))


def read_phone_map(path: Path) -> dict[str, str]:
    """A phone map: lines of a label and what to take it for.

    Raises:
        DataError: the file cannot be read, or a line holds something else.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"read_phone_map: cannot read {path} ({error}).") from error
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(pair := line.split()) != 2:
            raise DataError(f"read_phone_map: {path}, line {number} should be a label and another, got {line!r}.")
        found[pair[0]] = pair[1]
    return found


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


def _compare_files(
    paths: tuple[Path, Path], *, word_tier: str | None, phone_tier: str | None, phone_map: Mapping[str, str]
) -> Evaluation:
    reference = read_labels(paths[0], word_tier=word_tier, phone_tier=phone_tier)
    return compare(_mapped(reference, phone_map), read_labels(paths[1]))


def _died(paths: tuple[Path, Path]) -> Evaluation:
    raise DataError(f"evaluate: the process that compared {paths[0]} with {paths[1]} died, perhaps for want of memory.")


def _mapped(tiers: Tiers, phone_map: Mapping[str, str]) -> Tiers:
    phones = tiers.phones and tuple(replace(item, label=phone_map.get(item.label, item.label)) for item in tiers.phones)
    return replace(tiers, phones=phones)


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
    """The words with their phones. A phone belongs to the last word that begins before its middle, so none is lost.

    A compound that begins a word belongs to the word before it, unless there is a pause between them.
    """
    words = [_Spoken(word, []) for word in tiers.words or ()]
    starts = [item.word.start for item in words]
    before: Interval | None = None
    for phone in tiers.phones or ():
        index = max(bisect_right(starts, (phone.start + phone.end) / 2) - 1, 0)
        shared = is_compound(phone.label) and before is not None and not words[index].phones and follows(phone, before)
        words[index - 1 if shared and index else index].phones.append(phone)
        before = phone
    return words


def _phone_cost(left: Sequence[Interval], right: Sequence[Interval]) -> Callable[[Interval, Interval], float]:
    left_alphabet = alphabet_of([item.label for item in left])
    right_alphabet = alphabet_of([item.label for item in right])

    def cost(a: Interval, b: Interval) -> float:
        return distance(to_arpabet(a.label, left_alphabet), to_arpabet(b.label, right_alphabet))

    return cost


def _spelling(a: Interval, b: Interval) -> float:
    return 0.0 if _plain(a.label) == _plain(b.label) else _NEVER


def _plain(word: str) -> str:
    """Letters, digits and apostrophes, whatever their case and accents."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return re.sub(r"[^\w']|_", "", "".join(c for c in letters if not unicodedata.combining(c)))


def _matches(
    pairs: Iterable[tuple[Interval | None, Interval | None]],
    reference: Sequence[Interval],
    other: Sequence[Interval],
    kinds_of: Callable[[Sequence[str]], list[str]],
) -> Matches:
    """The pairs with the kinds of their labels: the reference's, or the other's where the reference has none."""

    def kinds(labels: Sequence[Interval]) -> Iterator[tuple[str, str]]:
        own = kinds_of([item.label for item in labels])
        return zip(own, kinds_before(labels, own), strict=True)

    left, right = kinds(reference), kinds(other)
    found = []
    for a, b in pairs:
        kind = next(left) if a is not None else None
        kind_of_other = next(right) if b is not None else None
        found.append(Pair(a, b, *(kind or kind_of_other or ("", ""))))
    return Matches(tuple(found))


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
    by_name = {item.relative_to(path).with_suffix("").as_posix(): item for item in found}
    return dict(sorted(by_name.items()))
