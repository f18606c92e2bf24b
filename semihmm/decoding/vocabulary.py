"""What the columns of the log-probabilities stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from semihmm._numbers import whole
from semihmm.decoding.hypotheses import Hypotheses, check_found
from semihmm.decoding.lists import listed, texts
from semihmm.errors import DataError


@dataclass(frozen=True)
class Vocabulary:
    """The names of the V tokens, in the order of the columns.

    Args:
        tokens: their names, no two alike.
        blank: which of them is CTC's blank.
        delimiter: the token that ends a word, such as ``" "`` or ``"|"``; None where each token is a word of its own.

    Example:
        >>> vocabulary = Vocabulary(["-", " ", "a", "b"], delimiter=" ")
        >>> vocabulary.spell("ab"), vocabulary.text([2, 3, 1, 3]), vocabulary.words([2, 3, 1, 3])
        ([2, 3], 'ab b', ['ab', 'b'])

    Raises:
        DataError: no tokens, two alike, a blank or a delimiter that is none of them.
    """

    tokens: Sequence[str]
    blank: int = 0
    delimiter: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", texts("Vocabulary", "tokens", self.tokens))
        if not self.tokens or len(self.number) < len(self.tokens):
            twice = [token for i, token in enumerate(self.tokens) if token in self.tokens[:i]]
            got = f"{twice[0]!r} twice" if twice else "none"
            raise DataError(f"Vocabulary: tokens must be at least one, no two alike, got {got}.")
        if not 0 <= whole("Vocabulary", "blank", self.blank) < len(self.tokens):
            raise DataError(f"Vocabulary: blank must be among the {len(self.tokens)} tokens, got {self.blank}.")
        if self.delimiter is not None and (
            not isinstance(self.delimiter, str) or self.number.get(self.delimiter, self.blank) == self.blank
        ):
            raise DataError(
                f"Vocabulary: delimiter must be one of the tokens, and not the blank, got {self.delimiter!r}. Pass "
                "delimiter=None where each token is a word."
            )

    @staticmethod
    def numbered(count: int, blank: int = 0) -> Vocabulary:
        """Tokens that are named by their numbers.

        Example:
            >>> Vocabulary.numbered(3).tokens
            ('0', '1', '2')
        """
        return Vocabulary([str(i) for i in range(whole("Vocabulary", "count", count, 1))], blank)

    @cached_property
    def number(self) -> dict[str, int]:
        """The column of each token."""
        return {token: i for i, token in enumerate(self.tokens)}

    @property
    def between(self) -> int:
        """The column of the delimiter, -1 where there is none."""
        return -1 if self.delimiter is None else self.number[self.delimiter]

    def spell(self, word: str | Iterable[str]) -> list[int]:
        """The tokens of a word: its letters, or those that are given by name.

        Raises:
            DataError: one that is no token, or the blank.
        """
        tokens = texts("Vocabulary", "a word's tokens", word)
        name = word if isinstance(word, str) else " ".join(tokens)
        numbers = [self.number.get(token, self.blank) for token in tokens]
        if self.blank in numbers:
            raise DataError(
                f"Vocabulary: {name!r} is spelled with {tokens[numbers.index(self.blank)]!r}, which is none of the "
                f"{len(self.tokens)} tokens, or the blank. Leave the word out, or say how it is spelled."
            )
        return numbers

    def text(self, labels: Iterable[int]) -> str:
        """The names of labels, one behind the other, with a space for the delimiter.

        Raises:
            DataError: one that is none of the V columns.
        """
        return "".join(" " if label == self.between else self.tokens[label] for label in self._checked(labels))

    def words(self, labels: Iterable[int]) -> list[str]:
        """The words that labels spell.

        Raises:
            DataError: one that is none of the V columns.
        """
        labels = self._checked(labels)
        if self.delimiter is None:
            return [self.tokens[label] for label in labels]
        words = [""]
        for label in labels:
            if label == self.between:
                words.append("")
            else:
                words[-1] += self.tokens[label]
        return [word for word in words if word]

    def texts(self, found: Hypotheses) -> list[list[str]]:
        """The texts of all hypotheses, best first, for each of the batch."""
        check_found("Vocabulary", found)
        return [[self.text(labels) for labels in item] for item in found.tolist()]

    def _checked(self, labels: Iterable[int]) -> list[int]:
        last = len(self.tokens) - 1
        return [whole("Vocabulary", "a label", label, 0, last) for label in listed("Vocabulary", "labels", labels)]


def check_vocabulary(owner: str, vocabulary: object) -> None:
    """Refuse what is no `Vocabulary`."""
    if not isinstance(vocabulary, Vocabulary):
        raise DataError(f"{owner}: vocabulary must be a Vocabulary, got {vocabulary!r}. Pass Vocabulary(tokens).")
