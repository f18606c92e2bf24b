"""Second passes over hypotheses: exact probabilities, larger language models, and the least expected error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import Any, Protocol

import torch
from torch import Tensor

from semihmm._numbers import check_real
from semihmm._optional import require
from semihmm.decoding.frames import checked
from semihmm.decoding.hypotheses import Hypotheses, check_found
from semihmm.decoding.lists import texts
from semihmm.decoding.rates import edit_distances
from semihmm.decoding.vocabulary import Vocabulary, check_vocabulary
from semihmm.errors import DataError
from semihmm.inference import log_partition
from semihmm.structures import CTC


class LanguageModel(Protocol):
    """What gives the log-probability of a sentence, in nats: `NGram`, `KenLM`, or yours."""

    def log_prob(self, words: Sequence[str]) -> float:
        """Of all words and the end."""


def exact(found: Hypotheses, log_probs: Tensor, lengths: Tensor | None = None, *, blank: int = 0) -> Hypotheses:
    """The same label sequences with their exact probabilities under CTC, best first again.

    A beam's ``log_prob`` lacks the paths through sequences that were dropped. What sequences weigh by themselves stays.

    Args:
        found: the hypotheses, for each of the batch.
        log_probs, lengths, blank: as they were decoded.

    Example:
        >>> import torch
        >>> log_probs = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
        >>> found = beam_search(log_probs, beam=2)
        >>> bool(exact(found, log_probs).log_prob > found.log_prob)
        True
    """
    check_found("exact", found)
    log_probs, counts = checked("exact", log_probs, lengths)
    log_probs = log_probs.double()
    used = counts.reshape(log_probs.shape[:-2]).to(log_probs.device)
    sums = [
        log_partition(CTC(log_probs, labels.clamp(min=0), used, n, blank))
        for labels, n in zip(found.labels.unbind(-2), found.lengths.unbind(-1), strict=True)
    ]
    log_prob = torch.where(found.valid, torch.stack(sums, -1), -torch.inf)
    weight = torch.where(found.valid, found.score - found.log_prob, 0.0)
    return found.rescored(log_prob, log_prob + weight)


def second_pass(
    found: Hypotheses, vocabulary: Vocabulary, model: LanguageModel, *, weight: float = 1.0, word_bonus: float = 0.0
) -> Hypotheses:
    """Scores with a language model added that is too large or too slow to search with, best first again.

    Args:
        model: gives the log-probability of a sentence: ``model.log_prob(words)``.
        weight: what that is multiplied by.
        word_bonus: for each word, in nats.
    Raises:
        DataError: a weight below 0, a figure that is not finite, or a model whose log-probability is none.

    Example:
        >>> import torch
        >>> log_probs = torch.tensor([[0.1, 0.6, 0.3], [0.9, 0.05, 0.05]]).log()
        >>> found = beam_search(log_probs, count=2)
        >>> model = NGram({("a",): (-9.0, 0.0), ("b",): (-1.0, 0.0)})
        >>> vocabulary = Vocabulary(["-", "a", "b"])
        >>> vocabulary.texts(found), vocabulary.texts(second_pass(found, vocabulary, model))
        ([['a', 'b']], [['b', 'a']])
    """
    check_found("second_pass", found)
    check_vocabulary("second_pass", vocabulary)
    if not callable(getattr(model, "log_prob", None)):
        raise DataError(
            f"second_pass: model must have a log_prob(words), as NGram and KenLM have, got {model!r}. A file? Pass "
            "NGram.read(path) or KenLM(path)."
        )
    check_real("second_pass", "weight", weight, 0)
    check_real("second_pass", "word_bonus", word_bonus)
    added = torch.full(found.score.shape, -torch.inf, dtype=torch.float64).reshape(-1, found.score.shape[-1])
    for row, sequences in zip(added, found.tolist(), strict=True):
        for i, labels in enumerate(sequences):
            words = vocabulary.words(labels)
            log_prob = model.log_prob(words)
            if log_prob != -math.inf:
                check_real("second_pass", f"model.log_prob({words})", log_prob)
            row[i] = (weight * log_prob if weight else 0.0) + word_bonus * len(words)
    score = found.score + added.reshape(found.score.shape).to(found.score.device)
    return found.rescored(found.log_prob, score)


def least_risk(found: Hypotheses, vocabulary: Vocabulary | None = None, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """The hypothesis with the fewest errors to be expected, where the others are as likely as their scores say.

    Minimum Bayes risk over an n-best list (Stolcke, König & Weintraub 1997): the best guess where errors are counted
    one by one. For all label sequences there are, ask `semihmm.minimum_bayes_risk` of a structure.

    Args:
        vocabulary: count errors in its words; None for labels.
        scale: what scores are multiplied by first, above 0; below 1, all become more alike.
    Returns:
        Its place in the list, int64 ``(...)``; and the errors to be expected of each, float64 ``(..., N)``, infinite
        where there is none.

    Example:
        >>> import torch
        >>> log_probs = torch.tensor([[0.0, 0.4, 0.3, 0.3], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]).log()
        >>> found = beam_search(log_probs, count=6)
        >>> place, risk = least_risk(found)
        >>> found.tolist()[0][int(place)], round(float(risk.min()), 2)
        ([1, 2], 1.1)
    """
    check_found("least_risk", found)
    check_real("least_risk", "scale", scale, above=0)
    if vocabulary is not None:
        check_vocabulary("least_risk", vocabulary)
    places, risks = [], []
    share = replace(found, score=found.score * float(scale)).confidence.reshape(-1, found.score.shape[-1])
    for p, labels in zip(share, found.tolist(), strict=True):
        words = labels if vocabulary is None else [vocabulary.words(x) for x in labels]
        n = len(words)
        i, j = torch.triu_indices(n, n, 1).tolist()
        apart = torch.zeros(n, n, dtype=torch.float64, device=p.device)
        apart[i, j] = edit_distances([words[a] for a in i], [words[b] for b in j]).to(apart)
        risk = torch.full_like(p, torch.inf)
        risk[:n] = (apart + apart.mT) @ p[:n]
        places.append(risk.argmin())
        risks.append(risk)
    batch = found.score.shape[:-1]
    return torch.stack(places).reshape(batch), torch.stack(risks).reshape(found.score.shape)


@dataclass(frozen=True)
class KenLM:
    """A model in one of KenLM's binary formats, or ARPA (Heafield 2011): for `second_pass`. To search with: `NGram`.

    Needs ``pip install 'semihmm[decoding]'``.

    Raises:
        DataError: a path that is none; when it is asked, a file that cannot be read.

    Example:
        >>> model = KenLM("3-gram.binary")  # it is read when it is asked
    """

    path: str | PathLike[str]

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | PathLike):
            raise DataError(f"KenLM: path must be that of a model, got {self.path!r}.")

    @cached_property
    def _model(self) -> Any:
        kenlm = require("kenlm", extra="decoding", purpose="Reading KenLM's models")
        config = kenlm.Config()
        config.show_progress = False
        try:
            return kenlm.Model(str(self.path), config)
        except (OSError, RuntimeError) as error:
            raise DataError(f"KenLM: {self.path} cannot be read as one of KenLM's models: {error}") from error

    def log_prob(self, words: Sequence[str]) -> float:
        """Of a whole sentence, its end included, in nats."""
        return float(self._model.score(" ".join(texts("KenLM", "words", words)), bos=True, eos=True)) * math.log(10)
