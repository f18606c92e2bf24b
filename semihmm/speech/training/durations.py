"""How long phones last where they stand: the duration laws of an HSMM, fitted to alignments."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from semihmm.errors import DataError, ShapeError
from semihmm.models.durations import Duration, NegativeBinomial
from semihmm.speech.intervals import Interval
from semihmm.speech.metrics.durations import DurationErrors, duration_statistics
from semihmm.speech.text.phones import manners
from semihmm.types import Hertz, Seconds

_PAUSE = "pause"
_BELIEVED = 4.0
_PREDICTED = ("phone's mean", "laws in context", "laws, total known")
_APART = 1e-3  # seconds between two phones from where on there is a pause

Context = tuple[str, ...]


@dataclass(frozen=True)
class PhoneDurations:
    """How long phones last, by what they are, whether a pause follows, and how their neighbours are articulated.

    The contexts of a phone, from the widest: any phone; its manner of articulation; itself; with what follows; with
    what goes before, too. A law is fitted to what was seen in a context and to four phones besides, which last as long
    as those of the wider one do.

    Args:
        law: one state for each context, in steps of a frame.
        contexts: the state of each.
        frame_rate: frames per second.

    Example:
        >>> tier = tuple(Interval(0.1 * i, 0.1 * i + 0.1, "AA") for i in range(20))
        >>> durations = PhoneDurations.fit([tier])
        >>> [round(seconds, 3) for seconds in durations(tier[:2])]
        [0.1, 0.1]

    References:
        Yoshimura, Tokuda, Masuko, Kobayashi and Kitamura (1998), "Duration modeling for HMM-based speech synthesis",
        ICSLP: durations that add up to a total.
    """

    law: Duration
    contexts: dict[Context, int]
    frame_rate: Hertz

    @classmethod
    def fit(
        cls,
        tiers: Iterable[Sequence[Interval]],
        *,
        law: Callable[[int, int], Duration] = NegativeBinomial,
        frame_rate: Hertz = 200,
    ) -> "PhoneDurations":
        """Learn them from tiers of phones, one per recording.

        Args:
            tiers: the phones; gaps between them are pauses.
            law: makes a law of so many states and steps.
            frame_rate: how finely durations are counted.

        Raises:
            DataError: there are no phones.
        """
        seen: dict[Context, Counter[int]] = {}
        wider: dict[Context, Context] = {}
        for tier in tiers:
            for phone, contexts in zip(tier, _contexts(tier), strict=True):
                steps = max(1, round((phone.end - phone.start) * frame_rate))
                for context in contexts:
                    seen.setdefault(context, Counter())[steps] += 1
                wider.update(pairwise(contexts))
        if not seen:
            raise DataError("PhoneDurations: there are no phones to learn from.")
        order = {context: i for i, context in enumerate(sorted(seen, key=len))}
        counts = torch.zeros(len(order), max(map(max, seen.values())), dtype=torch.float64)
        for context, i in order.items():
            for steps, count in seen[context].items():
                counts[i, steps - 1] = count
            if context:
                above = counts[order[wider[context]]]
                counts[i] += _BELIEVED * above / above.sum()
        fitted = law(*counts.shape).double()
        fitted.update(counts)
        return cls(fitted, order, frame_rate)

    def __call__(self, phones: Sequence[Interval], *, total: Seconds | None = None) -> tuple[Seconds, ...]:
        """The expected duration of each phone of a recording, whatever their times but for the pauses between them.

        Args:
            phones: a tier.
            total: of all durations, if that is known: each is longer or shorter in proportion to its variance.
        """
        weights, steps = self._log_probs(phones).exp(), self._steps()
        mean = weights @ steps
        if total is not None:
            variance = weights @ steps**2 - mean**2
            mean = mean + (total * self.frame_rate - mean.sum()) * variance / variance.sum()
        return tuple((mean.clamp(min=1) / self.frame_rate).tolist())

    def log_prob(self, phones: Sequence[Interval]) -> float:
        """How probable the durations of a recording's phones are, in nats; lengths beyond the law's are its longest."""
        steps = torch.tensor([round((phone.end - phone.start) * self.frame_rate) for phone in phones])
        at = steps.clamp(1, self.law.max_duration) - 1
        return float(self._log_probs(phones).gather(1, at[:, None]).sum())

    def _log_probs(self, phones: Sequence[Interval]) -> Tensor:
        states = [next(self.contexts[c] for c in contexts if c in self.contexts) for contexts in _contexts(phones)]
        log_probs: Tensor = self.law()
        return log_probs.detach()[states]

    def _steps(self) -> Tensor:
        return torch.arange(1, self.law.max_duration + 1, dtype=torch.float64)


def predict_durations(
    tiers: Sequence[Sequence[Interval]], groups: Sequence[Hashable], *, folds: int = 5
) -> dict[str, DurationErrors]:
    """How well the durations of phones are predicted by what others say: each recording by the other folds.

    Args:
        tiers: of phones, one per recording.
        groups: of each recording, its speaker or itself: those of one group are never apart.
        folds: how many parts are held out, one after the other.

    Returns:
        Errors of the mean of the phone; of `PhoneDurations`; and of these, where the total is known.

    Raises:
        ShapeError, DataError: not as many groups as tiers; fewer than two groups.

    Example:
        >>> tier = tuple(Interval(0.1 * i, 0.1 * i + 0.1, "AA") for i in range(20))
        >>> errors = predict_durations([tier, tier], ["ann", "bob"])
        >>> errors["phone's mean"].rmse < 1e-9
        True
    """
    if len(groups) != len(tiers):
        raise ShapeError(f"predict_durations: there are {len(tiers)} tiers, and groups of {len(groups)}.")
    names = list(dict.fromkeys(groups))
    if len(names) < 2:
        raise DataError("predict_durations: it takes two groups of recordings, one to learn from and one to predict.")
    pairs: dict[str, list[tuple[Seconds, Seconds]]] = {name: [] for name in _PREDICTED}
    for fold in range(min(folds, len(names))):
        out = set(names[fold::folds])
        known = [tier for tier, group in zip(tiers, groups, strict=True) if group not in out]
        laws = PhoneDurations.fit(known)
        means = {label: found.mean for label, found in duration_statistics(known).items()}
        any_phone = sum(b.end - b.start for tier in known for b in tier) / max(1, sum(map(len, known)))
        for tier in (tier for tier, group in zip(tiers, groups, strict=True) if group in out and tier):
            true = [phone.end - phone.start for phone in tier]
            guesses = [means.get(phone.label, any_phone) for phone in tier], laws(tier), laws(tier, total=sum(true))
            for name, guess in zip(_PREDICTED, guesses, strict=True):
                pairs[name] += zip(true, guess, strict=True)
    return {name: DurationErrors(tuple(found)) for name, found in pairs.items()}


def _contexts(tier: Sequence[Interval]) -> list[tuple[Context, ...]]:
    """The contexts of each phone, the closest first."""
    kinds = manners([phone.label for phone in tier])
    apart = [True, *(b.start - a.end > _APART for a, b in pairwise(tier)), True]
    found: list[tuple[Context, ...]] = []
    for i, phone in enumerate(tier):
        last = _PAUSE if apart[i] else kinds[i - 1]
        following = _PAUSE if apart[i + 1] else kinds[i + 1]
        label = (kinds[i], phone.label)
        found.append(((*label, following, last), (*label, following), label, label[:1], ()))
    return found
