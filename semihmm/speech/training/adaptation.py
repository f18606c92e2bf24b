"""Adapting an acoustic model to a speaker or to recordings like those of a corpus, from some minutes of them.

Where methods need the states of frames, they take them from an alignment by the model itself: no labels are needed.

- ``"cmn"`` takes the cepstral mean over all recordings, not of each alone: for many short recordings of one channel.
- ``"fmllr"`` learns an affine map of the features: from some seconds on (`semihmm.speech.training.fmllr`).
- ``"map"`` moves Gaussians towards what was heard of them, the further the more that is: the more minutes, the better.

References:
    Gauvain and Lee (1994), "Maximum a posteriori estimation for multivariate Gaussian mixture observations of Markov
    chains", IEEE TSAP 2(2).
    Reynolds, Quatieri and Dunn (2000), "Speaker verification using adapted Gaussian mixture models", Digital Signal
    Processing 10 (the relevance factor).
"""

from collections.abc import Collection, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor

from semihmm.errors import DataError, SemihmmError
from semihmm.models import GaussianMixture
from semihmm.models.emissions.covariance import log_density
from semihmm.speech.acoustics.mfcc import speech_mean
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.acoustics.transform import after, identity
from semihmm.speech.training.fmllr import TransformStatistics, fmllr
from semihmm.speech.training.stated import stated
from semihmm.speech.training.utterance import Utterance

Method = Literal["map", "fmllr", "cmn"]
Part = Literal["means", "weights", "variances"]
_Item = TypeVar("_Item")
METHODS: tuple[Method, ...] = ("map", "fmllr", "cmn")
_PARTS: tuple[Part, ...] = ("means", "weights", "variances")


def methods_of(text: str) -> list[Method]:
    """Methods with commas between them.

    Raises:
        SemihmmError: there is no such method.

    Example:
        >>> methods_of("fmllr,map")
        ['fmllr', 'map']
    """
    names = [name.strip() for name in text.split(",")]
    found = [method for name in names for method in METHODS if method == name]
    if len(found) != len(names):
        raise SemihmmError(f"methods of adaptation are {', '.join(METHODS)}, with commas between them; got {text!r}.")
    return found


def adapt(
    model: AcousticModel,
    utterances: Iterable[Utterance],
    *,
    method: Method = "map",
    passes: int = 1,
    relevance: float = 16.0,
    parts: Collection[Part] = ("means", "weights"),
    failures: dict[str, str] | None = None,
) -> AcousticModel:
    """An acoustic model adapted to what a speaker, or a corpus, says.

    Args:
        model: to start from; it stays as it is.
        utterances: what to adapt to, with what is said in them. Labels are not needed, and used where there are some.
        method: ``"map"``, ``"fmllr"`` or ``"cmn"``, as above.
        passes: how often to align, each time with the model of the pass before.
        relevance: of ``"map"``: how many frames of each Gaussian what was known before is worth.
        parts: of ``"map"``: what of the Gaussians to move.
        failures: why utterances cannot be used is added to it, by name.

    Raises:
        DataError: no utterance can be used, they are too few for a transform, or the model has a network.
        SemihmmError: there is no such method or part.

    Example:
        >>> from semihmm.speech import load_acoustic_model
        >>> adapt(load_acoustic_model(), [], method="fmllr")
        Traceback (most recent call last):
        ...
        semihmm.errors.DataError: adapt: there is nothing to adapt to: no utterance could be used.
    """
    if method not in METHODS or not set(parts) <= set(_PARTS) or passes < 1 or relevance <= 0:
        raise SemihmmError(
            f"adapt: method must be one of {', '.join(METHODS)}, parts among {', '.join(_PARTS)}, passes 1 or more and "
            f"relevance above 0, got {method!r}, {sorted(parts)}, {passes} and {relevance}."
        )
    if model.network is not None and method != "cmn":
        raise DataError(f"adapt: {method} moves Gaussians or features towards them, and {model.name} has none.")
    utterances, failures = list(utterances), {} if failures is None else failures
    seconds = sum(len(item.wave) / item.sample_rate for item in utterances)
    card = {**model.card, f"adapted by {method}": f"{len(utterances)} utterances, {seconds:.1f} s"}
    adapted = replace(model, name=f"{model.name}, adapted ({method})", card=card)
    if method == "cmn":
        return _with_common_mean(adapted, utterances)
    for _ in range(passes):
        frames = (item.frames for item in _some(stated(adapted, utterances, failures)))
        if method == "fmllr":
            adapted = _with_transform(adapted, frames)
        else:
            adapted = _with_moved_gaussians(adapted, model, frames, relevance, parts)
    return adapted


@dataclass
class GaussianStatistics:
    """How much each Gaussian of an emission was used, and on what: S states, K codebooks of C Gaussians.

    Args:
        count: ``(S, C)`` frames of each state for which each Gaussian is responsible.
        first: ``(K, C, F)`` their sum.
        second: ``(K, C, F)`` the sum of their squares.
    """

    count: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def none(cls, emission: GaussianMixture) -> "GaussianStatistics":
        """Before any frame."""
        empty = torch.zeros(emission.mean.shape, dtype=torch.float64)
        return cls(torch.zeros(emission.states, empty.shape[1], dtype=torch.float64), empty, empty.clone())

    def add(self, emission: GaussianMixture, x: Tensor, states: Tensor) -> None:
        """Frames ``(T, F)`` more, of these states ``(T,)``."""
        for state, book, rows, share in responsibilities(emission, x, states):
            self.count[state] += share.sum(0)
            self.first[book] += share.t() @ x[rows].double()
            self.second[book] += share.t() @ x[rows].double().square()


