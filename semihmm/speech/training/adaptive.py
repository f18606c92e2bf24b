"""Speaker-adaptive training: features that tell states apart, of speakers who sound alike.

1. Cepstra are spliced with their neighbours', and reduced to the directions in which states lie apart (LDA), turned so
   that diagonal covariances fit (MLLT): one map for all. Differences are sums of spliced cepstra, and left out.
2. Gaussians are learnt on them anew; and of each speaker, in turn with these, a map of their own (constrained MLLR), so
   that Gaussians need not spread over what speakers differ in.

Speakers who are aligned later are best adapted to as well: ``semihmm align --adapt fmllr``.

References:
    Anastasakos, McDonough, Schwartz and Makhoul (1996), "A compact model for speaker-adaptive training", ICSLP.
    Saon, Padmanabhan, Gopinath and Chen (2000), "Maximum likelihood discriminant feature spaces", ICASSP.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.acoustics.transform import identity, spliced, transformed
from semihmm.speech.training.adaptation import pulls
from semihmm.speech.training.cutting import in_pieces
from semihmm.speech.training.estimation import estimate
from semihmm.speech.training.fmllr import TransformStatistics, fmllr
from semihmm.speech.training.lda import Moments, lda, mllt
from semihmm.speech.training.mixtures import Mixtures
from semihmm.speech.training.stated import Stated, stated
from semihmm.speech.training.statistics import Draft, Statistics, statistics_of, statistics_of_path
from semihmm.speech.training.utterance import Utterance


def train_adaptively(
    model: AcousticModel,
    utterances: Iterable[Utterance],
    *,
    context: int = 4,
    dimensions: int = 40,
    gaussians: int = 4,
    passes: int = 2,
    speakers: bool = True,
    frames_per_gaussian: float = 40.0,
    variance_floor: float = 0.01,
    failures: dict[str, str] | None = None,
) -> AcousticModel:
    """The model with Gaussians learnt anew, on features that tell its states apart.

    Args:
        model: aligns the utterances first. Its phones in context stay what they are: they are learnt last, after those
            without.
        utterances: what to learn from, with their speakers; of more than a minute and a half, in pieces.
        context: how many frames before and after it each frame is seen with.
        dimensions: how many features to keep.
        gaussians: the most that a state may have, a power of 2.
        passes: with each number of Gaussians.
        speakers: whether each speaker gets a map of their own in training.
        frames_per_gaussian: a state has no more Gaussians than it has so many frames.
        variance_floor: least variance, as a share of that of all frames.
        failures: why utterances cannot be used is added to it, by name.

    Raises:
        DataError: no utterance can be used, or they are too few for so many features.

    Example:
        >>> from semihmm.speech import load_acoustic_model
        >>> train_adaptively(load_acoustic_model(), [])
        Traceback (most recent call last):
        ...
        semihmm.errors.DataError: train_adaptively: there is nothing to learn from: no utterance could be used.
    """
    items = list(stated(model, in_pieces(model, utterances), {} if failures is None else failures))
    if not items:
        raise DataError("train_adaptively: there is nothing to learn from: no utterance could be used.")
    tied = [item.states for item in items]
    plain = [torch.where(states < 0, -1, model.owner[states]) for states in tied]
    directions = _directions(model, items, plain, context, dimensions)
    heard = [transformed(spliced(item.example.features, context), directions) for item in items]

    def grown(draft: Draft, sums: Statistics, paths: Sequence[Tensor]) -> Draft:
        own = [identity(dimensions) for _ in items]
        for size in (2**n for n in range(gaussians.bit_length())):
            sizes = (sums.states / frames_per_gaussian).long().clamp(1, size)
            draft = replace(draft, mixtures=draft.mixtures.split(sizes))
            for _ in range(passes):
                if speakers:
                    own = _own(draft, heard, items, paths)
                mapped = (transformed(x, to) for x, to in zip(heard, own, strict=True))
                examples = (replace(item.example, features=x) for item, x in zip(items, mapped, strict=True))
                sums = reduce(add, (statistics_of(draft, example) for example in examples))
                draft = estimate(draft, sums, floor=variance_floor)
        return draft

    draft = grown(*_single(model, model.plain, heard, plain, variance_floor), plain)
    if model.contexts is not None:
        begun, sums = _single(model, model.owner, heard, tied, variance_floor)
        mixtures = draft.mixtures.then(begun.mixtures, len(model.plain))
        begun = replace(begun, model=replace(begun.model, contexts=model.contexts), mixtures=mixtures)
        draft = grown(begun, sums, tied)
    card = {**model.card, "features": f"{dimensions} of {2 * context + 1} frames, by LDA and MLLT"}
    if speakers:
        card["speakers"] = len({item.utterance.speaker for item in items})
    return replace(draft.model, splice=context, transform=directions, card=card)


def _directions(
    model: AcousticModel, items: Sequence[Stated], paths: Sequence[Tensor], context: int, dimensions: int
) -> Tensor:
    """LDA and MLLT as one map of spliced features, ``(D, (2 context + 1) F + 1)``, that takes cepstra alone."""
    static, features = model.front_end.cepstra, items[0].example.features.shape[1]
    known = [path >= 0 for path in paths]
    cepstra = (spliced(item.example.features[:, :static].double(), context) for item in items)
    x = torch.cat([of[there] for of, there in zip(cepstra, known, strict=True)])
    states = torch.cat([path[there] for path, there in zip(paths, known, strict=True)])
    apart = lda(x, states, dimensions)
    moments = Moments.of(x @ apart.t(), states)
    found = x.new_zeros(dimensions, 2 * context + 1, features)
    found[:, :, :static] = (mllt(moments.covariance, moments.count) @ apart).unflatten(1, (-1, static))
    return torch.nn.functional.pad(found.flatten(1), (0, 1))


def _single(
    model: AcousticModel, owner: Tensor, heard: Sequence[Tensor], paths: Sequence[Tensor], floor: float
) -> tuple[Draft, Statistics]:
    """A model with a single Gaussian to each of the columns of ``owner``, from the alignment."""
    nothing = torch.zeros(len(owner), 1, heard[0].shape[1], dtype=torch.float64)
    draft = Draft(replace(model, contexts=None), Mixtures(nothing[:, :, 0], nothing, nothing + 1), owner)
    known = ((path[path >= 0], x[path >= 0]) for path, x in zip(paths, heard, strict=True))
    sums = reduce(add, (statistics_of_path(path, x, len(owner)) for path, x in known))
    return estimate(draft, sums, floor=floor), sums


def _own(draft: Draft, heard: Sequence[Tensor], items: Sequence[Stated], paths: Sequence[Tensor]) -> list[Tensor]:
    """For each utterance, the map of its speaker."""
    emission, known = draft.mixtures.emission(), dict[str, TransformStatistics]()
    for item, x, path in zip(items, heard, paths, strict=True):
        path, x = path[path >= 0], x[path >= 0]
        more, speaker = TransformStatistics.of(x, *pulls(emission, x, path)), item.utterance.speaker
        known[speaker] = known[speaker] + more if speaker in known else more
    found = {speaker: fmllr(statistics) for speaker, statistics in known.items()}
    return [found[item.utterance.speaker] for item in items]
