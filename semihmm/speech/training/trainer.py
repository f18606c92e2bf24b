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
from semihmm.speech.training.cutting import in_pieces, is_long
from semihmm.speech.training.edges import moved
from semihmm.speech.training.estimation import ENOUGH, estimate, left_to_right
from semihmm.speech.training.flat import flat_path
from semihmm.speech.training.mixtures import Mixtures
from semihmm.speech.training.recipe import Recipe, Stage
from semihmm.speech.training.statistics import (
    Draft,
    Each,
    Example,
    Statistics,
    path_of,
    statistics_of,
    statistics_of_path,
)
from semihmm.speech.training.trees import ContextSums, grow, in_context
from semihmm.speech.training.utterance import Utterance


@dataclass(frozen=True)
class Pass:
    """Where training stands after a pass over all recordings.

    Args:
        number: of this one, from 1.
        of: how many there are.
        log_likelihood: per frame, before this pass changed the model, in nats.
        impossible: recordings that are too short for what is said in them.

    Example:
        >>> Pass(number=1, of=20, log_likelihood=-150.0, impossible=0).of
        20
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

    Utterances of more than a minute and a half are cut in the pauses that the rough model of the others hears, and then
    learnt from, too.

    Returns:
        The model. Its card counts what it was made of; names utterances that were left out, as they are too short for
        what is said in them, too long (some two minutes) and without a pause, or not as their known labels have it;
        and phones with little data, which resemble their class (vowels, stops, ...), and that, without any, all speech.

    Raises:
        DataError: no utterances, or none that is long enough for what is said.

    Same input, same bytes. Memory holds the recordings and their features: some 0.4 GB an hour.

    Example:
        >>> from semihmm.speech import Pronunciation
        >>> wave = torch.cat([torch.zeros(4000), torch.randn(8000, generator=torch.Generator().manual_seed(0)) / 9])
        >>> noise = Utterance("a", torch.cat([wave, wave[:4000]]), 16000, (Pronunciation("sh", (("SH",),)),))
        >>> train([noise]).phones
        ('SH', 'SIL')
    """
    everything = list(utterances)
    if not everything:
        raise DataError("train: there are no utterances to learn from.")
    recipe = recipe or Recipe.for_rate(min(item.sample_rate for item in everything))
    first, *later = recipe.stages
    utterances = [item for item in everything if not (later and is_long(item))] or everything
    said = {phone for item in everything for word in item.words for variant in word.variants for phone in variant}
    names = (*sorted({*phones, *said} - {silence}), silence)
    run = _Run(utterances, recipe, each, watch)
    model = _blank(names, silence, recipe, name)
    paths: list[Tensor | None] = []
    for stage in recipe.stages:
        examples = [item.example(stage.front_end) for item in utterances]
        model, old = replace(model, front_end=stage.front_end), model.front_end
        paths = moved(paths, old, examples, model) if paths else [_flat(model, item) for item in examples]
        draft, sums = run.grown(*run.start(model, torch.arange(len(model.plain)), paths, examples), examples, stage)
        model = draft.model
        if stage is first and later and any(map(is_long, everything)):
            utterances = run.utterances = list(in_pieces(model, everything))
            examples = [item.example(stage.front_end) for item in utterances]
        paths = [path_of(draft, item) for item in examples]
    if recipe.triphones:
        draft, sums = run.in_context(draft, sums, paths, examples)
    left_out = [item.name for item, path in zip(utterances, paths, strict=True) if path is None]
    return replace(draft.model, card={**card, **_counted(draft, sums, utterances), "left out": left_out})


@dataclass
class _Run:
    """What the steps of training have in common.

    Args:
        utterances: all of them.
        recipe: how.
        each: a `map`.
        watch: called after each pass.
        passes: how many there have been.
    """

    utterances: Sequence[Utterance]
    recipe: Recipe
    each: Each
    watch: Callable[[Pass], None]
    passes: int = 0

    def start(
        self, model: AcousticModel, owner: Tensor, paths: Sequence[Tensor | None], examples: Sequence[Example]
    ) -> tuple[Draft, Statistics]:
        """Single Gaussians from paths through the columns of ``owner``, and what they were made of."""
        columns, features = len(owner), examples[0].features.shape[1]
        nothing = _nothing(columns, features)
        draft = Draft(replace(model, streams=(nothing.emission(),)), nothing, owner, self.recipe.pause_probability)
        known = [(path, item.features) for path, item in zip(paths, examples, strict=True) if path is not None]
        sums = reduce(add, (statistics_of_path(path, features, columns) for path, features in known))
        return estimate(draft, sums, floor=self.recipe.variance_floor), sums

    def grown(
        self, draft: Draft, sums: Statistics, examples: Sequence[Example], stage: Stage
    ) -> tuple[Draft, Statistics]:
        """More and more Gaussians, with passes over all recordings for each number of them."""
        for gaussians, passes in stage.growth:
            sizes = (sums.states / self.recipe.frames_per_gaussian).long().clamp(1, gaussians)
            draft = replace(draft, mixtures=draft.mixtures.split(sizes))
            for _ in range(passes):
                sums = reduce(add, self.each(partial(statistics_of, draft), examples))
                if not sums.frames:
                    first = self.utterances[0]
                    if is_long(first):
                        raise DataError(
                            f"train: the {len(examples)} utterances are too long to begin with: {first.name} lasts "
                            f"{len(first.wave) / first.sample_rate:.0f} s. Give the times of utterances in it (a "
                            f"TextGrid, subtitles, ...), or some shorter ones besides: then these are cut."
                        )
                    raise DataError(
                        f"train: none of the {len(examples)} utterances is long enough for what is said in it: "
                        f"{first.name} has {len(examples[0].features)} frames for {len(first.phones)} phones. Are "
                        f"these the right transcripts?"
                    )
                draft = estimate(draft, sums, floor=self.recipe.variance_floor)
                self.passes += 1
                self.watch(Pass(self.passes, self.recipe.passes, sums.log_likelihood / sums.frames, sums.impossible))
        return draft, sums

    def in_context(
        self, draft: Draft, sums: Statistics, paths: Sequence[Tensor | None], examples: Sequence[Example]
    ) -> tuple[Draft, Statistics]:
        """Phones between their neighbours; those without context stay as they are."""
        model = draft.model
        silence = model.phones.index(model.silence)
        found = ContextSums.of(paths, examples, model.states, silence)
        contexts, owner = grow(found, model.phones, model.states, self.recipe.triphones)
        if len(owner) == len(draft.owner):  # too little data for any
            return draft, sums
        near = [None if path is None else in_context(path, contexts, model.states, silence) for path in paths]
        wide = replace(model, contexts=contexts, streams=(_nothing(len(owner), 1).emission(),))
        begun, sums = self.start(wide, owner, near, examples)
        begun = replace(begun, mixtures=draft.mixtures.then(begun.mixtures, len(draft.owner)))
        return self.grown(begun, sums, examples, self.recipe.stages[-1])


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
    stream = _nothing(len(phones) * recipe.states, 1).emission()
    return AcousticModel(
        phones, (stream,), left_to_right(leave), recipe.stages[0].front_end, name=name, silence=silence
    )


def _flat(model: AcousticModel, example: Example) -> Tensor:
    loudness = example.features[:, 0]
    return flat_path(loudness, model.front_end.frame_rate, example.words, model.phones, model.silence, model.states)


def _nothing(columns: int, features: int) -> Mixtures:
    """Standard normals."""
    zeros = torch.zeros(columns, 1, features, dtype=torch.float64)
    return Mixtures(zeros[:, :, 0], zeros, zeros + 1)
