"""Backoff n-gram language models, from ARPA files."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from semihmm._numbers import check_real
from semihmm.decoding.backoff import NONE, Backoff
from semihmm.decoding.lists import listed
from semihmm.errors import DataError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
Gram = tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class NGram:
    """The log-probability of each word behind the words before it (Katz 1987): of whole sentences, in nats.

    Args:
        grams: the log-probability and the backoff weight, in nats, of each n-gram.
        unknown: the log-probability of a word that is not there, where the model has no ``<unk>``; -inf forbids it.

    Example:
        >>> model = NGram({("a",): (-1.0, -0.5), ("b",): (-2.0, 0.0), ("</s>",): (-1.5, 0.0), ("a", "b"): (-0.2, 0.0)})
        >>> model.log_prob(["a", "b"])  # a, b behind a, the end
        -2.7

    Raises:
        DataError: no single words, a weight that is none, or an n-gram whose beginning is missing.
    """

    grams: Mapping[Gram, tuple[float, float]]
    unknown: float = -math.inf

    def __post_init__(self) -> None:
        if not (isinstance(self.unknown, float) and self.unknown == -math.inf):
            check_real("NGram", "unknown", self.unknown, most=0)
        bad = _wrong(self.grams)
        if bad is not None:
            raise DataError(
                "NGram: grams give each n-gram a log-probability and a backoff weight, as ('a', 'b'): (-1.2, 0.0), and "
                f"words must weigh less than infinity, got {bad}."
            )
        if not any(len(gram) == 1 for gram in self.grams):
            raise DataError("NGram: a model needs log-probabilities of single words, got none.")
        alone = [gram for gram in self.grams if len(gram) > 1 and gram[:-1] not in self.grams]
        if alone:
            raise DataError(f"NGram: there is {alone[0]}, but not {alone[0][:-1]}, which comes first. Add it.")

    def __repr__(self) -> str:
        return f"NGram({self.order}-grams, {len(self.words)} words, {len(self.grams)} entries)"

    @staticmethod
    def read(path: str | PathLike[str], unknown: float = -math.inf) -> NGram:
        """A model from an ARPA file, which may be gzipped.

        Raises:
            DataError: there is no such file, it is another kind of file, or ends early.
        """
        if not isinstance(path, str | PathLike):
            raise DataError(f"NGram: read takes the path of an ARPA file, got {path!r}.")
        path = Path(path)
        opened = gzip.open if path.suffix == ".gz" else open
        try:
            with opened(path, "rt", encoding="utf-8") as lines:
                return NGram(dict(_entries(str(path), lines)), unknown)
        except (EOFError, UnicodeDecodeError, gzip.BadGzipFile) as error:
            raise _cut_short(str(path), str(error)) from error
        except OSError as error:
            raise DataError(f"NGram: {path} cannot be read as an ARPA file: {error}") from error

    @cached_property
    def order(self) -> int:
        """The most words of an n-gram."""
        return max(map(len, self.grams))

    @cached_property
    def words(self) -> dict[str, int]:
        """The number of each word."""
        return {gram[0]: i for i, gram in enumerate(gram for gram in self.grams if len(gram) == 1)}

    def number(self, word: str) -> int:
        """The number of a word, or of those that are not there."""
        if not isinstance(word, str):
            raise DataError(f"NGram: words must be texts, got {word!r}.")
        return self.words.get(word, self.words.get(UNKNOWN, len(self.words)))

    def automaton(self, weight: float = 1.0, bonus: float = 0.0, symbols: Sequence[str] | None = None) -> Backoff:
        """The model as an automaton: ``weight`` times log-probabilities, and a bonus a word.

        A state is what is remembered of the words before.

        Args:
            symbols: the words that it reads, by number; None for `words`.
        """
        read_by: dict[str, list[int]] = {}
        for i, word in enumerate(self.words if symbols is None else symbols):
            read_by.setdefault(word if word in self.words else UNKNOWN, []).append(i)
        memory = self.order - 1
        contexts = [(), *sorted((gram for gram in self.grams if len(gram) <= memory), key=len)]
        state = {context: i for i, context in enumerate(contexts)}

        def remembered(words: Gram) -> int:
            words = words[max(len(words) - memory, 0) :]  # () where nothing is
            while words not in state:
                words = words[1:]
            return state[words]

        arcs: list[dict[int, tuple[int, float]]] = [{} for _ in contexts]
        for gram, (p, _) in self.grams.items():
            if gram[-1] not in (BEGIN, END):
                arc = (remembered(gram), weight * p + bonus)
                arcs[state[gram[:-1]]].update((symbol, arc) for symbol in read_by.get(gram[-1], ()))
        backoff = [NONE, *(remembered(context[1:]) for context in contexts[1:])]
        backoff_weight = [0.0, *(weight * self.grams[context][1] for context in contexts[1:])]
        final: list[float] = []
        for context, shorter, down in zip(contexts, backoff, backoff_weight, strict=True):
            ends = self.grams.get((*context, END))
            final.append(weight * ends[0] if ends else down + final[shorter] if context else 0.0)
        forbidden = self.unknown == -math.inf or UNKNOWN in self.words
        other = (NONE, 0.0) if forbidden else (0, weight * self.unknown + bonus)
        return Backoff(arcs, backoff, backoff_weight, final, remembered((BEGIN,)), other)

    @cached_property
    def _automaton(self) -> Backoff:
        return self.automaton()

    def log_prob(self, words: Sequence[str]) -> float:
        """Of a whole sentence, its end included; -inf if it has an unknown word that is forbidden."""
        state, total = self._automaton.start, 0.0
        for word in listed("NGram", "words", words):
            state, weight = self._automaton.step(state, self.number(word))
            if state == NONE:
                return -math.inf
            total += weight
        return total + self._automaton.final[state]


def _wrong(grams: Any) -> str | None:
    """What is no n-gram with two weights."""
    if not isinstance(grams, Mapping):
        return repr(grams)
    for gram, weights in grams.items():
        try:
            p, backoff = weights
            if isinstance(gram, tuple) and gram and p < math.inf and backoff < math.inf:
                continue
        except (TypeError, ValueError, RuntimeError):
            pass
        return f"{gram!r}: {weights!r}"
    return None


def _entries(name: str, lines: Iterable[str]) -> Iterator[tuple[Gram, tuple[float, float]]]:
    """The n-grams of an ARPA file, in nats. What stands in front of the counts is a comment."""
    counts: dict[int, int] = {}
    order = left = 0
    for number, line in enumerate(lines, 1):
        words = re.split("[ \t]+", line.strip(" \t\r\n"))
        section = re.fullmatch(r"\\(\d+)-grams:", words[0])
        if section or words == ["\\end\\"]:
            if left:
                raise _cut_short(name, f"{left} {order}-grams are missing in front of line {number}")
            if not section:
                if order == max(counts, default=0):
                    return
                break
            order = int(section[1])
            left = counts.get(order, 0)
        elif order and words != [""]:
            try:
                p, *gram = words[: order + 1]
                (backoff,) = words[order + 1 :] or ["0"]
                found = tuple(gram), (float(p) * math.log(10), float(backoff) * math.log(10))
            except ValueError:
                found = (), (0.0, 0.0)
            if len(found[0]) != order or found[1][0] > 0:
                raise DataError(
                    f"NGram: line {number} of {name} is no {order}-gram: {line.rstrip()!r}. Expected a log10 "
                    f"probability, which is 0 or less, {order} words and perhaps a backoff weight."
                )
            left -= 1
            yield found
        elif match := re.fullmatch(r"ngram (\d+) ?= ?(\d+)", " ".join(words)):
            counts[int(match[1])] = int(match[2])
    raise _cut_short(name, f"{left} {order}-grams are missing" if left > 0 else "its \\end\\ is missing")


def _cut_short(name: str, why: str) -> DataError:
    return DataError(f"NGram: {name} is no whole ARPA file: {why}. Copy or download it again.")