@torch.no_grad()
def responsibilities(emission: GaussianMixture, x: Tensor, states: Tensor) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """Each state with its codebook, the rows of its frames, and each Gaussian's share in these, ``(N, C)`` float64.

    Args:
        emission: whose Gaussians have variances alone.
        x: ``(T, F)``.
        states: ``(T,)`` the state of each frame.
    """
    weights = emission.weights().double()
    for state in states.unique().tolist():
        book = int(emission.codebook[state])
        rows = (states == state).nonzero()[:, 0]
        density = log_density(x[rows].double(), emission.mean[book].double(), emission.log_variance[book].double())
        yield state, book, rows, (density + weights[state]).softmax(-1)


@torch.no_grad()
def most_probable(
    prior: GaussianMixture, seen: GaussianStatistics, *, relevance: float, parts: Collection[Part] = _PARTS
) -> GaussianMixture:
    """An emission between what was known before and what was seen.

    As if, before the frames, each Gaussian had been used on ``relevance`` frames with its own mean and variance, and
    as the weights say on average: so the most probable parameters under conjugate priors.

    Args:
        prior: what was known before; it stays as it is.
        seen: of the frames.
        relevance: frames that it is worth.
        parts: what to move; the rest stays.
    """
    found = deepcopy(prior)
    mean, variance, weight = prior.mean.double(), prior.log_variance.double().exp(), prior.weights().double().exp()
    used = torch.zeros(mean.shape[:2], dtype=torch.float64).index_add_(0, prior.codebook, seen.count)[..., None]
    first = (relevance * mean + seen.first) / (relevance + used)
    second = (relevance * (variance + mean.square()) + seen.second) / (relevance + used)
    moved = first if "means" in parts else mean
    found.mean.copy_(moved)
    if "variances" in parts:
        found.log_variance.copy_((second - 2 * moved * first + moved.square()).log())
    if "weights" in parts:
        found.weights.logits.copy_((seen.count + relevance * weight.shape[1] * weight).log())
    return found


def pulls(emission: GaussianMixture, x: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    """How strongly Gaussians draw each frame ``(T, F)``, and to where times that: precision and pull of `fmllr`."""
    precision, pull = torch.zeros(2, *x.shape, dtype=torch.float64)
    for _, book, rows, share in responsibilities(emission, x, states):
        mean, narrow = emission.mean[book].double(), (-emission.log_variance[book].double()).exp()
        precision[rows], pull[rows] = share @ narrow, share @ (narrow * mean)
    return precision, pull


def _with_moved_gaussians(
    model: AcousticModel,
    prior: AcousticModel,
    frames: Iterable[tuple[Tensor, Tensor]],
    relevance: float,
    parts: Collection[Part],
) -> AcousticModel:
    seen = [GaussianStatistics.none(stream) for stream in model.streams]
    for features, states in frames:
        for statistics, stream, part in zip(seen, model.streams, _parts(model, features), strict=True):
            statistics.add(stream, part, states)
    moved = zip(prior.streams, seen, strict=True)
    return replace(
        model, streams=tuple(most_probable(stream, one, relevance=relevance, parts=parts) for stream, one in moved)
    )


def _with_transform(model: AcousticModel, frames: Iterable[tuple[Tensor, Tensor]]) -> AcousticModel:
    """A map of its own for each stream."""
    known: list[TransformStatistics] = []
    for features, states in frames:
        parts = zip(model.streams, _parts(model, features), strict=True)
        more = [TransformStatistics.of(part, *pulls(stream, part, states)) for stream, part in parts]
        known = [a + b for a, b in zip(known, more, strict=True)] if known else more
    found = [fmllr(statistics) for statistics in known]
    if all(torch.equal(transform, identity(len(transform))) for transform in found):
        raise DataError(
            f"adapt: {known[0].count} frames are too few for transforms of {model.name}. Give more recordings, or "
            f"choose cmn or map."
        )
    together = torch.cat(
        [torch.block_diag(*(each[:, :-1] for each in found)), torch.cat([each[:, -1:] for each in found])], 1
    )
    return replace(model, transform=after(together, model.transform))


def _with_common_mean(model: AcousticModel, utterances: Iterable[Utterance]) -> AcousticModel:
    """A model that takes the mean of all these utterances off each."""
    front_end = model.front_end
    if not front_end.mean_normalisation:
        raise DataError(
            f"adapt: {model.name} takes cepstra as they are, without their means taken off, so another mean does not "
            f"fit it. Choose fmllr, which learns a shift."
        )
    cepstra = [front_end.cepstrum(item.at(front_end.sample_rate)) for item in _some(utterances)]
    constant = front_end.with_differences(-speech_mean(torch.cat(cepstra))[None])[0]
    shift = identity(len(constant) * (2 * model.splice + 1))
    shift[:, -1] = constant.repeat(2 * model.splice + 1)
    return replace(
        model,
        front_end=replace(front_end, mean_normalisation=False),
        transform=shift if model.transform is None else after(model.transform, shift),
    )


def _parts(model: AcousticModel, features: Tensor) -> tuple[Tensor, ...]:
    """What each stream sees of the features."""
    parts: tuple[Tensor, ...] = model.seen(features).split([stream.mean.shape[-1] for stream in model.streams], 1)
    return parts


def _some(items: Iterable[_Item]) -> Iterator[_Item]:
    """The items, of which there must be one."""
    empty = True
    for item in items:
        empty = False
        yield item
    if empty:
        raise DataError("adapt: there is nothing to adapt to: no utterance could be used.")
