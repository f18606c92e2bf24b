"""CTC prefix beam search: the most probable label sequences, with words, a language model and hotwords."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from semihmm._numbers import check_flag, check_real, whole
from semihmm.decoding import saving
from semihmm.decoding.backoff import Backoff, constant
from semihmm.decoding.frames import checked
from semihmm.decoding.hypotheses import Hypotheses, gathered
from semihmm.decoding.lists import texts
from semihmm.decoding.ngram import BEGIN, END, UNKNOWN, NGram
from semihmm.decoding.scoring import Scoring
from semihmm.decoding.search import Searches
from semihmm.decoding.spelling import Trie, phrases, trie
from semihmm.decoding.vocabulary import Vocabulary, check_vocabulary
from semihmm.engine import tensors
from semihmm.errors import DataError, DependencyError
from semihmm.streaming.saving import digest

MOST = 1 << 20  # hypotheses in a beam


@dataclass(frozen=True)
class BeamSearch:
    """A search for the label sequences with the best scores (Graves & Jaitly 2014; Hannun et al. 2014).

    The score of a sequence is its log-probability, summed over all paths that read it, plus what it weighs by itself:
    ``lm_weight`` times its log-probability under a language model, a bonus for each word and for each hotword. Of each
    frame, the exact ``beam`` best of all sequences that the last frame's become are kept, so a probability lacks only
    what went through sequences that were dropped. Work per frame is about ``beam`` logarithms, wherever most of the
    ``beam * V`` candidates are far behind.

    Args:
        vocabulary: what the V columns stand for.
        beam: label sequences that are kept.
        margin: sequences whose score is more than this below the best one, in nats, are dropped; no such limit by
            default.
        lexicon: the words there are, or how each is spelled: ``{"the": ["th", "e"]}``. None for any.
        language_model: over words; over tokens, where the vocabulary has no delimiter.
        lm_weight: what its log-probabilities are multiplied by.
        word_bonus: for each word, in nats: a language model alone likes few.
        hotwords: the bonus in nats for each occurrence of a word, or of words one after the other.
        backend: ``"torch"`` for plain Python; None for the fastest.

    Words end at the vocabulary's delimiter and at the end; delimiters side by side end no word. The language model is
    asked when a word ends. Without a lexicon, words that it lacks are its ``<unk>``.

    Example:
        >>> import torch
        >>> vocabulary = Vocabulary(["-", " ", "a", "b", "c"], delimiter=" ")
        >>> log_probs = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
        >>> search = BeamSearch(vocabulary, lexicon=["cab", "a"], word_bonus=1.0)
        >>> vocabulary.texts(search(log_probs, count=3))
        [['cab ', 'cab a', 'cab a ']]

    Raises:
        DataError: an empty beam, a bonus that is no number, a lexicon or hotwords of tokens that are not there.
    """

    vocabulary: Vocabulary
    beam: int = 50
    margin: float = math.inf
    lexicon: Iterable[str] | Mapping[str, Iterable[str]] | None = None
    language_model: NGram | None = None
    lm_weight: float = 1.0
    word_bonus: float = 0.0
    hotwords: Mapping[str, float] | None = None
    backend: str | None = None

    def __post_init__(self) -> None:
        check_vocabulary("BeamSearch", self.vocabulary)
        if not 1 <= whole("BeamSearch", "beam", self.beam) <= MOST:
            raise DataError(f"BeamSearch: beam must be from 1 to {MOST:,}, got {self.beam}. Fewer find nothing.")
        if not (isinstance(self.margin, float) and self.margin == math.inf):
            check_real("BeamSearch", "margin", self.margin, 0, hint=" Pass math.inf for no limit.")
        check_real("BeamSearch", "lm_weight", self.lm_weight)
        if self.lm_weight <= 0:
            raise DataError(f"BeamSearch: lm_weight must be positive, got {self.lm_weight}.")
        self._check_kinds()
        for name, bonus in [("word_bonus", self.word_bonus), *(self.hotwords or {}).items()]:
            check_real("BeamSearch", name, bonus, hint=" To allow some words only: lexicon=.")
        if self.lexicon is not None and self.vocabulary.delimiter is None:
            raise DataError(
                "BeamSearch: a lexicon needs the token that ends a word. Pass Vocabulary(..., delimiter=' '), say."
            )
        if self.backend not in (None, "torch", "native"):
            raise DataError(f"BeamSearch: backend must be None, 'torch' or 'native', got {self.backend!r}.")
        if self.backend == "native" and tensors.MODULE is None:
            raise DependencyError("BeamSearch: backend='native' is not loaded: semihmm.backends() says why.")
        self.scoring  # noqa: B018 (what is wrong with the words is said now)

    def _check_kinds(self) -> None:
        if self.hotwords is not None and not isinstance(self.hotwords, Mapping):
            raise DataError(
                f"BeamSearch: hotwords must give each its bonus in nats, as {{'cat': 5.0}}, got {self.hotwords!r}."
            )
        texts("BeamSearch", "words of hotwords", self.hotwords or ())
        if self.lexicon is not None:
            if isinstance(self.lexicon, str) or not hasattr(self.lexicon, "__iter__"):
                raise DataError(
                    f"BeamSearch: lexicon must be a list of words, or how each is spelled, got {self.lexicon!r}."
                )
            words = texts("BeamSearch", "words of lexicon", self.lexicon)
            spelled = {word: self._tokens(word) for word in words} if isinstance(self.lexicon, Mapping) else words
            object.__setattr__(self, "lexicon", spelled)
        if self.language_model is not None and not isinstance(self.language_model, NGram):
            raise DataError(
                f"BeamSearch: language_model must be an NGram, got {self.language_model!r}. Pass NGram.read(path); "
                "other models give second_pass their opinion."
            )

    def _tokens(self, word: str) -> Iterable[str]:
        """How a lexicon spells a word."""
        assert isinstance(self.lexicon, Mapping)
        spelled = self.lexicon[word]
        try:
            return spelled if isinstance(spelled, str) else texts("BeamSearch", "tokens", spelled)
        except DataError as error:
            raise DataError(
                f"BeamSearch: lexicon must say which tokens spell {word!r}, got {spelled!r}. Letter by letter? "
                f"Pass {word!r} again."
            ) from error

    @cached_property
    def scoring(self) -> Scoring:
        """What label sequences weigh by themselves."""
        vocabulary = self.vocabulary
        of_tokens, spelling, words = [], None, self._words()
        if self.hotwords:
            of_tokens.append(phrases(self._phrases(self.hotwords), vocabulary.between))
        if words is not None and vocabulary.delimiter is None:
            of_tokens.append(words)
        elif words is not None or self.lexicon is not None:
            spelling, words = self._spelling(), words or constant(0.0)
        else:
            words = None
        size, blank = len(vocabulary.tokens), vocabulary.blank
        return Scoring(size, blank, vocabulary.between, of_tokens, spelling, words if spelling else None)

    def _words(self) -> Backoff | None:
        """What words weigh, by number; of tokens where they are words."""
        model = self.language_model
        if model is None:
            return constant(self.word_bonus) if self.word_bonus else None
        tokens = None if self.vocabulary.delimiter is not None else self.vocabulary.tokens
        return model.automaton(self.lm_weight, self.word_bonus, tokens)

    def _spelling(self) -> Trie:
        spell, model = self.vocabulary.spell, self.language_model
        number = (lambda _: 0) if model is None else model.number
        if self.lexicon is not None:
            words = self.lexicon if isinstance(self.lexicon, Mapping) else {word: word for word in self.lexicon}
            return trie((spell(tokens), number(word)) for word, tokens in words.items())
        if model is None:
            return trie([], 0)
        names = self.vocabulary.tokens
        letters = set(names) - {names[self.vocabulary.blank], self.vocabulary.delimiter}
        spelled = (w for w in model.words if w not in (BEGIN, END, UNKNOWN) and letters.issuperset(w))
        return trie(((spell(word), number(word)) for word in spelled), model.number(UNKNOWN))

    def _phrases(self, hotwords: Mapping[str, float]) -> dict[tuple[int, ...], float]:
        """The tokens of each hotword, between delimiters."""
        found = {}
        for phrase, bonus in hotwords.items():
            words = [self.vocabulary.spell(self._spelled(word)) for word in phrase.split()]
            if not words:
                raise DataError("BeamSearch: there is a hotword of no letters. Leave it out.")
            between = [] if self.vocabulary.delimiter is None else [self.vocabulary.between]
            tokens = between + [token for word in words for token in (*word, *between)]
            found[tuple(tokens)] = bonus
        return found

    def _spelled(self, word: str) -> Iterable[str]:
        spelled: Mapping[str, Iterable[str]] = self.lexicon if isinstance(self.lexicon, Mapping) else {}
        return spelled.get(word, [word] if word in self.vocabulary.number else word)

    def __call__(self, log_probs: Tensor, lengths: Tensor | None = None, *, count: int = 1) -> Hypotheses:
        """The best label sequences.

        Args:
            log_probs: of each token in each frame, in nats, float32 or float64 ``(..., T, V)``. Sums are in float64.
            lengths: frames in use ``(...)``, from 0 to T; None for T.
            count: how many, N.
        Raises:
            ShapeError: other shapes, not V columns.
            DataError: NaN, or infinitely probable tokens.
        """
        log_probs, counts = checked("BeamSearch", log_probs, lengths, len(self.vocabulary.tokens))
        batch = log_probs.shape[:-2]
        stream = self.stream(batch.numel())
        stream.push(log_probs.reshape(batch.numel(), *log_probs.shape[-2:]), counts)
        return stream.hypotheses(count, final=True).reshaped(batch)

    def stream(self, batch: int = 1) -> BeamStream:
        """A search through log-probabilities that arrive piece by piece, of so many sequences side by side."""
        return BeamStream(self, batch)

    def _searches(self, batch: int) -> Any:
        if tensors.MODULE is None or self.backend == "torch":
            return Searches(self.scoring, batch, self.beam, self.margin)
        return tensors.MODULE.BeamSearches(self._compiled, batch, self.beam, self.margin)

    @property
    def described(self) -> dict[str, str]:
        """What its streams belong to, in digests."""
        parts = {"beam": self.beam, "margin": self.margin, "scoring": self.scoring.tables()}
        return {"kind": "BeamSearch", **{name: digest(part) for name, part in parts.items()}}

    @cached_property
    def _compiled(self) -> Any:
        assert tensors.MODULE is not None
        return tensors.MODULE.BeamScoring(*self.scoring.tables())

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # the rest is made again


class BeamStream:
    """A beam search through frames as they arrive. However they are cut, it finds what one call finds, bit for bit.

    Args:
        search: what is searched for.
        batch: sequences side by side.

    Example:
        >>> import torch
        >>> log_probs = torch.randn(1, 20, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
        >>> search = BeamSearch(Vocabulary.numbered(5))
        >>> stream = search.stream()
        >>> for chunk in log_probs.split(3, dim=1):
        ...     stream.push(chunk)
        >>> torch.equal(stream.hypotheses(final=True).log_prob, search(log_probs).log_prob)
        True
    """

    def __init__(self, search: BeamSearch, batch: int = 1) -> None:
        if not isinstance(search, BeamSearch):
            raise DataError(f"BeamStream: search must be a BeamSearch, got {search!r}. Pass BeamSearch(vocabulary).")
        batch = whole("BeamStream", "batch", batch, 0, MOST)
        self.search, self.batch = search, batch
        self._searches = search._searches(batch)
        self._device = torch.device("cpu")

    def push(self, log_probs: Tensor, lengths: Tensor | None = None) -> None:
        """The next frames.

        Args:
            log_probs: ``(batch, T, V)``, T from 0 on; ``(T, V)`` where the batch is 1.
            lengths: how many of them count, of each sequence ``(batch,)``; None for all.
        """
        log_probs, used = checked("BeamStream", log_probs, lengths, len(self.search.vocabulary.tokens), self.batch)
        self._device = log_probs.device
        threads = torch.get_num_threads() if log_probs.numel() >= 10_000 else 1
        self._searches.push(log_probs.detach().cpu().resolve_neg().contiguous(), used.cpu(), threads)

    def hypotheses(self, count: int = 1, *, final: bool = False) -> Hypotheses:
        """The best label sequences so far.

        Args:
            count: how many, at most as many as the beam holds.
            final: whether this is the end: then a word that has begun must be one, and the language model is asked for
                the end of the sentence.
        """
        if whole("BeamSearch", "count", count) < 1:
            raise DataError(f"BeamSearch: count must be at least 1, got {count}.")
        check_flag("BeamSearch", "final", final)
        count = min(count, self.search.beam)
        return gathered(self._searches.best(count, final), count, (self.batch,), self._device)

    def __getstate__(self) -> Any:
        raise DataError(
            "BeamStream: it cannot be copied or pickled, as it is in the middle of its frames. Save it, and load that."
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what there is between two frames to a safetensors file; the file appears when it is whole.

        Raises:
            DataError: a path that cannot be written.
            DependencyError: safetensors is not installed.
        """
        saving.write(path, self.search.described, [saving.BeamState(*state) for state in self._searches.state()])

    @classmethod
    def load(cls, path: str | os.PathLike[str], search: BeamSearch) -> BeamStream:
        """Go on, to the bit, from what `save` wrote, in any process.

        Args:
            path: of the file.
            search: made as it was when the stream was saved; either backend goes on from what the other one saved.

        Raises:
            DataError: no such file, another kind of file, or of another search.
            DependencyError: safetensors is not installed.

        Example:
            >>> import tempfile, torch
            >>> log_probs = torch.randn(1, 20, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
            >>> search = BeamSearch(Vocabulary.numbered(5))
            >>> stream = search.stream()
            >>> stream.push(log_probs[:, :7])
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     stream.save(f"{folder}/stream")
            ...     stream = BeamStream.load(f"{folder}/stream", search)
            >>> stream.push(log_probs[:, 7:])
            >>> torch.equal(stream.hypotheses(final=True).log_prob, search(log_probs).log_prob)
            True
        """
        if not isinstance(search, BeamSearch):
            raise DataError(f"BeamStream.load: search must be a BeamSearch, got {search!r}.")
        states = saving.read(path, search.described)
        stream = cls(search, len(states))
        try:
            stream._searches.restore(states)
        except (OverflowError, ValueError) as error:
            raise saving.damaged(path, str(error)) from error
        return stream


def beam_search(
    log_probs: Tensor, lengths: Tensor | None = None, *, beam: int = 50, count: int = 1, blank: int = 0
) -> Hypotheses:
    """The most probable label sequences under CTC, by prefix beam search; see `BeamSearch`, which knows of words.

    Args:
        log_probs: of each token in each frame, in nats, ``(..., T, V)``.
        lengths: frames in use ``(...)``, from 0 to T; None for T.
        beam: label sequences that are kept.
        count: how many are returned, N.
        blank: which of the V tokens is the blank.

    Example:
        >>> import torch
        >>> log_probs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()  # two blanks are the best path, but 1 has three
        >>> beam_search(log_probs).labels.tolist(), greedy(log_probs).labels.tolist()
        ([[1]], [[]])

    Raises:
        ShapeError: other shapes.
        DataError: an empty beam, NaN, or infinitely probable tokens.
    """
    size = checked("beam_search", log_probs, lengths)[0].shape[-1]
    whole("beam_search", "beam", beam)
    return _of_labels(size, whole("beam_search", "blank", blank), beam)(log_probs, lengths, count=count)


@lru_cache(16)
def _of_labels(size: int, blank: int, beam: int) -> BeamSearch:
    return BeamSearch(Vocabulary.numbered(size, blank), beam)
