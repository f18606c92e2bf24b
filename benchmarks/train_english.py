"""Learns ``semihmm/speech/acoustics/english.safetensors``, the small English model that comes with semihmm.

    python benchmarks/train_english.py [--jobs N] [--smoke] [--out semihmm/speech/acoustics/english.safetensors]

From a flat start, by the recipe of ``semihmm train``, on recordings that are in the public domain, CC BY or free
(`SETS`), read from ``SEMIHMM_DATA`` or ``../shared/data``; without them there is nothing to do. Seven voices are few,
so each recording is learnt from three times: as it is, slower and lower, and faster and higher.

How well it does on a voice that it has not heard is measured first: the two voices whose phones are known, both
synthetic, are left out in turn, with all recordings of theirs. Raw scores of what such models make of right and wrong
transcripts give the constants of `match` (see ``match.py``). Then all is learnt from, and ``ae-english``, which had no
part in anything, is aligned once. All this goes into the card. The same recordings give the same bytes.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import match
import torch
from _boundaries import summary
from rich.console import Console

from semihmm.cli.show import error_table
from semihmm.speech import (
    AcousticModel,
    Aligner,
    BoundaryErrors,
    Interval,
    Lexicon,
    Tiers,
    compare,
    load_lexicon,
    words_of,
)
from semihmm.speech.text.phones import is_silence
from semihmm.speech.training import Recipe, Utterance, train
from semihmm.speech.training.reading import pronounced
from semihmm.speech.training.sharing import in_threads

HERE = Path(__file__).parent
SETS = {
    "ljspeech32": "LJ Speech (K. Ito 2017), 32 clips: public domain",
    "librivox5": "LibriVox, five sentences of Sense and Sensibility: public domain",
    "librispeech4": "LibriSpeech (V. Panayotov 2014), four utterances of three speakers: CC BY 4.0",
    "synth/en-hts": "30 Harvard sentences by festvox-us-slt-hts, the voice of CMU ARCTIC slt: free",
    "synth/en-kal": "30 Harvard sentences by festvox-kallpc16k: free",
    "arctic1": "CMU ARCTIC slt (Carnegie Mellon University 2003), one sentence: free for any use with this notice",
}
LICENCE = "MIT, as semihmm; that of each set of recordings is beside it"
LEFT_OUT = {"slt": "synth/en-hts", "kal": "synth/en-kal"}
SPEAKERS = {"ljspeech32": "lj", "librivox5": "austen", "arctic1": "slt", "synth/en-hts": "slt", "synth/en-kal": "kal"}
SPEEDS = (0.86, 1.0, 1.16)
RECIPE = Recipe.for_rate(16000, gaussians=8)


@dataclass(frozen=True)
class Item:
    """A recording, what is known of it, and the set that it is in."""

    utterance: Utterance
    text: str
    labels: dict
    of: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2, help="threads in training")
    parser.add_argument("--smoke", action="store_true", help="two recordings of each set; nothing is written")
    parser.add_argument(
        "--out", type=Path, default=HERE.parent / "semihmm" / "speech" / "acoustics" / "english.safetensors"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    data = Path(os.environ.get("SEMIHMM_DATA", HERE.parent.parent / "shared" / "data"))
    missing = [name for name in SETS if not (data / name).is_dir()]
    if missing:
        console.print(f"skipped: {', '.join(missing)} not in SEMIHMM_DATA or ../shared/data")
        return
    items = [item for name in SETS for item in read(data, name)[: 2 if arguments.smoke else None]]
    recipe = Recipe((replace(RECIPE.stages[0], gaussians=1, passes=2),)) if arguments.smoke else RECIPE
    speeds = (1.0,) if arguments.smoke else SPEEDS
    scores, figures = [], {}
    for speaker, name in LEFT_OUT.items():
        model = learnt([item for item in items if item.utterance.speaker != speaker], recipe, speeds, arguments.jobs)
        held_out = [item for item in items if item.of == name]
        figures[f"{name}, left out"] = onsets(model, held_out)
        scores.append(judged(model, held_out))
    model = learnt(items, recipe, speeds, arguments.jobs)
    if (data / "ae-english").is_dir():
        figures["ae-english"] = onsets(model, read(data, "ae-english")[: 2 if arguments.smoke else None])
    console.print(error_table("onsets of phones", figures))
    model = described(model, items, figures, scores)
    console.print_json(data=dict(model.card))
    if not arguments.smoke:
        model.save(arguments.out)
        console.print(f"written: {arguments.out}, {arguments.out.stat().st_size / 1e6:.2f} MB")


def described(
    model: AcousticModel, items: Sequence[Item], figures: dict[str, BoundaryErrors], scores: list[match.Scores]
) -> AcousticModel:
    """The model with a card."""
    seconds = dict.fromkeys(SETS, 0.0)
    for item in items:
        seconds[item.of] += len(item.utterance.wave) / item.utterance.sample_rate
    card = {
        "licence": LICENCE,
        "recordings": {f"{name}: {about}": f"{seconds[name]:.1f} s" for name, about in SETS.items()},
        "speeds": SPEEDS,
        "dictionary": "CMU Pronouncing Dictionary",
        "made by": "benchmarks/train_english.py",
        "calibration": asdict(match.calibrated(scores)),
        "onsets of phones": {name: summary(errors) for name, errors in figures.items()},
    }
    return replace(model, card={**model.card, **card})


@cache
def lexicon() -> Lexicon:
    return load_lexicon("en")


def read(data: Path, name: str) -> list[Item]:
    """The recordings of a set."""
    found = []
    for item in match.recordings(data / name):
        speaker = SPEAKERS.get(name) or item["id"].partition("-")[0]
        said = pronounced(item["text"], lexicon())
        utterance = Utterance(item["id"], item["wave"], item["rate"], said, speaker=speaker)
        labels = {tier: item[tier] for tier in ("words", "phones") if tier in item}
        found.append(Item(utterance, item["text"], labels, name))
    return found


def learnt(items: Sequence[Item], recipe: Recipe, speeds: Sequence[float], jobs: int) -> AcousticModel:
    """A model of these recordings, each at several speeds: at another sample rate, they play faster or slower."""
    said = [item.utterance for item in items]
    played = [replace(item, sample_rate=round(speed * item.sample_rate)) for speed in speeds for item in said]
    return train(played, recipe=recipe, name="English, of semihmm", each=in_threads(jobs))


def onsets(model: AcousticModel, items: Sequence[Item]) -> BoundaryErrors:
    """How far onsets of phones are off."""
    aligner, errors = Aligner(model, lexicon()), BoundaryErrors()
    for item in items:
        found = aligner(item.utterance.wave, item.utterance.sample_rate, item.text)
        labels = {tier: intervals(item.labels[tier]) for tier in ("words", "phones")}
        errors += compare(Tiers(**labels), Tiers(found.words, found.phones)).phones
    return errors


def intervals(labels: Sequence[Sequence]) -> tuple[Interval, ...]:
    return tuple(Interval(*label) for label in labels if not is_silence(label[2]))


def judged(model: AcousticModel, items: Sequence[Item]) -> match.Scores:
    """Raw scores of right and wrong transcripts."""
    aligner = Aligner(model, lexicon(), calibration=match.RAW)
    known = [
        {"id": i.utterance.name, "text": i.text, "wave": i.utterance.wave, "rate": i.utterance.sample_rate, **i.labels}
        for i in items
    ]
    vocabulary = sorted({word for item in items for word in words_of(item.text)})
    return match.measure(aligner, known, vocabulary, 2)


if __name__ == "__main__":
    main()
