"""Training from a flat start: from recordings and their transcripts to an acoustic model."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from types import MappingProxyType

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.training.edges import moved
from semihmm.speech.training.estimation import ENOUGH, estimate, left_to_right
from semihmm.speech.training.flat import flat_path
from semihmm.speech.training.mixtures import Mixtures
from semihmm.speech.training.recipe import Recipe
from semihmm.speech.training.statistics import Draft, Example, Statistics, path_of, statistics_of, statistics_of_path
from semihmm.speech.training.utterance import Utterance

Each = Callable[[Callable[[Example], Statistics], Sequence[Example]], Iterable[Statistics]]


@dataclass(frozen=True)
class Pass:
    """Where training stands after a pass over all recordings.

    Args:
        number: of this one, from 1.
        of: how many there are.
        log_likelihood: per frame, before this pass changed the model, in nats.
        impossible: recordings that are too short for what is said in them.
    """

    number: int
    of: int
    log_likelihood: float
    impossible: int


def train(
    utterances: Iterable[Utterance],
    *,
    phones: Collection[str] = (),
    silence: str = "SIL",
    recipe: Recipe | None = None,
    name: str = "trained model",
    card: Mapping[str, object] = MappingProxyType({}),
    each: Each = map,
    watch: Callable[[Pass], None] = lambda _: None,
) -> AcousticModel:
    """An acoustic model learnt from recordings and what is said in them, without any model to start with.

    Silence is where a recording is quiet at its ends, every phone as long as any other, and that is mended by
    expectation and maximisation over all paths that the transcripts allow: pronunciations, and pauses between words.

    Args:
        utterances: the recordings.
        phones: that the model shall have beside those that are said.
        silence: the phone that stands for it.
        recipe: how. Default: a `Recipe` for the lowest sample rate among the recordings, and at most 16 kHz.
        name: of the model.
        card: what to say of it beside what is counted here.
        each: applies a function to all examples, as `map` does, in order: to do so elsewhere.
        watch: called after each pass.

    Returns:
        The model. Its card counts what it was made of; names utterances that are too short for what is said in them, or
        that are not as their known labels have it, and that were left out; and phones with little data, which resemble
        their class (vowels, stops, ...), and that, without any, all speech.

    Raises:
        DataError: no utterances, or none that is long enough for what is said.

    Same input, same bytes. Memory holds the recordings and their features: some 0.4 GB an hour.

    Example:
        >>> wave = torch.cat([torch.zeros(4000), torch.randn(8000, generator=torch.Generator().manual_seed(0)) / 9])
        >>> noise = Utterance("a", torch.cat([wave, wave[:4000]]), 16000, (Pronunciation("sh", (("SH",),)),))
        >>> train([noise]).phones
        ('SH', 'SIL')
    """
    utterances = list(utterances)
    if not utterances:
        raise DataError("train: there are no utterances to learn from.")
    recipe = recipe or Recipe.for_rate(min(item.sample_rate for item in utterances))
    said = {phone for item in utterances for word in item.words for variant in word.variants for phone in variant}
    names = (*sorted({*phones, *said} - {silence}), silence)
    model, number = _blank(names, silence, recipe, name), 0
    paths: list[Tensor | None] = []
    for stage in recipe.stages:
        examples = [item.example(stage.front_end) for item in utterances]
        model, old = replace(model, front_end=stage.front_end), model.front_end
        paths = moved(paths, old, examples, model) if paths else [_flat(model, item) for item in examples]
        draft, sums = _start(model, paths, examples, recipe)
        for gaussians, passes in stage.growth:
            sizes = (sums.states / recipe.frames_per_gaussian).long().clamp(1, gaussians)
            draft = replace(draft, mixtures=draft.mixtures.split(sizes))
            for _ in range(passes):
                sums = reduce(add, each(partial(statistics_of, draft), examples))
                if not sums.frames:
                    raise DataError(
                        f"train: none of the {len(utterances)} utterances is long enough for what is said in it: "
                        f"{utterances[0].name} has {len(examples[0].features)} frames for "
                        f"{len(utterances[0].phones)} phones. Are these the right transcripts?"
                    )
                draft, number = estimate(draft, sums, floor=recipe.variance_floor), number + 1
                watch(Pass(number, recipe.passes, sums.log_likelihood / sums.frames, sums.impossible))
        model, paths = draft.model, [path_of(draft, item) for item in examples]
    left_out = [item.name for item, path in zip(utterances, paths, strict=True) if path is None]
    return replace(model, card={**card, **_counted(draft, sums, utterances), "too short": left_out})


def _counted(draft: Draft, statistics: Statistics, utterances: Sequence[Utterance]) -> dict[str, object]:
    """What a model was made of."""
    model = draft.model
    frames = torch.zeros(len(model.phones), dtype=torch.float64)
    frames.index_add_(0, draft.owner // model.states, statistics.states)
    seconds = dict(zip(model.phones, (frames / model.front_end.frame_rate).tolist(), strict=True))
    return {
        "utterances": len(utterances),
        "seconds": round(sum(len(item.wave) / item.sample_rate for item in utterances), 1),
        "states": len(draft.owner),
        "gaussians": int(draft.mixtures.sizes.sum()),
        "log-likelihood per frame": round(statistics.log_likelihood / statistics.frames, 2),
        "seconds of phones": {phone: round(each, 2) for phone, each in seconds.items()},
        "little data": [p for p, n in zip(model.phones, frames.tolist(), strict=True) if n < ENOUGH * model.states],
    }


def _blank(phones: tuple[str, ...], silence: str, recipe: Recipe, name: str) -> AcousticModel:
    """A model that knows nothing."""
    leave = torch.full((len(phones), recipe.states), 0.3, dtype=torch.float64)
    nothing = torch.zeros(len(phones) * recipe.states, 1, 1)
    stream = Mixtures(nothing[:, :, 0], nothing, nothing + 1).emission()
    return AcousticModel(
        phones, (stream,), left_to_right(leave), recipe.stages[0].front_end, name=name, silence=silence
    )


def _flat(model: AcousticModel, example: Example) -> Tensor:
    loudness = example.features[:, 0]
    return flat_path(loudness, model.front_end.frame_rate, example.words, model.phones, model.silence, model.states)


def _start(
    model: AcousticModel, paths: Sequence[Tensor | None], examples: Sequence[Example], recipe: Recipe
) -> tuple[Draft, Statistics]:
    """A model of single Gaussians from paths, and what it was made of."""
    states, features = len(model.phones) * model.states, examples[0].features.shape[1]
    nothing = torch.zeros(states, 1, features, dtype=torch.float64)
    draft = Draft(
        model, Mixtures(nothing[:, :, 0], nothing, nothing + 1), torch.arange(states), recipe.pause_probability
    )
    known = [(path, item.features) for path, item in zip(paths, examples, strict=True) if path is not None]
    sums = reduce(add, (statistics_of_path(path, features, states) for path, features in known))
    return estimate(draft, sums, floor=recipe.variance_floor), sums
